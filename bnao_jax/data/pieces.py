"""The images of one device at one step, read, decoded and cropped on the host.

The seed, the epoch and the place in it determine every image and its crop. The number of workers,
devices or processes does not change them, nor does a break. Every process decodes only the rows of
its own devices.

Shapes: N images of a part, B in the global batch, D devices, S pixels a side.
"""

import dataclasses
import functools
import zlib
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from bnao_jax.data.batches import steps_per_epoch
from bnao_jax.data.crops import CentreCrop, RandomCrop
from bnao_jax.data.images import DataError


class Records(Protocol):
    """Encoded images with labels. Workers receive a copy, so it holds no images."""

    def __len__(self) -> int:
        """Number of images."""

    def name(self, row: int) -> str:
        """The name of an image in an error."""

    def read(self, rows: Sequence[int]) -> list[tuple[bytes, int]]:
        """The encoded images of rows, and their labels; raises DataError."""

    def crc32(self, number: int) -> int:
        """A CRC-32 that identifies the images, continued from `number`."""


class Part(NamedTuple):
    """Some of the records, by their rows int64[N]."""

    records: Records
    rows: np.ndarray

    @property
    def examples(self) -> int:
        """N."""
        return len(self.rows)

    def crc32(self, number: int) -> int:
        """A CRC-32 that identifies the images, continued from `number`."""
        return self.records.crc32(zlib.crc32(np.asarray(self.rows, np.int64), number))

    def read(self, places, change):
        """Images uint8[len(places), S, S, 3] and labels int32[len(places)] of places in 0..N-1.

        `change(n, content)` makes the n-th of encoded bytes. Raises DataError, which names the
        image that cannot be decoded.
        """
        rows, images = self.rows[places], []
        encoded = self.records.read(rows)
        for n, (content, _) in enumerate(encoded):
            try:
                images.append(change(n, content))
            except ImportError:
                raise DataError("decoding images needs pillow: pip install pillow") from None
            except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ...
                reason = " ".join(str(error).split()) or type(error).__name__
                raise DataError(
                    f"{self.records.name(rows[n])} cannot be decoded: {reason}; with a sound copy "
                    "in its place the same command goes on"
                ) from None
        return np.stack(images), np.array([label for _, label in encoded], np.int32)


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingPieces:
    """`pieces(number)`: images uint8[B/D, S, S, 3] and labels int32[B/D] of one device at one step.

    Piece n is of step n // len(places), for the (n % len(places))-th of them. Every epoch is a new
    permutation; the incomplete batch at its end is dropped.

    Attributes:
      part: the images.
      crop: what happens to each.
      batch_size: B.
      seed: 0..2**32-1, of the order and of the crops.
      devices: D; divides B.
      places: which of the devices are this process's, from 0.
    """

    part: Part
    crop: RandomCrop
    batch_size: int
    seed: int
    devices: int = 1
    places: tuple[int, ...] = (0,)

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return steps_per_epoch(self.part.examples, self.batch_size)

    def __call__(self, number):
        step, places = _rows(self, number)
        epoch, step = divmod(step, self.steps)
        places = step * self.batch_size + places
        order = epoch_order(self.seed, epoch, self.part.examples)
        change = lambda n, content: self.crop(content, _rng(self.seed, epoch, places[n]))
        return self.part.read(order[places], change)


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluationPieces:
    """As `TrainingPieces`, in order and once: images, labels, and which of them count, bool[B/D].

    The last batch is filled up with the first images, which do not count again.
    """

    part: Part
    crop: CentreCrop
    batch_size: int
    devices: int = 1
    places: tuple[int, ...] = (0,)

    @property
    def steps(self) -> int:
        """Of a pass over all images."""
        return -(-self.part.examples // self.batch_size)

    def __call__(self, number):
        step, places = _rows(self, number)
        places = step * self.batch_size + places
        examples = self.part.examples
        images, labels = self.part.read(places % examples, lambda n, content: self.crop(content))
        return images, labels, places < examples


def _rows(pieces, number):
    """The step of a piece, and its rows int64[B/D] of the batch."""
    step, place = divmod(number, len(pieces.places))
    rows = pieces.batch_size // pieces.devices
    return step, pieces.places[place] * rows + np.arange(rows)


@functools.lru_cache(maxsize=2)
def epoch_order(seed, epoch, examples) -> np.ndarray:
    """The order int64[N] of an epoch."""
    # RandomState's streams are frozen by NumPy's policy (NEP 19); default_rng's may change.
    return np.random.RandomState([seed, epoch]).permutation(examples)


def _rng(seed, epoch, place):
    """The random numbers of one image in one epoch."""
    key = np.array([seed, (int(epoch) << 32) + int(place)], np.uint64)
    return np.random.RandomState(np.random.Philox(key=key))
