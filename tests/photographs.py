"""Trees of small JPEG files, for the tests of what is streamed."""

import numpy as np
from PIL import Image


def write(path, rng, size=(40, 30), mode="RGB", colour=None):
    """One JPEG of noise, around a colour; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = rng.integers(0, 120, (size[1], size[0], 3))
    pixels = noise + (rng.integers(0, 136, 3) if colour is None else colour)
    Image.fromarray(pixels.astype(np.uint8)).convert(mode).save(path, "JPEG", quality=95)
    return path


def tree(root, classes=("b", "a", "c"), train=7, val=3):
    """`train/CLASS/N.jpeg` and `val/CLASS/N.jpeg`, each class of its own colour."""
    rng = np.random.default_rng(0)
    for n, name in enumerate(sorted(classes)):
        colour = np.eye(3, dtype=int)[n % 3] * 130
        for part, count in (("train", train), ("val", val)):
            for image in range(count):
                write(root / part / name / f"{image}.jpeg", rng, colour=colour)
    return root
