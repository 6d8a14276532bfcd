"""Strategies compared on known accuracies, a table's or a teacher's, without any training."""

import functools
import json
import time

import jax
import numpy as np

from bnao_jax import files
from bnao_jax.comparison import paired
from bnao_jax.search import begin, search
from launch.command import UsageError, enable_compilation_cache
from launch.compare import plots
from launch.inputs.ground_truth import is_teacher, truth_of_seeds
from launch.plots import style
from launch.run import job as jobs
from launch.run import machine, workdir
from launch.run.progress import Display

QUARTILES = (0.25, 0.5, 0.75)
IMAGES = (32, 32, 3)  # of the table's networks, for limits


def run(plan, folder, *, restart=False) -> int:
    """Runs or continues the comparison of a plan in a folder; returns the exit status."""
    check(plan)
    finished = jobs.finished_by(workdir.COMPARISON, "comparison", summary)
    with workdir.claimed(folder, json.loads(plan.text), restart=restart) as path:
        if finished(path):
            return 0
        files.write(path / workdir.CONFIG, plan.text + "\n")
        enable_compilation_cache(plan.settings.compilation_cache)
        Comparison(plan, path).work()
    return 0


def check(plan):
    """Reads the truth; raises UsageError where it does not fit the plan."""
    settings = plan.settings
    if jax.process_count() > 1:
        raise UsageError("launch.compare is the work of one process")
    truth_of_seeds(settings, plan.space())
    total = settings.search.population_size
    if (most := max(settings.comparison.evaluations)) > total:
        raise UsageError(
            f"config.comparison.evaluations asks for {most}; config.search makes {total}"
        )


class Comparison:
    """One comparison: the truth, and the searches that are done."""

    def __init__(self, plan, folder):
        self.plan, self.settings, self.folder = plan, plan.settings, folder
        self.seeds = range(plan.settings.seed, plan.settings.seed + plan.settings.seeds)
        self.space = plan.space()
        self.decisions = self.space.decisions
        self.truth_of = truth_of_seeds(self.settings, self.space)
        self.accept = plan.limit(self.space, IMAGES)
        self.number = self.number_of_truth()
        self.rows = self.done()

    def number_of_truth(self):
        """A number that is another for other accuracies."""
        settings = self.settings
        truth, seed = self.truth_of(settings.seed), jax.random.key(0)
        pool = np.asarray(self.decisions.random(seed, 100)) if self.top is None else truth.pool
        comparison = settings.comparison
        columns = comparison.column, comparison.final_column
        return jobs.number_of(pool, *(truth.of(pool, column) for column in columns))

    @functools.cached_property
    def top(self):
        """The best accuracies of the table within the limit: "final", "score"; None: unknown."""
        if is_teacher(self.settings):
            return None
        comparison, truth = self.settings.comparison, self.truth_of(self.settings.seed)
        pool = truth.pool if self.accept is None else truth.pool[self.accept(truth.pool)]
        columns = {"final": comparison.final_column, "score": comparison.column}
        return {kind: float(truth.of(pool, column).max()) for kind, column in columns.items()}

    def done(self):
        """The searches that an earlier run has finished."""
        try:
            text = files.read_text(self.folder / workdir.SEARCHES, links=False)
            rows = [json.loads(line) for line in text.splitlines()]
            searches = {(row["strategy"], int(row["seed"])): row for row in rows}
            others = [row for row in rows if row["truth"] != self.number]
        except FileNotFoundError:
            return {}
        except (ValueError, LookupError, TypeError):
            raise UsageError(
                f"--workdir={self.folder}: its {workdir.SEARCHES} cannot be read; --restart sets "
                "it aside"
            ) from None
        if others:
            raise UsageError("the comparison in --workdir began with other accuracies")
        return searches

    def work(self):
        """Searches with all strategies and seeds, writes the files, prints the summary."""
        wanted = [(n, seed) for seed in self.seeds for n in self.settings.comparison.strategies]
        if self.rows:
            print(f"continuing: {len(self.rows)} of {len(wanted)} searches are done", flush=True)
        display = Display()
        with display.phase("search", len(wanted), "searches", done=len(self.rows)) as advance:
            for name, seed in wanted:
                if (name, seed) not in self.rows:
                    self.rows[name, seed] = self.search(name, seed)
                    workdir.write_pool(self.folder / workdir.SEARCHES, self.rows.values())
                    advance(1, f"{name}, seed {seed}")
        result = self.result()
        picture = "found" if self.top is None else "regret"
        style.write_png(self.folder, **{picture: plots.found(result)})
        workdir.write_json(self.folder / workdir.COMPARISON, result)
        print(summary(result, self.folder))

    def search(self, name, seed):
        """One search, as a row of searches.jsonl."""
        started, settings = time.monotonic(), self.settings.search
        strategy = self.plan.strategy(self.space, self.accept, name)
        key = jax.random.key(seed)
        initial_key, begin_key, search_key = jax.random.split(key, 3)
        initial = self.decisions.sample(initial_key, settings.initial, accept=self.accept)
        truth, column = self.truth_of(seed), self.settings.comparison.column
        state = search(
            search_key,
            begin(begin_key, strategy, initial),
            self.decisions,
            strategy,
            train=lambda number, pool: np.zeros(len(pool), np.int64),
            evaluate=lambda number, pool: truth.of(pool, column).astype(np.float32),
            rounds=settings.rounds,
            proposals=settings.proposals,
        )
        pool = state.population.pool
        best = best_so_far(truth.of(pool, column))
        judged = truth.of(pool, self.settings.comparison.final_column)[best]
        return {
            "strategy": name,
            "seed": seed,
            "truth": self.number,
            "best": self.decisions.format(pool[best[-1]]),
            "seconds": round(time.monotonic() - started, 2),
            "score": truth.of(pool, column)[best].round(6).tolist(),
            "final": judged.round(6).tolist(),
        }

    def result(self):
        """What comparison.json holds."""
        comparison, names = self.settings.comparison, self.settings.comparison.strategies
        return {
            "strategies": {name: self.of_strategy(name) for name in names},
            "pairs": {
                f"{name} - {other}": self.between(name, other)
                for place, name in enumerate(names)
                for other in names[place + 1 :]
            },
            "best_of_table": self.top,
            "truth": self.settings.truth,
            "column": comparison.column,
            "final_column": comparison.final_column,
            "noise": comparison.noise,
            "seed": self.settings.seed,
            "seeds": self.settings.seeds,
            "versions": machine.versions(),
        }

    def finals(self, name, kind="final"):
        """What a strategy's best so far are worth, float64[seed, evaluation]."""
        return np.array([self.rows[name, seed][kind] for seed in self.seeds])

    def of_strategy(self, name):
        """What was found after some evaluations and after all, in quartiles, and the time."""
        final, after = self.finals(name), {}
        for number in self.settings.comparison.evaluations:
            found = final[:, number - 1]
            after[str(number)] = {
                "final_accuracy": np.quantile(found, QUARTILES).tolist(),
                "final_mean": float(found.mean()),
            }
            if self.top is not None:
                regret = self.top["final"] - found
                of_score = self.top["score"] - self.finals(name, "score")[:, number - 1]
                after[str(number)] |= {
                    "regret": np.quantile(regret, QUARTILES).tolist(),
                    "regret_mean": float(regret.mean()),
                    "score_regret": np.quantile(of_score, QUARTILES).tolist(),
                }
        row = {"after": after, "final": np.quantile(final, QUARTILES, axis=0).round(6).tolist()}
        if self.top is not None:
            regret = np.quantile(self.top["final"] - final, QUARTILES, axis=0)
            row["regret"] = regret.round(6).tolist()
        seconds = [self.rows[name, seed]["seconds"] for seed in self.seeds]
        return row | {"seconds_of_a_search": float(np.median(seconds))}

    def between(self, name, other):
        """By how much one strategy finds better than another, by seed, after some evaluations."""
        first, second = self.finals(name), self.finals(other)
        return {
            str(number): jobs.facts_of(paired(first[:, number - 1], second[:, number - 1]))
            for number in self.settings.comparison.evaluations
        }


