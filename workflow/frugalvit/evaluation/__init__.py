"""Evaluation: dataset-level metrics and measured cost."""
