"""Whole systems compared: searches of several seeds, each with its own supernet, judged alike."""

import gc
import json
import time

import jax
import numpy as np

from bnao_jax import files
from bnao_jax.comparison import interval, paired
from bnao_jax.parallel import from_first
from launch.command import UsageError
from launch.compare import plots
from launch.config.systems import of_seed
from launch.plots import style
from launch.run import job as jobs
from launch.run import machine, workdir
from launch.run.processes import on_first
from launch.search import job as search_job

FOUND = "found"  # the group of baseline.jsonl


def run(plan, folder, *, restart=False) -> int:
    """Runs or continues the searches of a plan in a folder; returns the exit status.

    Each is a search in a folder of its own, NAME-SEED, which goes on from its last checkpoint.
    """
    finished = jobs.finished_by(workdir.COMPARISON, "comparison", summary)
    claim = workdir.claimed(folder, json.loads(plan.text), restart=restart)
    with on_first(claim) as path:
        if from_first({"done": path and finished(path)})["done"]:
            return 0
        if path is not None:
            files.write(path / workdir.CONFIG, plan.text + "\n")
        return Comparison(plan, path, folder).work()


def names_of(plan):
    """The systems, the one that the others are compared with last."""
    against = plan.settings.against
    return [*(name for name in plan.systems if name != against), against]


class Comparison:
    """One comparison: the searches of its systems.

    Args:
      plan: of a config with systems.
      path: the folder, on the first process; None on others.
      folder: the same as it was given, on all.
    """

    def __init__(self, plan, path, folder):
        self.plan, self.path, self.folder = plan, path, folder
        settings = plan.settings
        seeds = range(settings.seed, settings.seed + settings.seeds)
        self.searches = [(name, seed) for seed in seeds for name in names_of(plan)]

    def work(self):
        """Searches, writes the files, prints the summary; returns the exit status."""
        started, before = time.monotonic(), sum(map(self.is_done, self.searches))
        for place, (name, seed) in enumerate(self.searches):
            here = f"search {place + 1} of {len(self.searches)}: {name}, seed {seed}"
            if from_first({"done": self.is_done((name, seed))})["done"]:
                continue
            if self.path is not None:
                print(f"\n{here}{self.left(place, before, started)}", flush=True)
            search = of_seed(self.plan.systems[name], seed)
            status = search_job.run(search, f"{self.folder}/{name}-{seed}")
            # Programs that stayed would, after a dozen searches, exhaust the maps that Linux allows
            # a process.
            jax.clear_caches()
            gc.collect()
            if not from_first({"done": self.is_done((name, seed))})["done"]:
                if self.path is not None:
                    print(f"so is the comparison (--workdir={self.folder})", flush=True)
                return status
        if self.path is not None:
            self.finish()
        return 0

    def left(self, place, before, started):
        """How long the rest will take, in words; nothing before a search is done."""
        if place <= before:
            return ""
        each = (time.monotonic() - started) / (place - before)
        return f"; about {each * (len(self.searches) - place) / 60:.0f} minutes left"

    def is_done(self, search):
        """Whether a search is finished; False on all processes but the first."""
        return self.path is not None and (self.of(*search) / workdir.RESULT).exists()

    def of(self, name, seed):
        """The folder of a search."""
        return self.path / f"{name}-{seed}"

    def finish(self):
        """Writes the figures and the picture, and prints the summary."""
        rows = [self.row(name, seed) for name, seed in self.searches]
        workdir.write_pool(self.path / workdir.SEARCHES, rows)
        result = self.result(rows)
        style.write_png(self.path, systems=plots.systems(result))
        workdir.write_json(self.path / workdir.COMPARISON, result)
        print(summary(result, self.path))

    def row(self, name, seed):
        """What a finished search has reached, a row of searches.jsonl."""
        folder, settings = self.of(name, seed), self.plan.systems[name].settings
        try:
            result = json.loads(files.read_text(folder / workdir.RESULT, links=False))
            lines = files.read_text(folder / workdir.BASELINE, links=False).splitlines()
            networks = [row for row in map(json.loads, lines) if row["group"] == FOUND]
            return {
                "system": name,
                "seed": seed,
                "mean": float(np.mean([row["judged"] for row in networks])),
                "chosen": float(result[FOUND]["chosen"]),
                "params": float(np.mean([row["params"] for row in networks])),
                "steps": int(result["supernet_steps"]),
                "scorings": scorings(settings),
                "seconds": sum(map(float, result["seconds"].values())),
                "judged": [float(row["judged"]) for row in networks],
                "archs": [str(row["arch"]) for row in networks],
                "networks": int(result[FOUND]["networks"]),
                "images": int(result[FOUND]["images"]),
                "epochs": int(result[FOUND]["epochs"]),
            }
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise UsageError(
                f"{folder}: its results cannot be read ({error}); move it away and the search is "
                "made again"
            ) from None

    def result(self, rows):
        """What comparison.json holds."""
        against, names = self.plan.settings.against, names_of(self.plan)
        of = {name: [row for row in rows if row["system"] == name] for name in names}
        column = lambda name, kind: [row[kind] for row in of[name]]
        systems = {}
        for name in names:
            first = of[name][0]
            mean, low, high = interval(column(name, "mean"))
            systems[name] = {
                "mean": mean,
                "low": jobs.plain(low),
                "high": jobs.plain(high),
                "of_seeds": column(name, "mean"),
                "chosen": float(np.mean(column(name, "chosen"))),
                "chosen_of_seeds": column(name, "chosen"),
                "params": float(np.mean(column(name, "params"))),
                "steps": first["steps"],
                "scorings": first["scorings"],
                "seconds": float(np.median(column(name, "seconds"))),
            }
        pairs = {}
        for place, name in enumerate(names):
            for other in names[place + 1 :]:
                between = paired(column(name, "mean"), column(other, "mean"))
                pairs[f"{name} - {other}"] = jobs.facts_of(between)
        facts = {name: rows[0][name] for name in ("networks", "images", "epochs")}
        return {
            "systems": systems,
            "against": against,
            "pairs": pairs,
            **facts,
            "seed": self.plan.settings.seed,
            "seeds": self.plan.settings.seeds,
            "versions": machine.versions(),
        }


