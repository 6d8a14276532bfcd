"""Shared weights as a library: a whole search in a few lines, and what is refused."""

import dataclasses
import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT
from flax import linen as nn

from bnao_jax import data, sampler
from bnao_jax.cost import Cost
from bnao_jax.decisions import Decisions
from bnao_jax.nn.initialization import parameter
from bnao_jax.nn.layers import Norm, pointwise, to_maps
from bnao_jax.oneshot import OneShot, SupernetSettings
from bnao_jax.scoring import Scores, ScoringSettings
from bnao_jax.settings import SettingError
from bnao_jax.spaces.nasbench201.space import NasBench201Space
from bnao_jax.spaces.space import Space
from bnao_jax.training import supernet

BLOCK = """
import sys
for name in ("launch", "configs", "ml_collections"):
    sys.modules[name] = None
"""
CHECK = """
import numpy as np
assert population.counts[:20].sum() == population.counts[20:].sum() == len(parts[0][0]) // 64 * 2
assert ((0 <= population.scores) & (population.scores <= 1)).all()
assert np.isfinite(shared.losses).all() and len(shared.losses) >= 2
loaded = [name for name in sys.modules if name.split(".")[0] in ("launch", "configs")]
assert loaded == ["launch", "configs"], loaded
"""


def test_a_whole_search_in_fifteen_lines_without_the_launchers(monkeypatch):
    """That of the README, as it stands."""
    example, _ = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len([line for line in example.splitlines() if line]) <= 15
    flags = os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=1")
    monkeypatch.setenv("XLA_FLAGS", flags)
    run = subprocess.run(
        [sys.executable, "-c", BLOCK + example + CHECK], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    space = NasBench201Space(channels=4, cells=1, classes=10)
    space.decisions.parse(run.stdout)


# A space of one's own, with what is required of every space and nothing beside.


class Matrices(nn.Module):
    """One of three matrices, a norm, one of two classifiers."""

    dtype: jnp.dtype
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images, architecture, *, drop_path=None, given=False):
        first, second = parameter(self, "first", 3, 4, 1), parameter(self, "second", 2, 2, 4)
        x = pointwise(to_maps(images, self.dtype), first[architecture[0]])
        x = Norm(self.axis_name, name="norm")(x, given=given).mean((1, 2)).T
        return x @ second[architecture[1]].T


class MatrixSpace(Space):
    """The space of these."""

    name, classes = "matrices", 2
    decisions = Decisions("matrices", (3, 2), (1, 4))

    def supernet(self, dtype, axis_name=None):
        return Matrices(dtype, axis_name)

    def on_path(self, params, architecture):
        every = jax.tree.map(lambda leaf: jnp.ones((1,) * leaf.ndim, bool), dict(params))
        pick = lambda choice, options: (jnp.arange(options) == choice)[:, None, None]
        picked = {"first": pick(architecture[0], 3), "second": pick(architecture[1], 2)}
        return every | picked

    def cost(self, pool, image_shape):
        return Cost(np.asarray(pool).sum(1) + 1, np.ones(len(pool), int))


def always(row):
    """The sampler that trains one row of the pool, and no other."""

    def prepare(pool, costs):
        return sampler.Prepared(np.asarray(pool), sampler.log_proportional(costs))

    def draw(key, prepared):
        return sampler.Paths(jnp.asarray(prepared.pool)[row][None], jnp.full(1, row, jnp.int32))

    return sampler.Sampler(f"row {row}", prepare, draw)


def images_of(examples, shape=(4, 4, 1)):
    """Bright images are of class 1."""
    labels = np.arange(examples) % 2
    images = np.random.default_rng(0).integers(0, 128, (examples, *shape))
    return (images + 127 * labels[:, None, None, None]).astype(np.uint8), labels


TRAIN, VALID = images_of(32), images_of(10)
POOL = np.array([[0, 0], [1, 1], [2, 0]], np.int32)
SETTINGS = SupernetSettings(epochs=20, batch_size=8, learning_rate=0.1, clip=0.0)
PLAIN = data.Augmentation((0.5,), (0.25,), flip=False, pad=0)


def one_shot(space=None, train=TRAIN, valid=VALID, *, capacity=4, settings=SETTINGS, **options):
    space = MatrixSpace() if space is None else space
    options = dict(augmentation=PLAIN, devices=jax.local_devices()[:1]) | options
    return OneShot(space, train, valid, capacity=capacity, settings=settings, **options)


@pytest.fixture(scope="module")
def trained():
    """One's own space, trained along one's own paths; what it began with, and what it reported."""
    lines = []
    shared = one_shot(paths=always(1), report=lines.append)
    begin = jax.device_get(shared.params)
    counts = shared.train(1, POOL)
    return shared, begin, counts, lines


def test_a_sampler_of_one_s_own_trains_what_it_draws(trained):
    shared, begin, counts, lines = trained
    assert counts.tolist() == [0, 80, 0]
    for name, choice in (("first", 1), ("second", 1)):
        moved = (np.asarray(shared.params[name]) != begin[name]).any((1, 2))
        assert moved.tolist() == [n == choice for n in range(len(moved))]
    assert lines[-1].startswith("round 1: step 80 of 80, loss ")
    assert shared.losses[-1] < shared.losses[0]


def test_the_path_that_was_trained_scores_best(trained):
    shared, *_ = trained
    scores = shared.evaluate(1, POOL)
    assert scores.shape == (3,) and scores.dtype == np.float32
    assert scores[1] == 1
    measured = shared.measure(POOL)
    np.testing.assert_array_equal(measured.accuracy, scores)
    assert measured.loss.argmin() == 1


