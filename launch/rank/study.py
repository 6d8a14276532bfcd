"""The study job: what the length of training, the sampler and the sizes do to the ranking."""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

from bnao_jax import ranking, sampler
from bnao_jax.checkpoint import fill
from bnao_jax.objective import Measured, score
from bnao_jax.training import supernet as supernet_training
from launch import words
from launch.command import UsageError
from launch.config.plan import named
from launch.inputs.ground_truth import load_truth
from launch.plots import style
from launch.rank import plots
from launch.run import job as jobs
from launch.run import machine, workdir
from launch.run.training_job import ACCURACY, LOSS, NO_SCORES, TrainingJob

DIVERSE, SIMILAR = "diverse", "similar"
TABLED = "accuracy", "loss"  # kinds of score that tables are made of, beside the config's


class Run(NamedTuple):
    """One supernet of the study: which seed, which architectures, drawn how, for how long."""

    seed: int
    sizes: str
    sampler: str
    epochs: int


def run(plan, folder, *, restart=False) -> int:
    """Runs or continues the study of a plan in a folder; returns the exit status."""
    check(plan)
    make = lambda *parts: Study(*parts)
    finished = jobs.finished_by(workdir.STUDY, "study", summary)
    longest = plan_of(plan, max(runs_of(plan.settings), key=lambda run: run.epochs))
    return jobs.run(
        make,
        plan,
        folder,
        finished=finished,
        check_images=longest.check_images,
        restart=restart,
    )


def runs_of(settings):
    """All supernets of a study, in the order in which they are trained."""
    return [
        Run(seed, sizes, sampler, epochs)
        for seed in range(settings.seeds)
        for sizes in (DIVERSE, SIMILAR)
        for sampler in settings.study.samplers
        for epochs in settings.study.epochs
    ]


def plan_of(plan, run):
    """The plan of one supernet."""
    fields = dict(epochs=run.epochs, sampler=run.sampler)
    supernet = named("config.supernet", dataclasses.replace, plan.settings.supernet, **fields)
    return plan.replace(supernet=supernet, seed=plan.settings.seed + run.seed)


def check(plan):
    """Raises UsageError where supernets or the truth, if there is one, do not fit the plan."""
    config, space = plan.settings, plan.space().decisions
    study = config.study
    if study.candidates < 2 * study.architectures:
        raise UsageError(
            f"config.study.candidates={study.candidates} must be at least twice "
            f"config.study.architectures={study.architectures}"
        )
    there = space.cardinality
    if config.truth:
        there = len(load_truth(config.truth, study.column, space).pool)
    if study.candidates > there:
        raise UsageError(
            f"config.study.candidates={study.candidates} exceeds the {there} architectures of "
            + (f"config.truth={config.truth}" if config.truth else space.name)
        )
    for rule in study.samplers:
        if rule in sampler.WHOLE_SPACE:
            raise UsageError(
                f"config.study.samplers: {rule!r} draws from the whole space, not from the "
                "architectures of the study"
            )
        plan_of(plan, Run(0, DIVERSE, rule, study.epochs[0])).check()


class Progress(NamedTuple):
    """How far a study has come: all that a checkpoint holds.

    Attributes:
      alone: float64[…], validation accuracies of the networks that were trained alone.
      final: training state of the network that is trained alone, or ().
      run: supernets that are done.
      supernet: shared weights, momentum and step of the present one.
      counts: int64[k], how often it trained each architecture.
      partial: float32[2, …], the scores of the evaluation under way.
      scores: float32[runs, 2, k]; NaN before they are known.
    """

    standalone: np.ndarray
    final: Any
    run: int
    supernet: supernet_training.State
    counts: np.ndarray
    partial: np.ndarray
    scores: np.ndarray


