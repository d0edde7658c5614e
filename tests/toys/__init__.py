"""What tests add to a copy of the repository, to follow docs/architecture.md literally."""
