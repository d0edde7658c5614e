"""Class and box of one object an image, from one backbone."""
