"""Data sets by name."""

import os
from collections.abc import Callable

from bnao_jax.data.arrays import load_arrays
from bnao_jax.data.digits import load_digits
from bnao_jax.data.folders import read_folder
from bnao_jax.data.images import DataError, ImageData
from bnao_jax.data.photographs import StreamedData
from bnao_jax.data.tfds_source import IMAGENET, IMAGENET_CLASSES, load_tfds, open_imagenet

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


STREAMED = (IMAGENET, "folder")


def open_streamed(
    name: str, *, image_size: int, data_dir: Folder = None, path: Folder = None
) -> StreamedData:
    """Returns the data set called `name`: imagenet2012 or folder; its images stay where they are.

    `image_size` is the side of the images that a network sees; `data_dir` is TFDS's folder for
    imagenet2012, `path` that of `read_folder` for folder. Raises DataError.
    """
    if name not in STREAMED:
        raise DataError(f"unknown data set {name!r}: choose from {', '.join(STREAMED)}")
    if name == IMAGENET:
        return StreamedData(name, *open_imagenet(data_dir), IMAGENET_CLASSES, image_size)
    folder = read_folder(path)
    return StreamedData(
        name, folder.train, folder.validation, folder.classes, image_size, note=folder.note
    )


FORMS = {
    "cifar10": ((32, 32, 3), 10),
    "cifar100": ((32, 32, 3), 100),
    "digits": ((8, 8, 1), 10),
    IMAGENET: ((224, 224, 3), IMAGENET_CLASSES),  # by default
}


def form(name: str, *, path: Folder = None) -> tuple[tuple[int, int, int], int]:
    """Returns (H, W, C) and the number of classes of a data set; only `arrays` is read for it."""
    if name in FORMS:
        return FORMS[name]
    images = load(name, path=path)
    return images.image_shape, images.classes
