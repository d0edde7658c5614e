"""Figures of early exits."""
