"""How well a network does on images: accuracy, loss, and both by class.

Shapes: B images in a batch, N in all.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

GUESSES = 5


def _batches(count, batch_size):
    """Indices int32[batches, batch_size] and which of them count, bool."""
    rows = -(-count // batch_size)
    flat = np.arange(rows * batch_size)
    return (flat % count).reshape(rows, -1).astype(np.int32), (flat < count).reshape(rows, -1)


class Measures(NamedTuple):
    """How well a network does on N images.

    Attributes:
      accuracy: share of the images whose label is the first guess.
      top5: share whose label is among the first five, or among all, if there are fewer classes.
      loss: mean cross entropy, nats.
      right: int32[classes], images of each class that are rightly guessed.
      images: int32[classes], images of each class.
    """

    accuracy: jax.Array
    top5: jax.Array
    loss: jax.Array
    right: jax.Array
    images: jax.Array


def summed(of_batch, images, labels, batch_size):
    """Sums `of_batch(images, labels, which of them count)` over all batches."""
    indices, counts = _batches(images.shape[0], batch_size)

    def batch(n):
        rows = jnp.asarray(indices)[n]
        return of_batch(images[rows], labels[rows], jnp.asarray(counts)[n])

    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(batch, 0))
    add = lambda n, sums: jax.tree.map(jnp.add, sums, batch(n))
    return lax.fori_loop(0, len(indices), add, zero)


class Tally(NamedTuple):
    """Sums over images, of which `Measures` are made: loss, guesses among five, and by class."""

    loss: jax.Array
    near: jax.Array
    right: jax.Array
    images: jax.Array


def tally(logits, labels, counts, classes) -> Tally:
    """Sums over those images of a batch that count, bool[B]; logits float32[B, classes]."""
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    guesses = lax.top_k(logits, min(GUESSES, classes))[1]
    right = (guesses == labels[:, None]) & counts[:, None]
    by_class = lambda counted: jnp.zeros(classes, jnp.int32).at[labels].add(counted)
    hits = right.any(-1).sum(), by_class(right[:, 0]), by_class(counts)
    return Tally((losses * counts).sum(), *hits)


def measures(sums: Tally) -> Measures:
    """The means of sums."""
    total = sums.images.sum()
    means = sums.right.sum() / total, sums.near / total, sums.loss / total
    return Measures(*means, sums.right, sums.images)


def measure(logits, images, labels, batch_size, classes) -> Measures:
    """Measures `logits`, a function of a batch, on all images uint8[N, H, W, C], labels int32[N].

    The last batch is filled up with the first images, which do not count again.
    """
    of_batch = lambda images, labels, counts: tally(logits(images), labels, counts, classes)
    return measures(summed(of_batch, images, labels, batch_size))


def as_json(measures) -> dict:
    """`Measures` as JSON values."""
    images = np.maximum(measures.images, 1)
    by_class = [
        float(share) if count else None
        for share, count in zip(measures.right / images, measures.images, strict=True)
    ]
    return {
        "top1": float(measures.accuracy),
        "top5": float(measures.top5),
        "loss": float(measures.loss),
        "images": int(measures.images.sum()),
        "top1_of_class": by_class,
    }
