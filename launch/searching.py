"""The search job: data, shared weights, rounds, finals; kept on the way, and continued."""

from typing import Any, NamedTuple

import jax
import numpy as np

from bnao_jax import supernet_training
from bnao_jax.checkpoint import fill, flat
from bnao_jax.parallel import from_first
from bnao_jax.score import KINDS, Measured, score
from bnao_jax.search import EVALUATE, PROPOSE, TRAIN, SearchState, begin, search
from launch import jobs, latencies, wiring, workdir
from launch.results import Results, summary
from launch.trainings import ACCURACY, NO_SCORES, TrainingJob

PHASES = {TRAIN: "train", EVALUATE: "score", PROPOSE: "propose"}


def run(config, folder, *, restart=False) -> int:
    """Runs or continues the search of a config in a folder; returns the exit status."""
    make = lambda *made: Search(*made)
    told = jobs.finished_by(workdir.RESULT, "search", summary)

    def finished(folder):
        done = told(folder)
        if done and not (folder / workdir.REPORT).exists():
            report(config, folder)
        return done

    checks = dict(check=check, check_data=wiring.check_data, finished=finished)
    return jobs.run(make, config, folder, restart=restart, **checks)


def report(config, folder):
    """Makes the report of a finished search, if it is wanted; says so where that fails."""
    if not config.search.report:
        return
    try:
        from launch import reporting  # what draws is not needed to search

        print(f"Report: {reporting.report(folder)}", flush=True)
    except Exception as error:  # whatever it is, the search is done and kept
        lines = " ".join(str(error).split()) or type(error).__name__
        print(f"warning: there is no report: {lines}; python -m launch.report tries again")


def check(config):
    """Raises UsageError naming the first field that cannot be; needs neither data nor compiler."""
    wiring.check(config)
    latencies.check(config, wiring.make_outline(config, classes=10))


class Progress(NamedTuple):
    """How far a search has come: all that a checkpoint holds.

    Attributes:
      search: the rounds.
      supernet: shared weights, momentum, step within the round.
      counts: int64[capacity], how often the present round trained each of its architectures.
      partial: float32[2, …], accuracies and losses of the evaluation under way.
      measured: float32[2, P], accuracies and losses of the architectures, as scored last.
      control: float32[2, …], those of the random control, once they are all known.
      alone: float64[…], validation accuracies of the finals that are done.
      final: training state of the final under way, or ().
    """

    search: SearchState
    supernet: supernet_training.State
    counts: np.ndarray
    partial: np.ndarray
    measured: np.ndarray
    control: np.ndarray
    alone: np.ndarray
    final: Any


