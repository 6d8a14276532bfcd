"""What can be done with a training's folder: measuring and exporting."""

import json
import os
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from conftest import ROOT
from test_train import tiny

from bnao_jax.checkpoint import Checkpoints
from bnao_jax.space import ArchitectureError
from configs import quickstart
from launch import evaluating, exporting, trained, training, wiring, workdir
from launch.command import UsageError

EVALUATION = dict(
    **dict(checkpoint="newest", split="test", statistics=None, batch_size=64, average=True),
    **dict(arch=None, data_dir=None, path=None),
)
EXPORT = dict(checkpoint="best", batch_sizes=["any"], platforms=["cpu", "tpu"], average=True)
CLEAN = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A training of two epochs, with a running mean of the weights and an auxiliary head."""
    config = tiny()
    config.train.epochs, config.train.average_decay = 2, 0.5
    path = tmp_path_factory.mktemp("training") / "w"
    assert training.run(config, path) == 0
    return path


def test_evaluation_is_that_of_the_training(folder):
    found = evaluating.evaluate(folder, **EVALUATION)
    result = json.loads((folder / "result.json").read_text())["test"]
    assert found["top1"] == result["top1"] and found["images"] == result["images"] == 297
    assert found["top1_of_class"] == result["top1_of_class"] and len(found["top1_of_class"]) == 10
    assert found["loss"] == pytest.approx(result["loss"], rel=1e-5)
    assert found["statistics"] == "stored" and "all 297 test images" in evaluating.table(found)
    assert f"{found['top1']:.4f}" in evaluating.table(found)


def test_evaluations_that_differ(folder):
    plain = evaluating.evaluate(folder, **EVALUATION)
    for changes, images in (
        ({"statistics": "batch", "split": "valid"}, 40),
        ({"average": False}, 297),
    ):
        found = evaluating.evaluate(folder, **EVALUATION | changes)
        assert found["loss"] != plain["loss"] and found["images"] == images


def test_exported_programs_need_nothing_of_ours(folder, tmp_path, capsys):
    exporting.export(folder, tmp_path / "out", **EXPORT | {"batch_sizes": ["any", "3"]})
    names = {path.name for path in (tmp_path / "out").iterdir()}
    programs = {"network_any.stablehlo", "network_3.stablehlo"}
    assert names == programs | {"README.md", "architecture.json", "weights.safetensors"}
    assert "weights.safetensors" in capsys.readouterr().out
    known = trained.load(folder)
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), np.uint8)
    np.save(tmp_path / "images.npy", images)
    first, second = re.findall(
        "```python\n(.*?)```", (tmp_path / "out/README.md").read_text(), re.S
    )
    code = (
        first
        + """
images = np.load("../images.npy")
np.save("../any.npy", run(weights, images))
run = jax.export.deserialize(bytearray(open("network_3.stablehlo", "rb").read())).call
np.save("../three.npy", run(weights, images[:3]))
import sys
assert not {"bnao_jax", "flax", "launch"} & set(sys.modules), sys.modules
"""
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "out",
        env=CLEAN,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "out/architecture.json").read_text())
    mean, std = np.float32(facts["mean"]), np.float32(facts["std"])
    variables = {"params": known.state.average, "batch_stats": known.state.statistics}
    normalised = (images / np.float32(255) - mean) / std
    expected = known.network.apply(variables, normalised, given=True)
    np.testing.assert_allclose(np.load(tmp_path / "any.npy"), expected, atol=1e-5)
    np.testing.assert_allclose(np.load(tmp_path / "three.npy"), expected[:3], atol=1e-5)
    # The second way of the README, with this package.
    env = CLEAN | {"PYTHONPATH": str(ROOT)}
    code = first + second
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "out", env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with_program, with_module = done.stdout.split("]]\n")[:2]
    assert len(with_program.split()) == len(with_module.split())


def test_the_auxiliary_head_is_not_exported(tmp_path):
    config = tiny()
    config.space.name, config.network.cells = "nao", 1
    facts = {
        "space": config.space.to_dict() | {"nodes": 1},
        "network": config.network.to_dict(),
        **dict(arch="0 4 1 4 1 4 0 4", classes=10, mean=[0.5], std=[0.5]),
    }
    network, normalise = exporting.module(facts)
    assert normalise(np.full((1, 1, 1, 1), 255, np.uint8)).item() == 1
    shape = (1, 32, 32, 1)
    init = lambda: network.clone(auxiliary=True).init(jax.random.key(0), np.zeros(shape, "f4"))
    params = jax.tree.map(lambda s: np.zeros(s.shape), jax.eval_shape(init)["params"])
    variables = {"params": params, "batch_stats": dict.fromkeys(params, 0)}
    kept = exporting._used(network, variables, shape[1:])
    assert "aux" in params and set(kept["params"]) == set(kept["batch_stats"]) == {*params} - {
        "aux"
    }


@pytest.mark.parametrize(
    "changes",
    [
        *[{"classes": 7}, {"classes": "10"}, {"classes": None}, {"image_shape": [8, 8]}],
        *[{"mean": [0.5, 0.5]}, {"std": [0.0]}, {"std": ["1"]}, {"arch": "none"}, {"space": {}}],
        *[{"image_shape": [8, 8, 10**12]}, {"params": {}}, {"preparation": 5}],
    ],
)
def test_facts_of_a_stranger_are_checked(folder, tmp_path, changes):
    copy = tmp_path / "w"
    shutil.copytree(folder, copy)
    facts = json.loads((copy / workdir.NETWORK).read_text())
    (copy / workdir.NETWORK).write_text(json.dumps(facts | changes))
    fits = "do not fit its network" if changes == {"classes": 7} else "does not fit its config"
    for use in (
        lambda: evaluating.evaluate(copy, **EVALUATION),
        lambda: exporting.export(copy, tmp_path / "out", **EXPORT),
    ):
        with pytest.raises(UsageError, match=fits):
            use()
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """As much of a search's folder as holds shared weights."""
    path = tmp_path_factory.mktemp("search")
    config = quickstart.get_config()
    config.space.nodes, config.network.channels = 1, 2
    config.space.operations = "tiny"
    (path / workdir.CONFIG).write_text(config.to_json_best_effort())
    images = wiring.load_data(config)
    outline = wiring.make_outline(config, images.classes)
    params = wiring.initial_weights(config, outline, images)
    with Checkpoints(path / workdir.CHECKPOINTS) as checkpoints:
        checkpoints.save({"supernet": {"params": params}}, {})
    return path, config, params


