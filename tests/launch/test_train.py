"""The training job: what it leaves, that it can be broken off, and how architectures are named."""

import json

import numpy as np
import pytest
import toys

from bnao_jax import checkpoint
from bnao_jax.measures import Measures
from configs import cifar_train
from launch.command import UsageError
from launch.config.plan import plan
from launch.inputs import architectures
from launch.run import workdir
from launch.train import job as train_job

ALL_CONV = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
EPOCHS, PER_EPOCH, CLASSES = 5, 4, 10


def tiny():
    config = cifar_train.get_config("smoke")
    config.compilation_cache, config.devices, config.arch = "", 1, ALL_CONV
    config.checkpoint_every_steps = 3
    config.data.name, config.data.cutout, config.data.pad = "digits", 0, 1
    config.data.train_examples, config.data.valid_examples = 128, 40
    config.space.name, config.network.channels = "nasbench201", 2
    recipe = config.train
    recipe.auxiliary, recipe.drop_path_keep, recipe.dropout = False, 1.0, 0.0
    recipe.epochs, recipe.batch_size, recipe.evaluate_every_epochs = EPOCHS, 32, 2
    return config


@pytest.fixture
def made_up(monkeypatch):
    """In place of training and evaluation: numbers that depend on the step."""

    def make_alone(plan, images, architecture):
        def train(state, images, labels, key, steps):
            first = int(state.step)
            losses = [1 / (step + 1) for step in range(first, first + int(steps))]
            params = {"w": state.params["w"] + np.float64(sum(losses))}
            state = state._replace(params=params, step=state.step + steps)
            return state, np.mean(losses), 1 - np.mean(losses)

        def evaluate(state, images, labels):
            held = np.bincount(np.asarray(labels), minlength=CLASSES)
            accuracy = 0.5 + 0.5 * np.sin(float(state.step))  # not best at the end
            return Measures(accuracy, 1.0, state.params["w"], held // 2, held)

        return toys.recipe(EPOCHS * PER_EPOCH), train, evaluate

    toys.put_for_networks(monkeypatch, make_alone)


def ends(folder):
    result = json.loads((folder / workdir.RESULT).read_text())
    del result["seconds"]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    newest, best = (checkpoint.read(folder / workdir.CHECKPOINTS, best=b) for b in (False, True))
    return result, [row | {"seconds": 0} for row in rows], newest.arrays, best.arrays


def test_what_a_training_leaves(made_up, tmp_path, capsys):
    assert toys.run(train_job, tiny(), tmp_path / "w") == 0
    out = capsys.readouterr().out
    assert "epoch 2 of 5" in out and "test accuracy" in out
    result, rows, newest, best = ends(tmp_path / "w")
    assert result["arch"] == ALL_CONV and result["epochs"] == EPOCHS
    accuracy = lambda step: 0.5 + 0.5 * np.sin(step)
    assert result["valid"]["top1"] == pytest.approx(accuracy(20))
    assert result["valid"]["images"] == 40 and result["test"]["images"] > 100
    held = np.bincount(plan(tiny()).load().test_labels, minlength=CLASSES)
    assert result["test"]["top1_of_class"] == pytest.approx((held // 2) / held)
    # Means over the steps of each epoch.
    trained = [row for row in rows if row["phase"] == "train"]
    expected = [np.mean([1 / (s + 1) for s in range(4 * e, 4 * e + 4)]) for e in range(EPOCHS)]
    assert [row["loss"] for row in trained] == pytest.approx(expected)
    valid = [(row["epoch"], row["accuracy"]) for row in rows if row["phase"] == "valid"]
    assert valid == [(e, pytest.approx(accuracy(4 * e))) for e in (2, 4, 5)]
    assert newest["final/step"] == 20
    assert best["final/step"] == max((8, 16, 20), key=accuracy) != 20
    assert (tmp_path / "w" / "training.png").stat().st_size > 5_000
    assert toys.run(train_job, tiny(), tmp_path / "w") == 0
    assert "This training is finished" in capsys.readouterr().out


def test_without_validation_images(made_up, tmp_path, capsys):
    config = tiny()
    config.data.valid_examples = 0
    assert toys.run(train_job, config, tmp_path / "w") == 0
    assert "validation accuracy" not in capsys.readouterr().out
    result = json.loads((tmp_path / "w" / workdir.RESULT).read_text())
    assert result["valid"] is None and result["test"]["images"] > 100


@pytest.mark.parametrize("checkpoint_every_steps", [3, 4])  # 4: just before each evaluation
def test_broken_off_anywhere_it_comes_to_the_same_end(
    made_up, tmp_path, monkeypatch, checkpoint_every_steps
):
    config = tiny()
    config.checkpoint_every_steps = checkpoint_every_steps
    toys.run(train_job, config, tmp_path / "undisturbed")
    plain, breaks = train_job.Training, 0
    while not (tmp_path / "broken" / workdir.RESULT).exists():
        watch = toys.breaking_at(3 + breaks % 5)
        monkeypatch.setattr(train_job, "Training", toys.watched(plain, watch))
        try:
            toys.run(train_job, config, tmp_path / "broken")
        except toys.Broken:
            breaks += 1
    assert breaks >= 4
    broken, expected = ends(tmp_path / "broken"), ends(tmp_path / "undisturbed")
    assert broken[:2] == expected[:2]
    for one, other in zip(broken[2:], expected[2:], strict=True):
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[name], other[name], equal_nan=True) for name in one)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"arch": "x"}, "config.arch: NAS-Bench-201: an architecture is 6 operations"),
        ({"train.batch_size": 4_000}, "train.batch_size=4000 exceeds the 128 train images"),
        ({"train.drop_path_keep": 0.9}, "config.train.drop_path_keep=0.9 must be 1: the space"),
        ({"warm_start": "/nowhere"}, "config.warm_start=/nowhere holds no search"),
        ({"train.schedule": "complexity"}, "train.schedule='complexity' must be one of"),
        ({"data.valid_examples": 99_999}, "valid_examples=99999 leaves none"),
    ],
)
def test_bad_input(tmp_path, changes, message):
    config = tiny()
    for name, value in changes.items():
        section, _, field = name.rpartition(".")
        (config[section] if section else config)[field] = value
    with pytest.raises(UsageError, match=message):
        toys.run(train_job, config, tmp_path / "w")
    assert not (tmp_path / "w").exists() or not any((tmp_path / "w").iterdir())


