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
import toys
from conftest import ROOT
from test_train import tiny
from tiny import cells

from bnao_jax.checkpoint import Checkpoints
from bnao_jax.decisions import ArchitectureError
from launch.command import UsageError
from launch.config.plan import plan
from launch.evaluate import accuracy
from launch.export import bundle
from launch.inputs import trained
from launch.run import workdir
from launch.train import job as train_job

EVALUATION = dict(
    **dict(checkpoint="newest", split="test", statistics=None, batch_size=64, average=True),
    **dict(arch=None, data_dir=None, path=None),
)
EXPORT = dict(checkpoint="best", batch_sizes=["any"], platforms=["cpu", "tpu"], average=True)
CLEAN = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A whole training, with a running mean of the weights."""
    config = tiny()
    config.data.train_examples, config.train.average_decay = 640, 0.8
    config.train.epochs, config.train.learning_rate = 10, 0.2
    path = tmp_path_factory.mktemp("training") / "w"
    assert toys.run(train_job, config, path) == 0
    return path


def test_a_training_learns(folder):
    result, config = json.loads((folder / "result.json").read_text()), tiny()
    assert result["test"]["top1"] > 0.5 and result["valid"]["top1"] > 0.5  # chance is 0.1
    space = plan(config).space()
    architecture = space.decisions.parse(config.arch)[None]
    assert result["params"] == space.cost(architecture, (8, 8, 1)).params[0]


def test_evaluation_is_that_of_the_training(folder):
    measured = accuracy.evaluate(folder, **EVALUATION)
    result = json.loads((folder / "result.json").read_text())["test"]
    assert measured["top1"] == result["top1"] and measured["images"] == result["images"] == 297
    assert (
        measured["top1_of_class"] == result["top1_of_class"]
        and len(measured["top1_of_class"]) == 10
    )
    assert measured["loss"] == pytest.approx(result["loss"], rel=1e-5)
    assert measured["statistics"] == "stored" and "all 297 test images" in accuracy.table(measured)
    assert f"{measured['top1']:.4f}" in accuracy.table(measured)


def test_evaluations_that_differ(folder):
    plain = accuracy.evaluate(folder, **EVALUATION)
    for changes, images in (
        ({"statistics": "batch", "split": "valid"}, 40),
        ({"average": False}, 297),
    ):
        measured = accuracy.evaluate(folder, **EVALUATION | changes)
        assert measured["loss"] != plain["loss"] and measured["images"] == images


def test_exported_programs_need_nothing_of_ours(folder, tmp_path, capsys):
    bundle.export(folder, tmp_path / "out", **EXPORT | {"batch_sizes": ["any", "3"]})
    names = {path.name for path in (tmp_path / "out").iterdir()}
    programs = {"network_any.stablehlo", "network_3.stablehlo"}
    assert names == programs | {"README.md", "architecture.json", "weights.safetensors"}
    assert "weights.safetensors" in capsys.readouterr().out
    network = trained.load(folder)
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
    variables = {"params": network.state.average, "batch_stats": network.state.statistics}
    normalised = (images / np.float32(255) - mean) / std
    expected = network.network.apply(variables, normalised, given=True)
    np.testing.assert_allclose(np.load(tmp_path / "any.npy"), expected, atol=1e-5)
    np.testing.assert_allclose(np.load(tmp_path / "three.npy"), expected[:3], atol=1e-5)
    # The second way of the README, with this package.
    env = CLEAN | {"PYTHONPATH": str(ROOT)}
    code = first + second
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "out", env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    numbers = lambda text: np.array(re.findall(r"-?[\d.]+(?:e[-+]\d+)?", text))
    with_program, with_module = done.stdout.split("]]\n")[:2]
    found, expected = (numbers(text).astype(float) for text in (with_program, with_module))
    assert len(found) > 10
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_the_auxiliary_head_is_not_exported(tmp_path):
    config = tiny()
    config.space.name, config.network.cells = "nao", 1
    facts = {
        "space": config.space.to_dict() | {"nodes": 1},
        "network": config.network.to_dict(),
        **dict(arch="0 4 1 4 1 4 0 4", classes=10, mean=[0.5], std=[0.5]),
        "image_shape": [32, 32, 1],
    }
    network, normalise = bundle.module(facts)
    assert normalise(np.full((1, 1, 1, 1), 255, np.uint8)).item() == 1
    shape = (1, 32, 32, 1)
    init = lambda: network.clone(auxiliary=True).init(jax.random.key(0), np.zeros(shape, "f4"))
    params = jax.tree.map(lambda s: np.zeros(s.shape), jax.eval_shape(init)["params"])
    variables = {"params": params, "batch_stats": dict.fromkeys(params, 0)}
    kept = bundle._used(network, variables, shape[1:])
    assert "aux" in params and set(kept["params"]) == set(kept["batch_stats"]) == {*params} - {
        "aux"
    }


@pytest.mark.parametrize(
    "changes",
    [
        *[{"classes": 7}, {"classes": "10"}, {"classes": None}, {"image_shape": [8, 8]}],
        *[{"mean": [0.5, 0.5]}, {"std": [0.0]}, {"std": ["1"]}, {"arch": "none"}, {"space": {}}],
        *[
            {"image_shape": [8, 8, 10**12]},
            {"image_shape": [30_000, 30_000, 1]},
            {"params": {}},
            {"preparation": 5},
        ],
    ],
)
def test_facts_of_a_stranger_are_checked(folder, tmp_path, changes):
    copy = tmp_path / "w"
    shutil.copytree(folder, copy)
    facts = json.loads((copy / workdir.NETWORK).read_text())
    (copy / workdir.NETWORK).write_text(json.dumps(facts | changes))
    fits = "do not fit its network" if changes == {"classes": 7} else "does not fit its config"
    for use in (
        lambda: accuracy.evaluate(copy, **EVALUATION),
        lambda: bundle.export(copy, tmp_path / "out", **EXPORT),
    ):
        with pytest.raises(UsageError, match=fits):
            use()
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """As much of a search's folder as holds shared weights."""
    path = tmp_path_factory.mktemp("search")
    config = cells(nodes=1, operations="tiny")
    config.network.channels = 2
    (path / workdir.CONFIG).write_text(config.to_json_best_effort())
    job = plan(config)
    images = job.load()
    params = job.space(images.classes).initial_weights(job.key, images.image_shape)
    with Checkpoints(path / workdir.CHECKPOINTS) as checkpoints:
        checkpoints.save({"supernet": {"params": params}}, {})
    return path, config, params


