"""The ranking job: supernets of several seeds, their scores, and how well these rank the truth."""

import math
from typing import NamedTuple

import jax
import numpy as np

from bnao_jax import ranking, sampler
from bnao_jax.checkpoint import fill
from bnao_jax.objective import KINDS, Measured, score
from bnao_jax.training import supernet as supernet_training
from launch.command import UsageError
from launch.inputs.ground_truth import load_truth
from launch.plots import style
from launch.rank import plots
from launch.run import job as jobs
from launch.run import machine, workdir
from launch.run.training_job import ACCURACY, LOSS, NO_SCORES, TrainingJob


def run(plan, folder, *, restart=False) -> int:
    """Runs or continues the ranking of a plan in a folder; returns the exit status."""
    check(plan)
    make = lambda *parts: Ranking(*parts)
    finished = jobs.finished_by(workdir.RANKING, "ranking", summary)
    return jobs.run(make, plan, folder, finished=finished, restart=restart)


def check(plan):
    """Raises UsageError where the truth, which it reads, does not fit the plan."""
    settings, decisions = plan.settings, plan.space().decisions
    truth = load_truth(settings.truth, settings.rank.column, decisions)
    if settings.rank.architectures > len(truth.pool):
        raise UsageError(
            f"config.rank.architectures={settings.rank.architectures} exceeds the "
            f"{len(truth.pool)} of config.truth={settings.truth}"
        )
    everything = math.prod(decisions.options)
    if settings.supernet.sampler == "strictly_fair" and (
        len(set(decisions.options)) > 1 or len(truth.pool) < everything
    ):
        raise UsageError(
            "config.supernet.sampler='strictly_fair' needs as many options at every decision, and "
            f"all {everything} architectures of {decisions.name} in config.truth, which has "
            f"{len(truth.pool)}"
        )
    if settings.rank.points > settings.supernet.epochs:
        raise UsageError(
            f"config.rank.points={settings.rank.points} exceeds config.supernet.epochs="
            f"{settings.supernet.epochs}"
        )


class Progress(NamedTuple):
    """How far a ranking has come: all that a checkpoint holds.

    Attributes:
      seed: supernets that are done.
      point: of the present supernet, how often it has been scored.
      supernet: its weights, momentum and step.
      counts: int64[P], how often it trained each architecture.
      partial: float32[2, …], the scores of the evaluation under way.
      points: float32[seeds, points - 1, 2, P'], scores on the way; NaN before they are known.
      scores: float32[seeds, 2, P], scores at the end.
      trained: int64[seeds, P], the counts of the supernets that are done.
    """

    seed: int
    point: int
    supernet: supernet_training.State
    counts: np.ndarray
    partial: np.ndarray
    points: np.ndarray
    scores: np.ndarray
    trained: np.ndarray