class Search(TrainingJob):
    """One search: what it is made of, how far it has come, and how long each part took."""

    PARTS = ("train", "score", "strategy", "final")

    def __init__(self, config, folder, images):
        super().__init__(config, folder, images)
        self.latencies = self.load_latencies()
        latency_of = self.latencies and self.latencies.predict
        self.accept = wiring.make_limit(config, self.cost_of, latency_of)
        self.strategy = wiring.make_strategy(config, self.outline, self.accept)
        keys = jax.random.split(jax.random.key(config.seed), 6)
        self.seed_key, self.begin_key, self.search_key = keys[:3]
        self.train_key, self.final_key, self.control_key = keys[3:]
        seeds = self.space.sample(self.seed_key, config.search.seeds, accept=self.accept)
        self.capacity = max(config.search.seeds, config.search.proposals)
        self.progress = Progress(
            search=begin(self.begin_key, self.strategy, seeds),
            supernet=self.make_supernet(config),
            counts=np.zeros(self.capacity, np.int64),
            **dict(partial=NO_SCORES, measured=NO_SCORES, control=NO_SCORES),
            **dict(alone=np.zeros(0), final=()),
        )
        self.results = Results(folder, self.space, self.cost_of)

    def load_latencies(self):
        """The table, where there is a limit; says how well it predicts."""
        if self.config.search.max_latency is None:
            return None
        found = latencies.load_latencies(self.config, self.outline, self.images.image_shape)
        self.say(
            f"latency: predicted from {len(found.pool)} measured architectures; leaving one out, "
            f"the median error is {100 * found.model.error:.1f} %"
        )
        return found

    def inputs(self):
        """Images and, if there is a limit, latencies."""
        if self.latencies is None:
            return super().inputs()
        number = jobs.number_of(self.latencies.pool, self.latencies.seconds)
        return super().inputs() | {"latencies": number}

    def work(self):
        """Searches, trains the best alone, writes the files, prints the summary."""
        self.rounds()
        self.score_control()
        self.finish(*self.finals())
        if self.folder is not None:
            report(self.config, self.folder)

    def weights(self, progress):
        """Shared weights, and the training state of the final under way."""
        return progress.supernet.params, progress.final

    def restore(self, arrays):
        """Takes up the progress that a checkpoint holds."""
        final = {n.removeprefix("final/"): a for n, a in arrays.items() if n.startswith("final/")}
        rest = {name: leaf for name, leaf in arrays.items() if not name.startswith("final/")}
        progress = fill(self.progress, rest)
        number, phase = int(progress.search.round), int(progress.search.phase)
        self.progress = progress._replace(
            search=progress.search._replace(round=number, phase=phase)
        )
        self.show_best()
        if final:
            pool, _, _ = self.finalists()
            *_, fresh = self.make_alone(pool[len(progress.alone)], self.final_key)
            self.progress = self.progress._replace(final=fill(fresh, final))

    def where(self) -> str:
        """The present place in the search, in words."""
        state, rounds = self.progress.search, self.config.search.rounds
        if state.round > rounds and not self.control_is_known():
            return "the random control"
        finals = min(self.config.final.top, len(state.population.pool)) + bool(
            self.config.search.control
        )
        if state.round > rounds and len(self.progress.alone) < finals * bool(self.config.final.top):
            return f"final {len(self.progress.alone) + 1} of {finals}"
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
            self.space,
            self.strategy._replace(tell=self.tell, ask=self.ask),
            train=self.train,
            evaluate=self.evaluate,
            rounds=self.config.search.rounds,
            proposals=self.config.search.proposals,
            trained_rounds=wiring.trained_rounds(self.config),
            rescored=not self.config.supernet.from_scratch,
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
        """Lets the display say how accurate the best is so far."""
        if not np.isnan(self.progress.search.population.scores).all():
            self.display.standing = f"best {self.accuracy_of_best():.4f} so far"

    def accuracy_of_best(self):
        """Accuracy, with shared weights, of the architecture of the best score."""
        scores = self.progress.search.population.scores
        return self.progress.measured[ACCURACY, np.nanargmax(scores)]

    def tell(self, state, *args):
        """Lets the strategy learn, and lets all processes know what the first has learned."""
        title = f"round {self.progress.search.round} of {self.config.search.rounds}: learn"
        with self.timed("strategy"), self.display.phase(title, 1, "epochs") as self.learned:
            known, facts = self.strategy.tell(state, *args)
            return fill(known, from_first(flat(known))), facts

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
        if self.config.supernet.from_scratch and int(self.progress.supernet.step) == 0:
            params = wiring.initial_weights(self.config, self.outline, self.images)
            fresh = supernet_training.initial_state(self.recipe, params)
            self.progress = self.progress._replace(supernet=fresh)
        self.train_paths(
            *(self.config, rows, jax.random.fold_in(self.train_key, number)),
            title=f"round {number} of {self.config.search.rounds}: train",
            place=f" of round {number}",
            round=number,
        )
        counts = self.progress.counts[: len(rows)]
        self.progress = self.progress._replace(
            supernet=supernet_training.initial_state(self.recipe, self.progress.supernet.params),
            counts=np.zeros(self.capacity, np.int64),
        )
        return counts

    def evaluate(self, number, pool, wanted):
        """Scores of a pool, of which some are measured with the present shared weights."""
        measured, before = np.full((2, len(pool)), np.nan, np.float32), self.progress.measured
        measured[:, : before.shape[1]] = before
        measured[:, wanted] = self.measure(number, pool[wanted])
        self.progress = self.progress._replace(measured=measured)
        return self.scores_of(pool, measured)

    def measure(self, number, pool):
        """Accuracies and losses of a pool with the shared weights, on the same images for all."""
        title = f"round {number} of {self.config.search.rounds}: score"
        return self.score_pool(pool, title=title)

    def scores_of(self, pool, measured):
        """What the search learns from, float32[P]; standardised among all that it has found."""
        known = lambda pool, measured: Measured(*measured, self.cost_of(pool).params)
        scoring, population = self.config.scoring, self.progress.search.population
        among = known(population.pool, self.progress.measured)
        found = score(
            scoring.score, known(pool, measured), size_weight=scoring.size_weight, among=among
        )
        return found.astype(np.float32)

    def on_round(self, state, facts):
        """Writes the round to the metrics and the pool to its file."""
        scores, accuracies = state.population.scores, self.progress.measured[ACCURACY]
        new = scores[state.population.born == state.round]
        self.metrics.write(
            **dict(phase="round", round=state.round, architectures=len(scores)),
            **dict(best=scores.max(), mean=scores.mean(), new_best=new.max(), new_mean=new.mean()),
            **dict(accuracy_of_best=self.accuracy_of_best(), mean_accuracy=accuracies.mean()),
            **facts,
        )
        pool = state.population.pool
        self.results.write_pool(state.population, **self.columns_of(pool, self.progress.measured))
        kind = self.config.scoring.score
        told = f"validation accuracy best {accuracies.max():.4f}, mean {accuracies.mean():.4f}"
        if kind != "accuracy":
            told += f"; that of the best by {KINDS[kind]} {self.accuracy_of_best():.4f}"
        self.say(
            f"round {state.round} of {self.config.search.rounds}: {len(scores)} architectures, "
            f"{told}"
        )

    # After the last round.

    def control(self):
        """Random architectures that nobody proposed, int32[C, D]."""
        seen = self.space.keys(self.progress.search.population.pool)
        size = self.config.search.control
        return self.space.sample(self.control_key, size, seen=seen, accept=self.accept)

    def control_is_known(self):
        """Whether the control is scored."""
        return self.progress.control.shape[1] == self.config.search.control

    def score_control(self):
        """Scores the control with the same weights."""
        if not self.control_is_known():
            measured = self.measure(self.config.search.rounds, self.control())
            self.progress = self.progress._replace(control=measured)
            self.keeper.keep()

    def finalists(self):
        """(pool, what was measured, number of those that are the search's): last the control's."""
        population, measured = self.progress.search.population, self.progress.measured
        best = population.best(max(1, self.config.final.top))
        pool, measured = population.pool[best], measured[:, best]
        if self.config.search.control:
            control, of_control = self.ordered_control()
            pool = np.concatenate([pool, control[:1]])
            measured = np.concatenate([measured, of_control[:, :1]], 1)
        return pool, measured, len(best)

    def ordered_control(self):
        """(pool, what was measured) of the control, best first."""
        pool, measured = self.control(), self.progress.control
        order = np.argsort(-self.scores_of(pool, measured), kind="stable")
        return pool[order], measured[:, order]

    def columns_of(self, pool, measured):
        """Score, accuracy and loss of a pool, as files have them; None where they are not known."""
        columns = self.scores_of(pool, measured), *measured
        plain = lambda column: [None if np.isnan(value) else float(value) for value in column]
        return dict(zip(("score", "accuracy", "loss"), map(plain, columns), strict=True))

    def finals(self):
        """Trains the best architectures alone, and writes what they reached, best first."""
        pool, measured, ours = self.finalists()
        columns = self.columns_of(pool, measured)
        if self.config.final.top:
            while (place := len(self.progress.alone)) < len(pool):
                title = f"final {place + 1} of {len(pool)}: train alone"
                accuracy, loss = self.train_alone(pool[place], self.final_key, title=title)
                self.metrics.write(phase="final", accuracy=accuracy, loss=loss)
                alone = np.append(self.progress.alone, accuracy)
                self.progress = self.progress._replace(alone=alone)
                self.keeper.keep()
            columns["accuracy_alone"] = self.progress.alone.tolist()
        rows = self.results.rows(pool, **columns)
        best = sorted(rows[:ours], key=lambda row: -row.get("accuracy_alone", 0.0))
        return best, rows[ours:]

    def finish(self, best, against):
        """Keeps the end of the search and writes the last files."""
        population = self.progress.search.population
        if self.config.search.control:
            control, measured = self.ordered_control()
            self.results.write_control(control, **self.columns_of(control, measured))
        self.keeper.keep(wait=True)
        self.results.write_result(
            best=best,
            control=against,
            scored_by=self.config.scoring.score,
            strategy=self.strategy.name,
            sampler=self.config.supernet.sampler,
            seed=self.config.seed,
            architectures=len(population.pool),
            supernet_steps=wiring.trained_rounds(self.config) * self.recipe.total_steps,
            seconds={name: round(value, 1) for name, value in self.seconds.items()},
            devices=[f"{d.platform} {d.device_kind}" for d in self.devices],
        )
