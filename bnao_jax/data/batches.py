"""Which images a training step sees: one permutation per epoch, cut into batches.

Everything is a function of the key and the step, so a resumed run sees the same batches.
"""

import jax
import jax.numpy as jnp

from bnao_jax.data.augmentation import example_keys


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Returns the number of whole batches in an epoch. Raises ValueError if there is none."""
    if not 1 <= batch_size <= examples:
        raise ValueError(f"batch_size={batch_size}: allowed are 1 to {examples}, the examples")
    return examples // batch_size


def epoch_permutation(key: jax.Array, epoch: jax.Array | int, examples: int) -> jax.Array:
    """Returns int32[examples]: the order of `epoch`. Sorts, so do it once per epoch."""
    return jax.random.permutation(jax.random.fold_in(key, epoch), examples).astype(jnp.int32)


def batch_at(permutation: jax.Array, step: jax.Array | int, batch_size: int) -> jax.Array:
    """Returns int32[batch_size]: the batch of global step `step` in its epoch's permutation.

    The epoch is step // steps_per_epoch; the incomplete batch at its end is dropped.
    """
    position = step % steps_per_epoch(len(permutation), batch_size)
    return jax.lax.dynamic_slice_in_dim(permutation, position * batch_size, batch_size)


def batch_indices(
    key: jax.Array, step: jax.Array | int, examples: int, batch_size: int
) -> jax.Array:
    """Returns int32[batch_size]: the batch of global step `step`, from 0.

    Makes the whole permutation of the epoch; in a loop over steps use `epoch_permutation` once per
    epoch and `batch_at`, which give the same indices.
    """
    epoch = step // steps_per_epoch(examples, batch_size)
    return batch_at(epoch_permutation(key, epoch, examples), step, batch_size)


def training_batch(key, images, labels, permutation, step, *, batch_size, rows, augmentation):
    """Returns the augmented images and the labels of some rows of a training step's batch.

    Args:
      key: random key of the step; what happens to an image depends on it and on its row.
      images: uint8[N, H, W, C], all of them.
      labels: int32[N].
      permutation: int32[N] of the epoch.
      step: global step.
      batch_size: rows of the whole batch.
      rows: int32[B], the rows wanted.
      augmentation: an `Augmentation`.
    """
    examples = batch_at(permutation, step, batch_size)[rows]
    return augmentation(example_keys(key, rows), images[examples]), labels[examples]
