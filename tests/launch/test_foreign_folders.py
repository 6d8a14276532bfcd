"""Folders of runs that somebody else has made or changed: what is in them, and what is not."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import test_searching
import toys
from conftest import ROOT
from test_searching import ends

from bnao_jax.checkpoint import Checkpoints
from launch.command import UsageError
from launch.inputs import architectures
from launch.report import page
from launch.run import workdir

# The search with toys.
make, expected, shared = (getattr(test_searching, n) for n in ("make", "expected", "shared"))


@pytest.fixture
def broken(make, tmp_path):
    """The folder of a search that was broken off."""
    with pytest.raises(toys.Broken):
        make(tmp_path / "work", toys.breaking_at(9))
    return tmp_path / "work"


@pytest.mark.parametrize("name", ["metrics.jsonl", "lock", "config.json"])
def test_no_file_is_written_or_read_through_a_link(make, broken, name):
    victim = broken.parent / "victim"
    victim.write_bytes((broken / name).read_bytes() + b"precious\n")
    before = victim.read_bytes()
    (broken / name).unlink()
    (broken / name).symlink_to(victim)
    with pytest.raises(UsageError, match=f"{name} (is a link|cannot be read)"):
        make(broken)
    assert victim.read_bytes() == before


@pytest.mark.parametrize("name", ["checkpoints", "tensorboard", "report", "damaged", "nao-0"])
def test_no_folder_is_written_through_a_link(make, broken, name):
    victim = broken.parent / "victim"
    if (broken / name).exists():
        (broken / name).rename(victim)
    else:
        victim.mkdir()
        (victim / "events.out.tfevents.1").write_text("precious")
    before = {path.name for path in victim.iterdir()}
    (broken / name).symlink_to(victim)
    with pytest.raises(UsageError, match=f"{name} is a link; what a run writes lies in its"):
        make(broken)
    assert {path.name for path in victim.iterdir()} == before


def test_a_link_within_the_checkpoints_is_found(make, broken):
    (newest, *_) = (broken / "checkpoints").glob("[0-9]*")
    (newest / "arrays" / "more").symlink_to("/etc")
    with pytest.raises(UsageError, match=f"checkpoints/{newest.name}/arrays/more is a link"):
        make(broken)


def test_a_result_that_is_a_device_is_no_result(tmp_path):
    (tmp_path / workdir.RESULT).symlink_to("/dev/zero")
    with pytest.raises(UsageError, match="there is no finished search"):
        architectures._of_folder(tmp_path)
    (tmp_path / workdir.CONFIG).symlink_to("/dev/zero")
    with pytest.raises(UsageError, match="config.json: is a link"):
        workdir.read_config(tmp_path)


def test_metrics_that_are_gone_are_named_and_the_search_goes_on(
    make,
    broken,
    expected,
    capsys,
):
    (broken / "metrics.jsonl").unlink()
    make(broken)
    assert f"warning: {broken}/metrics.jsonl lacks" in capsys.readouterr().out
    result, rows, pool, weight = ends(broken)
    assert (result, pool, weight) == (expected[0], expected[2], expected[3])
    assert 0 < len(rows) < len(expected[1]) and rows == expected[1][-len(rows) :]


def test_a_damaged_line_of_the_metrics_is_named_and_stays(make, broken, expected, capsys):
    path = broken / "metrics.jsonl"
    content = bytearray(path.read_bytes())
    content[2] = 0xFF
    path.write_bytes(content)
    make(broken)
    assert f"warning: line 1 of {path} is damaged" in capsys.readouterr().out
    lines = path.read_bytes().splitlines()
    assert len(lines) == len(expected[1])
    assert [json.loads(line) | {"seconds": 0} for line in lines[1:]] == expected[1][1:]


def test_a_folder_that_is_moved_ends_the_search_though_there_is_another(make, tmp_path):
    folder = tmp_path / "work"

    def move(job):
        evaluate = job.programs.evaluate

        def evaluate_and_move(*args, **named):
            if not (tmp_path / "moved").exists():
                folder.rename(tmp_path / "moved")
                folder.mkdir()
            evaluate(*args, **named)

        toys.exchange(job, evaluate=evaluate_and_move)

    with pytest.raises(UsageError, match=f"{folder} has been moved or removed"):
        make(folder, move)
    assert not (folder / "result.json").exists()
    assert make(tmp_path / "moved") == 0  # goes on from what was kept


def test_a_folder_that_is_removed_ends_the_search_and_stays_away(make, tmp_path, monkeypatch):
    folder, save = tmp_path / "work", Checkpoints.save

    def remove_and_save(*args, **named):
        shutil.rmtree(folder)
        save(*args, **named)

    monkeypatch.setattr(Checkpoints, "save", remove_and_save)
    with pytest.raises(UsageError, match=f"{folder} has been moved or removed"):
        make(folder)
    assert not folder.exists()


def test_counts_of_any_size_are_reported(make, tmp_path):
    folder = tmp_path / "work"
    make(folder)
    lines = (folder / "pool.jsonl").read_text().splitlines()
    rows = [json.loads(line) | {"times_trained": 2**31 + n} for n, line in enumerate(lines)]
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert page.report(folder).stat().st_size > 10_000


def test_closed_standard_output_is_one_line():
    """Also that of `--help`, whose end is nobody's loss."""
    for words, ending in (("--random=2000", (1, 1)), ("--help", (0, 0))):
        command = [sys.executable, "-m", "launch.inspect", "--config=configs/quickstart.py", words]
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run(command, cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True)
        os.close(write)
        assert (done.returncode, len(done.stderr.splitlines())) == ending, done.stderr
        assert "standard output is closed" in done.stderr or words == "--help"