class Ranking(TrainingJob):
    """One ranking: what it is made of, and how far it has come."""

    PARTS = ("train", "score")

    def __init__(self, plan, folder, images):
        super().__init__(plan, folder, images)
        config = plan.settings
        truth = load_truth(config.truth, config.rank.column, self.decisions)
        self.pool = truth.pool
        self.costs = self.cost_of(self.pool)
        order = np.random.RandomState(config.seed).permutation(len(self.pool))
        chosen = order[: config.rank.architectures or len(order)]
        self.chosen = np.sort(chosen)  # rows of the pool that are scored at the end
        self.on_the_way = np.sort(chosen[: config.rank.point_architectures])
        self.truth = truth.of(self.pool, config.rank.column)
        self.start(0)
        total, seeds = self.recipe.total_steps, config.seeds
        per_epoch = total // config.supernet.epochs
        ends = np.linspace(0, config.supernet.epochs, config.rank.points + 1)[1:]
        self.steps = [round(end) * per_epoch for end in ends]  # at which scores are taken
        self.progress = Progress(
            seed=0,
            point=0,
            supernet=self.fresh,
            partial=NO_SCORES,
            counts=np.zeros(len(self.pool), np.int64),
            points=np.full((seeds, len(self.steps) - 1, 2, len(self.on_the_way)), np.nan, "f4"),
            scores=np.full((seeds, 2, len(self.chosen)), np.nan, np.float32),
            trained=np.zeros((seeds, len(self.pool)), np.int64),
        )

    def start(self, seed):
        """Makes the supernet of a seed and its programs."""
        plan = self.plan.replace(seed=self.settings.seed + seed)
        self.fresh = self.make_supernet(plan)
        self.key = jax.random.fold_in(plan.key, 1)

    def inputs(self):
        """Images and truth."""
        return super().inputs() | {"accuracies": jobs.number_of(self.pool, self.truth)}

    def weights(self, progress):
        """Shared weights."""
        return progress.supernet.params

    def restore(self, arrays):
        """Takes up the progress that a checkpoint holds."""
        progress = fill(self.progress, arrays)
        self.progress = progress._replace(seed=int(progress.seed), point=int(progress.point))
        if self.progress.seed < self.settings.seeds:
            self.start(self.progress.seed)

    def where(self) -> str:
        """The present place, in words."""
        seed, point = self.progress.seed, self.progress.point
        if seed == self.settings.seeds:
            return "the end"
        step = int(self.progress.supernet.step)
        scoring = point == len(self.steps) or step == self.steps[point]
        doing = f"score at step {step}" if scoring else f"train, step {step}"
        return f"supernet {seed + 1} of {self.settings.seeds}, {doing}"

    def work(self):
        """Trains and scores all supernets, and writes what came of it."""
        while (seed := self.progress.seed) < self.settings.seeds:
            while self.progress.point < len(self.steps):
                self.train(self.steps[self.progress.point])
                self.score()
            self.progress.trained[seed] = self.progress.counts
            self.progress = self.progress._replace(
                seed=seed + 1, point=0, counts=np.zeros_like(self.progress.counts)
            )
            if seed + 1 < self.settings.seeds:
                self.start(seed + 1)
                self.progress = self.progress._replace(supernet=self.fresh)
            self.keeper.keep()
            self.say(f"supernet {seed + 1} of {self.settings.seeds}: {self.in_words(seed)}")
        self.finish()

    def train(self, until):
        """Trains the present supernet until a step."""
        number = self.progress.seed + 1
        self.train_paths(
            self.pool,
            self.key,
            title=f"supernet {number} of {self.settings.seeds}: train",
            place=f" of supernet {number}",
            until=until,
            supernet=number,
        )

    def score(self):
        """Scores the architectures with the present supernet, and goes on to the next point."""
        seed, point = self.progress.seed, self.progress.point
        last = point == len(self.steps) - 1
        rows = self.chosen if last else self.on_the_way
        title = f"supernet {seed + 1} of {self.settings.seeds}: score"
        scores = self.score_pool(self.pool[rows], title=title)
        target = self.progress.scores[seed] if last else self.progress.points[seed, point]
        target[:] = scores
        self.progress = self.progress._replace(point=point + 1)
        taus = {
            f"kendall_tau_of_{name}": ranking.kendall_tau(values, self.truth[rows])
            for name, values in plain_scores(target).items()
        }
        step = int(self.progress.supernet.step)
        self.metrics.write(phase="score", supernet=seed + 1, step=step, **taus)
        self.keeper.keep()
        self.keeper.between()

    def in_words(self, seed):
        """What came of a supernet, in words."""
        scores, truth = plain_scores(self.progress.scores[seed]), self.truth[self.chosen]
        taus = [f"by {name} {ranking.kendall_tau(v, truth):.3f}" for name, v in scores.items()]
        baseline = ranking.kendall_tau(self.costs.params[self.chosen], truth)
        return f"Kendall's tau {', '.join(taus)}, by parameters alone {baseline:.3f}"

    def finish(self):
        """Writes the figures, the scores and the pictures, and prints a summary."""
        self.keeper.keep(wait=True)
        if self.folder is None:
            return
        result = self.result()
        rows = self.score_rows()
        workdir.write_pool(self.folder / workdir.SCORES, rows)
        params, truth = self.costs.params[self.chosen], self.truth[self.chosen]
        kind = self.settings.scoring.score
        shown = all_scores(self.progress.scores[0], params, self.settings.scoring.size_weight)[kind]
        style.write_png(
            self.folder,
            score_against_truth=plots.score_against_truth(shown, truth, params, name=kind),
            correlation_over_training=plots.correlation_over_training(
                self.steps, result["over_training"], result["params"]["kendall_tau"]
            ),
            trained_by_size=plots.trained_by_size(
                self.costs.params, self.progress.trained, self.settings.supernet.sampler
            ),
        )
        workdir.write_json(self.folder / workdir.RANKING, result)
        print(summary(result, self.folder))

    def score_rows(self):
        """One dict for each architecture that was scored."""
        for place, row in enumerate(self.chosen):
            yield {
                "arch": self.decisions.format(self.pool[row]),
                "params": int(self.costs.params[row]),
                "macs": int(self.costs.macs[row]),
                "truth": float(self.truth[row]),
                "accuracy": [float(v) for v in self.progress.scores[:, ACCURACY, place]],
                "loss": [float(v) for v in self.progress.scores[:, LOSS, place]],
                "times_trained": self.progress.trained[:, row].tolist(),
            }

    def result(self):
        """What ranking.json holds."""
        truth, params = self.truth[self.chosen], self.costs.params[self.chosen]
        weight = self.settings.scoring.size_weight
        supernets = [all_scores(scores, params, weight) for scores in self.progress.scores]
        parts = {"": np.ones(len(truth), bool)}
        if self.space.connected is not None:
            parts["connected"] = self.space.connected(self.pool[self.chosen])

        def of(part):
            figures = lambda values: ranking.figures(values[part], truth[part], params[part])
            kinds = {
                name: over_seeds([figures(scores[name]) for scores in supernets])
                for name in supernets[0]
            }
            baseline = lambda values: ranking.figures(values[part], truth[part])
            return {
                "architectures": int(part.sum()),
                **kinds[self.settings.scoring.score],
                "scores": kinds,
                "params": baseline(params),
                "macs": baseline(self.costs.macs[self.chosen]),
            }

        nested = {name: of(part) for name, part in parts.items()}
        return nested.pop("") | {
            **nested,
            "score": self.settings.scoring.score,
            "agreement_of_seeds": self.agreement(supernets),
            "over_training": self.over_training(),
            "option_shares": self.option_shares(),
            "sampler": self.settings.supernet.sampler,
            "seed": self.settings.seed,
            "seeds": self.settings.seeds,
            "steps": self.recipe.total_steps,
            "truth": self.settings.rank.column,
            "images_scored_with": self.plan.scored_examples,
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
            "devices": [f"{d.platform} {d.device_kind}" for d in self.devices],
            "versions": machine.versions(),
        }

    def agreement(self, supernets):
        """Mean Kendall's tau between the scores of two supernets, for each kind of score."""
        pairs = [(a, b) for n, a in enumerate(supernets) for b in supernets[:n]]
        return {
            name: float(np.mean([ranking.kendall_tau(a[name], b[name]) for a, b in pairs]))
            for name in ("accuracy", "loss")
            if pairs
        }

    def option_shares(self):
        """For each decision the share of the training that each of its options had.

        None where paths have trained that the truth does not know.
        """
        counts = self.progress.trained.sum(0)
        if counts.sum() < self.settings.seeds * self.recipe.total_steps:
            return None
        shares = sampler.option_shares(counts, self.pool, self.decisions.options)
        return [[round(float(share), 4) for share in one] for one in shares]

    def over_training(self):
        """Kendall's tau at each point: `{score: [{"step", "mean", "reach_95"}]}`."""
        rows = np.searchsorted(self.chosen, self.on_the_way)
        ends = self.progress.scores[:, None][..., rows]
        everything = np.concatenate([self.progress.points, ends], 1)
        points = {}
        for name in ("accuracy", "loss"):
            points[name] = []
            for point, step in enumerate(self.steps):
                taus = [
                    ranking.kendall_tau(plain_scores(scores)[name], self.truth[self.on_the_way])
                    for scores in everything[:, point]
                ]
                mean, error = ranking.mean_and_reach(taus)
                points[name].append({"step": step, "mean": mean, "reach_95": jobs.plain(error)})
        return points