class Study(TrainingJob):
    """One study: what it is made of, and how far it has come.

    With a table of known accuracies every seed draws its own architectures; where they have to be
    trained alone, all seeds share the same.
    """

    PARTS = ("final", "train", "score")

    def __init__(self, plan, folder, images):
        super().__init__(plan, folder, images)
        config, self.table = plan.settings, None
        if config.truth:
            self.table = load_truth(config.truth, config.study.column, self.decisions)
        draws = config.seeds if self.table else 1
        self.pools = [self.draw_pools(config.seed + n) for n in range(draws)]
        self.final_key = jax.random.fold_in(jax.random.key(config.seed), 2)
        self.runs, size = runs_of(config), config.study.architectures
        self.progress = Progress(
            standalone=np.zeros(0),
            final=(),
            run=0,
            supernet=self.start(0),
            partial=NO_SCORES,
            counts=np.zeros(size, np.int64),
            scores=np.full((len(self.runs), 2, size), np.nan, np.float32),
        )

    def inputs(self):
        """Images and, if there is a table, the truth."""
        if not self.table:
            return super().inputs()
        truth = self.table.of(self.table.pool, self.settings.study.column)
        return super().inputs() | {"accuracies": jobs.number_of(self.table.pool, truth)}

    def draw_pools(self, seed):
        """Architectures of diverse and of similar sizes, none in both: int32[k, D] by name."""
        size, candidates = self.settings.study.architectures, self.settings.study.candidates
        if self.table:
            order = np.random.RandomState(seed).permutation(len(self.table.pool))
            pool = self.table.pool[order[:candidates]]
        else:
            pool = self.decisions.sample(jax.random.key(seed), candidates)
        rest = pool[size:]
        sizes = np.log(self.cost_of(rest).params)
        nearest = np.argsort(np.abs(sizes - np.median(sizes)), kind="stable")[:size]
        return {DIVERSE: pool[:size], SIMILAR: rest[nearest]}

    def pool_of(self, run):
        """The architectures of a run, int32[k, D]."""
        return self.pools[run.seed % len(self.pools)][run.sizes]

    def start(self, number):
        """Makes a supernet's programs; returns its state before the first step."""
        plan = plan_of(self.plan, self.runs[number])
        self.key = jax.random.fold_in(plan.key, 1)
        return self.make_supernet(plan)

    def weights(self, progress):
        """Shared weights, and the training state of the network alone."""
        return progress.supernet.params, progress.final

    def restore(self, arrays):
        """Takes up the progress that a checkpoint holds."""
        final = {n.removeprefix("final/"): a for n, a in arrays.items() if n.startswith("final/")}
        rest = {name: leaf for name, leaf in arrays.items() if not name.startswith("final/")}
        progress = fill(self.progress, rest)
        self.progress = progress._replace(run=int(progress.run))
        if final:
            architecture = self.to_train()[len(progress.standalone)]
            standalone = self.plan.standalone(
                self.space, self.images, architecture, self.final_key, self.devices
            )
            self.progress = self.progress._replace(final=fill(standalone.state, final))
        if 0 < self.progress.run < len(self.runs):
            self.start(self.progress.run)

    def to_train(self):
        """The architectures that have to be trained alone, int32[…, D]."""
        if self.table:
            return np.zeros((0, self.decisions.length), np.int32)
        return np.concatenate([self.pools[0][DIVERSE], self.pools[0][SIMILAR]])

    def where(self) -> str:
        """The present place, in words."""
        done, networks = len(self.progress.standalone), len(self.to_train())
        if done < networks:
            return f"network {done + 1} of {networks} alone"
        if self.progress.run == len(self.runs):
            return "the end"
        return f"{self.title()}, step {int(self.progress.supernet.step)}"

    def title(self):
        """The present supernet, in words."""
        run = self.runs[self.progress.run]
        return (
            f"supernet {self.progress.run + 1} of {len(self.runs)} ({run.sizes} sizes, "
            f"{run.sampler}, {run.epochs} epochs)"
        )

    def work(self):
        """Trains networks alone, then all supernets, and writes what came of it."""
        networks = self.to_train()
        while (place := len(self.progress.standalone)) < len(networks):
            title = f"network {place + 1} of {len(networks)}: train alone"
            accuracy, loss = self.train_standalone(networks[place], self.final_key, title=title)
            self.metrics.write(phase="final", accuracy=accuracy, loss=loss)
            standalone = np.append(self.progress.standalone, accuracy)
            self.progress = self.progress._replace(standalone=standalone)
            self.keeper.keep()
        while self.progress.run < len(self.runs):
            self.train_and_score()
        self.finish()

    def train_and_score(self):
        """Trains the present supernet, scores its architectures, and goes on to the next."""
        number, run = self.progress.run, self.runs[self.progress.run]
        pool, title = self.pool_of(run), self.title()
        place = f" of {title}"
        self.train_paths(pool, self.key, title=f"{title}: train", place=place, supernet=number + 1)
        scores = self.score_pool(pool, title=f"{title}: score")
        self.progress.scores[number] = scores
        accuracy = self.accuracy_of(run, scores)
        facts = run._asdict() | {"pairwise_accuracy": accuracy}
        self.metrics.write(phase="score", supernet=number + 1, **facts)
        self.say(f"{title}: pairwise accuracy {accuracy:.3f}")
        self.progress = self.progress._replace(
            run=number + 1, counts=np.zeros_like(self.progress.counts)
        )
        if number + 1 < len(self.runs):
            self.progress = self.progress._replace(supernet=self.start(number + 1))
        self.keeper.keep()
        self.keeper.between()

    def truth_of(self, run):
        """Accuracies of a run's architectures alone: float64[k]."""
        if self.table:
            return self.table.of(self.pool_of(run), self.settings.study.column)
        size = self.settings.study.architectures
        return (
            self.progress.standalone[size:]
            if run.sizes == SIMILAR
            else self.progress.standalone[:size]
        )

    def accuracy_of(self, run, measured, kind=None):
        """Pairwise accuracy of a run, measured float32[2, k], by a kind of score."""
        results = Measured(*measured, self.cost_of(self.pool_of(run)).params)
        kind = kind or self.settings.scoring.score
        predicted = score(kind, results, size_weight=self.settings.scoring.size_weight)
        return ranking.pairwise_accuracy(predicted, self.truth_of(run))

    def finish(self):
        """Writes the tables, the scores and the picture, and prints the tables."""
        self.keeper.keep(wait=True)
        if self.folder is None:
            return
        result = self.result()
        workdir.write_pool(self.folder / workdir.SCORES, self.score_rows())
        style.write_png(self.folder, study=plots.study(result["by"]))
        workdir.write_json(self.folder / workdir.STUDY, result)
        print(summary(result, self.folder))

    def score_rows(self):
        """One dict for each supernet and architecture."""
        for run, scores in zip(self.runs, self.progress.scores, strict=True):
            pool = self.pool_of(run)
            params, truth = self.cost_of(pool).params, self.truth_of(run)
            for place, architecture in enumerate(pool):
                yield run._asdict() | {
                    "arch": self.decisions.format(architecture),
                    "params": int(params[place]),
                    "truth": float(truth[place]),
                    "accuracy": float(scores[ACCURACY, place]),
                    "loss": float(scores[LOSS, place]),
                }

    def result(self):
        """What study.json holds."""
        return {
            "by": {kind: self.table_of(kind) for kind in self.kinds()},
            "score": self.settings.scoring.score,
            "sizes": {name: self.sizes_of(name) for name in (DIVERSE, SIMILAR)},
            "architectures": self.settings.study.architectures,
            "images_scored_with": self.plan.scored_examples,
            "truth": self.settings.study.column if self.table else "trained alone",
            "seed": self.settings.seed,
            "seeds": self.settings.seeds,
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
            "devices": [f"{d.platform} {d.device_kind}" for d in self.devices],
            "versions": machine.versions(),
        }

    def kinds(self):
        """Kinds of score that tables are made of, each once."""
        return dict.fromkeys((*TABLED, self.settings.scoring.score))

    def table_of(self, kind):
        """The cells of the tables by one kind of score, and differences between them."""
        accuracies = [
            self.accuracy_of(run, scores, kind)
            for run, scores in zip(self.runs, self.progress.scores, strict=True)
        ]
        by_seed = np.reshape(accuracies, (self.settings.seeds, -1))
        cells = []
        for run, values in zip(self.runs, by_seed.T, strict=False):
            cell = {name: value for name, value in run._asdict().items() if name != "seed"}
            cells.append(cell | _with_error(values))
        return {"cells": cells, "differences": list(self.differences(by_seed))}

    def differences(self, by_seed):
        """Yields differences between rows of the tables, paired by seed."""
        places = {run[1:]: n for n, run in enumerate(self.runs[: by_seed.shape[1]])}
        first, *others = self.settings.study.samplers
        rows = [((SIMILAR, first), (DIVERSE, first))]
        rows += [
            ((sizes, other), (sizes, first)) for other in others for sizes in (DIVERSE, SIMILAR)
        ]
        for left, right in rows:
            for epochs in self.settings.study.epochs:
                values = by_seed[:, places[*left, epochs]] - by_seed[:, places[*right, epochs]]
                names = {"of": " ".join(left), "minus": " ".join(right), "epochs": epochs}
                yield names | _with_error(values)

    def sizes_of(self, name):
        """Parameters of a set of architectures, and how well they rank it."""
        params = [self.cost_of(pools[name]).params for pools in self.pools]
        truths = [self.truth_of(Run(n, name, "", 0)) for n in range(len(self.pools))]
        standalone = [ranking.pairwise_accuracy(*pair) for pair in zip(params, truths, strict=True)]
        everything = np.concatenate(params)
        return {
            "least_params": int(everything.min()),
            "median_params": float(np.median(everything)),
            "most_params": int(everything.max()),
            "of_params": _with_error(standalone),
        }


