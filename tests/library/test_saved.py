"""Folders of searches and trainings, read for code of one's own."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT

from bnao_jax import data, saved
from bnao_jax.checkpoint import Checkpoints
from bnao_jax.nn.initialization import initialize
from bnao_jax.spaces.nasbench201.space import NasBench201Space

SPACE = NasBench201Space(channels=2, cells=1, classes=3)
FACTS = {
    "space": {"name": "nasbench201"},
    "network": {"channels": 2, "cells": 1},
    "classes": 3,
    "image_shape": [8, 8, 1],
    "mean": [0.4],
    "std": [0.2],
}
ARCHITECTURE = (3, 2, 1, 4, 3, 2)
TEXT = SPACE.decisions.format(ARCHITECTURE)
IMAGES = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 1), np.uint8)


def leave(folder, result, tree):
    """A folder as a run leaves it."""
    folder.mkdir(exist_ok=True)
    for name, value in (("network", FACTS), ("result", result)):
        (folder / f"{name}.json").write_text(json.dumps(value))
    checkpoints = Checkpoints(folder / "checkpoints")
    checkpoints.save(tree, {}, score=1.0)
    checkpoints.wait()
    return folder


@pytest.fixture
def normalised():
    return data.normalise(jnp.asarray(IMAGES), np.array([0.4], "f"), np.array([0.2], "f"))


def test_a_search_predicts_with_shared_weights(tmp_path, key, normalised):
    params = SPACE.initial_weights(key, (8, 8, 1))
    result = {"best": [{"arch": TEXT}], "against_random": {"verdict": "not shown"}}
    found = saved.load(leave(tmp_path / "r", result, {"supernet": {"params": params}}))
    assert found.architecture == ARCHITECTURE and found.result == result
    logits = SPACE.supernet(jnp.float32).apply({"params": params}, normalised, ARCHITECTURE)
    np.testing.assert_allclose(found.predict(IMAGES), jax.nn.softmax(logits), atol=1e-6)
    other = SPACE.supernet(jnp.float32).apply({"params": params}, normalised, (0,) * 6)
    assert not np.allclose(found.predict(IMAGES), jax.nn.softmax(other), atol=1e-3)


@pytest.mark.parametrize("averaged", [False, True])
def test_a_training_predicts_with_its_own(averaged, tmp_path, key, normalised):
    network = SPACE.network(ARCHITECTURE, jnp.float32)
    params = initialize(network, key, np.zeros((1, 8, 8, 1), np.float32))
    seen = network.apply({"params": params}, 2 * normalised, mutable=["batch_stats"])[1]
    statistics = seen["batch_stats"]
    mean = jax.tree.map(lambda leaf: leaf * 0.9, params)
    tree = {"params": params, "statistics": statistics, "average": mean if averaged else ()}
    net = saved.load(leave(tmp_path / "r", {"arch": TEXT}, {"final": tree}))
    used = {"params": mean if averaged else params, "batch_stats": statistics}
    logits = network.apply(used, normalised, given=True)
    np.testing.assert_allclose(net.predict(IMAGES), jax.nn.softmax(logits), atol=1e-6)
    np.testing.assert_allclose(net.predict(IMAGES).sum(1), 1, atol=1e-6)


def test_the_example_of_the_readme(tmp_path, key, monkeypatch, capsys):
    _, code = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "runs").mkdir()
    shared = {"supernet": {"params": SPACE.initial_weights(key, (8, 8, 1))}}
    leave(tmp_path / "runs/quick", {"best": [{"arch": TEXT}], "against_random": "found"}, shared)
    network = SPACE.network(ARCHITECTURE, jnp.float32)
    images = np.zeros((1, 8, 8, 1), np.float32)
    params = initialize(network, key, images)
    seen = network.apply({"params": params}, images, mutable=["batch_stats"])[1]
    alone = {"params": params, "statistics": seen["batch_stats"], "average": ()}
    leave(tmp_path / "runs/net", {"arch": TEXT}, {"final": alone})
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert f"found {TEXT}" in capsys.readouterr().out


def test_what_is_no_run_is_said(tmp_path):
    with pytest.raises(OSError):
        saved.load(tmp_path)
    folder = leave(tmp_path / "r", {"arch": TEXT}, {"other": np.zeros(3)})
    with pytest.raises(ValueError, match="holds no weights"):
        saved.load(folder)
    (folder / "result.json").write_text("{}")
    with pytest.raises(ValueError, match="do not hold what a run leaves"):
        saved.load(folder)
    (folder / "result.json").write_text("[]")
    with pytest.raises(ValueError, match="no JSON object"):
        saved.load(folder)
