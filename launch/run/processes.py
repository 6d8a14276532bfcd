"""Several processes as one run: a TPU pod, the nodes of a cluster, or some on one machine."""

import contextlib
import importlib.util
import os
import pathlib
import re

import jax

from bnao_jax.parallel import from_first
from launch.command import UsageError, abandon

TPU_DEVICES = ("accel0", "vfio/0")  # in /dev of a Cloud TPU virtual machine


def join(coordinator=None, count=None, index=None):
    """Joins the other processes of the run, if there are any; to be called before all else.

    Args:
      coordinator: HOST:PORT of process 0.
      count: number of processes.
      index: number of this process, from 0. Without the three, jax finds them out where the
        environment is that of a cluster.

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
    # Without it a CPU knows nothing of other processes.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # SIGTERM is the keeper's
    try:
        jax.distributed.initialize(coordinator, count, index)
    except (ValueError, RuntimeError) as error:
        raise UsageError(
            f"the processes of the run did not find each other: {error} (--coordinator, "
            "--processes and --process say it where jax cannot find it out)"
        ) from None


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
