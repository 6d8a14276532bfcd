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

from bnao_jax import objective
from bnao_jax.data.augmentation import normalise
from bnao_jax.measures import summed
from bnao_jax.parallel import on_host, over_devices, replicate
from bnao_jax.settings import (
    ARCHITECTURES,
    AT_LEAST_ZERO,
    SettingError,
    Settings,
    one_of,
    setting,
    whole,
)

STATISTICS = ("batch", "estimated")
DTYPES = {"network": None, "float32": jnp.float32, "bfloat16": jnp.bfloat16}


@dataclasses.dataclass(frozen=True)
class ScoringSettings(Settings):
    """How architectures are scored with shared weights."""

    images: int = setting(0, whole(0), "the first so many of the validation part; 0: all")
    first_images: int = setting(
        0,
        whole(0),
        "images that score all; the better half goes on to twice as many, and so on; 0: to all",
    )
    batch_size: int = setting(500, whole(1), "images, which share their statistics")
    dtype: str = setting("network", one_of(DTYPES), "of maps and products; network: as in training")
    statistics: str = setting(
        "batch",
        one_of(STATISTICS),
        "batch: of the validation batch, estimated: on training images",
    )
    calibration_images: int = setting(2_000, whole(0), "training images for estimated")
    per_dispatch: int = setting(
        8, whole(1, ARCHITECTURES), "architectures between two reports of progress"
    )
    score: str = setting(
        "accuracy",
        one_of(objective.KINDS),
        "what is learned from: accuracy, loss, accuracy_and_size, loss_and_size (both"
        " standardised)",
    )
    size_weight: float = setting(
        1.0, AT_LEAST_ZERO, "of standardised log parameters in the last two"
    )

    def examples(self, valid_examples) -> int:
        """Validation images that score an architecture."""
        return min(self.images or valid_examples, valid_examples)

    def parts(self, valid_examples) -> int:
        """Parts of the validation images that are scored on one after the other."""
        return self.examples(valid_examples) // (self.first_images or self.examples(valid_examples))

    def check_parts(self, valid_examples):
        """Raises SettingError where the validation images are not so many whole parts."""
        images, first = self.examples(valid_examples), self.first_images
        if first and images % first:
            raise SettingError(
                f"first_images={first} does not divide the {images} images that score an "
                "architecture"
            )
        if first and first < images and self.statistics == "estimated":
            raise SettingError(
                "first_images needs statistics=batch: others would be estimated for each part"
            )

    def check_examples(self, examples):
        """Raises SettingError where so many train images give no batch to calibrate with."""
        calibration = min(self.calibration_images, examples)
        if self.statistics == "estimated" and calibration < self.batch_size:
            raise SettingError(
                f"calibration_images gives {calibration} images, fewer than one batch of "
                f"config.scoring.batch_size={self.batch_size}"
            )

    def scoring(self, valid_examples, augmentation) -> "Scoring":
        """How a pool is scored, images being normalised as in training."""
        part = self.examples(valid_examples) // self.parts(valid_examples)
        return Scoring(
            batch_size=min(self.batch_size, part),
            statistics=self.statistics,
            mean=augmentation.mean,
            std=augmentation.std,
            per_dispatch=self.per_dispatch,
            dtype=DTYPES[self.dtype],
        )


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
      dtype: of maps and products; None: that of training.
    """

    batch_size: int
    statistics: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    per_dispatch: int = 8
    dtype: jnp.dtype | None = None

    def __post_init__(self):
        if self.statistics not in STATISTICS:
            raise ValueError(f"statistics {self.statistics!r} is not one of {STATISTICS}")


def distinct(forms):
    """The rows that are the first of their kind, int[U] in order; the place there of each row.

    Of `Space.effective`, for example: what `distinct` leaves out need not be scored again.
    """
    _, first, kind = np.unique(forms, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return first[order], np.argsort(order)[kind.reshape(-1)]


def _zeros(shapes, leading=()):
    return jax.tree.map(lambda s: jnp.zeros((*leading, *s.shape), s.dtype), shapes)


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
        add = lambda n, sums: jax.tree.map(jnp.add, sums, of_batch(batches[n]))
        sums = lax.fori_loop(0, total, add, _zeros(jax.eval_shape(of_batch, batches[0])))
        return jax.tree.map(lambda s: s / total, sums)

    def dispatch(params, pool, counts, images, labels, calibration):
        pool, count = pool[0], counts[0]
        statistics = None

        def for_each(of_architecture, shapes):
            """Results of the first `count` architectures, stacked; zeros for the others."""
            write = lambda whole, n, one: jax.tree.map(lambda w, o: w.at[n].set(o), whole, one)
            step = lambda n, whole: write(whole, n, of_architecture(n))
            return lax.fori_loop(0, count, step, _zeros(shapes, pool.shape[:1]))

        if scoring.statistics == "estimated":
            of = lambda n: estimate(params, pool[n], calibration)
            statistics = for_each(of, jax.eval_shape(of, 0))

        def of_batch(images, labels, weight):
            # What depends on the images alone, the stem too, is computed once for all.
            images = normalise(images, mean, std)

            def of_architecture(n):
                given = jax.tree.map(lambda stack: stack[n], statistics)
                outputs = apply(params, given, images, pool[n])[0]
                losses = optax.softmax_cross_entropy_with_integer_labels(outputs, labels)
                right = jnp.argmax(outputs, -1) == labels
                return jnp.stack([jnp.sum(right * weight), jnp.sum(losses * weight)])

            return for_each(of_architecture, jax.ShapeDtypeStruct((2,), jnp.float32))

        return summed(of_batch, images, labels, scoring.batch_size)[None] / images.shape[0]

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
        parts, size = [], shape[0] * shape[1]
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
            parts.append(Scores(dealt_scores[:, 0], dealt_scores[:, 1]))
            progress(parts[-1])
        nothing = Scores(np.zeros(0, np.float32), np.zeros(0, np.float32))
        return Scores(*map(np.concatenate, zip(nothing, *parts, strict=True)))

    evaluate.program = run
    return evaluate
