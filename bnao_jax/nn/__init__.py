"""Candidate operations and layers; activations are `[C, H, W, B]`, batch innermost.

With few channels the batch is the only axis that fills a vector register, so it is the innermost:
a depthwise convolution is then a sum of shifted copies at memory speed, a 1x1 convolution one
matrix product, a batch statistic one contiguous reduction.
"""
