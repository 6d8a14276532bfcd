"""The search job: data, shared weights, rounds, finals; kept on the way, and continued."""

from typing import Any, NamedTuple

import jax
import numpy as np

from bnao_jax import supernet_training, training
from bnao_jax.checkpoint import fill, flat
from bnao_jax.nn.initialization import initialize
from bnao_jax.parallel import from_first, replicate
from bnao_jax.search import EVALUATE, PROPOSE, TRAIN, SearchState, begin, search
from launch import jobs, wiring
from launch.results import Results, finished

PHASES = {TRAIN: "train", EVALUATE: "score", PROPOSE: "propose"}


def run(config, folder, *, restart=False) -> int:
    """Runs or continues the search of a config in a folder; returns the exit status."""
    make = lambda *made: Search(*made)
    checks = dict(check=wiring.check, check_data=wiring.check_data, finished=finished)
    return jobs.run(make, config, folder, restart=restart, **checks)


class Progress(NamedTuple):
    """How far a search has come: all that a checkpoint holds.

    Attributes:
      search: the rounds.
      supernet: shared weights, momentum, step within the round.
      counts: int64[capacity], how often the present round trained each of its architectures.
      scores: float32[…] of the evaluation under way.
      control: float32[…], scores of the random control, once they are all known.
      alone: float64[…], validation accuracies of the finals that are done.
      final: training state of the final under way, or ().
    """

    search: SearchState
    supernet: supernet_training.State
    counts: np.ndarray
    scores: np.ndarray
    control: np.ndarray
    alone: np.ndarray
    final: Any


NO_SCORES = np.zeros(0, np.float32)


