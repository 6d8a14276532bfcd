"""The training job on streamed images: the config, what it leaves, that it can be broken off."""

import json

import numpy as np
import photographs
import pytest
import toys
from flax import linen as nn
from test_train import ALL_CONV, ends
from test_trained import EVALUATION

from bnao_jax.measures import Measures
from bnao_jax.nn.initialization import parameter
from configs import cifar_train, imagenet_train, quickstart
from launch.benchmark import pipeline
from launch.command import UsageError
from launch.config.plan import Plan, plan, read
from launch.evaluate import accuracy
from launch.export import bundle
from launch.inputs import architectures
from launch.run import workdir
from launch.train import job as train_job

CLASSES, EPOCHS = 3, 4


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return photographs.tree(tmp_path_factory.mktemp("images"))


def tiny(root):
    config = imagenet_train.get_config("smoke")
    config.compilation_cache, config.devices, config.arch = "", 2, ALL_CONV
    config.checkpoint_every_steps = 2
    config.data.path, config.data.image_size, config.data.workers = str(root), 8, 0
    config.data.valid_examples = 0
    config.space.name, config.network.channels, config.network.stem = "nasbench201", 2, "cifar"
    config.train.epochs, config.train.batch_size, config.train.evaluate_every_epochs = EPOCHS, 6, 2
    return config


def test_the_configs_are_sound():
    for variant in ("", "smoke", "8"):
        config = imagenet_train.get_config(variant)
        config.arch = architectures.named(read(config, "train"), "naonet_v2")
        config.devices = 1
        plan(config, "train")
        assert (config.train.batch_size, config.train.learning_rate) == {
            "": (128, 0.1),
            "smoke": (20, 0.05),
            "8": (1024, 0.8),
        }[variant]
    for variant in ("x", "0", "-1"):
        with pytest.raises(ValueError, match=f"variant '{variant}'"):
            imagenet_train.get_config(variant)


class MeanColour(nn.Module):
    """Tells classes by the mean colour of the image: a network that compiles in no time."""

    @nn.compact
    def __call__(self, images, *, train=False, drop_path=None, given=False):
        matrix = parameter(self, "matrix", CLASSES, 3)
        return images.mean((1, 2)) @ matrix.T


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory):
    """The folder of a training on two devices, of a network that does not take long."""
    config, folder = tiny(root), tmp_path_factory.mktemp("training") / "w"
    config.train.epochs, config.train.learning_rate, config.train.average_decay = 12, 0.1, 0.5
    config.train.evaluate_every_epochs, config.data.jitter = 6, 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Plan, "network", lambda *_: MeanColour())
        assert toys.run(train_job, config, folder) == 0
        yield folder


def test_a_real_one_learns(trained):
    result, rows, *_ = ends(trained)
    assert result["test"] is None and result["train"]["images"] == 21
    assert result["valid"]["images"] == 9 and result["valid"]["top1"] > 0.6  # chance is 1/3
    assert result["valid"]["note"] == "all 9 images of the validation split"
    paces = [row for row in rows if row["phase"] == "train"]
    assert all(row["images_per_second"] > 0 and 0 <= row["waiting"] <= 1 for row in paces)
    assert len([row for row in rows if row["phase"] == "valid"]) == 2


def test_it_can_be_measured(trained):
    measured = accuracy.evaluate(trained, **EVALUATION | {"split": "valid", "batch_size": None})
    result = json.loads((trained / workdir.RESULT).read_text())["valid"]
    assert measured["top1_of_class"] == result["top1_of_class"]
    assert measured["loss"] == pytest.approx(result["loss"], rel=1e-5)
    with pytest.raises(UsageError, match="--split=test: .* only train, valid images"):
        accuracy.evaluate(trained, **EVALUATION | {"batch_size": None})


def test_what_others_need_to_use_it(trained):
    facts = workdir.read_network(trained)
    assert facts["image_shape"] == [8, 8, 3] and facts["mean"] == pytest.approx(
        [0.485, 0.456, 0.406]
    )
    words = "the middle square of 0.875 of the shorter side, resized to 8x8 pixels"
    assert facts["preparation"] == words and words in bundle._readme(facts, "x", [None])


@pytest.fixture
def made_up(monkeypatch):
    """In place of training and evaluation: a number that depends on all images and their order."""

    def make_alone(plan, images, architecture):
        settings = plan.settings
        steps = settings.train.epochs * (settings.data.trained_on(images) // 6)

        def train(state, batches, key, steps):
            weight, step = state.params["w"], int(state.step)
            for n in range(step, step + int(steps)):
                pixels, labels = map(np.asarray, next(batches))
                weight = weight * 0.5 + pixels.mean() + np.sin(labels.sum() + n)
            return state._replace(params={"w": weight}, step=np.int32(step + steps)), 1.0, 0.5

        def evaluate(state, batches):
            held = np.zeros(CLASSES, int)
            for _, labels, counts in batches:
                held += np.bincount(np.asarray(labels)[np.asarray(counts)], minlength=CLASSES)
            return Measures(0.5, 1.0, state.params["w"], held // 2, held)

        return toys.recipe(steps, settings.train.batch_size), train, evaluate

    toys.put_for_networks(monkeypatch, make_alone)


PACE = ("seconds", "images_per_second", "waiting")


def test_broken_off_anywhere_it_comes_to_the_same_end(made_up, root, tmp_path, monkeypatch):
    toys.run(train_job, tiny(root), tmp_path / "undisturbed")
    plain, breaks = train_job.Training, 0
    while not (tmp_path / "broken" / workdir.RESULT).exists():
        watch = toys.breaking_at(2 + breaks % 4)
        monkeypatch.setattr(train_job, "Training", toys.watched(plain, watch))
        config = tiny(root)
        config.devices = 1 + breaks % 2  # they do not matter to the images
        try:
            toys.run(train_job, config, tmp_path / "broken")
        except toys.Broken:
            breaks += 1
    assert breaks >= 3
    broken, expected = ends(tmp_path / "broken"), ends(tmp_path / "undisturbed")
    assert broken[0] | {"devices": 0} == expected[0] | {"devices": 0}
    for one, other in zip(broken[1], expected[1], strict=True):
        assert one | dict.fromkeys(PACE) == other | dict.fromkeys(PACE)
    for one, other in zip(broken[2:], expected[2:], strict=True):
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[name], other[name], equal_nan=True) for name in one)


