"""One recommendation for a function: threads, processes, or something else."""
