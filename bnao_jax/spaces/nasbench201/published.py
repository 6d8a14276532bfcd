"""Architectures of NAS-Bench-201 that are known by their rank, as texts.

The best of all 15,625 by test accuracy after 200 epochs, mean over the benchmark's seeds: 94.37 %
on CIFAR-10, 73.51 % on CIFAR-100. Dong, Yang, "NAS-Bench-201", 2020,
https://arxiv.org/abs/2001.00326.
"""

PUBLISHED = {
    "nasbench201_cifar10": (
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
        "+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
    ),
    "nasbench201_cifar100": (
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
        "+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
    ),
}
