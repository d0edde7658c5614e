"""What methods whose tokens leave share."""
