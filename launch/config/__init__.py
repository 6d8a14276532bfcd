"""A config, read once."""
