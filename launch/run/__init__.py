"""A run's life: its folder, checkpoints, processes, progress."""
