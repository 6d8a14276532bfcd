"""The comparison job: searches of several strategies on a table, side by side."""

import json
import time

import jax
import numpy as np

from bnao_jax.search import begin, search
from launch import jobs, machine, pictures, wiring, workdir
from launch.command import UsageError, enable_compilation_cache
from launch.fields import check_fields
from launch.progress import Display
from launch.truth import load_truth

QUARTILES = (0.25, 0.5, 0.75)


def run(config, folder, *, restart=False) -> int:
    """Runs or continues the comparison of a config in a folder; returns the exit status."""
    check(config)
    finished = jobs.finished_by(workdir.COMPARISON, "comparison", summary)
    with workdir.claimed(folder, config.to_dict(), restart=restart) as path:
        if finished(path):
            return 0
        text = config.to_json_best_effort(indent=2)
        workdir.write(path / workdir.CONFIG, text + "\n")
        enable_compilation_cache(config.compilation_cache)
        Comparison(config, path).work()
    return 0


def check(config):
    """Raises UsageError naming the first field that cannot be; reads the truth."""
    check_fields(config, "comparison")
    if jax.process_count() > 1:
        raise UsageError("launch.compare is the work of one process")
    outline = wiring.make_outline(config, classes=10)
    for column in (config.comparison.column, config.comparison.final_column):
        truth = load_truth(config.truth, column, outline.space)
    if len(truth.pool) < np.prod([float(n) for n in outline.space.options]):
        raise UsageError(
            f"config.truth={config.truth} has {len(truth.pool)} architectures; strategies may ask "
            f"for any of {outline.space.name}"
        )
    total = wiring.population_size(config)
    if total > outline.space.cardinality:
        raise UsageError(
            f"config.search asks for {total} different architectures; {outline.space.name} holds "
            f"{outline.space.cardinality}"
        )
    if (most := max(config.comparison.evaluations)) > total:
        raise UsageError(
            f"config.comparison.evaluations asks for {most}; config.search makes {total}"
        )
    wiring.check_strategies(config, config.comparison.strategies)


class Comparison:
    """One comparison: the table, and the searches that are done."""

    def __init__(self, config, folder):
        self.config, self.folder = config, folder
        self.outline = wiring.make_outline(config, classes=10)
        self.space = self.outline.space
        self.truth = load_truth(config.truth, config.comparison.column, self.space)
        cost_of = wiring.make_cost(config, self.outline, (32, 32, 3))
        self.accept = wiring.make_limit(config, cost_of)
        columns = config.comparison.column, config.comparison.final_column
        known = [self.truth.of(self.truth.pool, column) for column in columns]
        self.number = jobs.number_of(self.truth.pool, *known)
        self.rows = self.done()

    def done(self):
        """The searches that an earlier run has finished."""
        try:
            text = (self.folder / workdir.SEARCHES).read_text(encoding="utf-8")
            rows = [json.loads(line) for line in text.splitlines()]
            found = {(row["strategy"], int(row["seed"])): row for row in rows}
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
        return found

    def work(self):
        """Searches with all strategies and seeds, writes the files, prints the summary."""
        strategies, seeds = self.config.comparison.strategies, range(self.config.seeds)
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
        pictures.write(self.folder, regret=pictures.regret(result))
        workdir.write_json(self.folder / workdir.COMPARISON, result)
        print(summary(result, self.folder))

    def search(self, name, seed):
        """One search, as a row of searches.jsonl."""
        started, settings = time.monotonic(), self.config.search
        config = self.config.copy_and_resolve_references()
        with config.unlocked():
            config.search.strategy = name
        strategy = wiring.make_strategy(config, self.outline, self.accept)
        key = jax.random.key(config.seed + seed)
        seeds_key, begin_key, search_key = jax.random.split(key, 3)
        seeds = self.space.sample(seeds_key, settings.seeds, accept=self.accept)
        column = self.config.comparison.column
        state = search(
            search_key,
            begin(begin_key, strategy, seeds),
            self.space,
            strategy,
            train=lambda number, pool: np.zeros(len(pool), np.int64),
            evaluate=lambda number, pool, wanted: self.truth.of(pool, column).astype(np.float32),
            rounds=settings.rounds,
            proposals=settings.proposals,
        )
        pool = state.population.pool
        best = best_so_far(self.truth.of(pool, column))
        judged = self.truth.of(pool, self.config.comparison.final_column)[best]
        return {
            "strategy": name,
            "seed": self.config.seed + seed,
            "truth": self.number,
            "best": self.space.format(pool[best[-1]]),
            "seconds": round(time.monotonic() - started, 2),
            "score": self.truth.of(pool, column)[best].round(6).tolist(),
            "final": judged.round(6).tolist(),
        }

    def result(self):
        """What comparison.json holds."""
        comparison, everything = self.config.comparison, self.truth.pool
        if self.accept is not None:
            everything = everything[self.accept(everything)]
        tops = {
            "final": float(self.truth.of(everything, comparison.final_column).max()),
            "score": float(self.truth.of(everything, comparison.column).max()),
        }
        return {
            "strategies": {
                name: self.of_strategy(name, tops) for name in self.config.comparison.strategies
            },
            "best_of_table": tops,
            "column": comparison.column,
            "final_column": comparison.final_column,
            "seed": self.config.seed,
            "seeds": self.config.seeds,
            "versions": machine.versions(),
        }

    def of_strategy(self, name, tops):
        """Quartiles of accuracy and regret after some evaluations and after all, and the time."""
        rows = [row for (own, _), row in self.rows.items() if own == name]
        found = {kind: np.array([row[kind] for row in rows]) for kind in tops}  # [seed, evaluation]
        regret = tops["final"] - found["final"]
        after = {}
        for number in self.config.comparison.evaluations:
            at = number - 1
            after[str(number)] = {
                "final_accuracy": np.quantile(found["final"][:, at], QUARTILES).tolist(),
                "regret": np.quantile(regret[:, at], QUARTILES).tolist(),
                "regret_mean": float(regret[:, at].mean()),
                "score_regret": np.quantile(
                    tops["score"] - found["score"][:, at], QUARTILES
                ).tolist(),
            }
        return {
            "after": after,
            "regret": np.quantile(regret, QUARTILES, axis=0).round(6).tolist(),
            "seconds_of_a_search": float(np.median([row["seconds"] for row in rows])),
        }


def best_so_far(scores):
    """After each evaluation the row of the best of them, the first of equals: int64[P]."""
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
