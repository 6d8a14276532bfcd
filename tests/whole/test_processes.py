"""Several processes are one run."""

import re
import signal
import socket

import pytest
from test_resume import assert_same_end, finish, run_here, start, wait

from launch.command import UsageError
from launch.run import processes


def meeting_of(count):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    return f"--coordinator=localhost:{port}", f"--processes={count}"


def start_all(folder, compiled, count, *args):
    meeting = meeting_of(count)
    # What every process would compile and nothing here is about is left out.
    flags = ("--finals=0", "--strategy=evolution", *args)
    return [start(folder, compiled, *meeting, f"--process={n}", *flags) for n in range(count)]


def test_two_processes_are_one_run_and_do_not_hang_when_one_dies(compiled, tmp_path):
    standalone, folder, log = tmp_path / "standalone", tmp_path / "work", tmp_path / "log"
    assert run_here(standalone, compiled, devices=2, finals=0, strategy="evolution") == 0
    first, second = start_all(folder, compiled, 2, f"--log={log}", "--patience=9")
    wait(first, log, "round 1 of 2, train, step 4")
    second.send_signal(signal.SIGSTOP)
    status, _, err = finish(first)
    second.kill()
    second.communicate()
    assert status == 1 and "another process of the run has gone" in err.splitlines()[-1]
    assert "stack trace" not in err
    log.unlink()
    first, second = start_all(folder, compiled, 2, f"--log={log}")
    wait(first, log, "round 1 of 2, score")
    first.kill()  # who writes, and at whose address the others meet
    status, _, err = finish(second)
    first.communicate()
    assert status == 1 and "another process of the run has gone" in err.splitlines()[-1]
    ends = [finish(process) for process in start_all(folder, compiled, 2)]
    assert [status for status, *_ in ends] == [0, 0], ends
    assert "continuing from checkpoint" in ends[0][1] and "Best architecture" in ends[0][1]
    assert "architecture" not in ends[1][1]  # the first alone speaks
    # Two devices in one process or in two: the same sums in the same order.
    assert_same_end(folder, standalone)


def test_bad_input_stops_all_processes(compiled, tmp_path):
    (tmp_path / "config.json").write_text("mine")
    ends = [finish(process) for process in start_all(tmp_path, compiled, 2)]
    assert all(status != 0 and "config.json cannot be read" in err for status, _, err in ends)


def test_processes_with_other_configs_end_before_any_work(compiled, tmp_path):
    meeting = *meeting_of(2), f"--log={tmp_path / 'log'}"
    first = start(tmp_path / "work", compiled, *meeting, "--process=0")
    second = start(tmp_path / "work", compiled, *meeting, "--process=1", "--faster=10")
    ends = [finish(process) for process in (first, second)]
    assert [status for status, *_ in ends] == [1, 1], ends
    assert "error: another process has another config or packages" in ends[0][2]
    assert "config.supernet.learning_rate is 0.5 on process 1 and 0.05 on process 0" in ends[1][2]
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("coordinator", ["x", "x:", ":1", "x:65536"])
def test_an_address_that_cannot_be_is_refused_by_every_process(coordinator, index):
    with pytest.raises(UsageError, match=f"--coordinator={coordinator} must be HOST:PORT"):
        processes.join(coordinator, 2, index, patience=1)


@pytest.mark.parametrize(
    "environ, several",
    [
        ({}, False),
        ({"SLURM_NTASKS": "4"}, False),  # allocated, but not started by srun
        ({"SLURM_NTASKS": "4", "SLURM_STEP_NODELIST": "n[1-2]"}, True),
        ({"SLURM_NTASKS": "1", "SLURM_STEP_NODELIST": "n1"}, False),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, True),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, False),  # a pod of its own
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}, True),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, False),
        ({"TPU_WORKER_HOSTNAMES": "t-0,t-1"}, True),
    ],
)
def test_clusters_are_known_by_their_environment(environ, several, monkeypatch):
    monkeypatch.setattr(processes, "_on_cloud_tpu", lambda: False)
    assert processes.in_cluster(environ) is several


@pytest.mark.parametrize(
    "given, message",
    [
        (("localhost:1", None, 0), "go together"),
        (("localhost:1", 2, 2), "--process=2 must be"),
    ],
)
def test_flags_that_cannot_be(given, message):
    with pytest.raises(UsageError, match=message):
        processes.join(*given)


def test_a_partner_that_never_comes_is_one_line(compiled, tmp_path):
    """With its exit status 1; neither an abort nor what native code says of it."""
    meeting = *meeting_of(2), "--patience=3"
    alone = start(tmp_path / "work", compiled, *meeting, "--process=1")
    status, _, err = finish(alone)
    assert status == 1 and len(err.splitlines()) == 1
    assert re.match(r"error: process 0 did not answer at localhost:\d+ within 3 s", err)


def test_a_port_that_is_taken_is_named(compiled, tmp_path):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen at port {port}: Address already"):
            processes.join(f"localhost:{port}", 2, 0)
    for bad in ("localhost", ":1", "localhost:x", "localhost:99999"):
        with pytest.raises(UsageError, match="must be HOST:PORT"):
            processes.join(bad, 2, 0)
