"""The flags that all jobs have: where results go, and which of several processes this is."""

import pathlib

from absl import flags

from launch import command

WORKDIR = flags.DEFINE_string("workdir", None, "Folder for the results; runs/NAME by default.")
COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, of several.")
PROCESSES = flags.DEFINE_integer("processes", None, "Number of processes.")
PROCESS = flags.DEFINE_integer("process", None, "Number of this process, from 0.")
PATIENCE = flags.DEFINE_integer("patience", 300, "Seconds that processes wait.", lower_bound=3)
RESTART = flags.DEFINE_bool("restart", False, "Set earlier results in the folder aside.")


def run_job(job, config, *kinds) -> int:
    """The exit status of `job(plan, folder, restart=…)`, run by all processes together.

    Args:
      job: the function.
      config: what the plan is made of.
      kinds: of job, that the config may be for.
    """
    from launch.config.plan import plan
    from launch.run import processes

    which = COORDINATOR.value, PROCESSES.value, PROCESS.value
    processes.join(*which, patience=PATIENCE.value)
    name = pathlib.Path(flags.FLAGS[command.CONFIG.name].config_filename.split(":")[0]).stem
    with processes.together():
        agreed = processes.agreed(lambda: plan(config, *kinds))
        return job(agreed, WORKDIR.value or f"runs/{name}", restart=RESTART.value)