def test_the_same_seed_gives_the_same_weights(trained):
    shared, begin, *_ = trained
    jax.tree.map(np.testing.assert_array_equal, one_shot().params, begin)
    other = one_shot(seed=1).params
    assert (np.asarray(other["first"]) != begin["first"]).any()


def test_scores_may_be_of_a_type_of_their_own(trained):
    shared, *_ = trained
    half = one_shot(score=ScoringSettings(dtype="bfloat16"))
    jax.tree.map(np.testing.assert_array_equal, half.params, one_shot().params)
    half.params = shared.params
    found, expected = half.measure(POOL).loss, shared.measure(POOL).loss
    assert (found != expected).any()
    np.testing.assert_allclose(found, expected, atol=0.05)


# What is refused, before anything is compiled.

IMAGES, LABELS = TRAIN


@pytest.mark.parametrize(
    "part, message",
    [
        ((IMAGES.astype(np.float32), LABELS), r"images must be uint8 \[N, H, W, C\], not float32"),
        ((IMAGES[..., 0], LABELS), r"images must be uint8 .* not uint8 \[32, 4, 4\]"),
        ((IMAGES[:0], LABELS[:0]), "images must be uint8"),
        ((IMAGES, LABELS[:-1]), r"labels must be integers \[32\], not int64 \[31\]"),
        ((IMAGES, LABELS / 1.0), r"labels must be integers \[32\], not float64"),
        ((IMAGES, LABELS + 1), "labels run from 1 to 2, allowed are 0 to 1"),
        ((IMAGES, LABELS - 1), "labels run from -1 to 0"),
    ],
)
def test_bad_images_and_labels(part, message):
    for parts in ((part, VALID), (TRAIN, part)):
        with pytest.raises(ValueError, match=message):
            one_shot(None, *parts)


def test_a_batch_larger_than_the_images():
    with pytest.raises(ValueError, match="batch_size=33 exceeds the 32 train images"):
        one_shot(settings=SupernetSettings(batch_size=33))


def test_more_architectures_than_the_capacity(trained):
    shared, *_ = trained
    with pytest.raises(ValueError, match="5 architectures exceed the capacity 4"):
        shared.train(2, np.zeros((5, 2), np.int32))


def test_images_that_the_space_cannot_halve():
    space = NasBench201Space(channels=2, cells=1, classes=2)
    parts = images_of(8, (6, 4, 1)), images_of(8, (6, 4, 1))
    with pytest.raises(ValueError, match="is not divisible by 4"):
        one_shot(space, *parts)


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(sampler="stratified"), "sampler='stratified': the space 'matrices' has no strata"),
        (dict(separate_momentum=True), "separate_momentum=True: the space 'matrices' has no"),
        (
            dict(sampler="constrained", macs_least=1, macs_most=3, macs_step=1),
            "sampler='constrained': the space 'matrices' has no multiply-adds",
        ),
    ],
)
def test_settings_that_the_space_does_not_know(settings, message):
    with pytest.raises(SettingError, match=message):
        one_shot(settings=SupernetSettings(batch_size=8, **settings))


def test_a_batch_that_does_not_divide_over_the_devices():
    with pytest.raises(ValueError, match="9 is not divisible by 2"):
        OneShot(
            *(MatrixSpace(), TRAIN, VALID),
            capacity=4,
            settings=SupernetSettings(batch_size=9),
            devices=jax.local_devices()[:2],
        )


def test_validation_images_of_another_shape():
    with pytest.raises(ValueError, match=r"\(4, 4, 3\)"):
        one_shot(valid=images_of(10, (4, 4, 3)))


def test_a_loss_that_is_not_finite_names_the_architecture(trained):
    shared, begin, *_ = trained
    kept, shared.params = shared.params, jax.tree.map(lambda leaf: leaf * np.nan, begin)
    try:
        with pytest.raises(FloatingPointError, match="not finite at step 0, architecture 1 1"):
            shared.train(1, POOL)
    finally:
        shared.params = kept


# Settings that are taken and have to count.


def scored_with(shared):
    """How many validation and how many calibration images a pool is scored with."""
    sizes = []

    def note(params, pool, valid, calibration):
        sizes.extend([len(valid[0]), len(calibration)])
        return Scores(*np.zeros((2, len(pool))))

    shared.programs = shared.programs._replace(evaluate=note)
    shared.measure(POOL)
    return sizes


def test_all_images_score():
    assert scored_with(one_shot()) == [10, 32]


@pytest.mark.parametrize(
    "score, sizes", [(dict(images=4), [4, 32]), (dict(calibration_images=16), [10, 16])]
)
def test_only_so_many_images_score(score, sizes):
    assert scored_with(one_shot(score=ScoringSettings(**score))) == sizes


def test_the_kind_of_score_that_is_set(trained):
    shared, *_ = trained
    other = one_shot(score=ScoringSettings(score="loss"))
    other.params, other.programs = shared.params, shared.programs
    np.testing.assert_array_equal(other.evaluate(1, POOL), -shared.measure(POOL).loss)


def test_from_scratch_begins_every_round_with_new_weights():
    shared, starts = one_shot(settings=dataclasses.replace(SETTINGS, from_scratch=True)), []

    def train(state, material, key, steps):
        starts.append(jax.device_get(state.params))
        params = jax.tree.map(lambda leaf: leaf + 1_000, state.params)
        report = supernet.Report(np.float32(1), 0.5, np.zeros(4, int), -1, POOL[0])
        return state._replace(params=params, step=state.step + steps), report

    shared.programs = shared.programs._replace(train=train)
    shared.train(1, POOL)
    first = len(starts)
    shared.train(2, POOL)
    assert all((np.abs(leaf) < 500).all() for leaf in jax.tree.leaves(starts[first]))
