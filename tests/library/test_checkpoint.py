"""Checkpoints give back what was saved, or say why not."""

import shutil
from typing import NamedTuple

import jax
import numpy as np
import optax
import pytest

from bnao_jax.checkpoint import CheckpointError, Checkpoints, fill, flat


class Toy(NamedTuple):
    weights: dict
    optimizer: tuple
    pool: np.ndarray
    step: int
    nothing: tuple = ()


def toy(size=3, fill_with=1.0):
    params = {"a": np.full((2, 3), fill_with, np.float32), "b": {"c": np.arange(size)}}
    optimizer = jax.tree.map(np.asarray, optax.adam(0.1).init({"a": params["a"]}))
    return Toy(params, optimizer, np.zeros((size, 4), np.int32), 2**40 + size)


def assert_same(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run" / "checkpoints"


@pytest.mark.parametrize("size", [3, 0])
def test_a_tree_comes_back_whole(folder, size):
    checkpoints = Checkpoints(folder)
    assert checkpoints.newest() is None
    checkpoints.save(toy(size), {"where": "here"})
    checkpoints.close()
    again = Checkpoints(folder)
    found = again.newest()
    again.close()
    assert (found.number, found.facts) == (1, {"where": "here"})
    # Another size in the template: shapes may differ, the structure may not.
    assert_same(fill(toy(5), found.arrays), toy(size))


def test_a_tree_of_another_run_is_refused():
    with pytest.raises(CheckpointError, match="'pool' is int64"):
        fill(toy(), flat(toy()._replace(pool=np.zeros((1, 2), np.int64))))
    arrays = flat(toy())
    del arrays["weights/a"]
    with pytest.raises(CheckpointError, match="'weights/a' does not fit"):
        fill(toy(), arrays)


def numbers(folder):
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def test_the_newest_two_and_the_best_are_kept(folder):
    checkpoints = Checkpoints(folder)
    for number, score in enumerate([None, 0.5, None, 0.4, None, None], 1):
        checkpoints.save(toy(), number, score=score)
    checkpoints.close()
    assert numbers(folder) == [2, 5, 6]
    # Nor does another process forget which was best.
    again = Checkpoints(folder)
    assert again.newest().number == 6
    again.save(toy(), 7, score=0.45)
    again.wait()
    assert numbers(folder) == [2, 6, 7]
    again.save(toy(), 8)
    again.save(toy(), 9, score=0.6)
    again.save(toy(), 10)
    again.save(toy(), 11)
    again.close()
    assert numbers(folder) == [9, 10, 11]


def damage_by_truncation(path):
    file = max(path.glob("arrays/d/*"), key=lambda file: file.stat().st_size)
    file.write_bytes(file.read_bytes()[:-20])


def damage_by_flipping(path):
    for file in path.glob("arrays/**/d/*"):
        content = bytearray(file.read_bytes())
        for at in range(len(content) // 3, len(content), 7):
            content[at] ^= 0x10
        file.write_bytes(content)


def damage_by_removal(path):
    shutil.rmtree(path / "arrays")


def damage_of_index(path):
    next(path.glob("index/*")).write_text('{"arrays": {"pool": ')


@pytest.mark.parametrize(
    "damage", [damage_by_truncation, damage_by_flipping, damage_by_removal, damage_of_index]
)
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_used(folder, damage):
    checkpoints = Checkpoints(folder)
    for number in (1, 2):
        checkpoints.save(toy(fill_with=number), number)
    checkpoints.close()
    damage(folder / "2")
    again, told = Checkpoints(folder), []
    found = again.newest(told.append)
    assert found.facts == 1
    assert_same(fill(toy(), found.arrays), toy(fill_with=1))
    assert len(told) == 1 and "2 is damaged" in told[0]
    assert (folder.parent / "damaged" / "2").is_dir()
    again.save(toy(fill_with=3), 3)
    again.close()
    assert Checkpoints(folder).newest().facts == 3


@pytest.mark.parametrize("content", ["{", '{"x": 1}', "[]"])
def test_a_damaged_score_is_damage(folder, content):
    checkpoints = Checkpoints(folder)
    for number in (1, 2):
        checkpoints.save(toy(), number, score=number)
    checkpoints.close()
    (folder / "2" / "metrics" / "metrics").write_text(content)
    again, told = Checkpoints(folder), []
    assert again.newest(told.append).facts == 1
    assert len(told) == 1 and "its score cannot be read" in told[0]
    again.save(toy(), 3, score=0.5)
    again.close()
    assert numbers(folder) == [1, 2]


def test_damage_to_all_is_an_error(folder):
    checkpoints = Checkpoints(folder)
    checkpoints.save(toy(), 1)
    checkpoints.close()
    damage_by_flipping(folder / "1")
    with pytest.raises(CheckpointError, match="all checkpoints of .* are damaged"):
        Checkpoints(folder).newest()
    assert (folder.parent / "damaged" / "1").is_dir()


def test_a_vanished_folder_is_reported(folder):
    checkpoints = Checkpoints(folder)
    shutil.rmtree(folder)
    with pytest.raises(CheckpointError, match="has vanished"):
        checkpoints.save(toy(), 1)
