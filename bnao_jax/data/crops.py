"""From an encoded photograph to uint8[S, S, 3]: random crops to train on, the centre to evaluate.

JPEG and PNG are recognised by their content and decoded by Pillow. Grey, CMYK and palette images
become RGB; the camera's orientation tag is ignored, as is usual with ImageNet.
"""

import dataclasses
import io
import math

import numpy as np

FORMATS = ("JPEG", "PNG")
RATIOS = (3 / 4, 4 / 3)  # width to height of a random crop, least and most
ATTEMPTS = 10  # to draw a crop that lies within the image
GAP = 2  # a JPEG is decoded at reduced size only if that is at least so many times the result


@dataclasses.dataclass(frozen=True)
class RandomCrop:
    """A random part of the image, of any size and of slightly changed shape and colours.

    Szegedy et al., "Going Deeper with Convolutions", 2014, https://arxiv.org/abs/1409.4842,
    section 6, and three of the distortions of Howard, "Some Improvements on Deep Convolutional
    Neural Network Based Image Classification", 2013, https://arxiv.org/abs/1312.5402.

    Attributes:
      size: S, side of the result, pixels.
      least_area: least share of the image's area; the share is uniform from there to 1.
      flip: whether to mirror half of the images left to right.
      jitter: J, 0..1; brightness, contrast and saturation, in random order, are each multiplied by
        a factor uniform in 1 - J to 1 + J.
    """

    size: int
    least_area: float = 0.08
    flip: bool = True
    jitter: float = 0.4

    def __call__(self, content: bytes, rng: np.random.RandomState) -> np.ndarray:
        """Returns uint8[S, S, 3] of an encoded image; every draw is from `rng`."""
        image = opened(content)
        image = _resized(image, random_box(image.size, self.least_area, rng), self.size)
        if self.flip and rng.randint(2):
            image = image.transpose(0)  # left to right
        return np.asarray(_jittered(image, self.jitter, rng) if self.jitter else image)


@dataclasses.dataclass(frozen=True)
class CentreCrop:
    """The square in the middle of the image.

    Attributes:
      size: S, side of the result, pixels.
      share: of the image's shorter side; 224 / 256 is what is usual.
    """

    size: int
    share: float = 224 / 256

    def __call__(self, content: bytes) -> np.ndarray:
        """Returns uint8[S, S, 3] of an encoded image."""
        image = opened(content)
        return np.asarray(_resized(image, centre_box(image.size, self.share), self.size))


def opened(content: bytes):
    """The Pillow image of encoded bytes, not decoded yet. Raises ValueError if they are none."""
    from PIL import Image, UnidentifiedImageError  # the other data sets do without

    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        raise ValueError(f"its content is none of {', '.join(FORMATS)}") from None


def random_box(size, least_area, rng):
    """(left, top, right, bottom), whole pixels, of a random part of an image of (width, height).

    The share of the area is uniform in least_area..1, the logarithm of the ratio of the sides in
    `RATIOS`. Where no attempt lies within the image it is the largest part of such a ratio in the
    middle.
    """
    width, height = size
    for _ in range(ATTEMPTS):
        area = width * height * rng.uniform(least_area, 1)
        ratio = math.exp(rng.uniform(*map(math.log, RATIOS)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = rng.randint(width - w + 1), rng.randint(height - h + 1)
            return left, top, left + w, top + h
    w = min(width, max(1, round(height * RATIOS[1])))
    h = min(height, max(1, round(width / RATIOS[0])))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def centre_box(size, share):
    """(left, top, right, bottom) of the middle square of an image of (width, height)."""
    side = min(size) * share
    left, top = ((length - side) / 2 for length in size)
    return left, top, left + side, top + side


def _resized(image, box, side):
    """The part in a box as an RGB image of so many pixels a side."""
    from PIL import Image

    before = image.size
    least = [
        math.ceil(length * GAP * side / (end - begin))
        for length, begin, end in zip(before, box[:2], box[2:], strict=True)
    ]
    image.draft(None, least)  # reads a JPEG at 1/2, 1/4 or 1/8, where that is enough
    if image.mode != "RGB":
        image = image.convert("RGB")
    factors = [now / was for now, was in zip(image.size, before, strict=True)] * 2
    # Pillow takes no box that rounding has moved beyond the image.
    box = [min(at * by, end) for at, by, end in zip(box, factors, image.size * 2, strict=True)]
    return image.resize((side, side), Image.Resampling.BILINEAR, box=box)


def _jittered(image, jitter, rng):
    from PIL import ImageEnhance

    changes = ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color
    factors = rng.uniform(1 - jitter, 1 + jitter, len(changes))
    for n in rng.permutation(len(changes)):
        image = changes[n](image).enhance(factors[n])
    return image
