"""Scores of a pool with shared weights, all architectures on the same images.

Shapes: P architectures, D decisions, N validation images. A dispatch scores some architectures on
each device, with no host work in between.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from bnao_jax.data.augmentation import normalise
from bnao_jax.parallel import on_host, over_devices, replicate

STATISTICS = ("batch", "estimated")
GUESSES = 5


class Scores(NamedTuple):
    """Validation accuracy (0..1) and cross entropy (nats) of each architecture: float32[P]."""

    accuracy: np.ndarray
    loss: np.ndarray


@dataclasses.dataclass(frozen=True)
class Scoring:
    """How a pool is scored.

    Attributes:
      batch_size: images in a batch, which share their statistics. The last batch is filled up with
        the first images, which do not count again.
      statistics: "batch": each validation batch is normalised with its own statistics;
        "estimated": with their mean over batches of training images.
      mean, std: of the images' channels, on the scale 0..1.
      per_dispatch: architectures scored on each device between two reports of progress.
    """

    batch_size: int
    statistics: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    per_dispatch: int = 8

    def __post_init__(self):
        if self.statistics not in STATISTICS:
            raise ValueError(f"statistics {self.statistics!r} is not one of {STATISTICS}")


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


def _summed(of_batch, images, labels, batch_size):
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
    return measures(_summed(of_batch, images, labels, batch_size))


def _accuracy_and_loss(logits, images, labels, batch_size):
    """The accuracy and loss of `measure`, with less to compile."""

    def of_batch(images, labels, weight):
        found = logits(images)
        losses = optax.softmax_cross_entropy_with_integer_labels(found, labels)
        right = jnp.argmax(found, -1) == labels
        return jnp.stack([jnp.sum(right * weight), jnp.sum(losses * weight)])

    return _summed(of_batch, images, labels, batch_size) / images.shape[0]


def make_evaluate(apply, scoring: Scoring, devices):
    """Returns `evaluate(params, pool, valid, calibration, *, progress) -> Scores`.

    `pool` is int32[P, D] of any length, `valid` is (images uint8[N, H, W, C], labels int32[N]),
    `calibration` is training images uint8[M, H, W, C], of which whole batches are used ("estimated"
    only), `progress` is called with each dispatch's Scores, in the pool's order. One program serves
    all architectures and lengths.

    Args:
      apply: function (params, statistics or None, images [B, H, W, C], architecture int32[D]) to
        (logits, statistics of the batch).
      scoring: what to compute.
      devices: the devices.
    """
    mean, std = np.array(scoring.mean), np.array(scoring.std)

    def estimate(params, architecture, calibration):
        total = calibration.shape[0] // scoring.batch_size
        batches = calibration[: total * scoring.batch_size].reshape(
            total, scoring.batch_size, *calibration.shape[1:]
        )
        of_batch = lambda images: apply(params, None, normalise(images, mean, std), architecture)[1]
        shapes = jax.eval_shape(of_batch, batches[0])
        add = lambda n, sums: jax.tree.map(jnp.add, sums, of_batch(batches[n]))
        sums = lax.fori_loop(
            0, total, add, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        )
        return jax.tree.map(lambda s: s / total, sums)

    def score(params, architecture, images, labels, calibration):
        known = None
        if scoring.statistics == "estimated":
            known = estimate(params, architecture, calibration)
        logits = lambda batch: apply(params, known, normalise(batch, mean, std), architecture)[0]
        return _accuracy_and_loss(logits, images, labels, scoring.batch_size)

    def dispatch(params, pool, counts, images, labels, calibration):
        pool, count = pool[0], counts[0]

        def add(n, found):
            return found.at[n].set(score(params, pool[n], images, labels, calibration))

        return lax.fori_loop(0, count, add, jnp.zeros((pool.shape[0], 2)))[None]

    run = over_devices(dispatch, devices, mapped=(1, 2), mapped_out=True)

    def evaluate(params, pool, valid, calibration=None, *, progress=lambda scores: None):
        pool = np.asarray(pool, np.int32)
        calibrating = 0 if calibration is None else len(calibration)
        if scoring.statistics == "estimated" and calibrating < scoring.batch_size:
            raise ValueError(
                f"{calibrating} calibration images are fewer than a batch of {scoring.batch_size}"
            )
        unused = np.zeros((1, *valid[0].shape[1:]), np.uint8)
        calibration = calibration if scoring.statistics == "estimated" else unused
        fixed = replicate((valid[0], valid[1], calibration), devices)
        shape = (len(devices), scoring.per_dispatch)
        found, size = [], shape[0] * shape[1]
        for start in range(0, len(pool), size):
            rows = pool[start : start + size]
            # Deal the architectures out evenly; the padding is not scored.
            dealt = np.zeros((*shape, pool.shape[1]), np.int32)
            at = np.arange(len(rows))
            device, place = at % shape[0], at // shape[0]
            dealt[device, place] = rows
            counts = np.bincount(device, minlength=shape[0]).astype(np.int32)
            values = run(params, dealt[:, None], counts[:, None], *fixed)
            dealt_scores = on_host(values).reshape(*shape, 2)[device, place]
            found.append(Scores(dealt_scores[:, 0], dealt_scores[:, 1]))
            progress(found[-1])
        nothing = Scores(np.zeros(0, np.float32), np.zeros(0, np.float32))
        return Scores(*map(np.concatenate, zip(nothing, *found, strict=True)))

    evaluate.program = run
    return evaluate