def test_shared_weights_along_a_path(searched):
    path, *_ = searched
    changes = {"arch": "0 2 1 1 0 2 1 1", "split": "valid"}
    measured = accuracy.evaluate(path, **EVALUATION | changes)
    assert (
        measured["statistics"] == "batch"
        and measured["images"] == 297
        and 0 <= measured["top1"] <= 1
    )


def test_shared_weights_of_another_network_are_refused(searched, tmp_path):
    copy = tmp_path / "w"
    shutil.copytree(searched[0], copy)
    config = json.loads((copy / workdir.CONFIG).read_text())
    config["network"]["channels"] += 2
    (copy / workdir.CONFIG).write_text(json.dumps(config))
    with pytest.raises(UsageError, match="do not fit its network"):
        accuracy.evaluate(copy, **EVALUATION | {"arch": "0 2 1 1 0 2 1 1", "split": "valid"})


def test_a_training_begins_with_shared_weights(searched, tmp_path, capsys):
    path, search, params = searched
    config = tiny()
    config.space, config.network = search.space, search.network
    config.arch, config.warm_start, config.data.pad = "0 0 1 1 0 2 1 1", str(path), 1
    job = plan(config)
    job = train_job.Training(job, None, job.load())
    kernel = job.progress.final.params["stem"]["conv"]["kernel"]
    np.testing.assert_array_equal(kernel, params["stem"]["conv"]["kernel"])
    assert job.inherited > 100
    config.network.channels = 4
    with pytest.raises(UsageError, match="was searched with config.network.channels=2; it is 4"):
        toys.run(train_job, config, tmp_path / "w")


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
        accuracy.evaluate(searched[0], **EVALUATION | changes)


def test_evaluations_that_cannot_be(folder, tmp_path):
    with pytest.raises(UsageError, match="holds the network of one architecture"):
        accuracy.evaluate(folder, **EVALUATION | {"arch": "x"})
    with pytest.raises(UsageError, match="config.json: No such file"):
        accuracy.evaluate(tmp_path, **EVALUATION)
    for text in ("{", '{"job": "train", "__class__": 1}'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(UsageError, match="its config.json cannot be read"):
            accuracy.evaluate(tmp_path, **EVALUATION)
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(UsageError, match="network.json: No such file"):
        accuracy.evaluate(tmp_path, **EVALUATION)
    (tmp_path / "network.json").write_text((folder / "network.json").read_text())
    with pytest.raises(UsageError, match="holds no checkpoints"):
        accuracy.evaluate(tmp_path, **EVALUATION)


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
        bundle.export(folder, tmp_path / "out", **EXPORT | changes)
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_over(folder, tmp_path):
    (tmp_path / "mine").write_text("mine")
    for out in (tmp_path, tmp_path / "mine"):
        with pytest.raises(UsageError, match="is not an empty folder"):
            bundle.export(folder, out, **EXPORT)
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_search_is_no_training(searched, tmp_path):
    with pytest.raises(UsageError, match="holds no training of launch.train"):
        bundle.export(searched[0], tmp_path / "out", **EXPORT)
    with pytest.raises(ArchitectureError):
        bundle.module(
            {"space": {"name": "nasbench201"}, "network": {"channels": 2, "cells": 1}, "arch": "x"}
            | {"classes": 3, "image_shape": [8, 8, 1]}
        )
