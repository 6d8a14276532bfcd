"""Data sets by name."""

import os
from collections.abc import Callable

from bnao_jax.data import cifar
from bnao_jax.data.arrays import load_arrays
from bnao_jax.data.cifar import ARCHIVES, SHAPE, load_cifar
from bnao_jax.data.digits import load_digits
from bnao_jax.data.folders import read_folder
from bnao_jax.data.images import DataError, ImageData
from bnao_jax.data.photographs import StreamedData
from bnao_jax.data.tfds_source import (
    CLASSES,
    IMAGENET,
    IMAGENET_CLASSES,
    folder_of,
    open_imagenet,
)

Folder = str | os.PathLike | None

LOADERS = (*ARCHIVES, "digits", "arrays")


def load(
    name: str,
    *,
    data_dir: Folder = None,
    path: Folder = None,
    on_part: Callable | None = None,
) -> ImageData:
    """Returns the data set called `name`: cifar10, cifar100, digits or arrays.

    `data_dir` and `on_part` are as in `cifar.load_cifar`, for cifar10 and cifar100; `path` is the
    file of `arrays`. Each ignores what it has no use for. Raises DataError.
    """
    if name in ARCHIVES:
        return load_cifar(name, data_dir=data_dir, on_part=on_part)
    if name == "digits":
        return load_digits()
    if name == "arrays":
        return load_arrays(path)
    raise DataError(f"unknown data set {name!r}: choose from {', '.join(LOADERS)}")


def place(name: str, *, data_dir: Folder = None, path: Folder = None) -> str:
    """Where a data set is, or would be fetched to, in words."""
    if name in ARCHIVES:
        return cifar.place(name, data_dir=data_dir)
    if name == "digits":
        return "shipped with the package"
    if name == IMAGENET:
        return f"in TFDS's folder {folder_of(data_dir)}"
    return f"{path}"


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
    **{name: (SHAPE, classes) for name, classes in CLASSES.items()},
    "digits": ((8, 8, 1), 10),
    IMAGENET: ((224, 224, 3), IMAGENET_CLASSES),  # by default
}


def form(name: str, *, path: Folder = None) -> tuple[tuple[int, int, int], int]:
    """Returns (H, W, C) and the number of classes of a data set; only `arrays` is read for it."""
    if name in FORMS:
        return FORMS[name]
    images = load(name, path=path)
    return images.image_shape, images.classes
