"""The NAO cell space (Luo et al., "Neural Architecture Optimization", 2018, arXiv 1808.07233)."""
