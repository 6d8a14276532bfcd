"""A data set of photographs, whose images are decoded as they are needed."""

import dataclasses

import numpy as np

from bnao_jax.data.pieces import Part, Records

# The usual mean and deviation of ImageNet's train images, on the scale 0..1.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True, eq=False)
class StreamedData:
    """The counterpart of `ImageData` for images that are not in memory.

    Attributes:
      name: of the data set.
      train: records to train on.
      validation: records to evaluate with; may be none.
      classes: number of classes.
      image_size: S, side of the images that a network sees, pixels.
      note: what was left out, in words, or "".
    """

    name: str
    train: Records
    validation: Records
    classes: int
    image_size: int
    note: str = ""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(S, S, 3)."""
        return self.image_size, self.image_size, 3

    @property
    def mean(self) -> np.ndarray:
        """float32[3]: ImageNet's channel mean on the scale 0..1."""
        return np.array(MEAN, np.float32)

    @property
    def std(self) -> np.ndarray:
        """float32[3]: ImageNet's channel standard deviation on the scale 0..1."""
        return np.array(STD, np.float32)

    @property
    def train_ids(self) -> np.ndarray:
        """int64[N], ascending: the order of the records never changes."""
        return np.arange(len(self.train))

    def part(self, rows) -> Part:
        """Those rows of the train part."""
        return Part(self.train, rows)

    @property
    def validation_part(self) -> Part:
        """The whole validation part."""
        return Part(self.validation, np.arange(len(self.validation)))
