"""Inference: predictions of trained models."""
