"""Random and centre crops of encoded images."""

import io

import numpy as np
import pytest
from PIL import Image

from bnao_jax import data
from bnao_jax.data import crops

SIDE = 16


def encoded(pixels, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


RAMP = np.stack(np.broadcast_arrays(np.arange(90), np.arange(60)[:, None], 7), -1).astype(np.uint8)


def test_the_centre_by_hand():
    # Half of the shorter side is 30 pixels: columns 30 to 60 and rows 15 to 45, two to one.
    found = data.CentreCrop(15, share=0.5)(encoded(RAMP))
    assert found.shape == (15, 15, 3) and found.dtype == np.uint8
    # Bilinear reduction keeps a ramp but at the borders, which have neighbours on one side only.
    centres = 30.5 + 2 * np.arange(15)
    np.testing.assert_allclose(found[7, 1:-1, 0], centres[1:-1], atol=0.6)
    np.testing.assert_allclose(found[1:-1, 7, 1], centres[1:-1] - 15, atol=0.6)
    assert (found[..., 2] == 7).all()


def boxes(size, least_area, count=400):
    rng = np.random.RandomState(0)
    return np.array([crops.random_box(size, least_area, rng) for _ in range(count)])


def test_random_boxes_keep_to_their_ranges():
    width, height, least = 400, 300, 0.3
    left, top, right, bottom = boxes((width, height), least).T
    assert left.min() >= 0 and top.min() >= 0 and right.max() <= width and bottom.max() <= height
    area, ratio = (right - left) * (bottom - top), (right - left) / (bottom - top)
    assert 0.29 < area.min() / area.max() and area.max() <= width * height
    assert area.min() / (width * height) < 0.35 and area.max() / (width * height) > 0.9
    assert 0.74 < ratio.min() < 0.8 and 1.25 < ratio.max() < 1.35
    assert left.max() > 100 and top.max() > 80  # they lie anywhere


@pytest.mark.parametrize("size, box", [((400, 10), (193, 0, 206, 10)), ((9, 100), (0, 44, 9, 56))])
def test_an_image_too_long_gives_its_middle(size, box):
    assert (boxes(size, 0.9, 5) == box).all()


def test_a_crop_is_a_part_of_the_image_half_of_them_mirrored():
    change = data.RandomCrop(SIDE, least_area=0.2, jitter=0)
    mirrored = 0
    for seed in range(40):
        found = change(encoded(RAMP), np.random.RandomState(seed)).astype(int)
        slopes = np.sign(np.diff(found[SIDE // 2, :, 0]))
        mirrored += (slopes <= 0).all()
        assert (slopes <= 0).all() or (slopes >= 0).all()
        assert (np.diff(found[:, SIDE // 2, 1]) >= 0).all()
    assert 8 < mirrored < 32  # four standard deviations about 20
    plain = data.RandomCrop(SIDE, least_area=0.2, jitter=0, flip=False)
    found = plain(encoded(RAMP), np.random.RandomState(1)).astype(int)
    assert (np.diff(found[SIDE // 2, :, 0]) >= 0).all()


def test_jitter_changes_brightness_within_its_range():
    grey = encoded(np.full((20, 20, 3), 100, np.uint8))
    change = data.RandomCrop(8, jitter=0.4)
    levels = [change(grey, np.random.RandomState(seed)) for seed in range(100)]
    assert all(np.ptp(image) == 0 for image in levels)  # no contrast, no colour: only brightness
    levels = np.array([image[0, 0, 0] for image in levels])
    assert 58 <= levels.min() < 70 and 130 < levels.max() <= 141


def test_large_jpegs_are_read_at_a_lower_resolution():
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.integers(0, 256, (8, 10, 3)), np.ones((64, 64, 1))).astype(np.uint8)
    content = encoded(smooth, "JPEG")
    sizes, plain = [], crops.opened
    found = data.CentreCrop(32)(content)
    with pytest.MonkeyPatch.context() as patch:

        def watched(content):
            image = plain(content)
            draft = image.draft
            image.draft = lambda mode, size: (draft(mode, size), sizes.append(image.size))[0]
            return image

        patch.setattr(crops, "opened", watched)
        np.testing.assert_array_equal(data.CentreCrop(32)(content), found)
    assert sizes == [(160, 128)]  # a quarter: 0.875 * 128 is 112, and 64 was asked for
    whole = data.CentreCrop(32)(encoded(smooth))
    assert np.abs(found.astype(int) - whole).mean() < 3
