"""Around a job's work: its log, locks, processes and progress. In no digest."""
