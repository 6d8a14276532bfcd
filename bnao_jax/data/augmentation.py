"""Random crops, flips and cutout inside a compiled step, and plain normalisation for evaluation.

Shapes: B images, H height, W width, C channels.
"""

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How training images are changed; see `augment` and `normalise` for the meaning.

    Attributes:
      mean, std: of each channel, on the scale 0..1.
      flip: whether images may be mirrored.
      pad: pixels of padding before the crop.
      cutout: side of the square cut out, pixels; 0 for none.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool = True
    pad: int = 4
    cutout: int = 0

    def __call__(self, keys: jax.Array, images: jax.Array) -> jax.Array:
        """Returns changed and normalised images float32[B, H, W, C] of uint8 ones; keys [B]."""
        mean, std = jnp.array(self.mean), jnp.array(self.std)
        return augment(
            keys, images, mean=mean, std=std, flip=self.flip, pad=self.pad, cutout=self.cutout
        )


def normalise(images: jax.Array, mean: jax.Array, std: jax.Array) -> jax.Array:
    """Returns (images / 255 - mean) / std, float32[B, H, W, C].

    `images` is uint8[B, H, W, C]; `mean` and `std` are [C] on the scale 0..1.
    """
    mean, std = (jnp.asarray(m, jnp.float32).reshape(1, 1, 1, -1) for m in (mean, std))
    return (images.astype(jnp.float32) / 255 - mean) / std


def example_keys(key: jax.Array, positions: jax.Array) -> jax.Array:
    """Returns one key for each position int32[B] in the global batch.

    Draws made from them do not depend on how the batch is divided over devices.
    """
    return jax.vmap(lambda position: jax.random.fold_in(key, position))(positions)


def augment(
    keys: jax.Array,
    images: jax.Array,
    *,
    mean: jax.Array,
    std: jax.Array,
    flip: bool,
    pad: int,
    cutout: int,
) -> jax.Array:
    """Returns randomly changed, normalised images, float32[B, H, W, C]; `keys` are [B].

    Each uint8[H, W, C] image is padded by `pad` pixels on all sides, cropped back to H x W at a
    uniform offset, mirrored left to right with probability 1/2 if `flip`, normalised, and loses
    one square of side `cutout` pixels (0: none). `flip`, `pad` and `cutout` are static.

    The padding is black, raw 0 before normalisation, as in the common PyTorch CIFAR recipe. The
    square is 0 after normalisation, the mean colour, and its centre is uniform over the image, so
    the border may clip it: DeVries and Taylor, "Improved Regularization of Convolutional Neural
    Networks with Cutout", 2017, https://arxiv.org/abs/1708.04552. Deviation: an odd side counts
    in full, where their code rounds it down to even.
    """
    _, height, width, _ = images.shape
    bounds = jnp.array([2 * pad + 1, 2 * pad + 1, height, width, 2])
    drawn = jax.vmap(lambda key: jax.random.randint(key, (5,), 0, bounds))(keys)
    top, left, row, column, mirrored = drawn.T[:, :, None]  # [B, 1] each
    if flip or pad:
        images = _crop_and_flip(images, top, left, mirrored == 1 if flip else None, pad)
    images = normalise(images, mean, std)
    if cutout:
        images = jnp.where(_square(images.shape, row, column, cutout), 0.0, images)
    return images


def _crop_and_flip(images, top, left, mirrored, pad):
    batch, height, width, _ = images.shape
    rows = top + jnp.arange(height)[None]  # [B, H]
    columns = left + jnp.arange(width)[None]  # [B, W]
    if mirrored is not None:
        columns = jnp.where(mirrored, columns[:, ::-1], columns)
    padded = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    # One gather of whole pixels: vmapped dynamic slices took up to 6 times longer in a scan on CPU.
    indices = (jnp.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :])
    return padded.at[indices].get(mode="promise_in_bounds")


def _square(shape, row, column, side):
    """Returns bool[B, H, W, 1], true in one square per image."""
    top, left = row - side // 2, column - side // 2
    rows, columns = jnp.arange(shape[1])[None], jnp.arange(shape[2])[None]
    in_rows = (rows >= top) & (rows < top + side)
    in_columns = (columns >= left) & (columns < left + side)
    return (in_rows[:, :, None] & in_columns[:, None, :])[..., None]
