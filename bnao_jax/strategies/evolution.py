"""Evolution: the best so far are mutated and crossed.

As in Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling", 2019,
https://arxiv.org/abs/1904.00420, Algorithm 1; a round of the search is a generation. There the
parents are the best of all generations, as here.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from bnao_jax.space import SearchSpace
from bnao_jax.strategies.strategy import Strategy, best, filled_up

BRED_AT_ONCE = 512  # children of one draw; the new among them are kept
DRAWS = 20  # before the rest is drawn at random


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of evolution.

    Attributes:
      parents: the best so far, from which children come.
      mutants: share of the proposals that are mutants; the others are crossed.
      mutation_rate: probability that a decision of a mutant is another than its parent's.

    Raises:
      ValueError: one of them cannot be.
    """

    parents: int = 10
    mutants: float = 0.5
    mutation_rate: float = 0.1

    def __post_init__(self):
        if self.parents < 1:
            raise ValueError(f"parents must be at least 1, not {self.parents}")
        if not 0 <= self.mutants <= 1:
            raise ValueError(f"mutants must be within 0 and 1, not {self.mutants}")
        if not 0 < self.mutation_rate <= 1:
            raise ValueError(f"mutation_rate must be in (0, 1], not {self.mutation_rate}")


def evolution(space: SearchSpace, settings: Settings, *, accept=None) -> Strategy:
    """Evolution on a space.

    Args:
      space: the search space.
      settings: the settings.
      accept: function from a pool to bool[P]; others are never proposed.
    """

    def init(key):
        del key
        nothing = np.zeros((0, space.decisions), np.int32)
        return {"pool": nothing, "scores": np.zeros(0, np.float32)}

    def tell(state, key, pool, scores, on_part=None):
        del state, key, on_part
        return {"pool": pool, "scores": scores}, {}

    def ask(state, key, size, seen):
        mutant_key, crossing_key, random_key = jax.random.split(key, 3)
        parents = jnp.asarray(best(state["pool"], state["scores"], settings.parents))
        known = set(seen)

        def mutants(key):
            parent_key, mutation_key = jax.random.split(key)
            rows = jax.random.randint(parent_key, (BRED_AT_ONCE,), 0, len(parents))
            return space.mutate(mutation_key, parents[rows], settings.mutation_rate)

        def crossed(key):
            parent_key, crossing_key = jax.random.split(key)
            rows = jax.random.randint(parent_key, (2, BRED_AT_ONCE), 0, len(parents))
            return space.crossover(crossing_key, parents[rows[0]], parents[rows[1]])

        def breed(key, children, wanted):
            """Up to `wanted` new architectures among the children of several draws."""
            found = []
            for draw in range(DRAWS if wanted else 0):
                fresh = np.asarray(children(jax.random.fold_in(key, draw)))
                if accept is not None:
                    fresh = fresh[np.asarray(accept(fresh))]
                fresh = space.unseen(fresh, known)[: wanted - len(found)]
                known.update(space.keys(fresh))
                found.extend(fresh)
                if len(found) == wanted:
                    break
            return np.array(found, np.int32).reshape(-1, space.decisions)

        mutated = breed(mutant_key, mutants, round(settings.mutants * size))
        children = breed(crossing_key, crossed, size - round(settings.mutants * size))
        bred = np.concatenate([mutated, children])
        # Parents that are alike have few new children.
        pool, drawn = filled_up(space, random_key, bred, size, seen=seen, accept=accept)
        facts = {"mutants": len(mutated), "crossed": len(children), "filled_at_random": drawn}
        return pool, facts

    return Strategy("evolution", init, tell, ask)
