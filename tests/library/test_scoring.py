"""Scores against a plain loop over architectures and batches, however the work is dealt out."""

import functools

import jax
import numpy as np
import pytest

from bnao_jax.nn.layers import norm, pointwise, relu, to_maps
from bnao_jax.scoring import Scoring, distinct, make_evaluate

BATCH, VALID, CALIBRATION = 8, 21, 19  # neither is divisible by the batch
SIDE, CHANNELS, WIDTH, CHOICES, CLASSES = 3, 2, 4, 3, 3
MEAN, STD = (0.4, 0.5), (0.3, 0.2)
POOL = np.array([[a, b] for a in range(CHOICES) for b in range(CHOICES)], np.int32)
FLOAT32 = {"rtol": 1e-4, "atol": 1e-6}  # float32 sums against float64 ones


def toy(params, statistics, images, architecture):
    """Shared matrices picked by two decisions, around one shared norm."""
    x = pointwise(to_maps(images, np.float32), params["first"][architecture[0]])
    x, used = norm(x, params["scale"], params["offset"], statistics)
    logits = relu(x).reshape(-1, images.shape[0]).T @ params["head"][architecture[1]]
    return logits, used


@functools.cache
def evaluator(statistics="batch", devices=1, per_dispatch=3):
    scoring = Scoring(BATCH, statistics, MEAN, STD, per_dispatch)
    return make_evaluate(toy, scoring, jax.local_devices()[:devices])


@pytest.fixture(scope="module")
def material():
    """Weights, validation part and calibration images."""
    rng = np.random.default_rng(0)
    params = {
        "first": rng.normal(0, 1, (CHOICES, WIDTH, CHANNELS)),
        "scale": rng.normal(1, 0.2, WIDTH),
        "offset": rng.normal(0, 0.2, WIDTH),
        "head": rng.normal(0, 0.3, (CHOICES, WIDTH * SIDE**2, CLASSES)),
    }
    params = jax.tree.map(np.float32, params)
    # Dark and bright images, so that batches differ in their statistics.
    images = rng.integers(0, 156, (VALID + CALIBRATION, SIDE, SIDE, CHANNELS))
    images = (images + rng.integers(0, 100, (len(images), 1, 1, 1))).astype(np.uint8)
    labels = rng.integers(0, CLASSES, VALID).astype(np.int32)
    return params, (images[:VALID], labels), images[VALID:]


# The plain route, in float64.


def plain_forward(params, images, architecture, given=None):
    """Logits and the mean and variance used."""
    x = (images / 255 - np.array(MEAN)) / np.array(STD)
    x = x @ params["first"][architecture[0]].T.astype(np.float64)
    mean, variance = (x.mean((0, 1, 2)), x.var((0, 1, 2))) if given is None else given
    y = (x - mean) / np.sqrt(variance + 1e-5) * params["scale"] + params["offset"]
    y = np.maximum(y, 0).transpose(0, 3, 1, 2).reshape(len(images), -1)
    return y @ params["head"][architecture[1]], np.stack([mean, variance])


def plain_scores(params, pool, valid, given=lambda architecture: None):
    """Accuracy and loss of each architecture: a loop over batches, the last one filled up."""
    (images, labels), scores = valid, []
    for architecture in pool:
        right, loss = 0, 0.0
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            count = len(batch)
            batch = np.concatenate([batch, images[: BATCH - count]])
            logits, _ = plain_forward(params, batch, architecture, given(architecture))
            logits, wanted = logits[:count], labels[start : start + count]
            right += (logits.argmax(1) == wanted).sum()
            loss += np.log(np.exp(logits).sum(1)).sum() - logits[np.arange(count), wanted].sum()
        scores.append((right / len(images), loss / len(images)))
    return np.array(scores).T


