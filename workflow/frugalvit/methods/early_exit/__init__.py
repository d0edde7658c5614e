"""Early exits: easy images leave after an early block."""
