"""Reading what runs and users leave in files."""