def averaged(params, calibration, architecture):
    """The mean, over whole batches, of their means and variances."""
    whole = len(calibration) // BATCH * BATCH
    batches = np.split(calibration[:whole], whole // BATCH)
    return np.mean([plain_forward(params, b, architecture)[1] for b in batches], 0)


def assert_scores(found, expected):
    assert len({round(loss, 3) for loss in expected[1].tolist()}) == len(expected[1])
    np.testing.assert_allclose(found.accuracy, expected[0], **FLOAT32)
    np.testing.assert_allclose(found.loss, expected[1], **FLOAT32)


@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize("per_dispatch", [1, 3, 8])
def test_batch_scores_are_those_of_the_plain_loop(material, devices, per_dispatch):
    params, valid, _ = material
    reports = []
    evaluate = evaluator("batch", devices, per_dispatch)
    found = evaluate(params, POOL, valid, progress=reports.append)
    assert_scores(found, plain_scores(params, POOL, valid))
    size = devices * per_dispatch
    sizes = [len(report.loss) for report in reports]
    assert sum(sizes) == len(POOL)
    assert len(sizes) == -(-len(POOL) // size) and set(sizes[:-1]) <= {size}
    for field, parts in zip(found, zip(*reports, strict=True), strict=True):
        np.testing.assert_array_equal(field, np.concatenate(parts))


@pytest.mark.parametrize("devices, per_dispatch", [(1, 3), (4, 3)])
def test_estimated_scores_use_averaged_statistics(material, devices, per_dispatch):
    params, valid, calibration = material
    evaluate = evaluator("estimated", devices, per_dispatch)
    found = evaluate(params, POOL, valid, calibration)
    known = functools.partial(averaged, params, calibration)
    assert_scores(found, plain_scores(params, POOL, valid, known))
    # The two definitions are told apart by the tolerance.
    assert not np.allclose(found.loss, plain_scores(params, POOL, valid)[1], **FLOAT32)


def test_fewer_images_than_a_batch(material):
    params, (images, labels), _ = material
    few = images[:5], labels[:5]
    # The five come again from the first, as often as needed: here 3 of them.
    assert_scores(evaluator()(params, POOL, few), plain_scores(params, POOL, few))


def test_scores_follow_the_rows_of_the_pool(material):
    params, valid, _ = material
    order = np.random.default_rng(1).permutation(len(POOL))
    plain, permuted = (evaluator(devices=4)(params, pool, valid) for pool in (POOL, POOL[order]))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[order], b), plain, permuted)


@pytest.fixture
def compiled():
    """The durations of the compilations so far in the test."""
    durations, name = [], "/jax/core/compile/backend_compile_duration"
    listen = lambda event, seconds, **_: durations.append(seconds) if event == name else None
    jax.monitoring.register_event_duration_secs_listener(listen)
    yield durations
    jax.monitoring.unregister_event_duration_listener(listen)


def test_one_program_for_pools_of_all_lengths(material, compiled):
    params, valid, _ = material
    evaluate = make_evaluate(toy, Scoring(BATCH, "batch", MEAN, STD, 3), jax.local_devices()[:2])
    evaluate(params, POOL[:1], valid)
    assert compiled
    compiled.clear()
    for length in (2, 4, 9):
        scores = evaluate(params, POOL[-length:], valid)
        assert scores.accuracy.shape == scores.loss.shape == (length,)
    assert compiled == []


def test_empty_pool(material):
    params, valid, _ = material
    reports = []
    scores = evaluator()(params, POOL[:0], valid, progress=reports.append)
    assert scores.accuracy.shape == scores.loss.shape == (0,) and reports == []


def test_calibration_needs_a_batch(material):
    params, valid, calibration = material
    with pytest.raises(ValueError, match="7 calibration images are fewer than a batch of 8"):
        evaluator("estimated")(params, POOL, valid, calibration[:7])


def test_unknown_statistics():
    with pytest.raises(ValueError, match="'running' is not one of"):
        Scoring(BATCH, "running", MEAN, STD)


def test_equal_rows_are_scored_once():
    forms = np.random.default_rng(1).integers(0, 2, (9, 3))
    rows, places = distinct(forms)
    np.testing.assert_array_equal(forms[rows][places], forms)
    firsts = [n for n, form in enumerate(forms) if not (forms[:n] == form).all(1).any()]
    assert rows.tolist() == firsts and 1 < len(firsts) < 9