class Search(jobs.Job):
    """One search: what it is made of, how far it has come, and how long each part took."""

    PARTS = ("train", "score", "strategy", "final")

    def __init__(self, config, folder, images):
        super().__init__(config, folder, images)
        self.accept = wiring.make_limit(config, self.cost_of)
        self.strategy = wiring.make_strategy(config, self.space, self.accept)
        keys = jax.random.split(jax.random.key(config.seed), 6)
        self.seed_key, self.begin_key, self.search_key = keys[:3]
        self.train_key, self.final_key, self.control_key = keys[3:]
        seeds = self.space.sample(self.seed_key, config.search.seeds, accept=self.accept)
        made = wiring.make_supernet(config, self.outline, images, self.devices)
        params, self.train_steps, self.recipe, self.evaluate_pool = made
        self.capacity = max(config.search.seeds, config.search.proposals)
        self.progress = Progress(
            search=begin(self.begin_key, self.strategy, seeds),
            supernet=supernet_training.initial_state(self.recipe, params),
            counts=np.zeros(self.capacity, np.int64),
            **dict(scores=NO_SCORES, control=NO_SCORES, alone=np.zeros(0), final=()),
        )
        self.results = Results(folder, self.space, self.cost_of)

    def work(self):
        """Searches, trains the best alone, writes the files, prints the summary."""
        self.rounds()
        self.score_control()
        self.finish(*self.finals())

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
        if final:
            pool, _, _ = self.finalists()
            *_, fresh = self.make_final(pool[len(progress.alone)])
            self.progress = self.progress._replace(final=fill(fresh, final))

    def where(self) -> str:
        """The present place in the search, in words."""
        state, rounds = self.progress.search, self.config.search.rounds
        if state.round > rounds and len(self.progress.control) < self.config.search.control:
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
            on_phase=self.on_phase,
            on_part=self.on_part,
            on_round=self.on_round,
        )

    def on_phase(self, state):
        """Keeps the search where a phase ends; the best one is the one just evaluated."""
        self.progress = self.progress._replace(search=state)
        evaluated = state.phase == PROPOSE
        self.keeper.keep(float(state.population.scores.max()) if evaluated else None)
        self.keeper.between()

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
        """Trains the shared weights for one round; weights carry over, the schedule restarts."""
        params = self.cost_of(rows).params
        material = wiring.make_material(self.config, self.train_part, rows, params, self.capacity)
        material = replicate(material, self.devices)
        key = jax.random.fold_in(self.train_key, number)
        done = int(self.progress.supernet.step)
        title = f"round {number} of {self.config.search.rounds}: train"
        total = self.recipe.total_steps
        with self.timed("train"), self.display.phase(title, total, "steps", done=done) as advance:
            for step, steps in self.dispatches(self.recipe, len(self.train_part.labels), done):
                state = self.progress.supernet
                state, report = self.train_steps(state, material, key, np.int32(steps))
                loss, accuracy = float(report.loss), float(report.accuracy)
                self.check_finite(report, self.recipe, rows.__getitem__, f" of round {number}")
                counts = self.progress.counts + np.asarray(report.counts)
                self.progress = self.progress._replace(supernet=state, counts=counts)
                rate = float(self.recipe.learning_rate(step))
                self.metrics.write(
                    **dict(phase="train", round=number, step=step + steps, loss=loss),
                    **dict(accuracy=accuracy, learning_rate=rate),
                )
                advance(steps, f"loss {loss:.3f}")
                self.keeper.between(steps)
        counts = self.progress.counts[: len(rows)]
        self.progress = self.progress._replace(
            supernet=supernet_training.initial_state(self.recipe, self.progress.supernet.params),
            counts=np.zeros(self.capacity, np.int64),
        )
        return counts

    def evaluate(self, number, pool):
        """Scores a pool with the shared weights, on the same images for all."""
        count, done = wiring.scored_examples(self.config), len(self.progress.scores)
        valid = tuple(part[:count] for part in self.valid_part)
        calibration = self.train_part.images[: self.config.scoring.calibration_images]
        title = f"round {number} of {self.config.search.rounds}: score"

        def on_scores(found):
            scores = np.concatenate([self.progress.scores, found.accuracy])
            self.progress = self.progress._replace(scores=scores)
            advance(len(found.accuracy))
            self.keeper.between()

        phase = self.display.phase(title, len(pool), "architectures", done=done)
        with self.timed("score"), phase as advance:
            params = self.progress.supernet.params
            self.evaluate_pool(params, pool[done:], valid, calibration, progress=on_scores)
        scores = self.progress.scores
        self.progress = self.progress._replace(scores=NO_SCORES)
        return scores

    def on_round(self, state, facts):
        """Writes the round to the metrics and the pool to its file."""
        scores = state.population.scores
        new = scores[state.population.born == state.round]
        self.metrics.write(
            **dict(phase="round", round=state.round, architectures=len(scores)),
            **dict(best=scores.max(), mean=scores.mean(), new_best=new.max(), new_mean=new.mean()),
            **facts,
        )
        self.results.write_pool(state.population)
        self.say(
            f"round {state.round} of {self.config.search.rounds}: {len(scores)} architectures, "
            f"validation accuracy best {scores.max():.4f}, mean {scores.mean():.4f}"
        )

    # After the last round.

    def control(self):
        """Random architectures that nobody proposed, int32[C, D]."""
        seen = self.space.keys(self.progress.search.population.pool)
        size = self.config.search.control
        return self.space.sample(self.control_key, size, seen=seen, accept=self.accept)

    def score_control(self):
        """Scores the control with the same weights."""
        if len(self.progress.control) < self.config.search.control:
            scores = self.evaluate(self.config.search.rounds, self.control())
            self.progress = self.progress._replace(control=scores)
            self.keeper.keep()

    def finalists(self):
        """(architectures, scores, number of those that are the search's): last the control's."""
        population = self.progress.search.population
        best = population.best(max(1, self.config.final.top))
        pool, scores = population.pool[best], population.scores[best]
        if self.config.search.control:
            top = np.argsort(-self.progress.control, kind="stable")[:1]
            pool = np.concatenate([pool, self.control()[top]])
            scores = np.concatenate([scores, self.progress.control[top]])
        return pool, scores, len(best)

    def finals(self):
        """Trains the best architectures alone, and writes what they reached, best first."""
        pool, scores, ours = self.finalists()
        columns = {"score": [float(score) for score in scores]}
        if self.config.final.top:
            with self.timed("final"):
                while (place := len(self.progress.alone)) < len(pool):
                    title = f"final {place + 1} of {len(pool)}: train alone"
                    accuracy = self.train_alone(pool[place], title)
                    alone = np.append(self.progress.alone, accuracy)
                    self.progress = self.progress._replace(alone=alone, final=())
                    self.keeper.keep()
            columns["accuracy_alone"] = self.progress.alone.tolist()
        rows = self.results.rows(pool, **columns)
        best = sorted(rows[:ours], key=lambda row: -row.get("accuracy_alone", 0.0))
        return best, rows[ours:]

    def make_final(self, architecture):
        """What `wiring.make_final` makes, and the state before the first step."""
        made = wiring.make_final(self.config, self.outline, self.images, architecture, self.devices)
        network, recipe = made[:2]
        any_images = np.zeros((1, *self.images.image_shape), np.float32)
        params_key, _ = jax.random.split(self.final_key)
        params = initialize(network, params_key, any_images)
        return *made, training.initial_state(network, recipe, params, any_images)

    def train_alone(self, architecture, title):
        """Validation accuracy of one architecture after the final's epochs."""
        _, recipe, train, evaluate, fresh = self.make_final(architecture)
        _, train_key = jax.random.split(self.final_key)
        state = self.progress.final or fresh
        part, done = replicate(self.train_part, self.devices), int(state.step)
        with self.display.phase(title, recipe.total_steps, "steps", done=done) as advance:
            for step, steps in self.dispatches(recipe, len(self.train_part.labels), done):
                state, loss, _ = train(state, *part, train_key, np.int32(steps))
                if not np.isfinite(loss):
                    raise jobs.TrainingError(
                        f"the training loss is not finite within the {steps} steps from {step} of "
                        f"{self.where()}, learning rate {float(recipe.learning_rate(step)):.4g}, "
                        f"architecture {self.space.format(architecture)}"
                    )
                self.progress = self.progress._replace(final=state)
                advance(steps, f"loss {float(loss):.3f}")
                self.keeper.between(steps)
        accuracy, loss = evaluate(state, *replicate(self.valid_part, self.devices))
        self.metrics.write(phase="final", accuracy=accuracy, loss=loss)
        return float(accuracy)

    def finish(self, best, against):
        """Keeps the end of the search and writes the last files."""
        population = self.progress.search.population
        control = np.argsort(-self.progress.control, kind="stable")
        self.results.write_control(self.control()[control], self.progress.control[control])
        self.keeper.keep(wait=True)
        self.results.write_result(
            best=best,
            control=against,
            strategy=self.strategy.name,
            sampler=self.config.supernet.sampler,
            seed=self.config.seed,
            architectures=len(population.pool),
            supernet_steps=int(population.counts.sum()),
            seconds={name: round(value, 1) for name, value in self.seconds.items()},
            devices=[f"{d.platform} {d.device_kind}" for d in self.devices],
        )
