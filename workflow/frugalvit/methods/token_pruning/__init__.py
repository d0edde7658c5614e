"""Token pruning (EViT): fuses the tokens that the class token attends to least; nothing trains."""
