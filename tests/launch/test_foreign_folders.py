"""Folders of runs that somebody else has made or changed: what is in them, and what is not."""

import json

import pytest
import test_searching
import toys
from test_searching import ends

from launch.command import UsageError
from launch.inputs import architectures
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


@pytest.mark.parametrize("name", ["checkpoints", "tensorboard", "report", "damaged"])
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
