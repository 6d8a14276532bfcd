"""Training of shared weights, and of networks alone."""
