"""1,797 scanned handwritten digits of 8x8 pixels, shipped with the package.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
Learning Repository, 1998, https://doi.org/10.24432/C50P49, licence CC BY 4.0; the copy that
scikit-learn distributes (UCI's test file). `digits.npz` holds its ink counts 0..16 and labels
unchanged, in its order.
"""

import importlib.resources

import numpy as np

from bnao_jax.data.images import ImageData

TEST_EXAMPLES = 297  # the last rows: there is no official division of this file
FULL_INK = 16


def load_digits() -> ImageData:
    """Returns the digits: 1,500 train and 297 test images uint8[8, 8, 1], ten classes.

    Ink counts 0..16 are spread over 0..255.
    """
    with importlib.resources.files(__package__).joinpath("digits.npz").open("rb") as file:
        with np.load(file, allow_pickle=False) as arrays:
            ink, labels = arrays["images"], arrays["labels"].astype(np.int32)
    images = np.round(ink[..., None] * (255 / FULL_INK)).astype(np.uint8)
    train = len(images) - TEST_EXAMPLES
    return ImageData(
        name="digits",
        train_images=images[:train],
        train_labels=labels[:train],
        train_ids=np.arange(train, dtype=np.int64),
        test_images=images[train:],
        test_labels=labels[train:],
        classes=10,
        test_total=TEST_EXAMPLES,
    )
