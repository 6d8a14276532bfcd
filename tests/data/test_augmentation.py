"""The data room: augmentation and batch laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_data import message

from bnao_jax import data

AUGMENT = jax.jit(data.augment, static_argnames=("flip", "pad", "cutout"))
MEAN, STD = np.float32([0.5, 0.4, 0.3]), np.float32([0.2, 0.25, 0.3])


# augmentation


def pixels(batch: int, side: int = 8, channels: int = 3) -> jax.Array:
    """Images without a black pixel, all different."""
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.integers(1, 256, (batch, side, side + 1, channels), np.uint8))


def example_keys(seed, size):
    return data.example_keys(jax.random.key(seed), jnp.arange(size))


def test_a_part_of_a_batch_is_changed_like_the_whole():
    images = np.random.default_rng(0).integers(0, 256, (6, 5, 5, 3), np.uint8)
    change = data.Augmentation((0.5,) * 3, (0.25,) * 3, flip=True, pad=2, cutout=2)
    keys = example_keys(0, 6)
    np.testing.assert_array_equal(change(keys, images)[2:4], change(keys[2:4], images[2:4]))


def augmented(
    seed: int, images: jax.Array, *, flip=False, pad=0, cutout=0, raw=False
) -> np.ndarray:
    """Jitted augment; `raw` takes the normalisation out, to exact pixel values 0..255."""
    mean, std = (np.zeros(3), np.full(3, 1 / 255)) if raw else (MEAN, STD)
    changed = AUGMENT(
        example_keys(seed, len(images)),
        images,
        mean=mean,
        std=std,
        flip=flip,
        pad=pad,
        cutout=cutout,
    )
    assert changed.shape == images.shape and changed.dtype == jnp.float32
    return np.round(changed).astype(np.uint8) if raw else np.asarray(changed)


def test_normalise_by_hand():
    images = np.array([0, 255, 51], np.uint8).reshape(1, 1, 1, 3)
    expected = [-2.5, 2.4, -1 / 3]  # (0 - .5) / .2, (1 - .4) / .25, (.2 - .3) / .3
    values = data.normalise(jnp.asarray(images), MEAN, STD).ravel()
    np.testing.assert_allclose(values, expected, rtol=1e-5)  # float32, one cancellation


def test_no_augmentation_is_normalisation():
    images = pixels(4)
    expected = data.normalise(images, MEAN, STD)
    # Jitted, XLA may divide by a reciprocal: a few units in the last place.
    np.testing.assert_allclose(augmented(0, images), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("flip", [False, True])
def test_each_crop_is_a_window_of_the_padded_image(flip):
    pad, images = 2, pixels(64)
    crops = augmented(1, images, flip=flip, pad=pad, raw=True)
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    seen = set()
    for crop, image in zip(crops, padded, strict=True):
        windows = {
            (top, left, mirrored): image[top : top + 8, left : left + 9][:, :: 1 - 2 * mirrored]
            for top in range(2 * pad + 1)
            for left in range(2 * pad + 1)
            for mirrored in range(1 + flip)
        }
        (offset,) = [key for key, window in windows.items() if np.array_equal(window, crop)]
        seen.add(offset)
    # Every row, column and side comes up: of 64 uniform draws, one in 5 is absent with chance 1e-6.
    assert [len({offset[i] for offset in seen}) for i in range(3)] == [5, 5, 1 + flip]


def test_flips_are_whole_images_half_of_the_time():
    images = pixels(1000, side=4)
    changed = augmented(2, images, flip=True, raw=True)
    mirrored = (changed == np.asarray(images)[:, :, ::-1]).all((1, 2, 3))
    assert ((changed == np.asarray(images)).all((1, 2, 3)) | mirrored).all()
    assert abs(mirrored.sum() - 500) < 80  # five standard deviations, sqrt(1000) / 2 = 16


@pytest.mark.parametrize("side", [3, 4])
def test_cutout_is_one_clipped_square(side):
    images = pixels(500)
    changed = augmented(3, images, cutout=side)
    untouched = np.asarray(data.normalise(images, MEAN, STD))
    assert (np.asarray(images) != 0).all() and (untouched != 0).all()
    cut = (changed == 0).all(-1)
    np.testing.assert_allclose(
        changed, np.where(cut[..., None], 0, untouched), rtol=1e-5, atol=1e-6
    )
    rows, columns = cut.any(2).sum(1), cut.any(1).sum(1)
    np.testing.assert_array_equal(cut.sum((1, 2)), rows * columns)  # a filled rectangle
    assert rows.max() == columns.max() == side
    # A centre on the border leaves about half of the square.
    assert rows.min() == columns.min() == (side + 1) // 2
    # The square is a full one where the centre is far enough in: (8-side+1)(9-side+1) of 72.
    share = (8 - side + 1) * (9 - side + 1) / 72
    assert abs((cut.sum((1, 2)) == side**2).mean() - share) < 5 * np.sqrt(0.25 / 500)


def test_same_key_same_images():
    images, settings = pixels(16), {"flip": True, "pad": 2, "cutout": 3}
    first = augmented(5, images, **settings)
    np.testing.assert_array_equal(augmented(5, images, **settings), first)
    assert (augmented(6, images, **settings) != first).any()


# batches


def test_an_epoch_shows_each_example_once():
    key = jax.random.key(0)
    epochs = [[data.batch_indices(key, 4 * e + s, 12, 3) for s in range(4)] for e in range(2)]
    for epoch in epochs:
        assert sorted(np.concatenate(epoch)) == list(range(12))
    assert np.concatenate(epochs[0]).tolist() != np.concatenate(epochs[1]).tolist()


def test_incomplete_batch_is_dropped():
    assert data.steps_per_epoch(11, 3) == 3
    key = jax.random.key(1)
    shown = np.concatenate([data.batch_indices(key, step, 11, 3) for step in range(3)])
    assert len(set(shown)) == 9
    order = data.epoch_permutation(key, 1, 11)
    np.testing.assert_array_equal(data.batch_indices(key, 3, 11, 3), order[:3])


def test_traced_steps_and_epochwise_permutations_agree():
    key, steps = jax.random.key(2), jnp.arange(7)
    traced = jax.jit(lambda: jax.lax.map(lambda s: data.batch_indices(key, s, 11, 3), steps))()
    assert traced.dtype == jnp.int32 and traced.shape == (7, 3)
    for step, batch in enumerate(traced):
        order = data.epoch_permutation(key, step // 3, 11)
        assert order.dtype == jnp.int32
        np.testing.assert_array_equal(batch, data.batch_at(order, step, 3))


@pytest.mark.parametrize("batch_size", [0, 12])
def test_batch_size_must_fit(batch_size):
    text = message(data.batch_indices, jax.random.key(0), 0, 11, batch_size, error=ValueError)
    assert f"batch_size={batch_size}" in text
