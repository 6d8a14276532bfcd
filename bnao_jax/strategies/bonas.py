"""BONAS: Bayesian optimisation with a graph network as its features.

Shi et al., "Bridging the Gap between Sample-based and One-shot Neural Architecture Search with
BONAS", 2020, https://arxiv.org/abs/1911.09336.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from bnao_jax import surrogate
from bnao_jax.decisions import Decisions
from bnao_jax.graph import Form
from bnao_jax.ranking import pairwise_accuracy
from bnao_jax.settings import ABOVE_ZERO, AT_LEAST_ZERO, Settings, setting, whole
from bnao_jax.strategies.strategy import Range, Strategy, best, check_capacity, filled_up, padded

# Scores become targets within these, so that their logits are finite. The paper takes accuracies as
# they are; on a narrow range of them the sigmoid would be a line.
LOW, HIGH = 0.1, 0.9
EMBEDDED_AT_ONCE = 128


@dataclasses.dataclass(frozen=True)
class BonasSettings(Settings):
    """How BONAS learns and proposes; the defaults are the paper's."""

    epochs: int = setting(100, whole(1), "of the graph network's fit, from scratch each round")
    batch_size: int = setting(128, whole(1), "architectures")
    learning_rate: float = setting(1e-3, ABOVE_ZERO, "of Adam")
    exploration: float = setting(
        0.5, AT_LEAST_ZERO, "standard deviations added to the expected score (UCB)"
    )
    population: int = setting(30, whole(1), "architectures that evolve under that sum")
    tournament: int = setting(10, whole(1), "of them, those of which the best has a child")
    generations: int = setting(50, whole(1), "of as many children as the population has")

    def least_bytes(self, population, length) -> dict:
        """Least memory of proposing by the fields that ask for it."""
        del population
        return {"population": (4 * length + 4 * self.tournament) * self.population}


def bonas(
    decisions: Decisions,
    form: Form,
    settings: BonasSettings | None = None,
    *,
    capacity: int,
    accept=None,
) -> Strategy:
    """BONAS on a space.

    Args:
      decisions: those of the space.
      form: how its architectures are graphs.
      settings: the settings; the paper's by default.
      capacity: most architectures it will ever be told; pools are padded to it, so that the graph
        network compiles once.
      accept: function from a pool to bool[P]; others are never proposed.
    """
    settings = BonasSettings() if settings is None else settings
    gcn = surrogate.GCN(form.types)

    def unfitted(key):
        graphs = form.of(np.zeros((1, decisions.length), np.int32))
        variables = gcn.init(key, *graphs, valid=jnp.ones(1, bool))
        nothing = jnp.float32(jnp.nan)
        return surrogate.Fitted(variables["params"], variables["batch_stats"], nothing)

    def init(key):
        features = np.zeros(surrogate.gcn.HIDDEN)
        belief = surrogate.Posterior(features, np.diag(features), 1.0, 1.0)
        nothing = np.zeros((0, decisions.length), np.int32)
        scores = np.zeros(0, np.float32)
        return {"gcn": unfitted(key), "belief": belief, "pool": nothing, "scores": scores}

    def embed(fitted, pool):
        embeddings = []
        for start in range(0, len(pool), EMBEDDED_AT_ONCE):
            part = pool[start : start + EMBEDDED_AT_ONCE]
            _, embedding = surrogate.embed(gcn, fitted, *form.of(padded(part, EMBEDDED_AT_ONCE)))
            embeddings.append(np.asarray(embedding)[: len(part)])
        return np.concatenate(embeddings)

    def believed(state, pool):
        """Expected target and its standard deviation, float64[P] each."""
        embedded = embed(state["gcn"], pool)
        return surrogate.sigmoid_moments(*surrogate.predict(state["belief"], embedded))

    def tell(state, key, pool, scores, on_part=None):
        del on_part  # seconds of work
        check_capacity(pool, capacity)
        facts, before = {}, set(decisions.keys(state["pool"]))
        new = np.array([key not in before for key in decisions.keys(pool)])
        if before and new.any():
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
        lived, seen = [], set(decisions.keys(state["pool"]))
        for number in range(settings.generations):
            tournament_key, mutation_key = jax.random.split(jax.random.fold_in(key, number))
            size = settings.population, settings.tournament
            rows = np.asarray(jax.random.randint(tournament_key, size, 0, len(pool)))
            winners = rows[np.arange(len(rows)), values[rows].argmax(1)]
            children = decisions.mutate(mutation_key, pool[winners], 1 / decisions.length)
            if accept is not None:
                children = np.asarray(children)[np.asarray(accept(children))]
            children = decisions.unseen(children, seen)
            if not len(children):
                continue
            seen.update(decisions.keys(children))
            bounds = ucb(state, children)
            lived.append((children, bounds))
            pool, values = np.concatenate([pool, children]), np.concatenate([values, bounds])
            fittest = np.argsort(-values, kind="stable")[: settings.population]
            pool, values = pool[fittest], values[fittest]
        if not lived:
            return np.zeros((0, decisions.length), np.int32), np.zeros(0)
        return tuple(map(np.concatenate, zip(*lived, strict=True)))

    def ask(state, key, size, seen):
        evolution_key, random_key = jax.random.split(key)
        pool, values = evolve(state, evolution_key)
        pool = decisions.unseen(best(pool, values, len(pool)), seen)[:size]
        pool, drawn = filled_up(decisions, random_key, pool, size, seen=seen, accept=accept)
        return pool, {"lived": len(values), "filled_at_random": drawn}

    return Strategy("bonas", init, tell, ask)
