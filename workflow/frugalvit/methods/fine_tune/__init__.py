"""Fine-tuning under freeze schedules: the plain model."""
