"""One run of a study, made without Snakemake by what its rules call."""
