"""A labelled image data set in memory, and its split into training and validation images.

Shapes: N train images, M test images, H height, W width, C channels.
"""

import dataclasses
import functools
import zlib
from typing import NamedTuple

import numpy as np

CHUNK = 1024  # images widened to float64 at a time while measuring the channels


class DataError(ValueError):
    """A data set is absent, unreadable or not of the stated form. The message is one line."""


class Images(NamedTuple):
    """Images with their labels, row by row."""

    images: np.ndarray  # uint8[N, H, W, C]
    labels: np.ndarray  # int32[N]

    @property
    def examples(self) -> int:
        """N."""
        return len(self.labels)

    def crc32(self, number: int) -> int:
        """CRC-32 of the images and labels, continued from `number`."""
        for part in self:
            number = zlib.crc32(np.ascontiguousarray(part), number)
        return number


@dataclasses.dataclass(frozen=True, eq=False)
class ImageData:
    """A data set whose train part is identified image by image.

    `train_ids` is each image's position in the official order, unique; the rows may be stored in
    any order. Without a test part `test_images` and `test_labels` have length 0. `test_total` is
    the size of the official test part; the test part held here may be smaller.
    """

    name: str
    train_images: np.ndarray  # uint8[N, H, W, C]
    train_labels: np.ndarray  # int32[N], 0..classes-1
    train_ids: np.ndarray  # int64[N]
    test_images: np.ndarray  # uint8[M, H, W, C]
    test_labels: np.ndarray  # int32[M], 0..classes-1
    classes: int
    test_total: int = 0

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self.train_images.shape[1:]

    @property
    def mean(self) -> np.ndarray:
        """float32[C]: channel mean of the train images on the scale 0..1."""
        return self._moments[0]

    @property
    def std(self) -> np.ndarray:
        """float32[C]: channel standard deviation on the scale 0..1; 1 for a constant channel."""
        return self._moments[1]

    def part(self, rows) -> Images:
        """Those rows of the train part."""
        return Images(self.train_images[rows], self.train_labels[rows])

    @property
    def test_note(self) -> str:
        """How much of the test part is present, in words; belongs beside every test accuracy."""
        held, total = len(self.test_images), max(self.test_total, len(self.test_images))
        part = "all" if held == total else f"{held:,} of the"
        return f"{part} {total:,} test images" if total else "no test images"

    @functools.cached_property
    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        return moments(self.train_images)


def moments(images) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation float32[C] of the channels of uint8[N, H, W, C], scale 0..1.

    The deviation of a constant channel is 1.
    """
    if len(images) and not images.strides[0]:
        images = images[:1]  # one image stands for all, as where programs are compiled without any
    flat = images.reshape(len(images), -1)
    sums = np.zeros((2, flat.shape[1]))
    for start in range(0, len(flat), CHUNK):
        rows = flat[start : start + CHUNK].astype(np.float64)
        # Sums of integers below 2**53 are exact in float64: any order gives the same moments.
        sums += rows.sum(0), np.einsum("ni,ni->i", rows, rows)
    channel_sums = sums.reshape(2, -1, images.shape[-1]).sum(1)
    mean, square = channel_sums / images[..., 0].size
    std = np.sqrt(np.maximum(square - mean**2, 0.0))
    std = np.where(std > 0, std, 255.0)
    return (mean / 255).astype(np.float32), (std / 255).astype(np.float32)


def check_images(images, labels, classes) -> Images:
    """`Images` of arrays.

    Raises:
      ValueError: they are not uint8[N, H, W, C] with N labels from 0 to classes - 1.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.dtype != np.uint8 or images.ndim != 4 or not images.size:
        raise ValueError(
            f"images must be uint8 [N, H, W, C], not {images.dtype} {list(images.shape)}"
        )
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        raise ValueError(
            f"labels must be integers [{len(images)}], not {labels.dtype} {list(labels.shape)}"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"labels run from {labels.min()} to {labels.max()}, allowed are 0 to {classes - 1}"
        )
    return Images(images, labels.astype(np.int32))


def shrink(data: ImageData, factor: int) -> ImageData:
    """The data set with sides divided by `factor`, each pixel the rounded mean of a square.

    Raises ValueError where the factor does not divide the sides.
    """
    height, width, channels = data.image_shape
    if factor < 1 or height % factor or width % factor:
        raise ValueError(f"a factor of {factor} does not divide images of {data.image_shape}")
    if factor == 1:
        return data

    def mean(images):
        size = len(images), height // factor, factor, width // factor, factor, channels
        total = images.reshape(size).sum((2, 4), dtype=np.uint32)
        return ((total + factor**2 // 2) // factor**2).astype(np.uint8)

    return dataclasses.replace(
        data, train_images=mean(data.train_images), test_images=mean(data.test_images)
    )


def split(
    data, valid_examples: int, *, seed: int, limit: int | None = None, valid_ids=None
) -> tuple:
    """Returns (train, valid): the train part shuffled and divided without overlap.

    `data` is `ImageData`, which gives `Images`, or `StreamedData`, which gives `pieces.Part`.

    The same images in the same order for the same seed, however the data set is stored: rows are
    ordered by `train_ids` before the shuffle. `limit` keeps at most that many train images, for
    smoke runs, and leaves the validation images as they are. With `valid_ids` [V] validation images
    are drawn from those of `train_ids`, and train images from the others only. Raises ValueError
    for sizes that cannot be or leave no train image.
    """
    total = len(data.train_ids)
    most = total - 1 if valid_ids is None else int(np.isin(data.train_ids, valid_ids).sum())
    if not 0 <= valid_examples <= min(most, total - 1):
        raise ValueError(
            f"valid_examples={valid_examples}: {data.name} has {total} train images,"
            f" allowed are 0 to {min(most, total - 1)}"
        )
    if limit is not None and limit < 1:
        raise ValueError(f"limit={limit}: allowed are None or at least 1 train image")
    # RandomState's streams are frozen by NumPy's policy (NEP 19); default_rng's may change.
    shuffle = np.random.RandomState(seed).permutation(total)
    rows = np.argsort(data.train_ids, kind="stable")[shuffle]
    if valid_ids is None:
        valid, train = rows[:valid_examples], rows[valid_examples:]
    else:
        held = np.isin(data.train_ids[rows], valid_ids)
        valid, train = rows[held][:valid_examples], rows[~held]
    return data.part(train[:limit]), data.part(valid)
