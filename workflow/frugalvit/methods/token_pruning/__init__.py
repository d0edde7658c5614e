"""Token pruning (EViT): unattended tokens leave, without training."""