def test_the_configs_are_sound():
    for variant in ("", "smoke"):
        config = cifar_train.get_config(variant)
        config.arch = architectures.named(plan(config, "train"), "naonet_v2")
        plan(config, "train")
    with pytest.raises(ValueError, match="variant 'x'"):
        cifar_train.get_config("x")


def test_names_of_architectures(tmp_path):
    config = plan(cifar_train.get_config())
    text = architectures.named(config, "naonet_v2")
    assert text.startswith("1 1 0 1 2 4") and architectures.named(config, f" {text} ") == text
    (tmp_path / "a.txt").write_text(f"# the best\n{text}\n")
    assert architectures.named(config, str(tmp_path / "a.txt")) == text
    (tmp_path / "result.json").write_text(json.dumps({"best": [{"arch": text}]}))
    assert architectures.named(config, str(tmp_path)) == text
    (tmp_path / "result.json").write_text(json.dumps({"arch": text}))
    assert architectures.named(config, str(tmp_path)) == text


@pytest.mark.parametrize(
    "content, message",
    [
        ("", "holds 0 architectures"),
        ("1 2\n3 4\n", "holds 2 architectures"),
        ("1 2\n", "an architecture is 40 integers"),
        (b"\xff", "cannot be read"),
    ],
)
def test_files_that_name_no_architecture(tmp_path, content, message):
    path = tmp_path / "a.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=message):
        architectures.named(plan(cifar_train.get_config()), str(path))


@pytest.mark.parametrize("content", [None, "{", "[]", '{"best": []}', '{"arch": 7}'])
def test_folders_that_name_no_architecture(tmp_path, content):
    if content is not None:
        (tmp_path / "result.json").write_text(content)
    with pytest.raises(UsageError, match="no finished search|names no architecture"):
        architectures.named(plan(cifar_train.get_config()), str(tmp_path))


def test_words_that_are_no_architecture():
    for text in ("naonet_v9", "runs/absent", "/dev/zero", "7", "x" * 5_000, "\0"):
        with pytest.raises(UsageError, match="neither a file .* there are: naonet_v2"):
            architectures.named(plan(cifar_train.get_config()), text)
    with pytest.raises(UsageError, match="--arch: .*'x' is not one of"):
        architectures.named(plan(cifar_train.get_config()), "1 2 3" + " x" * 5_000)
