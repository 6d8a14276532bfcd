"""The ShuffleNetV2 block space of SPOS (Guo et al., 2019, arXiv 1904.00420)."""
