"""CIFAR-10 and CIFAR-100 from the files TensorFlow Datasets prepares, read without TensorFlow.

Source: Alex Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009,
https://www.cs.toronto.edu/~kriz/cifar.html. Reading needs tensorflow-datasets, array_record and
pillow. Preparing, once, also needs tensorflow and importlib_resources (TFDS 4.9.10).
"""

import contextlib
import io
import logging
import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from bnao_jax.data.images import DataError, ImageData

CLASSES = {"cifar10": 10, "cifar100": 100}
OFFICIAL_TEST_EXAMPLES = 10_000
RECORDS = 1_000  # read at a time: encoded images are held for this many only


def load_tfds(name: str, *, data_dir: str | os.PathLike | None = None) -> ImageData:
    """Returns `name` ("cifar10" or "cifar100", fine labels) in the official order.

    `data_dir` is TFDS's folder: the environment variable TFDS_DATA_DIR or ~/tensorflow_datasets
    if None. Missing test images are not an error, see `ImageData.test_note`. Raises DataError.
    """
    default = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
    folder = pathlib.Path(os.path.expanduser(data_dir or default))
    try:
        with _quiet_absl():
            train, test = _sources(name, folder)
            train_ids, train_images, train_labels = _read(train)
            _, test_images, test_labels = _read(test)
    except ImportError as error:
        raise DataError(
            f"{name} needs {error.name or 'a package'}:"
            " pip install tensorflow-datasets array_record pillow"
        ) from error
    except NotImplementedError as error:  # TFDS's word for "not here in a readable format"
        raise DataError(_how_to_prepare(name, folder)) from error
    except Exception as error:  # readers raise RuntimeError, ParseError, OSError, KeyError, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{name} in {folder} cannot be read: {reason}") from error
    return ImageData(
        name=name,
        train_images=train_images,
        train_labels=train_labels,
        train_ids=train_ids,
        test_images=test_images,
        test_labels=test_labels,
        classes=CLASSES[name],
        test_total=OFFICIAL_TEST_EXAMPLES,
    )


def _sources(name: str, folder: pathlib.Path) -> tuple[Sequence, Sequence]:
    import tensorflow_datasets as tfds  # slow, and not needed by the other data sets

    return tfds.data_source(
        name,
        split=("train", "test"),
        data_dir=folder,
        download=False,
        decoders={"image": tfds.decode.SkipDecoding()},
    )


def _read(source: Sequence) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns (ids int64[N], images uint8[N, H, W, C], labels int32[N]), sorted by id."""
    from PIL import Image

    images = np.empty((len(source), *source.dataset_info.features["image"].shape), np.uint8)
    labels = np.empty(len(source), np.int32)
    ids = np.empty(len(source), np.int64)
    for start in range(0, len(source), RECORDS):
        rows = range(start, min(start + RECORDS, len(source)))
        for row, record in zip(rows, source.__getitems__(list(rows)), strict=True):
            # Takes two thirds of the time of TFDS's decoding; threads do not help on small images.
            images[row] = Image.open(io.BytesIO(record["image"]), formats=("PNG",))
            labels[row] = record["label"]
            ids[row] = int(record["id"].split(b"_")[-1])  # b"train_16399"
    order = np.argsort(ids)
    return ids[order], images[order], labels[order]


def _how_to_prepare(name: str, folder: pathlib.Path) -> str:
    if any((folder / name).glob("*/dataset_info.json")):
        return (
            f"{name} in {folder} is not in the array_record format:"
            " prepare it again with another data_dir"
        )
    return (
        f"{name} is not prepared in {folder}; to fetch and prepare it (needs tensorflow, reading"
        " does not): pip install tensorflow importlib_resources && python -c"
        f" \"import tensorflow_datasets as tfds; tfds.builder('{name}', data_dir='{folder}',"
        " file_format='array_record').download_and_prepare()\""
    )


@contextlib.contextmanager
def _quiet_absl() -> Iterator[None]:
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
