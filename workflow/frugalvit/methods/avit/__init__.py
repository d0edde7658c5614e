"""A-ViT: tokens halt when they have seen enough."""
