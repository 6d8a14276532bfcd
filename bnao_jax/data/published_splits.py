"""Divisions of train parts that others have published, shipped with the package.

`nasbench201_split.npz` holds one bit for each of CIFAR-10's 50,000 train images, by their place in
the official order: whether NAS-Bench-201 validates on it. Source: Dong, Yang, "NAS-Bench-201",
2020, https://arxiv.org/abs/2001.00326; X. Dong, AutoDL-Projects, `cifar-split.txt`, licence MIT.
"""

import functools
import importlib.resources

import numpy as np

SPLITS = {"nasbench201": ("cifar10", 50_000)}  # name: data set, images of its train part


@functools.cache
def official_valid_ids(name: str) -> np.ndarray:
    """int64[V]: `ImageData.train_ids` of the images that division `name` holds out, ascending."""
    _, examples = SPLITS[name]
    with importlib.resources.files(__package__).joinpath(f"{name}_split.npz").open("rb") as file:
        with np.load(file, allow_pickle=False) as arrays:
            return np.flatnonzero(np.unpackbits(arrays["valid"], count=examples))
