"""A search may be broken off anywhere, and comes to the same end."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import toys
from conftest import ROOT
from jax.experimental.compilation_cache import compilation_cache
from tiny import brief

from bnao_jax.checkpoint import Checkpoints
from launch.command import UsageError
from launch.search import job as search_job

TINY = ROOT / "tests" / "tiny.py"
KILLED = -signal.SIGKILL
# The writing of a checkpoint, here in training, the strategy's learning ("propose") and proposing,
# and the finals; and the visits that there are, at least. In training itself and in scoring the
# processes of `test_processes` are killed.
PLACES = (("write", 2), ("round 1 of 2, propose", 2), ("ask", 1), ("final", 3))


def start(folder, compiled, *args):
    return subprocess.Popen(
        [sys.executable, str(TINY), str(folder), str(compiled), *args],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def run_here(folder, compiled, **settings):
    """The search of a started program, in this process; returns the exit status."""
    before = jax.config.jax_compilation_cache_dir
    compilation_cache.reset_cache()  # else it keeps to what the process's first program found
    try:
        return toys.run(search_job, brief(compiled, **settings), folder)
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
        compilation_cache.reset_cache()


@pytest.fixture(scope="module")
def reference(tmp_path_factory, compiled):
    """The folder of a search that nobody disturbed."""
    folder = tmp_path_factory.mktemp("reference") / "work"
    assert run_here(folder, compiled) == 0
    return folder


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def newest(folder):
    checkpoints = Checkpoints(folder / "checkpoints")
    checkpoint = checkpoints.newest()
    checkpoints.close()
    return checkpoint.arrays


def assert_same_end(folder, reference):
    """All but wall-clock times and the cuts between dispatches, bit for bit."""
    assert (folder / "pool.jsonl").read_bytes() == (reference / "pool.jsonl").read_bytes()
    result, expected = (json.loads((f / "result.json").read_text()) for f in (folder, reference))
    del result["seconds"], expected["seconds"]
    assert result == expected
    arrays, expected = newest(folder), newest(reference)
    assert arrays.keys() == expected.keys()
    for name, leaf in expected.items():
        np.testing.assert_array_equal(arrays[name], leaf, err_msg=name)
    metrics = [row for row in rows(folder / "metrics.jsonl") if row["phase"] != "train"]
    for row, other in zip(
        metrics,
        [row for row in rows(reference / "metrics.jsonl") if row["phase"] != "train"],
        strict=True,
    ):
        assert row | {"seconds": 0} == other | {"seconds": 0}
    trained = [row for row in rows(folder / "metrics.jsonl") if row["phase"] == "train"]
    places = [(row["round"], row["step"]) for row in trained]
    assert places == sorted(set(places))  # nothing twice


def test_killed_in_every_phase_it_comes_to_the_same_end(reference, compiled, tmp_path, capsys):
    folder, draw = tmp_path / "work", random.Random()
    for place, visits in PLACES:
        number = draw.randint(1, visits)
        status, _, err = finish(start(folder, compiled, f"--kill={place}:{number}"))
        assert status == KILLED, (place, number, err)
        assert not (folder / "result.json").exists()
    assert run_here(folder, compiled) == 0
    assert "continuing from checkpoint" in capsys.readouterr().out
    assert_same_end(folder, reference)


def wait(process, log, place):
    """Until a search has come to a place."""
    while not log.exists() or place not in log.read_text():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def test_asked_to_stop_it_keeps_everything_and_says_how_to_go_on(compiled, tmp_path):
    folder, logs = tmp_path / "work", (tmp_path / "first", tmp_path / "second")
    first = start(folder, compiled, f"--log={logs[0]}")
    wait(first, logs[0], "round 1 of 2, train, step 4")
    with pytest.raises(UsageError, match="is in use by another run"):
        run_here(folder, compiled)
    first.send_signal(signal.SIGTERM)
    status, out, err = finish(first)
    assert status == 0, err
    assert "stopped by SIGTERM in round" in out and f"--workdir={folder}" in out
    assert "SIGTERM: ends after the present steps or compilation" in err
    # Statistics are of smaller shards on two devices, and the scores others.
    second = start(folder, compiled, "--devices=2", f"--log={logs[1]}")
    wait(second, logs[1], "round 1 of 2, score")
    second.send_signal(signal.SIGINT)
    status, out, err = finish(second)
    assert status == 130, err
    assert "continuing from checkpoint" in out and "stopped by SIGINT in round" in out
    assert "note: on 1 and 2 devices by turns" in out


def test_a_finished_search_is_not_run_again(reference, compiled, capsys):
    before = (reference / "result.json").stat().st_mtime_ns
    assert run_here(reference, compiled) == 0
    out = capsys.readouterr().out
    assert "This search is finished" in out and "Best architecture" in out
    assert (reference / "result.json").stat().st_mtime_ns == before
