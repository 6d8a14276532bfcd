"""The search job: data, shared weights, rounds, finals; kept on the way, and continued."""

from typing import Any, NamedTuple

import jax
import numpy as np

from bnao_jax import data
from bnao_jax.checkpoint import fill, flat
from bnao_jax.objective import KINDS, Measured, score
from bnao_jax.parallel import from_first
from bnao_jax.search import EVALUATE, PROPOSE, TRAIN, SearchState, begin, search
from bnao_jax.training import supernet as supernet_training
from launch.inputs import latencies
from launch.run import job as jobs
from launch.run import workdir
from launch.run.training_job import ACCURACY, NO_SCORES, TrainingJob
from launch.search.baseline import Baseline
from launch.search.forecast import Forecast
from launch.search.results import Results, summary

PHASES = {TRAIN: "train", EVALUATE: "score", PROPOSE: "propose"}


def run(plan, folder, *, restart=False) -> int:
    """Runs or continues the search of a plan in a folder; returns the exit status."""
    latencies.check(plan.settings.search, plan.space().decisions)
    says_finished = jobs.finished_by(workdir.RESULT, "search", summary)

    def finished(folder):
        done = says_finished(folder)
        if done and not (folder / workdir.REPORT).exists():
            report(plan, folder)
        return done

    # Looked up when it is called: tests watch it.
    make = lambda *parts: Search(*parts)
    return jobs.run(make, plan, folder, finished=finished, restart=restart)


def report(plan, folder):
    """Makes the report of a finished search, if it is wanted; says so where that fails."""
    if not plan.settings.search.report:
        return
    try:
        from launch.report import page

        print(f"Report: {page.report(folder, code=plan.code)}", flush=True)
    except Exception as error:  # whatever it is, the search is done and kept
        lines = " ".join(str(error).split()) or type(error).__name__
        print(f"warning: there is no report: {lines}; python -m launch.report tries again")


class Progress(NamedTuple):
    """How far a search has come: all that a checkpoint holds.

    Attributes:
      search: the rounds.
      supernet: shared weights, momentum, step within the round.
      counts: int64[capacity], how often the present round trained each of its architectures.
      partial: float32[2, …], accuracies and losses of the evaluation under way.
      solo: training state of the network that the baseline trains alone, or ().
      baseline: float64[2, …], accuracies of the networks that it has trained, on validation images
        and on those that judge.
      alone: float64[…], validation accuracies of the finals that are done.
      final: training state of the final under way, or ().
    """

    search: SearchState
    supernet: supernet_training.State
    counts: np.ndarray
    partial: np.ndarray
    solo: Any
    baseline: np.ndarray
    standalone: np.ndarray
    final: Any


