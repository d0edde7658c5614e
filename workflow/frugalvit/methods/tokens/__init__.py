"""What the methods share that reduce the number of tokens."""
