"""What a training takes from the search whose best it trains."""

import json

import pytest
from tiny import cells

from configs import cifar, cifar_train, imagenet_train
from launch.command import UsageError
from launch.config.plan import read
from launch.run import workdir
from launch.train.taken import take


@pytest.fixture
def left(tmp_path):
    """A function that leaves a search's config in a folder."""

    def leave(config):
        text = config if isinstance(config, str) else config.to_json()
        (tmp_path / workdir.CONFIG).write_text(text)
        return tmp_path

    return leave


def test_a_search_on_other_images_brings_all_that_fits_them(left):
    config, search = cifar_train.get_config(), cells()
    taken = take(config, left(search), set())
    assert config.space == search.space and config.network == search.network
    assert (config.data.name, config.data.pad, config.data.cutout) == ("digits", 1, 0)
    assert config.data.valid_examples == 0 and config.train.epochs == 600  # the recipe's own
    assert not config.train.auxiliary
    assert taken["space.nodes"] == 3 and taken["network.channels"] == 8
    read(config, "train").check()


def test_on_the_same_images_the_recipe_keeps_its_size(left):
    config, search = cifar_train.get_config(), cifar.get_config()
    search.space.nodes, search.data.data_dir = 4, "/data"
    assert take(config, left(search), set()) == {"space.nodes": 4, "data.data_dir": "/data"}
    assert (config.network.channels, config.data.cutout) == (36, 16)


def test_what_the_user_says_stays(left):
    config = cifar_train.get_config()
    config.network.channels, config.data.pad = 5, 3
    taken = take(config, left(cells()), {"network.channels", "data.pad"})
    assert (config.network.channels, config.data.pad) == (5, 3) and config.network.cells == 1
    assert not {"network.channels", "data.pad"} & taken.keys()
    config = cifar_train.get_config()
    taken = take(config, left(cells()), {"data.name"})
    assert set(taken) == {"space.nodes"}


def test_streamed_images_take_the_space_alone(left):
    taken = take(imagenet_train.get_config(), left(cells()), set())
    assert set(taken) == {"space.nodes"}


@pytest.mark.parametrize(
    "change", [{"space": {"nodes": "many"}}, {"data": {"name": "x", "pad": [1]}}]
)
def test_damage_is_one_line(change, left):
    text = json.dumps({"job": "search"} | change)
    with pytest.raises(UsageError, match="is damaged"):
        take(cifar_train.get_config(), left(text), set())


@pytest.mark.parametrize("change", [{"space": 3}, {"data": []}, {}])
def test_sections_that_are_none_give_nothing(change, left):
    text = json.dumps({"job": "search"} | change)
    assert take(cifar_train.get_config(), left(text), set()) == {}
