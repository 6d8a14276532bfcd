"""Data sets by name."""

import os
from collections.abc import Callable

from bnao_jax.data.arrays import load_arrays
from bnao_jax.data.digits import load_digits
from bnao_jax.data.images import DataError, ImageData
from bnao_jax.data.tfds_source import load_tfds

Folder = str | os.PathLike | None

LOADERS: dict[str, Callable[[Folder, Folder], ImageData]] = {
    "cifar10": lambda data_dir, path: load_tfds("cifar10", data_dir=data_dir),
    "cifar100": lambda data_dir, path: load_tfds("cifar100", data_dir=data_dir),
    "digits": lambda data_dir, path: load_digits(),
    "arrays": lambda data_dir, path: load_arrays(path),
}


def load(name: str, *, data_dir: Folder = None, path: Folder = None) -> ImageData:
    """Returns the data set called `name`: cifar10, cifar100, digits or arrays.

    `data_dir` is TFDS's folder for cifar10 and cifar100 (TFDS's own default if None); `path` is
    the file of `arrays`. Each ignores what it has no use for. Raises DataError.
    """
    if name not in LOADERS:
        raise DataError(f"unknown data set {name!r}: choose from {', '.join(LOADERS)}")
    return LOADERS[name](data_dir, path)


FORMS = {"cifar10": ((32, 32, 3), 10), "cifar100": ((32, 32, 3), 100), "digits": ((8, 8, 1), 10)}


def form(name: str, *, path: Folder = None) -> tuple[tuple[int, int, int], int]:
    """Returns (H, W, C) and the number of classes of a data set; only `arrays` is read for it."""
    if name in FORMS:
        return FORMS[name]
    images = load(name, path=path)
    return images.image_shape, images.classes