def test_images_held_out_leave_the_validation_split_as_the_test(made_up, root, tmp_path):
    config = tiny(root)
    config.data.valid_examples, config.data.train_examples = 4, 14
    assert toys.run(train_job, config, tmp_path / "w") == 0
    result = json.loads((tmp_path / "w" / workdir.RESULT).read_text())
    assert (result["train"]["images"], result["valid"]["images"]) == (14, 4)
    assert result["valid"]["note"] == "4 images held out of the train split"
    assert result["test"]["images"] == 9


def test_other_images_are_refused(made_up, root, tmp_path, monkeypatch):
    monkeypatch.setattr(
        train_job, "Training", toys.watched(train_job.Training, toys.breaking_at(5))
    )
    with pytest.raises(toys.Broken):
        toys.run(train_job, tiny(root), tmp_path / "w")
    config = tiny(photographs.tree(tmp_path / "more", train=8))
    with pytest.raises(UsageError, match="began with other images"):
        toys.run(train_job, config, tmp_path / "w")


def test_the_mobile_setting(root):
    config = imagenet_train.get_config()
    config.data.name, config.data.path, config.data.valid_examples = "folder", str(root), 0
    config.train.batch_size = 8
    config.arch = architectures.named(plan(config), "naonet_v2")
    images = plan(config).load()
    message = r"has 671\.\d M multiply-adds .* allows 600\.0 M: --config\.network\.channels=44 is"
    with pytest.raises(UsageError, match=message):
        train_job.check_macs(plan(config), images)
    config.network.channels = 44
    train_job.check_macs(plan(config), images)
    config.network.channels, config.train.max_macs = 48, None
    train_job.check_macs(plan(config), images)


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"data.path": ""},
            "config.data.path is missing: name=.folder. is a folder with train/CLASS",
        ),
        ({"data.path": "/nowhere"}, "/nowhere: there is no such folder"),
        ({"data.name": "cifar10"}, "config.data.name='cifar10' goes with configs/cifar_train.py"),
        ({"data.least_area": 0.0}, "config.data.least_area=0.0 must be above 0"),
        ({"data.workers": -1}, "config.data.workers=-1 must be a whole number"),
        ({"data.valid_examples": 21}, "valid_examples=21 leaves none of the 21"),
        ({"train.batch_size": 22}, "train.batch_size=22 exceeds the 21 train images"),
        ({"data.image_size": 10}, "halves images twice"),
    ],
)
def test_bad_input(root, tmp_path, changes, message):
    config = tiny(root)
    for name, value in changes.items():
        section, field = name.split(".")
        config[section][field] = value
    with pytest.raises(ValueError, match=message):
        toys.run(train_job, config, tmp_path / "w")


def test_streamed_images_elsewhere():
    config = quickstart.get_config()
    config.data.name = "folder"
    with pytest.raises(UsageError, match="config.data.name='folder': .* train one network"):
        plan(config)
    config = cifar_train.get_config()
    config.data.name = "imagenet2012"
    with pytest.raises(UsageError, match="goes with configs/imagenet_train.py"):
        plan(config, "train")


def test_the_full_recipe_has_the_form_of_imagenet():
    config = imagenet_train.get_config()
    assert plan(config).form() == ((224, 224, 3), 1000)


# What the host makes ready, and what training consumes


def test_the_benchmark_of_streamed_images(root, capsys, monkeypatch):
    monkeypatch.setattr(pipeline, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(pipeline, "LEAST_IMAGES", 12)
    monkeypatch.setattr(Plan, "network", lambda *_: MeanColour())
    toys.run(pipeline, tiny(root), only=None, lines=[ALL_CONV], repeats=2, as_table=False)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = [f"{name}{of_core}" for name in pipeline.PARTS for of_core in ("", "_of_a_core")]
    assert [row["figure"] for row in rows] == names
    for row in rows:
        assert 0 < row["min"] <= row["median"] <= row["max"] and row["unit"] == "images/s"
    assert rows[0]["setting"]["workers"] == 0 and rows[2]["setting"]["batch"] == 6
    with pytest.raises(UsageError, match="--only=scoring is not one of"):
        toys.run(pipeline, tiny(root), only=["scoring"], lines=None, repeats=1, as_table=False)
    with pytest.raises(UsageError, match="config.data.name=.cifar10. is in memory; nothing is"):
        toys.run(
            pipeline, cifar_train.get_config(), only=None, lines=None, repeats=1, as_table=False
        )
