"""Latency: measured, predicted, and as a limit of a search."""

import json

import jax
import numpy as np
import pytest
from tiny import tiny

from bnao_jax.latency import LatencyModel, measure
from bnao_jax.spaces.nasbench201.network import Network
from bnao_jax.spaces.nasbench201.outline import Outline
from launch.command import UsageError
from launch.config.plan import plan
from launch.inputs import latencies

COUNT = 30


def test_measured_times_are_those_of_the_runs():
    network = Network(Outline(channels=2, cells=1, classes=3), (1,) * 6)
    seconds = measure(network, (8, 8, 3), 4, repeats=5)
    assert seconds.shape == (5,) and (seconds > 0).all() and seconds.max() < 1


def test_a_linear_truth_is_found_and_the_error_is_that_of_leaving_one_out():
    rng = np.random.default_rng(0)
    features = np.column_stack([rng.integers(0, 5, (COUNT, 3)), np.ones(COUNT)])
    exact = 1 + features @ [0.1, 0.2, 0.3, 7.0]
    model = LatencyModel(features, exact)
    fresh = np.column_stack([rng.integers(0, 5, (9, 3)), np.ones(9)])
    np.testing.assert_allclose(model(fresh), 1 + fresh @ [0.1, 0.2, 0.3, 7.0], rtol=2e-3)
    assert model.error < 2e-3
    noisy = exact * rng.normal(1, 0.1, COUNT)
    left_out = []
    for n in range(COUNT):
        rest = np.arange(COUNT) != n
        left_out.append(LatencyModel(features[rest], noisy[rest])(features[[n]])[0])
    expected = np.median(np.abs(np.array(left_out) - noisy) / noisy)
    assert LatencyModel(features, noisy).error == pytest.approx(expected, rel=0.05)
    with pytest.raises(ValueError, match="as many features as seconds"):
        LatencyModel(features[:0], [])


@pytest.fixture
def config(tmp_path):
    """A search with a table in which latency is the number of edges that are no identity."""
    config = tiny()
    config.search.max_params, config.search.strategy = None, "random"
    space = plan(config).space()
    pool = np.asarray(space.decisions.random(jax.random.key(5), COUNT))
    seconds = 1e-3 * (1 + space.features(pool)[:, [0, 3]].sum(1))
    rows = [
        {"arch": space.decisions.format(a), "latency": [{"batch": 1, "median": t}]}
        for a, t in zip(pool, seconds, strict=True)
    ]
    path = tmp_path / "latencies.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config.search.latencies, config.search.max_latency = str(path), 2.5e-3
    return config


def check(config):
    job = plan(config)
    latencies.check(job.settings.search, job.space().decisions)


def first_line(path):
    with open(path) as file:
        return file.readline()


def test_no_architecture_of_a_search_exceeds_the_limit(config):
    check(config)
    job = plan(config)
    space = job.space()
    predict, model, pool, _ = latencies.load_latencies(job.settings.search, space, (8, 8, 1))
    assert len(pool) == COUNT and model.error < 0.05
    accept = job.limit(space, (8, 8, 1), predict)
    pool = space.decisions.sample(jax.random.key(0), 20, accept=accept)
    slow = space.features(pool)[:, [0, 3]].sum(1)
    assert (slow <= 1).all()  # at most one separable convolution, of eight edges
    # What the table holds is taken from it.
    row = json.loads(first_line(config.search.latencies))
    architecture = space.decisions.parse(row["arch"])
    assert predict(architecture[None])[0] == row["latency"][0]["median"]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"latencies": ""}, "max_latency and config.search.latencies go together"),
        ({"max_latency": None}, "max_latency and config.search.latencies go together"),
        ({"latency_batch": 8}, "no latency at config.search.latency_batch=8; it has 1"),
        ({"latencies": "/nowhere"}, "config.search.latencies: /nowhere cannot be read"),
        ({"max_latency": -1.0}, "max_latency=-1.0 must be above 0 and finite"),
    ],
)
def test_bad_input(config, changes, message):
    config.search.update(changes)
    with pytest.raises(UsageError, match=message):
        check(config)


@pytest.mark.parametrize(
    "line, message",
    [
        ("{", "line 1 is not what launch.inspect --latency prints"),
        ('{"arch": "1 2"}', "line 1: .* integers"),
        ('{"arch": 7, "latency": []}', "line 1 is not what"),
        ('{"arch": "ARCH", "latency": [{"batch": 1, "median": NaN}]}', "line 1: nan is no time"),
    ],
)
def test_tables_that_are_none(config, tmp_path, line, message):
    line = line.replace("ARCH", json.loads(first_line(config.search.latencies))["arch"])
    (tmp_path / "table").write_text(line)
    config.search.latencies = str(tmp_path / "table")
    with pytest.raises(UsageError, match=message):
        check(config)
