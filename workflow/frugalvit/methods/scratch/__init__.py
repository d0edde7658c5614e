"""Training from scratch: each experiment has its own network, made from its configuration."""
