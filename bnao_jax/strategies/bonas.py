"""BONAS: Bayesian optimisation with a graph network as its features.

Shi et al., "Bridging the Gap between Sample-based and One-shot Neural Architecture Search with
BONAS", 2020, https://arxiv.org/abs/1911.09336.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from bnao_jax import surrogate
from bnao_jax.graph import Form
from bnao_jax.ranking import pairwise_accuracy
from bnao_jax.space import SearchSpace
from bnao_jax.strategies.strategy import Range, Strategy, best, check_capacity, filled_up, padded

# Scores become targets within these, so that their logits are finite. The paper takes accuracies as
# they are; on a narrow range of them the sigmoid would be a line.
LOW, HIGH = 0.1, 0.9
EMBEDDED_AT_ONCE = 128


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of BONAS.

    Attributes:
      capacity: most architectures it will ever be told; pools are padded to it, so that the graph
        network compiles once.
      epochs, batch_size, learning_rate: of the graph network's fit.
      exploration: standard deviations added to the expected score (UCB).
      population: architectures that evolve under the UCB.
      tournament: of them, those of which the best has a child.
      generations: of as many children as the population has.

    Raises:
      ValueError: one of them cannot be.
    """

    capacity: int
    epochs: int = 100
    batch_size: int = 128
    learning_rate: float = 1e-3
    exploration: float = 0.5
    population: int = 30
    tournament: int = 10
    generations: int = 50

    def __post_init__(self):
        for name in ("epochs", "batch_size", "population", "tournament", "generations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.learning_rate <= 0 or self.exploration < 0:
            raise ValueError("learning_rate must be above 0 and exploration at least 0")


def bonas(space: SearchSpace, form: Form, settings: Settings, *, accept=None) -> Strategy:
    """BONAS on a space.

    Args:
      space: the search space.
      form: how its architectures are graphs.
      settings: the settings.
      accept: function from a pool to bool[P]; others are never proposed.
    """
    gcn, capacity = surrogate.GCN(form.types), settings.capacity

    def unfitted(key):
        graphs = form.of(np.zeros((1, space.decisions), np.int32))
        variables = gcn.init(key, *graphs, valid=jnp.ones(1, bool))
        nothing = jnp.float32(jnp.nan)
        return surrogate.Fitted(variables["params"], variables["batch_stats"], nothing)

    def init(key):
        features = np.zeros(surrogate.gcn.HIDDEN)
        belief = surrogate.Posterior(features, np.diag(features), 1.0, 1.0)
        nothing = np.zeros((0, space.decisions), np.int32)
        scores = np.zeros(0, np.float32)
        return {"gcn": unfitted(key), "belief": belief, "pool": nothing, "scores": scores}

    def embed(fitted, pool):
        found = []
        for start in range(0, len(pool), EMBEDDED_AT_ONCE):
            part = pool[start : start + EMBEDDED_AT_ONCE]
            _, embedding = surrogate.embed(gcn, fitted, *form.of(padded(part, EMBEDDED_AT_ONCE)))
            found.append(np.asarray(embedding)[: len(part)])
        return np.concatenate(found)

    def believed(state, pool):
        """Expected target and its standard deviation, float64[P] each."""
        embedded = embed(state["gcn"], pool)
        return surrogate.sigmoid_moments(*surrogate.predict(state["belief"], embedded))

    def tell(state, key, pool, scores, on_part=None):
        del on_part  # seconds of work
        check_capacity(pool, capacity)
        facts, known = {}, set(space.keys(state["pool"]))
        new = np.array([found not in known for found in space.keys(pool)])
        if known and new.any():
            expected, _ = believed(state, pool[new])
            shares = (expected - LOW) / (HIGH - LOW)
            predicted = Range.of(state["scores"]).scores(shares)
            facts |= {  # of the fit before, which did not know them
                "held_out_pairwise_accuracy": pairwise_accuracy(predicted, scores[new]),
                "held_out_scores": scores[new].tolist(),
                "held_out_predicted": predicted.tolist(),
            }
        targets = LOW + (HIGH - LOW) * Range.of(scores).shares(scores).astype(np.float64)
        fitted = surrogate.fit(
            *(gcn, key, *map(jnp.asarray, form.of(padded(pool, capacity)))),
            jnp.asarray(padded(targets, capacity), jnp.float32),
            count=len(pool),
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
        )
        belief = surrogate.posterior(embed(fitted, pool), np.log(targets / (1 - targets)))
        facts |= {
            "surrogate_loss": float(fitted.loss),
            "noise": belief.beta**-0.5,  # standard deviation, of the logit
        }
        return {"gcn": fitted, "belief": belief, "pool": pool, "scores": scores}, facts

    def ucb(state, pool):
        expected, deviation = believed(state, pool)
        return expected + settings.exploration * deviation

    def evolve(state, key):
        """(pool, UCB) of all that has lived in a population that begins with the best known."""
        pool = best(state["pool"], state["scores"], settings.population)
        values = ucb(state, pool)
        lived, known = [], set(space.keys(state["pool"]))
        for number in range(settings.generations):
            tournament_key, mutation_key = jax.random.split(jax.random.fold_in(key, number))
            size = settings.population, settings.tournament
            rows = np.asarray(jax.random.randint(tournament_key, size, 0, len(pool)))
            winners = rows[np.arange(len(rows)), values[rows].argmax(1)]
            children = space.mutate(mutation_key, pool[winners], 1 / space.decisions)
            if accept is not None:
                children = np.asarray(children)[np.asarray(accept(children))]
            children = space.unseen(children, known)
            if not len(children):
                continue
            known.update(space.keys(children))
            found = ucb(state, children)
            lived.append((children, found))
            pool, values = np.concatenate([pool, children]), np.concatenate([values, found])
            fittest = np.argsort(-values, kind="stable")[: settings.population]
            pool, values = pool[fittest], values[fittest]
        if not lived:
            return np.zeros((0, space.decisions), np.int32), np.zeros(0)
        return tuple(map(np.concatenate, zip(*lived, strict=True)))

    def ask(state, key, size, seen):
        evolution_key, random_key = jax.random.split(key)
        pool, values = evolve(state, evolution_key)
        pool = space.unseen(best(pool, values, len(pool)), seen)[:size]
        pool, drawn = filled_up(space, random_key, pool, size, seen=seen, accept=accept)
        return pool, {"lived": len(values), "filled_at_random": drawn}

    return Strategy("bonas", init, tell, ask)
