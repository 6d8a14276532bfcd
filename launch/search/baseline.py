"""Found and random architectures, trained alone and alike at the end of a search, and compared."""

import dataclasses
import functools

import jax
import numpy as np

from bnao_jax.comparison import difference
from bnao_jax.training import supernet as supernet_training
from launch.run import job as jobs
from launch.run.training_job import ACCURACY

FOUND, RANDOM, SAME_SIZE = GROUPS = ("found", "random", "random of the same sizes")
DRAWS = 20_000  # random architectures, of which those that are new and within the limit count


class Baseline:
    """The comparison of one search.

    A network alone is the supernet with weights of its own and a pool of one architecture, so that
    nothing is compiled for it. It is judged on test images, which chose nothing.

    Args:
      job: the search; its progress holds `solo`, the network under way, and `baseline`, what the
        finished ones reach.
      key: of all random draws.
    """

    def __init__(self, job, key):
        self.job, self.key, self.settings = job, key, job.settings.random_baseline

    @functools.cached_property
    def groups(self) -> dict[str, np.ndarray]:
        """The architectures to train, int32[k, D] by group; known after the last round.

        The random ones are new and within the limits of the search. For those of the same sizes
        each found one has the random one that is nearest in the logarithm of its parameters.
        """
        job, population = self.job, self.job.progress.search.population
        pool = np.asarray(job.decisions.random(self.key, DRAWS))
        if job.accept is not None:
            pool = pool[np.asarray(job.accept(pool))]
        pool = job.decisions.unseen(pool, job.decisions.keys(population.pool))
        size = min(self.settings.networks, len(population.pool), len(pool) // 2)
        best, random, rest = population.pool[population.best(size)], pool[:size], pool[size:]
        if not self.settings.random:
            return {FOUND: best}
        sizes, rows = np.log(job.cost_of(rest).params), []
        for wanted in np.log(job.cost_of(best).params):
            order = np.argsort(np.abs(sizes - wanted), kind="stable")
            rows.append(next(row for row in order if row not in rows))
        return {FOUND: best, RANDOM: random, SAME_SIZE: rest[rows]}

    @property
    def pool(self) -> np.ndarray:
        """All architectures to train, int32[n, D]."""
        return np.concatenate([*self.groups.values()])

    @property
    def done(self) -> int:
        """How many networks are trained."""
        return self.job.progress.baseline.shape[1]

    def make_programs(self):
        """Makes the programs that train one network by the supernet's recipe."""
        settings = self.job.settings.supernet
        supernet = dataclasses.replace(settings, epochs=self.settings.epochs)
        self.job.make_supernet(self.job.plan.replace(supernet=supernet))

    def fresh(self):
        """The state of the next network before its first step."""
        key = jax.random.fold_in(self.key, self.done)
        params = self.job.space.initial_weights(key, self.job.images.image_shape)
        return supernet_training.initial_state(self.job.recipe, params)

    def train(self):
        """Trains and judges the networks that are left."""
        if self.done == len(self.pool):
            return
        self.make_programs()
        while self.done < len(self.pool):
            self.train_one()
            self.job.keeper.keep()

    def train_one(self):
        """Trains the next network, measures it on validation images, and judges it."""
        job, place, networks = self.job, self.done, len(self.pool)
        name = f"network {place + 1} of {networks}"
        if job.progress.solo == ():
            counts = np.zeros(job.capacity, np.int64)
            job.progress = job.progress._replace(solo=self.fresh(), counts=counts)
        one = self.pool[place : place + 1]
        job.train_paths(
            one,
            jax.random.fold_in(self.key, networks + place),
            title=f"{name}: train alone, for comparison",
            place=f" of {name} of the random baseline",
            slot="solo",
            phase="baseline",
            network=place + 1,
        )
        judges = job.images.test_images, job.images.test_labels
        accuracies = [
            job.score_pool(one, title=f"{name}: {what}", slot="solo", part=part)[ACCURACY]
            for what, part in (("score", None), ("judge", judges))
        ]
        baseline = np.concatenate([job.progress.baseline, np.array(accuracies)], 1)
        job.progress = job.progress._replace(baseline=baseline, solo=())

    def columns(self) -> dict[str, list]:
        """What baseline.jsonl says of each network."""
        accuracy, judged = self.job.progress.baseline.tolist()
        group = [name for name, pool in self.groups.items() for _ in pool]
        return {"group": group, "accuracy": accuracy, "judged": judged}

    def figures(self) -> dict:
        """What result.json says: how good the found are, and each random group against them."""
        if not len(self.pool):
            return {}
        chosen_by, judged = (
            dict(zip(self.groups, np.split(values, len(self.groups)), strict=True))
            for values in self.job.progress.baseline
        )
        found = judged[FOUND]
        facts = {
            "networks": len(found),
            "images": min(len(self.job.images.test_labels), self.job.plan.scored_examples),
            "epochs": self.settings.epochs,
        }
        # Of equals none is the best: their mean.
        chosen = found[chosen_by[FOUND] == chosen_by[FOUND].max()].mean()
        figures = {"found": {"mean": float(found.mean()), "chosen": float(chosen), **facts}}
        for name, group in (("against_random", RANDOM), ("against_random_of_same_size", SAME_SIZE)):
            if group not in judged:
                continue
            figures[name] = {
                "found": float(found.mean()),
                "random": float(judged[group].mean()),
                **jobs.facts_of(difference(found, judged[group])),
                **facts,
            }
        return figures
