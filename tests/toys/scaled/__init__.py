"""A toy method: fine-tuning with one more number, the scale of the logits."""
