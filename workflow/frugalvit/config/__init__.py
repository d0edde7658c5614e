"""Configuration: the schema, a study, its experiments. Never imports torch."""
