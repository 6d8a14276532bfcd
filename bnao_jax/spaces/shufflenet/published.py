"""Published architectures of 20 blocks, as texts; those with widths need the choice of channels.

"spos" and its sizes (3.5 M parameters, 323 M multiply-adds) are of Guo et al., 2019,
https://arxiv.org/abs/1904.00420.
"""

PUBLISHED = {
    "spos": "2 1 0 1 2 0 2 0 2 0 2 3 0 0 0 0 3 2 3 3",
    "spos_channels": (
        "0 0 3 1 1 1 0 0 2 0 2 1 1 0 2 0 2 1 3 2 6 5 3 5 2 6 3 4 2 5 7 5 4 6 7 4 4 5 4 3"
    ),
}
