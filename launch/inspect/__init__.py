"""Shows architectures, their costs and latencies."""
