"""Architectures of the NAO cell space that papers have published, in its text form."""

# Luo et al., "Neural Architecture Optimization", 2018, https://arxiv.org/abs/1808.07233: found by
# weight sharing in the space "small" with B = 5; the text is that of the official release. At
# C = 36, N = 6 it has 4,387,654 parameters without the auxiliary head.
PUBLISHED = {
    "naonet_v2": (
        "1 1 0 1 2 4 0 0 0 0 2 1 0 0 0 2 0 3 0 0 0 2 0 2 2 2 1 0 0 0 0 1 0 0 0 3 0 0 0 1"
    ),
}
