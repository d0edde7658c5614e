"""Early exits: easy images exit after an early block."""
