"""The NAS-Bench-201 space (Dong, Yang, "NAS-Bench-201", 2020, arXiv 2001.00326)."""
