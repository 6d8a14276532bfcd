"""Several processes as one run: a TPU pod, the nodes of a cluster, or some on one machine."""

import contextlib
import importlib.util
import json
import os
import pathlib
import re
import socket

import jax

from bnao_jax.parallel import any_process, from_first
from launch.command import UsageError, abandon
from launch.run import machine, native, workdir

# Fields that may differ between the processes of a run: where each finds things.
MAY_DIFFER = (
    *("data.data_dir", "data.path", "data.workers", "truth", "search.latencies"),
    "compilation_cache",
)
TPU_DEVICES = ("accel0", "vfio/0")  # in /dev of a Cloud TPU virtual machine


PATIENCE = 300  # seconds


def join(coordinator=None, count=None, index=None, *, patience=PATIENCE):
    """Joins the other processes of the run, if there are any; to be called before all else.

    Args:
      coordinator: HOST:PORT of process 0.
      count: number of processes.
      index: number of this process, from 0. Without the three, jax finds them out where the
        environment is that of a cluster.
      patience: seconds after which a process ends that has not met the others, or, after a third
        of them, one that hears nothing of another.

    Raises:
      UsageError: one of the three is missing or cannot be, or the others did not come.
    """
    given = (coordinator, count, index)
    if any(value is not None for value in given):
        if None in given:
            raise UsageError("--coordinator, --processes and --process go together")
        if not 0 <= index < count:
            raise UsageError(f"--process={index} must be at least 0 and below --processes={count}")
    elif not in_cluster(os.environ):
        return
    if coordinator is not None:
        _check_address(coordinator, listens=index == 0)
    place = coordinator or "the address that the cluster says"
    met = []

    def meaning():
        if met:
            return (
                f"another process of the run has gone or has been silent for {patience / 3:.0f} s; "
                "the same command, started on all of them, goes on"
            )
        whose = "process 0 did not answer" if index else "not all processes came"
        return f"{whose} at {place} within {patience} s; --patience says how long they wait"

    native.report_aborts(meaning)
    # Without it a CPU knows nothing of other processes.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # SIGTERM is the keeper's
    try:
        jax.distributed.initialize(
            *(coordinator, count, index),
            initialization_timeout=patience,
            heartbeat_timeout_seconds=max(1, patience // 3),
        )
        met.append(True)
    except (ValueError, RuntimeError) as error:
        raise UsageError(
            f"the processes of the run did not find each other: {error} (--coordinator, "
            "--processes and --process say it where jax cannot find it out)"
        ) from None


def _check_address(coordinator, *, listens):
    """Raises UsageError where HOST:PORT is none, or, if it `listens`, this process cannot."""
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 2**16:
        raise UsageError(f"--coordinator={coordinator} must be HOST:PORT, as localhost:1234")
    if not listens:
        return
    with socket.socket(socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET) as probe:
        try:
            probe.bind(("", int(port)))
        except OSError as error:
            raise UsageError(
                f"--coordinator={coordinator}: process 0 cannot listen at port {port}: "
                f"{error.strerror}"
            ) from None


def agreed(make_plan):
    """`make_plan()`, of which every process has the same; called by all of them.

    Raises:
      UsageError: on all, where one of them can make none, or its config or packages are not those
        of process 0.
    """
    made, error = None, None
    try:
        made = make_plan()
    except UsageError as refused:
        error = refused
    if any_process(error is not None):
        raise error or UsageError("another process refuses what it is to do; its error says why")
    if jax.process_count() == 1:
        return made
    fields = workdir.fields_of(json.loads(made.text))
    mine = {f"config.{n}": value for n, value in fields.items() if n not in MAY_DIFFER}
    mine |= {f"the version of {name}": value for name, value in machine.versions().items()}
    first = json.loads(from_first({"text": json.dumps(mine)})["text"])
    mine = json.loads(json.dumps(mine))
    others = [name for name in (*first, *mine) if first.get(name) != mine.get(name)]
    if others:
        name, number = others[0], jax.process_index()
        error = UsageError(
            f"{name} is {mine.get(name)!r} on process {number} and {first.get(name)!r} on process "
            "0; all must have the same config and packages"
        )
    if any_process(error is not None):
        raise error or UsageError("another process has another config or packages; it says which")
    return made


def in_cluster(environ) -> bool:
    """Whether environment variables or devices speak of a run of several processes."""
    several = lambda name: environ.get(name, "1").isdigit() and int(environ.get(name, "1")) > 1
    slurm = "SLURM_STEP_NODELIST" in environ and several("SLURM_NTASKS")  # started by srun
    mpi = several("OMPI_COMM_WORLD_SIZE")
    kubernetes = "KUBERNETES_SERVICE_HOST" in environ and "JOB_COMPLETION_INDEX" in environ
    pod = "," in environ.get("TPU_WORKER_HOSTNAMES", "")
    return slurm or mpi or kubernetes or pod or _on_cloud_tpu()


def _on_cloud_tpu():
    if importlib.util.find_spec("libtpu") is None:
        return False
    return any(pathlib.Path("/dev", name).exists() for name in TPU_DEVICES)


@contextlib.contextmanager
def together():
    """Ends the process with an error where the block lost contact with the others."""
    try:
        yield
    except KeyboardInterrupt:
        if jax.process_count() == 1:
            raise
        abandon("interrupted", status=130)
    except Exception as error:
        if jax.process_count() == 1:
            raise
        reason = str(error).strip().partition("\n")[0]
        lost = isinstance(error, jax.errors.JaxRuntimeError) or re.match("[A-Z_]+: ", reason)
        abandon(
            f"{reason} (if another process of the run has gone: the same command, started on all "
            "of them, goes on)"
            if lost
            else error
        )


@contextlib.contextmanager
def on_first(context):
    """Enters a context on process 0 alone; yields its value there, None on the others.

    A UsageError there is one everywhere.
    """
    with contextlib.ExitStack() as held:
        value, error = None, ""
        if jax.process_index() == 0:
            try:
                value = held.enter_context(context)
            except UsageError as refused:
                error = str(refused)
        if error := from_first({"error": error})["error"]:
            raise UsageError(error)
        yield value