def plain_scores(measured):
    """Accuracy and negative loss of float32[2, P]: higher is better in both."""
    return {"accuracy": measured[ACCURACY], "loss": -measured[LOSS]}


def all_scores(measured, params, size_weight):
    """What architectures are ranked by: kinds of score, and ranks added to those of the size."""
    results = Measured(*measured, params)
    scores = {kind: score(kind, results, size_weight=size_weight) for kind in KINDS}
    for name, values in plain_scores(measured).items():
        scores[f"{name}_and_size_ranks"] = ranking.rank_sum(values, params)
    return scores


def over_seeds(figures):
    """Means, 95 % t-intervals and the single values of dicts with the same keys."""
    merged = {}
    for name in figures[0]:
        values = [row[name] for row in figures]
        mean, error = ranking.mean_and_reach(values)
        merged |= {name: mean, f"{name}_reach_95": jobs.plain(error), f"{name}_of_seeds": values}
    return merged


SHOWN = {
    "kendall_tau": "tau b",
    "spearman": "Spearman",
    "pairwise_accuracy": "pairs",
    "pairwise_accuracy_within_groups": "pairs of equal size",
    "precision_at_top_5_percent": "top 5 %",
    "kendall_tau_better_half": "better half",
    "accuracy_of_best": "true accuracy of best",
}


def summary(result, folder) -> str:
    """The figures as a table of text."""
    head = f"{'ranked by':24}" + "".join(f"{title:>23}" for title in SHOWN.values())
    lines = ["", f"{result['architectures']} architectures, {result['seeds']} supernets", head]
    rows = {**result["scores"], "params": result["params"], "macs": result["macs"]}
    for name, row in rows.items():
        cells = []
        for figure in SHOWN:
            error = row.get(f"{figure}_reach_95")
            if figure not in row:  # size has nothing to say among equals
                cells.append("")
                continue
            cells.append(f"{row[figure]:.3f}" + ("" if error is None else f" ± {error:.3f}"))
        lines.append(f"{name:24}" + "".join(f"{cell:>23}" for cell in cells))
    spent = ", ".join(f"{name} {value:.0f} s" for name, value in result["seconds"].items())
    return "\n".join(
        [
            *lines,
            "",
            f"± is how far the 95 % t-interval reaches. Time: {spent}",
            f"Files: {folder}/",
        ]
    )
