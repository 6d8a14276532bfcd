"""The search job: data, shared weights, rounds, finals, files, summary."""

import contextlib
import importlib.metadata
import platform
import time

import jax
import numpy as np

from bnao_jax import data, sampler, supernet_training, training
from bnao_jax.metrics import MetricsWriter
from bnao_jax.nn.initialization import initialize
from bnao_jax.parallel import replicate
from bnao_jax.search import begin, search
from launch import wiring, workdir
from launch.command import enable_compilation_cache
from launch.progress import Display

DISPATCH_SECONDS = 2.0  # of work between two reports of progress
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "ml_collections")


class TrainingError(ValueError):
    """Training went astray."""


def run(config, folder, *, restart=False):
    """Runs the search of a config and fills the folder."""
    wiring.check(config)
    folder = workdir.claim(folder, restart=restart)
    try:
        images = data.load(
            config.data.name, data_dir=config.data.data_dir or None, path=config.data.path or None
        )
        wiring.check_data(config, images)
        enable_compilation_cache(config.compilation_cache)
        job = Search(config, folder, images)
    except ValueError:
        with contextlib.suppress(OSError):
            folder.rmdir()  # nothing is in it yet
        raise
    job.run()


class Search:
    """One search: what it is made of and how long each part took."""

    def __init__(self, config, folder, images):
        limit = config.data.train_examples or None
        self.config, self.folder, self.images = config, folder, images
        self.devices = wiring.make_devices(config)
        self.train_part, self.valid_part = data.split(
            images, config.data.valid_examples, seed=config.seed, limit=limit
        )
        self.outline = wiring.make_outline(config, images.classes)
        self.space = self.outline.space
        self.cost_of = wiring.make_cost(self.outline, images.image_shape)
        self.accept = wiring.make_limit(config, self.cost_of)
        self.strategy = wiring.make_strategy(config, self.space, self.accept)
        keys = jax.random.split(jax.random.key(config.seed), 6)
        self.seed_key, self.begin_key, self.search_key = keys[:3]
        self.train_key, self.final_key, self.control_key = keys[3:]
        self.seeds = self.space.sample(self.seed_key, config.search.seeds, accept=self.accept)
        made = wiring.make_supernet(config, self.outline, images, self.devices)
        self.params, self.train_steps, self.recipe, self.evaluate_pool = made
        self.seconds = dict.fromkeys(("train", "score", "strategy", "final"), 0.0)
        self.display = Display(quiet=jax.process_index() > 0)
        self.metrics = MetricsWriter(folder / workdir.METRICS)
        workdir.write(folder / workdir.CONFIG, config.to_json_best_effort(indent=2) + "\n")

    def run(self):
        """Searches, trains the best alone, writes the files, prints the summary."""
        search_config = self.config.search
        strategy = self.strategy._replace(
            tell=self.shown(self.strategy.tell, "learn from the scores"),
            ask=self.shown(self.strategy.ask, "propose architectures"),
        )
        state = search(
            self.search_key,
            begin(self.begin_key, strategy, self.seeds),
            self.space,
            strategy,
            train=self.train,
            evaluate=self.evaluate,
            rounds=search_config.rounds,
            proposals=search_config.proposals,
            on_round=self.on_round,
        )
        population = state.population
        control, control_scores = self.score_control(population)
        best = population.best(max(1, self.config.final.top))
        chosen = self.finals(population.pool[best], population.scores[best], "final")
        against = self.finals(control[:1], control_scores[:1], "control") if len(control) else []
        self.finish(population, chosen, control, control_scores, against)

    # The slots of Algorithm 1.

    def shown(self, function, title):
        """`function`, displayed and timed; what it does is one program without steps to count."""

        def call(*args):
            started = time.monotonic()
            with self.display.phase(title, None, ""):
                found = function(*args)
            self.seconds["strategy"] += time.monotonic() - started
            return found

        return call

    def train(self, number, rows):
        """Trains the shared weights for one round; weights carry over, the schedule restarts."""
        capacity = max(self.config.search.seeds, self.config.search.proposals)
        padded = np.zeros((capacity, rows.shape[1]), np.int32)
        padded[: len(rows)] = rows
        sizes = np.zeros(capacity, np.float32)
        sizes[: len(rows)] = self.cost_of(rows).params
        log_weights = sampler.RULES[self.config.supernet.sampler](sizes)
        material = supernet_training.Material(*self.train_part, padded, log_weights)
        material = replicate(material, self.devices)
        momentum = jax.eval_shape(self.recipe.optimizer.init, self.params)
        momentum = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), momentum)
        state = supernet_training.State(self.params, momentum, np.int32(0))
        counts = np.zeros(capacity, np.int64)
        key = jax.random.fold_in(self.train_key, number)
        started = time.monotonic()
        title = f"round {number} of {self.config.search.rounds}: train"
        with self.display.phase(title, self.recipe.total_steps, "steps") as advance:
            for step, steps in self.dispatches(self.recipe, len(self.train_part.labels)):
                state, report = self.train_steps(state, material, key, np.int32(steps))
                loss, accuracy = float(report.loss), float(report.accuracy)
                self.check_finite(report, number, rows)
                counts += np.asarray(report.counts)
                rate = float(self.recipe.learning_rate(step))
                self.metrics.write(
                    **dict(phase="train", round=number, step=step + steps, loss=loss),
                    **dict(accuracy=accuracy, learning_rate=rate),
                )
                advance(steps, f"loss {loss:.3f}")
        self.params = state.params
        self.seconds["train"] += time.monotonic() - started
        return counts[: len(rows)]

    def evaluate(self, number, pool):
        """Scores a pool with the shared weights, on the same images for all."""
        started, count = time.monotonic(), wiring.scored_examples(self.config)
        valid = tuple(part[:count] for part in self.valid_part)
        calibration = self.train_part.images[: self.config.scoring.calibration_images]
        title = f"round {number} of {self.config.search.rounds}: score"
        with self.display.phase(title, len(pool), "architectures") as advance:
            scores = self.evaluate_pool(self.params, pool, valid, calibration, progress=advance)
        self.seconds["score"] += time.monotonic() - started
        return scores.accuracy

    def on_round(self, state, facts):
        """Writes the round to the metrics and the pool to its file."""
        scores = state.population.scores
        new = scores[state.population.born == state.round]
        self.metrics.write(
            **dict(phase="round", round=state.round, architectures=len(scores)),
            **dict(best=scores.max(), mean=scores.mean(), new_best=new.max(), new_mean=new.mean()),
            **facts,
        )
        self.write_pool(state.population)
        print(
            f"round {state.round} of {self.config.search.rounds}: {len(scores)} architectures, "
            f"validation accuracy best {scores.max():.4f}, mean {scores.mean():.4f}",
            flush=True,
        )

    def dispatches(self, recipe, examples):
        """Yields (first step, steps): as many as fit the time between reports and the epoch."""
        per_epoch = data.steps_per_epoch(examples, recipe.batch_size)
        step, steps, calls = 0, 1, 0
        while step < recipe.total_steps:
            steps = min(steps, per_epoch - step % per_epoch)
            started = time.monotonic()
            yield step, steps
            each = (time.monotonic() - started) / steps
            step, calls = step + steps, calls + 1
            if calls > 1:  # the first call compiles
                steps = max(1, int(DISPATCH_SECONDS / each))

    def check_finite(self, report, number, rows):
        """Raises TrainingError where a step's loss was not finite."""
        if (step := int(report.failed_step)) >= 0:
            rate = float(self.recipe.learning_rate(step))
            raise TrainingError(
                f"the training loss is not finite at step {step} of round {number}, learning rate "
                f"{rate:.4g}, architecture {self.space.format(rows[int(report.failed_row)])}"
            )

    # After the last round.

    def score_control(self, population):
        """Random architectures nobody proposed, best first, scored with the same weights."""
        size = self.config.search.control
        if not size:
            return np.zeros((0, self.space.decisions), np.int32), np.zeros(0)
        seen = self.space.keys(population.pool)
        pool = self.space.sample(self.control_key, size, seen=seen, accept=self.accept)
        scores = self.evaluate(self.config.search.rounds, pool)
        order = np.argsort(-scores, kind="stable")
        return pool[order], scores[order]

    def finals(self, pool, scores, title):
        """Trains architectures alone and returns dicts of what they reached, best first."""
        started, top = time.monotonic(), self.config.final.top
        rows = [
            {**self.describe(row), "score": float(score)}
            for row, score in zip(pool, scores, strict=True)
        ]
        for place, (row, architecture) in enumerate(zip(rows, pool, strict=True), 1):
            if top:
                label = f"{title} {place} of {len(rows)}: train alone"
                row["accuracy_alone"] = self.train_alone(architecture, label)
        self.seconds["final"] += time.monotonic() - started
        return sorted(rows, key=lambda row: -row.get("accuracy_alone", 0.0))

    def train_alone(self, architecture, label):
        """Validation accuracy of one architecture after the final's epochs."""
        network, recipe, train, evaluate = wiring.make_final(
            self.config, self.outline, self.images, architecture, self.devices
        )
        any_images = np.zeros((1, *self.images.image_shape), np.float32)
        params_key, train_key = jax.random.split(self.final_key)
        params = initialize(network, params_key, any_images)
        state = training.initial_state(network, recipe, params, any_images)
        part = replicate(self.train_part, self.devices)
        with self.display.phase(label, recipe.total_steps, "steps") as advance:
            for _, steps in self.dispatches(recipe, len(part.labels)):
                state, loss, _ = train(state, *part, train_key, np.int32(steps))
                if not np.isfinite(loss):
                    text = self.space.format(architecture)
                    raise TrainingError(f"the loss of {text}, trained alone, is not finite")
                advance(steps, f"loss {float(loss):.3f}")
        accuracy, loss = evaluate(state, *replicate(self.valid_part, self.devices))
        self.metrics.write(phase="final", accuracy=accuracy, loss=loss)
        return float(accuracy)

    # Files and summary.

    def describe(self, architecture):
        """Text form and cost of an architecture."""
        found = self.cost_of(architecture[None])
        return {
            "arch": self.space.format(architecture),
            "params": int(found.params[0]),
            "macs": int(found.macs[0]),
        }

    def pool_rows(self, pool, **columns):
        """One dict for each architecture, with its cost and further columns."""
        found = self.cost_of(pool)
        for n, row in enumerate(pool):
            facts = {"params": int(found.params[n]), "macs": int(found.macs[n])}
            yield {"arch": self.space.format(row)} | facts | {k: v[n] for k, v in columns.items()}

    def write_pool(self, population):
        """Writes pool.jsonl."""
        rows = self.pool_rows(
            population.pool,
            round=population.born.tolist(),
            score=[None if np.isnan(s) else float(s) for s in population.scores],
            times_trained=population.counts.tolist(),
        )
        workdir.write_pool(self.folder / workdir.POOL, rows)

    def finish(self, population, chosen, control, control_scores, against):
        """Writes result.json and control.jsonl and prints the summary."""
        if len(control):
            rows = self.pool_rows(control, score=[float(s) for s in control_scores])
            workdir.write_pool(self.folder / workdir.CONTROL, rows)
        result = {
            "best": chosen,
            "control": against,
            "strategy": self.strategy.name,
            "sampler": self.config.supernet.sampler,
            "seed": self.config.seed,
            "architectures": len(population.pool),
            "supernet_steps": int(population.counts.sum()),
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
            "devices": [f"{d.platform} {d.device_kind}" for d in self.devices],
            "versions": {"python": platform.python_version()}
            | {name: importlib.metadata.version(name) for name in PACKAGES},
        }
        workdir.write_json(self.folder / workdir.RESULT, result)
        self.metrics.close()
        print(summary(result, self.folder))


def summary(result, folder) -> str:
    """The end of a search in a few readable lines."""
    lines = ["", "Best architecture", *_about(result["best"][0])]
    if result["control"]:
        lines += ["", "Best of the random control", *_about(result["control"][0])]
    spent = ", ".join(f"{name} {value:.0f} s" for name, value in result["seconds"].items())
    return "\n".join([*lines, "", f"Time: {spent}", f"Files: {folder}/"])


def _about(row):
    yield f"  {row['arch']}"
    yield f"  {row['params'] / 1e6:.3f} M parameters, {row['macs'] / 1e6:.1f} M multiply-adds"
    alone = row.get("accuracy_alone")
    trained = "" if alone is None else f", trained alone {alone:.4f}"
    yield f"  validation accuracy: with shared weights {row['score']:.4f}{trained}"
