"""Figures of methods whose tokens leave."""