def best_so_far(scores):
    """For each evaluation the row of the best so far, the first of equals: int64[P]."""
    scores, best = np.asarray(scores), np.zeros(len(scores), np.int64)
    for row in range(1, len(scores)):
        best[row] = row if scores[row] > scores[best[row - 1]] else best[row - 1]
    return best


def summary(result, folder) -> str:
    """The figures as a table of text."""
    strategies, top = result["strategies"], result["best_of_table"]
    numbers = list(next(iter(strategies.values()))["after"])
    by = f"{result['final_column']} of the best by {result['column']}"
    if top is None:
        kind, unit = "final_accuracy", 1
        what = f"Found: {by}, in standard deviations of random architectures"
        by = f"{result['truth']}, another of each seed, noise of the scores {result['noise']:g}"
    else:
        kind, unit = "regret", 100
        what = f"Regret: {by}, below the best of"
        by = f"the table ({100 * top['final']:.2f} %), in points"
    quartiles = lambda values: "{1:.2f} ({0:.2f} to {2:.2f})".format(*(unit * v for v in values))
    columns = "".join(f"{'after ' + number:>24}" for number in numbers)
    lines = [
        "",
        what,
        by,
        f"median (quartiles) of {result['seeds']} searches",
        f"{'':24}{columns}{'seconds':>12}",
    ]
    for name, row in strategies.items():
        cells = "".join(f"{quartiles(row['after'][n][kind]):>24}" for n in numbers)
        lines.append(f"{name:24}{cells}{row['seconds_of_a_search']:12.1f}")
    if result["seeds"] > 1 and result["pairs"]:
        lines += ["", "Better by, mean over the seeds (95 % t-interval of the paired differences)"]
    for name, after in result["pairs"].items() if result["seeds"] > 1 else ():
        cells = "".join(f"{_with_ends(after[n], unit):>24}" for n in numbers)
        lines.append(f"{name:24}{cells}")
    return "\n".join([*lines, "", f"Files: {folder}/"])


def _with_ends(pair, unit):
    values = (unit * pair[name] for name in ("difference", "low", "high"))
    return "{:+.2f} ({:+.2f} to {:+.2f})".format(*values)
