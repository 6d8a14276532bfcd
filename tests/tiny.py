"""A search of seconds; as a program, one that kills itself where it is told to.

    python tests/tiny.py WORKDIR CACHE [--kill=PLACE:N] [--log=FILE] [--devices=N]

runs or continues it. PLACE is the beginning of a place in the search as `Search.where` says it, and
N the number of visits; "write" is the writing of a checkpoint, "ask" the strategy's proposing. FILE
receives the places visited.
"""

import argparse
import os
import signal
import threading

import conftest  # noqa: F401  names the tiny operations, and asks for eight devices
import jax
import widths_space  # noqa: F401  names its space

from configs import quickstart


def cells(nodes=3, operations=None):
    """The quickstart in the space of cells of the paper."""
    config = quickstart.get_config()
    config.space.name, config.space.nodes = "nao", nodes
    config.space.operations = operations or config.space.operations
    config.supernet.drop_path_keep, config.final.drop_path_keep = 0.9, 0.8
    return config


def tiny():
    """A search of seconds: three operations, two nodes, 8x8 digits."""
    config = cells(nodes=2, operations="tiny")
    config.compilation_cache = ""
    config.devices = 1
    config.network.channels = 2
    config.data.train_examples, config.data.valid_examples = 128, 40
    config.supernet.epochs, config.supernet.batch_size = 2, 32
    config.scoring.batch_size, config.scoring.per_dispatch = 32, 4
    config.search.initial, config.search.rounds, config.search.proposals = 12, 4, 4
    config.random_baseline.networks, config.random_baseline.epochs = 2, 2
    config.nao.parents, config.nao.epochs, config.nao.mutants = 6, 2, 20
    config.nao.unlabelled, config.nao.step_sizes = 10, 3
    config.final.top, config.final.epochs, config.final.batch_size = 2, 1, 32
    config.search.max_params, config.search.report = 4_000, False
    return config


def brief(cache, *, devices=1, finals=1, strategy="nao"):
    """The search of the program, in the space of which each start traces in a moment."""
    config = in_widths(tiny())
    config.compilation_cache, config.devices = str(cache), devices
    config.checkpoint_every_steps, config.scoring.score = 3, "loss"  # accuracies are often equal
    config.scoring.first_images = 10  # of 40
    config.search.rounds, config.final.top, config.random_baseline.networks = 2, finals, 0
    config.search.strategy = strategy
    return config


def in_widths(config):
    """The config with the space of `widths_space`."""
    config.space.name, config.network.channels, config.search.max_params = "widths", 6, 700
    config.supernet.drop_path_keep = config.final.drop_path_keep = 1.0
    config.final.auxiliary = False
    return config


class Assassin:
    """Kills the program at the N-th visit of a place, and writes all visits down."""

    def __init__(self, log, place, number):
        self.log, self.place, self.left = log, place, number

    def visits(self, where):
        """Notes a visit; whether it is the one to kill at."""
        print(where, file=self.log, flush=True)
        if not self.place or not where.startswith(self.place):
            return False
        self.left -= 1
        return self.left == 0

    def kill(self):
        """Ends the program with no time for anything."""
        os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, search):
        """Puts itself before the search's phases, its dispatches and its checkpoints."""

        class Watched(search):
            def __init__(this, *args):
                # Small programs are kept too: there are many, and every start compiles them.
                jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
                super().__init__(*args)
                between, keep = this.keeper.between, this.keeper.keep

                def watched_between(steps=0):
                    if self.visits(this.where()):
                        self.kill()
                    between(steps)

                def watched_keep(*score, **wait):
                    if self.visits("write"):
                        threading.Timer(0.02, self.kill).start()
                    keep(*score, **wait)

                this.keeper.between, this.keeper.keep = watched_between, watched_keep

            def ask(this, *args):
                if self.visits("ask"):
                    self.kill()
                return super().ask(*args)

        return Watched


def main():
    """Runs the search with what the arguments ask for."""
    from launch.config.plan import plan
    from launch.run import processes
    from launch.search import job as search_job

    parser = argparse.ArgumentParser()
    parser.add_argument("workdir")
    parser.add_argument("cache")
    parser.add_argument("--kill", default=":0")
    parser.add_argument("--log", default=os.devnull)
    parser.add_argument("--coordinator")
    parser.add_argument("--processes", type=int)
    parser.add_argument("--process", type=int)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--finals", type=int, default=1)
    parser.add_argument("--strategy", default="nao")
    parser.add_argument("--patience", type=int, default=60)
    parser.add_argument("--faster", type=float, default=1.0)
    args = parser.parse_args()
    place, _, number = args.kill.rpartition(":")
    settings = dict(devices=args.devices, finals=args.finals, strategy=args.strategy)
    config = brief(args.cache, **settings)
    config.supernet.learning_rate *= args.faster
    which = args.coordinator, args.processes, args.process
    processes.join(*which, patience=args.patience)
    with open(args.log, "a", encoding="utf-8") as log:
        search_job.Search = Assassin(log, place, int(number)).watch(search_job.Search)
        with processes.together():
            agreed = processes.agreed(lambda: plan(config))
            raise SystemExit(search_job.run(agreed, args.workdir))


if __name__ == "__main__":
    main()