def _with_error(values):
    mean, error = ranking.mean_and_reach(values)
    error = None if np.isnan(error) else error
    return {
        "pairwise_accuracy": mean,
        "reach_95": error,
        "of_seeds": list(map(float, values)),
    }


def summary(result, folder) -> str:
    """The tables as text, first by the score that the config names."""
    lines = [
        "",
        f"Pairwise accuracy, %, of shared weights ({result['images_scored_with']} images) and "
        f"networks alone ({result['truth']}); {result['architectures']} architectures, mean ± "
        f"reach of the 95 % t-interval, {result['seeds']} supernets",
    ]
    for kind in sorted(result["by"], key=lambda name: name != result["score"]):
        table = result["by"][kind]
        epochs = list(dict.fromkeys(cell["epochs"] for cell in table["cells"]))
        row_of = lambda cell: f"{cell['sizes']} {cell['sampler']}"
        difference = lambda cell: f"{cell['of']} - {cell['minus']}"
        lines += ["", *_table(f"by {kind}", epochs, table["cells"], row_of)]
        lines += ["", *_table("  differences, by seed", epochs, table["differences"], difference)]
    lines.append("")
    for name, row in result["sizes"].items():
        lines.append(
            f"{name}: {row['least_params']:,} to {row['most_params']:,} parameters, median "
            f"{row['median_params']:,.0f}; ranked by them {_percent(row['of_params'])}"
        )
    return "\n".join([*lines, "", words.time_spent(result["seconds"]), f"Files: {folder}/"])


def _table(title, epochs, cells, name_of):
    yield f"{title:42}" + "".join(f"{f'{number} epochs':>14}" for number in epochs)
    rows = {}
    for cell in cells:
        rows.setdefault(name_of(cell), {})[cell["epochs"]] = _percent(cell)
    for name, row in rows.items():
        yield f"{name:42}" + "".join(f"{row[number]:>14}" for number in epochs)


def _percent(cell):
    error = cell["reach_95"]
    return f"{100 * cell['pairwise_accuracy']:.1f}" + (f" ± {100 * error:.1f}" if error else "")
