"""Checkpoints give back what was saved, or say why not."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
from typing import NamedTuple

import jax
import numpy as np
import optax
import pytest

from bnao_jax import checkpoint as checkpoint_module
from bnao_jax.checkpoint import CheckpointError, Checkpoints, fill, flat, read


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


def change_of_facts(path):
    """A fact that is another one of the same form."""
    (file,) = (file for file in path.glob("index/*") if '"arrays"' in file.read_text())
    index = json.loads(file.read_text())
    file.write_text(json.dumps(index | {"facts": index["facts"] + 5}))


def change_of_a_shape(path):
    (file,) = (file for file in path.glob("index/*") if '"arrays"' in file.read_text())
    index = json.loads(file.read_text())
    index["arrays"]["pool"]["shape"] = [2**40, 2**20]
    file.write_text(json.dumps(index))


def pipe_in_place_of_a_file(path):
    file = next(path.glob("arrays/d/*"))
    file.unlink()
    os.mkfifo(file)


def link_in_place_of_a_file(path):
    file = next(path.glob("arrays/d/*"))
    file.rename(path.parent.parent / "elsewhere")
    file.symlink_to(path.parent.parent / "elsewhere")


DAMAGES = (
    *(pipe_in_place_of_a_file, link_in_place_of_a_file),
    *(damage_by_truncation, damage_by_flipping, damage_by_removal, damage_of_index),
    *(change_of_facts, change_of_a_shape),
)


@pytest.mark.parametrize("damage", DAMAGES)
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


# Reading what others write.


def snapshot(folder):
    content = lambda path: path.read_bytes() if path.is_file() else path.is_dir()
    return {path: content(path) for path in folder.parent.rglob("*")}


@pytest.mark.parametrize("damage", [lambda path: None, *DAMAGES])
def test_a_reader_changes_nothing(folder, damage):
    assert read(folder) is None and not folder.exists()
    with Checkpoints(folder) as checkpoints:
        for number, score in ((1, 0.9), (2, 0.5), (3, None)):
            checkpoints.save(toy(fill_with=number), number, score=score)
    (folder / "4.orbax-checkpoint-tmp").mkdir()  # as a writer has it that is at work
    (folder / "4.orbax-checkpoint-tmp" / "part").write_text("half")
    damage(folder / "3")
    before = snapshot(folder)
    assert read(folder).facts in (2, 3) and read(folder, best=True).facts == 1
    damage_by_flipping(folder / "1")
    before |= snapshot(folder / "1")
    with pytest.raises(CheckpointError, match="checkpoint 1 of .* cannot be read"):
        read(folder, best=True)
    assert snapshot(folder) == before | snapshot(folder)


WRITER = """
import sys, numpy as np
from bnao_jax.checkpoint import Checkpoints
with Checkpoints(sys.argv[1]) as checkpoints:
    for number in range(40):
        checkpoints.save({"pool": np.full(1000, number)}, number, score=float(number % 3))
"""


def test_a_reader_and_a_writer_do_not_disturb_each_other(folder):
    """The writer ends well, and the reader finds a checkpoint at every look."""
    command = [sys.executable, "-c", WRITER, str(folder)]
    root = pathlib.Path(__file__).parents[2]
    seen = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=root) as writer:
        while writer.poll() is None:
            if checkpoint := read(folder, best=len(seen) % 2):
                assert (checkpoint.arrays["pool"] == checkpoint.facts).all()
                seen.append(checkpoint.facts)
            assert not seen or checkpoint is not None
        assert writer.returncode == 0, writer.stderr.read()
    assert len(set(seen)) > 3


@pytest.mark.parametrize(
    "error, words",
    [
        ("RESOURCE_EXHAUSTED: Error writing x: No space left on device [{...}]", "No space left"),
        ('NOT_FOUND: Error opening "zarr" driver: {"driver": 1, "kvstore": {}}; see', "NOT_FOUND"),
        ("x" * 3_000, "xxx"),
    ],
)
def test_errors_are_short_and_without_json(error, words):
    text = checkpoint_module._first_line(ValueError(error))
    assert text.startswith(words) and len(text) <= 200 and "{" not in text
