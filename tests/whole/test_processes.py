"""Several processes are one run."""

import signal
import socket

import pytest
from test_resume import assert_same_end, finish, run_here, start, wait

from launch.command import UsageError
from launch.run import processes


def start_all(folder, compiled, count, *args):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    meeting = f"--coordinator=localhost:{port}", f"--processes={count}"
    # What every process would compile and nothing here is about is left out.
    flags = ("--finals=0", "--strategy=evolution", *args)
    return [start(folder, compiled, *meeting, f"--process={n}", *flags) for n in range(count)]


def test_two_processes_are_one_run_and_do_not_hang_when_one_dies(compiled, tmp_path):
    standalone, folder, log = tmp_path / "standalone", tmp_path / "work", tmp_path / "log"
    assert run_here(standalone, compiled, devices=2, finals=0, strategy="evolution") == 0
    first, second = start_all(folder, compiled, 2, f"--log={log}")
    wait(first, log, "round 1 of 2, train, step 4")
    second.kill()
    status, _, err = finish(first)
    second.communicate()
    assert status not in (0, -signal.SIGKILL) and "another process of the run has gone" in err
    log.unlink()
    first, second = start_all(folder, compiled, 2, f"--log={log}")
    wait(first, log, "round 1 of 2, score")
    first.kill()  # who writes, and at whose address the others meet
    status, _, err = finish(second)
    first.communicate()
    assert status not in (0, -signal.SIGKILL) and err
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
