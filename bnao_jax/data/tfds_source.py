"""CIFAR and ImageNet from the files TensorFlow Datasets prepares, read without TensorFlow.

Sources: Alex Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009,
https://www.cs.toronto.edu/~kriz/cifar.html; Russakovsky et al., "ImageNet Large Scale Visual
Recognition Challenge", 2014, https://arxiv.org/abs/1409.0575. Reading needs tensorflow-datasets,
array_record and pillow. Preparing, once, also needs tensorflow and importlib_resources (TFDS
4.9.10).
"""

import contextlib
import io
import logging
import os
import pathlib
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from bnao_jax.data.images import DataError, ImageData

CLASSES = {"cifar10": 10, "cifar100": 100}
IMAGENET, IMAGENET_CLASSES = "imagenet2012", 1_000
OFFICIAL_TEST_EXAMPLES = 10_000
RECORDS = 1_000  # read at a time: encoded images are held for this many only


def load_tfds(name: str, *, data_dir: str | os.PathLike | None = None) -> ImageData:
    """Returns `name` ("cifar10" or "cifar100", fine labels) in the official order.

    `data_dir` is TFDS's folder: the environment variable TFDS_DATA_DIR or ~/tensorflow_datasets
    if None. Missing test images are not an error, see `ImageData.test_note`. Raises DataError.
    """
    folder = folder_of(data_dir)
    with _reading(name, folder):
        train, test = _sources(name, folder, ("train", "test"))
        train_ids, train_images, train_labels = _read(train)
        _, test_images, test_labels = _read(test)
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


def is_prepared(name: str, data_dir: str | os.PathLike | None = None) -> bool:
    """Whether TFDS has prepared a data set in its folder, in the format that is read here."""
    return any((folder_of(data_dir) / name).glob("*/*.array_record*"))


class Photographs:
    """Encoded images of a TFDS source; see `pieces.Records` for what the methods mean."""

    def __init__(self, source: Sequence, name: str):
        self._source, self._name = source, name

    def __len__(self):
        return len(self._source)

    def name(self, row):
        return f"image {row} of {self._name}"

    def read(self, rows):
        try:
            records = self._source.__getitems__([int(row) for row in rows])
        except Exception as error:  # readers raise RuntimeError, ParseError, OSError, KeyError, ...
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(f"{self._name} cannot be read: {reason}") from None
        return [(record["image"], int(record["label"])) for record in records]

    def crc32(self, number):
        return zlib.crc32(f"{self._name} {len(self)}".encode(), number)


def open_imagenet(data_dir: str | os.PathLike | None = None) -> tuple[Photographs, Photographs]:
    """Returns the train and the validation split of imagenet2012, as TFDS has stored them.

    `data_dir` is as in `load_tfds`. Raises DataError.
    """
    splits, folder = ("train", "validation"), folder_of(data_dir)
    with _reading(IMAGENET, folder):
        sources = _sources(IMAGENET, folder, splits)
    names = (f"{IMAGENET}/{split}" for split in splits)
    return tuple(map(Photographs, sources, names))


def folder_of(data_dir: str | os.PathLike | None) -> pathlib.Path:
    """TFDS's folder: `data_dir`, or its default."""
    default = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
    return pathlib.Path(os.path.expanduser(data_dir or default))


@contextlib.contextmanager
def _reading(name: str, folder: pathlib.Path) -> Iterator[None]:
    """Raises DataError for all that reading a data set may raise."""
    try:
        with _quiet_absl():
            yield
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


def _sources(name: str, folder: pathlib.Path, splits: tuple[str, ...]) -> tuple[Sequence, Sequence]:
    import tensorflow_datasets as tfds  # slow, and not needed by the other data sets

    return tfds.data_source(
        name,
        split=splits,
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
    how = by_hand(folder) if name == IMAGENET else "remove what is there, and it is fetched"
    return f"{name} is not prepared in {folder}; {how}"


def by_hand(folder: str | os.PathLike | None = None) -> str:
    """What the user has to do to have ImageNet in TFDS's folder."""
    folder = folder_of(folder)
    return (
        "it is downloaded by hand, after registration at https://image-net.org:"
        " ILSVRC2012_img_train.tar (138 GB) and ILSVRC2012_img_val.tar (6 GB) belong in"
        f" {folder}/downloads/manual (or, unpacked to train/CLASS and val/CLASS, anywhere: that"
        " is the data set 'folder'); then to prepare it (needs tensorflow, reading does not):"
        " pip install tensorflow importlib_resources && python -c"
        f" \"import tensorflow_datasets as tfds; tfds.builder('{IMAGENET}', data_dir='{folder}',"
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
