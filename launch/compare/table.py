"""Strategies compared on a table of known accuracies, without any training."""

import json
import time

import jax
import numpy as np

from bnao_jax import files
from bnao_jax.search import begin, search
from launch.command import UsageError, enable_compilation_cache
from launch.compare import plots
from launch.inputs.ground_truth import load_truth
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
    settings, decisions = plan.settings, plan.space().decisions
    if jax.process_count() > 1:
        raise UsageError("launch.compare is the work of one process")
    for column in (settings.comparison.column, settings.comparison.final_column):
        truth = load_truth(settings.truth, column, decisions)
    if len(truth.pool) < np.prod([float(n) for n in decisions.options]):
        raise UsageError(
            f"config.truth={settings.truth} has {len(truth.pool)} architectures; strategies may "
            f"ask for any of {decisions.name}"
        )
    total = settings.search.population_size
    if (most := max(settings.comparison.evaluations)) > total:
        raise UsageError(
            f"config.comparison.evaluations asks for {most}; config.search makes {total}"
        )


class Comparison:
    """One comparison: the table, and the searches that are done."""

    def __init__(self, plan, folder):
        self.plan, self.settings, self.folder = plan, plan.settings, folder
        self.space = plan.space()
        self.decisions = self.space.decisions
        comparison = self.settings.comparison
        self.truth = load_truth(self.settings.truth, comparison.column, self.decisions)
        self.accept = plan.limit(lambda pool: self.space.cost(pool, IMAGES))
        columns = comparison.column, comparison.final_column
        accuracies = [self.truth.of(self.truth.pool, column) for column in columns]
        self.number = jobs.number_of(self.truth.pool, *accuracies)
        self.rows = self.done()

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
        strategies, seeds = self.settings.comparison.strategies, range(self.settings.seeds)
        wanted = [(name, seed) for seed in seeds for name in strategies]
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
        style.write_png(self.folder, regret=plots.regret(result))
        workdir.write_json(self.folder / workdir.COMPARISON, result)
        print(summary(result, self.folder))

    def search(self, name, seed):
        """One search, as a row of searches.jsonl."""
        started, settings = time.monotonic(), self.settings.search
        strategy = self.plan.strategy(self.space, self.accept, name)
        key = jax.random.key(self.settings.seed + seed)
        initial_key, begin_key, search_key = jax.random.split(key, 3)
        initial = self.decisions.sample(initial_key, settings.initial, accept=self.accept)
        column = self.settings.comparison.column
        state = search(
            search_key,
            begin(begin_key, strategy, initial),
            self.decisions,
            strategy,
            train=lambda number, pool: np.zeros(len(pool), np.int64),
            evaluate=lambda number, pool: self.truth.of(pool, column).astype(np.float32),
            rounds=settings.rounds,
            proposals=settings.proposals,
        )
        pool = state.population.pool
        best = best_so_far(self.truth.of(pool, column))
        judged = self.truth.of(pool, self.settings.comparison.final_column)[best]
        return {
            "strategy": name,
            "seed": self.settings.seed + seed,
            "truth": self.number,
            "best": self.decisions.format(pool[best[-1]]),
            "seconds": round(time.monotonic() - started, 2),
            "score": self.truth.of(pool, column)[best].round(6).tolist(),
            "final": judged.round(6).tolist(),
        }

    def result(self):
        """What comparison.json holds."""
        comparison, everything = self.settings.comparison, self.truth.pool
        if self.accept is not None:
            everything = everything[self.accept(everything)]
        tops = {
            "final": float(self.truth.of(everything, comparison.final_column).max()),
            "score": float(self.truth.of(everything, comparison.column).max()),
        }
        return {
            "strategies": {
                name: self.of_strategy(name, tops) for name in self.settings.comparison.strategies
            },
            "best_of_table": tops,
            "column": comparison.column,
            "final_column": comparison.final_column,
            "seed": self.settings.seed,
            "seeds": self.settings.seeds,
            "versions": machine.versions(),
        }

    def of_strategy(self, name, tops):
        """Quartiles of accuracy and regret after some evaluations and after all, and the time."""
        rows = [row for (strategy, _), row in self.rows.items() if strategy == name]
        final, score = (np.array([row[kind] for row in rows]) for kind in ("final", "score"))
        regret, score_regret = tops["final"] - final, tops["score"] - score  # [seed, evaluation]
        after = {}
        for number in self.settings.comparison.evaluations:
            at = number - 1
            after[str(number)] = {
                "final_accuracy": np.quantile(final[:, at], QUARTILES).tolist(),
                "regret": np.quantile(regret[:, at], QUARTILES).tolist(),
                "regret_mean": float(regret[:, at].mean()),
                "score_regret": np.quantile(score_regret[:, at], QUARTILES).tolist(),
            }
        return {
            "after": after,
            "regret": np.quantile(regret, QUARTILES, axis=0).round(6).tolist(),
            "seconds_of_a_search": float(np.median([row["seconds"] for row in rows])),
        }


def best_so_far(scores):
    """For each evaluation the row of the best so far, the first of equals: int64[P]."""
    scores, best = np.asarray(scores), np.zeros(len(scores), np.int64)
    for row in range(1, len(scores)):
        best[row] = row if scores[row] > scores[best[row - 1]] else best[row - 1]
    return best


def summary(result, folder) -> str:
    """The figures as a table of text."""
    strategies = result["strategies"]
    numbers = list(next(iter(strategies.values()))["after"])
    percent = lambda values: "{1:.2f} ({0:.2f} to {2:.2f})".format(*(100 * v for v in values))
    head = f"{'':12}" + "".join(f"{'after ' + number:>24}" for number in numbers)
    lines = [
        "",
        f"Regret: {result['final_column']} of the best by {result['column']}, below the best of "
        f"the table ({100 * result['best_of_table']['final']:.2f} %), in points",
        f"median (quartiles) of {result['seeds']} searches",
        head + f"{'seconds':>12}",
    ]
    for name, row in strategies.items():
        cells = "".join(f"{percent(row['after'][n]['regret']):>24}" for n in numbers)
        lines.append(f"{name:12}{cells}{row['seconds_of_a_search']:12.1f}")
    return "\n".join([*lines, "", f"Files: {folder}/"])
