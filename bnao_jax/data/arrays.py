"""A data set of the user's own, in one NumPy archive.

    np.savez("mine.npz", images=images, labels=labels)

| key           | form                  |                                                         |
|---------------|-----------------------|---------------------------------------------------------|
| `images`      | uint8 [N, H, W, C]    | train images, H and W at least 4                        |
| `labels`      | integer [N]           | 0..classes-1                                            |
| `ids`         | integer [N], optional | unique, the images' standing order; 0..N-1 if absent    |
| `test_images` | uint8 [M, H, W, C]    | optional, with `test_labels`                            |
| `test_labels` | integer [M]           | optional, with `test_images`                            |
| `classes`     | integer, optional     | highest label plus one if absent                        |
"""

import os

import numpy as np

from bnao_jax import files
from bnao_jax.data.images import DataError, ImageData

KEYS = ("images", "labels", "ids", "test_images", "test_labels", "classes")
MIN_SIDE = 4
LONGEST = 300  # characters of the reason why a file cannot be read; zipfile quotes whole headers
MAX_CLASSES = 2**31 - 1


def load_arrays(path: str | os.PathLike | None) -> ImageData:
    """Returns the data set in the archive at `path`, rows in order of `ids`.

    Raises DataError, which names the key, what it is and what is allowed.
    """
    if path is None:
        raise DataError("data set 'arrays' needs path, the name of an .npz file")
    arrays = _read(path)
    try:
        return _image_data(arrays)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    try:
        with files.open_file(path) as file:  # np.load leaves a broken archive's file open
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path}: holds a single array, allowed is an .npz archive")
            with archive:
                if unknown := sorted(set(archive.files) - set(KEYS)):
                    raise DataError(
                        f"{path}: unknown key {unknown[0]!r}, allowed are {', '.join(KEYS)}"
                    )
                return {key: _array(archive, key) for key in archive.files}
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib, tokenize, ast and NumPy each raise their own
        reason = " ".join(str(error).split())[:LONGEST] or type(error).__name__
        raise DataError(f"{path}: cannot be read as an .npz archive: {reason}") from error


def _array(archive: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
    array = archive[key]
    if not isinstance(array, np.ndarray):  # NumPy hands out what is no array as bytes
        raise ValueError(f"{key} is not an array")
    return array


def _image_data(arrays: dict[str, np.ndarray]) -> ImageData:
    if ("test_images" in arrays) != ("test_labels" in arrays):
        raise DataError("only one of test_images and test_labels is there, allowed is both or none")
    images = _images(arrays, "images")
    labels = _integers(arrays, "labels", len(images))
    ids = _integers({"ids": np.arange(len(images))} | arrays, "ids", len(images))
    if len(np.unique(ids)) < len(ids):
        raise DataError("ids repeat, allowed are unique integers")
    if "test_images" in arrays:
        test_images = _images(arrays, "test_images")
        test_labels = _integers(arrays, "test_labels", len(test_images))
    else:
        test_images, test_labels = images[:0], labels[:0]
    if test_images.shape[1:] != images.shape[1:]:
        raise DataError(
            f"test_images are {list(test_images.shape[1:])},"
            f" allowed is the shape of images, {list(images.shape[1:])}"
        )
    classes = _classes(arrays, labels, test_labels)
    order = np.argsort(ids, kind="stable")
    return ImageData(
        name="arrays",
        train_images=images[order],
        train_labels=labels[order].astype(np.int32),
        train_ids=ids[order].astype(np.int64),
        test_images=test_images,
        test_labels=test_labels.astype(np.int32),
        classes=classes,
        test_total=len(test_images),
    )


def _images(arrays: dict[str, np.ndarray], key: str) -> np.ndarray:
    images = _present(arrays, key)
    fits = images.dtype == np.uint8 and images.ndim == 4 and images.size > 0
    if not fits or min(images.shape[1:3]) < MIN_SIDE:
        raise DataError(
            f"{key} is {_form(images)}, allowed is uint8 [N, H, W, C],"
            f" not empty, with H and W at least {MIN_SIDE}"
        )
    return images


def _integers(arrays: dict[str, np.ndarray], key: str, length: int) -> np.ndarray:
    values = _present(arrays, key)
    if values.dtype.kind not in "iu" or values.shape != (length,):
        raise DataError(f"{key} is {_form(values)}, allowed is integer [{length}]")
    return values


def _classes(arrays: dict[str, np.ndarray], labels: np.ndarray, test_labels: np.ndarray) -> int:
    """Returns the number of classes after checking every label against it."""
    stated = arrays.get("classes")
    if stated is not None:
        whole = stated.dtype.kind in "iu" and stated.shape == ()
        if not whole or not 1 <= stated <= MAX_CLASSES:
            number = stated.dtype.kind in "iuf" and stated.shape == ()
            shown = f"{stated}" if number else _form(stated)
            raise DataError(f"classes is {shown}, allowed is one integer from 1")
    bound = MAX_CLASSES if stated is None else int(stated)
    for key, values in (("labels", labels), ("test_labels", test_labels)):
        if values.size and not (0 <= values.min() and values.max() < bound):
            raise DataError(
                f"{key} run from {values.min()} to {values.max()}, allowed are 0 to {bound - 1}"
            )
    if stated is not None:
        return int(stated)
    if len(labels) and (least := labels.min()) > 0:
        raise DataError(
            f"labels run from {least}, allowed are classes from 0; or say how many with 'classes'"
        )
    return 1 + max(int(values.max()) for values in (labels, test_labels) if values.size)


def _present(arrays: dict[str, np.ndarray], key: str) -> np.ndarray:
    if key not in arrays:
        raise DataError(f"key {key!r} is missing, there are {', '.join(arrays) or 'no keys'}")
    return arrays[key]


def _form(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"