def scorings(settings) -> int:
    """How often a search scores an architecture, all rounds together."""
    search, supernet = settings.search, settings.supernet
    total = 0
    for number in range(1, search.rounds + 1):
        new = search.initial if number == 1 else search.proposals
        again = number <= search.rounds_that_train and not supernet.from_scratch
        total += search.initial + (number - 1) * search.proposals if again else new
    return total


def summary(result, folder) -> str:
    """The figures as a table of text."""
    against, seeds = result["against"], result["seeds"]
    head = (
        f"{'system':16}{'accuracy':>24}{'less ' + against:>26}  {'verdict':12}"
        f"{'chosen':>8}{'M params':>10}{'steps':>9}{'scorings':>10}{'seconds':>9}"
    )
    k, epochs, images = (result[name] for name in ("networks", "epochs", "images"))
    lines = [
        "",
        f"{seeds} searches of each system. Each found {k} networks, which were trained alone and",
        f"alike for {epochs} epochs. Accuracy: their mean, in %, on {images} test images; in",
        f"brackets 95 % t-intervals over the searches. Less {against}: differences by seed.",
        "Chosen: of a search's networks the best on validation images.",
        "",
        head,
    ]
    for name, row in result["systems"].items():
        pair = result["pairs"].get(f"{name} - {against}")
        between = pair and _with_ends(pair["difference"], pair, "+.2f")
        lines.append(
            f"{name:16}{_with_ends(row['mean'], row, '.2f'):>24}{between or '':>26}  "
            f"{pair['verdict'] if pair else '':12}{100 * row['chosen']:8.2f}"
            f"{row['params'] / 1e6:10.3f}{row['steps']:9,}{row['scorings']:10,}"
            f"{row['seconds']:9.0f}"
        )
    return "\n".join([*lines, "", f"Files: {folder}/"])


def _with_ends(value, row, form):
    """A share and its interval in percent."""
    text = format(100 * value, form)
    if row["low"] is None:
        return text
    return f"{text} ({100 * row['low']:{form}} to {100 * row['high']:{form}})"