def test_shared_weights_along_a_path(searched):
    path, *_ = searched
    changes = {"arch": "0 2 1 1 0 2 1 1", "split": "valid"}
    found = evaluating.evaluate(path, **EVALUATION | changes)
    assert found["statistics"] == "batch" and found["images"] == 300 and 0 <= found["top1"] <= 1


def test_a_training_begins_with_shared_weights(searched, tmp_path, capsys):
    path, search, params = searched
    config = tiny()
    config.space, config.network = search.space, search.network
    config.arch, config.warm_start, config.data.pad = "0 0 1 1 0 2 1 1", str(path), 1
    training.check(config)
    job = training.Training(config, None, wiring.load_data(config))
    kernel = job.progress.final.params["stem"]["conv"]["kernel"]
    np.testing.assert_array_equal(kernel, params["stem"]["conv"]["kernel"])
    assert job.inherited > 100
    config.network.channels = 4
    with pytest.raises(UsageError, match="was searched with config.network.channels=2; it is 4"):
        training.check(config)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"statistics": "stored"}, "a supernet has none"),
        ({}, "--arch is missing"),
        ({"arch": "naonet_v2"}, "an architecture is 8 integers"),
    ],
)
def test_evaluations_of_a_search_that_cannot_be(searched, changes, message):
    with pytest.raises(UsageError, match=message):
        evaluating.evaluate(searched[0], **EVALUATION | changes)


def test_evaluations_that_cannot_be(folder, tmp_path):
    with pytest.raises(UsageError, match="holds the network of one architecture"):
        evaluating.evaluate(folder, **EVALUATION | {"arch": "x"})
    with pytest.raises(UsageError, match="config.json: No such file"):
        evaluating.evaluate(tmp_path, **EVALUATION)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UsageError, match="its config.json cannot be read"):
        evaluating.evaluate(tmp_path, **EVALUATION)
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(UsageError, match="network.json: No such file"):
        evaluating.evaluate(tmp_path, **EVALUATION)
    (tmp_path / "network.json").write_text((folder / "network.json").read_text())
    with pytest.raises(UsageError, match="holds no checkpoints"):
        evaluating.evaluate(tmp_path, **EVALUATION)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"batch_sizes": ["0"]}, "--batch_sizes=0 is neither a batch size nor 'any'"),
        ({"batch_sizes": ["all"]}, "--batch_sizes=all is neither"),
        ({"platforms": ["gpu"]}, "--platforms=gpu is not one of cpu, cuda, tpu, rocm"),
    ],
)
def test_exports_that_cannot_be(folder, tmp_path, changes, message):
    with pytest.raises(UsageError, match=message):
        exporting.export(folder, tmp_path / "out", **EXPORT | changes)
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_over(folder, tmp_path):
    (tmp_path / "mine").write_text("mine")
    for out in (tmp_path, tmp_path / "mine"):
        with pytest.raises(UsageError, match="is not an empty folder"):
            exporting.export(folder, out, **EXPORT)
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_search_is_no_training(searched, tmp_path):
    with pytest.raises(UsageError, match="holds no training of launch.train"):
        exporting.export(searched[0], tmp_path / "out", **EXPORT)
    with pytest.raises(ArchitectureError):
        exporting.module(
            {"space": {"name": "nasbench201"}, "network": {"channels": 2, "cells": 1}, "arch": "x"}
            | {"classes": 3}
        )