class Search(TrainingJob):
    """One search: what it is made of, how far it has come, and how long each part took."""

    PARTS = ("train", "score", "strategy", "baseline", "final")

    def __init__(self, plan, folder, images):
        super().__init__(plan, folder, images)
        settings = self.settings.search
        self.latencies = self.load_latencies()
        latency_of = self.latencies and self.latencies.predict
        self.accept = plan.limit(self.space, images.image_shape, latency_of)
        self.strategy = plan.strategy(self.space, self.accept)
        keys = jax.random.split(plan.key, 6)
        self.initial_key, self.begin_key, self.search_key = keys[:3]
        self.train_key, self.final_key, baseline_key = keys[3:]
        self.baseline = Baseline(self, baseline_key)
        initial = self.decisions.sample(self.initial_key, settings.initial, accept=self.accept)
        self.capacity = max(settings.initial, settings.proposals)
        self.progress = Progress(
            search=begin(self.begin_key, self.strategy, initial, measures=len(NO_SCORES)),
            supernet=self.make_supernet(plan),
            counts=np.zeros(self.capacity, np.int64),
            partial=NO_SCORES,
            solo=(),
            baseline=np.zeros((2, 0)),
            standalone=np.zeros(0),
            final=(),
        )
        self.results = Results(folder, self.decisions, self.cost_of)
        self.forecast = Forecast(self)

    def load_latencies(self):
        """The table, where there is a limit; says how well it predicts."""
        if self.settings.search.max_latency is None:
            return None
        table = latencies.load_latencies(self.settings.search, self.space, self.images.image_shape)
        self.say(
            f"latency: predicted from {len(table.pool)} measured architectures; leaving one out, "
            f"the median error is {100 * table.model.error:.1f} %"
        )
        return table

    def inputs(self):
        """Images and, if there is a limit, latencies."""
        if self.latencies is None:
            return super().inputs()
        number = jobs.number_of(self.latencies.pool, self.latencies.seconds)
        return super().inputs() | {"latencies": number}

    def work(self):
        """Searches, trains the best alone, writes the files, prints the summary."""
        for line in self.forecast.plan():
            self.say(line)
        self.rounds()
        self.baseline.train()
        self.finish(self.finals())
        if self.folder is not None:
            report(self.plan, self.folder)

    def weights(self, progress):
        """Shared weights, and the training states of networks alone that are under way."""
        return progress.supernet.params, progress.solo, progress.final

    def restore(self, arrays):
        """Takes up the progress that a checkpoint holds."""
        progress = fill(self.progress, {n: a for n, a in arrays.items() if not _is_of_one(n)})
        number, phase = int(progress.search.round), int(progress.search.phase)
        self.progress = progress._replace(
            search=progress.search._replace(round=number, phase=phase)
        )
        self.show_best()
        parts = {name: _part(arrays, f"{name}/") for name in ("solo", "final")}
        if parts["solo"]:
            self.baseline.make_programs()
            state = fill(self.baseline.fresh(), parts["solo"])
            self.progress = self.progress._replace(solo=state)
        if parts["final"]:
            architecture = self.finalists()[len(progress.standalone)]
            standalone = self.plan.standalone(
                self.space, self.images, architecture, self.final_key, self.devices
            )
            self.progress = self.progress._replace(final=fill(standalone.state, parts["final"]))

    def where(self) -> str:
        """The present place in the search, in words."""
        state, rounds = self.progress.search, self.settings.search.rounds
        if state.round > rounds and (done := self.baseline.done) < len(self.baseline.pool):
            return f"network {done + 1} of {len(self.baseline.pool)} of the random baseline"
        finals = min(self.settings.final.top, len(state.population.pool))
        if state.round > rounds and len(self.progress.standalone) < finals:
            return f"final {len(self.progress.standalone) + 1} of {finals}"
        if state.round > rounds:
            return "the end"
        step = f", step {int(self.progress.supernet.step)}" if state.phase == TRAIN else ""
        return f"round {state.round} of {rounds}, {PHASES[state.phase]}{step}"

    # The slots of Algorithm 1.

    def rounds(self):
        """Runs what is left of the rounds."""
        search(
            self.search_key,
            self.progress.search,
            self.decisions,
            self.strategy._replace(tell=self.tell, ask=self.ask),
            train=self.train,
            evaluate=self.evaluate,
            objective=self.scores_of,
            rounds=self.settings.search.rounds,
            proposals=self.settings.search.proposals,
            trained_rounds=self.settings.search.rounds_that_train,
            rescored=not self.settings.supernet.from_scratch,
            on_phase=self.on_phase,
            on_part=self.on_part,
            on_round=self.on_round,
        )

    def on_phase(self, state):
        """Keeps the search where a phase ends; the best one is the one just evaluated."""
        self.progress = self.progress._replace(search=state)
        self.show_best()
        evaluated = state.phase == PROPOSE
        self.keeper.keep(float(self.accuracy_of_best()) if evaluated else None)
        self.keeper.between()

    def show_best(self):
        """Lets the display say how accurate the best is so far, and when the rounds will end."""
        known = not np.isnan(self.progress.search.population.scores).all()
        best = f"best {self.accuracy_of_best():.4f} so far" if known else ""
        self.display.standing = ", ".join(filter(None, (best, self.forecast.left())))

    def counted(self, kind, units):
        self.forecast.count(kind, units)
        self.show_best()

    def accuracy_of_best(self):
        """Accuracy, with shared weights, of the architecture of the best score."""
        scores = self.progress.search.population.scores
        return self.progress.search.population.measured[np.nanargmax(scores), ACCURACY]

    def tell(self, state, *args):
        """Lets the strategy learn, and lets all processes know what the first has learned."""
        title = f"round {self.progress.search.round} of {self.settings.search.rounds}: learn"
        with self.timed("strategy"), self.display.phase(title, 1, "epochs") as self.learned:
            state, facts = self.strategy.tell(state, *args)
            return fill(state, from_first(flat(state))), facts

    def on_part(self, state, done, total):
        """Keeps the search while the strategy learns."""
        self.progress = self.progress._replace(search=state)
        self.learned(done=done, total=total)
        self.keeper.between()

    def ask(self, *args):
        """The strategy's proposals, the first process's on all."""
        with self.timed("strategy"), self.display.phase("propose architectures", None, ""):
            pool, facts = self.strategy.ask(*args)
            return from_first({"pool": pool})["pool"], facts

    def train(self, number, rows):
        """Trains the shared weights for one round; the schedule restarts.

        Weights carry over, or the round begins with those of the first.
        """
        if self.settings.supernet.from_scratch and int(self.progress.supernet.step) == 0:
            self.progress = self.progress._replace(supernet=self.initial_supernet(self.plan))
        self.train_paths(
            rows,
            jax.random.fold_in(self.train_key, number),
            title=f"round {number} of {self.settings.search.rounds}: train",
            place=f" of round {number}",
            round=number,
        )
        counts = self.progress.counts[: len(rows)]
        self.progress = self.progress._replace(
            supernet=supernet_training.initial_state(self.recipe, self.progress.supernet.params),
            counts=np.zeros(self.capacity, np.int64),
        )
        return counts

    def evaluate(self, number, pool):
        """Accuracies and losses float32[P, 2] with the present weights, on the same images."""
        title = f"round {number} of {self.settings.search.rounds}: score"
        return self.score_pool(pool, title=title).T

    def scores_of(self, pool, measured, among=None):
        """What the search learns from, float32[P], of a pool's accuracies and losses [P, 2].

        Standardised `among` (pool, measured), by default these.
        """
        of = lambda pool, measured: Measured(*measured.T, self.cost_of(pool).params)
        scoring, results = self.settings.scoring, of(pool, measured)
        among = results if among is None else of(*among)
        scores = score(scoring.score, results, size_weight=scoring.size_weight, among=among)
        return scores.astype(np.float32)

    def on_round(self, state, facts):
        """Writes the round to the metrics and the pool to its file."""
        scores, accuracies = state.population.scores, state.population.measured[:, ACCURACY]
        new = scores[state.population.born == state.round]
        self.metrics.write(
            phase="round",
            round=state.round,
            architectures=len(scores),
            best=scores.max(),
            mean=scores.mean(),
            new_best=new.max(),
            new_mean=new.mean(),
            accuracy_of_best=self.accuracy_of_best(),
            mean_accuracy=accuracies.mean(),
            **facts,
        )
        columns = self.columns_of(state.population.pool, state.population.measured)
        self.results.write_pool(state.population, **columns)
        kind = self.settings.scoring.score
        words = f"validation accuracy best {accuracies.max():.4f}, mean {accuracies.mean():.4f}"
        if kind != "accuracy":
            words += f"; that of the best by {KINDS[kind]} {self.accuracy_of_best():.4f}"
        self.say(
            f"round {state.round} of {self.settings.search.rounds}: {len(scores)} architectures, "
            f"{words}"
        )

    # After the last round.

    def finalists(self):
        """The best architectures, int32[…, D], best first: by their accuracy alone where known."""
        population = self.progress.search.population
        return population.pool[population.best(max(1, self.settings.final.top))]

    def searched(self):
        """(pool, what was measured) of all that was searched."""
        population = self.progress.search.population
        return population.pool, population.measured

    def columns_of(self, pool, measured):
        """Score, accuracy and loss of a pool, as files have them; None where they are not known."""
        columns = self.scores_of(pool, measured, self.searched()), *measured.T
        plain = lambda column: [None if np.isnan(value) else float(value) for value in column]
        return dict(zip(("score", "accuracy", "loss"), map(plain, columns), strict=True))

    def finals(self):
        """Trains the best architectures alone; rows of what they reached, best first."""
        pool, population = self.finalists(), self.progress.search.population
        columns = self.columns_of(pool, population.measured[population.best(len(pool))])
        if self.settings.final.top:
            while (place := len(self.progress.standalone)) < len(pool):
                title = f"final {place + 1} of {len(pool)}: train alone"
                accuracy, loss = self.train_standalone(pool[place], self.final_key, title=title)
                self.metrics.write(phase="final", accuracy=accuracy, loss=loss)
                standalone = np.append(self.progress.standalone, accuracy)
                self.progress = self.progress._replace(standalone=standalone)
                self.keeper.keep()
            columns["standalone_accuracy"] = self.progress.standalone.tolist()
        rows = self.results.rows(pool, **columns)
        return sorted(rows, key=lambda row: -row.get("standalone_accuracy", 0.0))

    def supernet_steps(self):
        """Steps that trained the supernet, all rounds together."""
        settings = self.settings
        per_epoch = data.steps_per_epoch(self.train_part.examples, settings.supernet.batch_size)
        return settings.search.rounds_that_train * settings.supernet.epochs * per_epoch

    def finish(self, best):
        """Keeps the end of the search and writes the last files."""
        population, steps = self.progress.search.population, self.supernet_steps()
        if len(self.baseline.pool):
            self.results.write_baseline(self.baseline.pool, **self.baseline.columns())
        self.keeper.keep(wait=True)
        if self.folder is not None:
            workdir.write_json(self.folder / workdir.NETWORK, self.network_facts())
        self.results.write_result(
            best=best,
            **self.baseline.figures(),
            scored_by=self.settings.scoring.score,
            strategy=self.strategy.name,
            sampler=self.settings.supernet.sampler,
            seed=self.settings.seed,
            architectures=len(population.pool),
            supernet_steps=steps,
            seconds={name: round(value, 1) for name, value in self.seconds.items()},
            devices=[f"{d.platform} {d.device_kind}" for d in self.devices],
        )


def _is_of_one(name):
    """Whether an array of a checkpoint is part of a network alone that is under way."""
    return name.startswith(("solo/", "final/"))


def _part(arrays, prefix):
    """The arrays of a checkpoint whose names begin with a prefix, without it."""
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
