"""Evolution: the best so far are mutated and crossed.

As in Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling", 2019,
https://arxiv.org/abs/1904.00420, Algorithm 1; a round of the search is a generation. There the
parents are the best of all generations, as here.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from bnao_jax.decisions import Decisions
from bnao_jax.settings import ARCHITECTURES, KEEP, WHOLE_SHARE, Settings, setting, whole
from bnao_jax.strategies.strategy import Strategy, best, filled_up

BRED_AT_ONCE = 512  # children of one draw; the new among them are kept
DRAWS = 20  # before the rest is drawn at random


@dataclasses.dataclass(frozen=True)
class EvolutionSettings(Settings):
    """How children are made; the defaults are the paper's."""

    parents: int = setting(10, whole(1, ARCHITECTURES), "best so far, from which children come")
    mutants: float = setting(
        0.5, WHOLE_SHARE, "share of the proposals that are mutants; the others are crossed"
    )
    mutation_rate: float = setting(0.1, KEEP, "probability that a decision of a mutant is redrawn")


def evolution(
    decisions: Decisions, settings: EvolutionSettings | None = None, *, accept=None
) -> Strategy:
    """Evolution on a space.

    Args:
      decisions: those of the space.
      settings: the settings; the paper's by default.
      accept: function from a pool to bool[P]; others are never proposed.
    """
    settings = EvolutionSettings() if settings is None else settings

    def init(key):
        del key
        nothing = np.zeros((0, decisions.length), np.int32)
        return {"pool": nothing, "scores": np.zeros(0, np.float32)}

    def tell(state, key, pool, scores, on_part=None):
        del state, key, on_part
        return {"pool": pool, "scores": scores}, {}

    def ask(state, key, size, seen):
        mutant_key, crossing_key, random_key = jax.random.split(key, 3)
        parents = jnp.asarray(best(state["pool"], state["scores"], settings.parents))
        seen_now = set(seen)

        def mutants(key):
            parent_key, mutation_key = jax.random.split(key)
            rows = jax.random.randint(parent_key, (BRED_AT_ONCE,), 0, len(parents))
            rate = settings.mutation_rate
            # As published, the same option may be drawn again.
            return decisions.mutate(mutation_key, parents[rows], rate, False)

        def crossed(key):
            parent_key, crossing_key = jax.random.split(key)
            rows = jax.random.randint(parent_key, (2, BRED_AT_ONCE), 0, len(parents))
            return decisions.crossover(crossing_key, parents[rows[0]], parents[rows[1]])

        def breed(key, children, wanted):
            """Up to `wanted` new architectures among the children of several draws."""
            bred = []
            for draw in range(DRAWS if wanted else 0):
                fresh = np.asarray(children(jax.random.fold_in(key, draw)))
                if accept is not None:
                    fresh = fresh[np.asarray(accept(fresh))]
                fresh = decisions.unseen(fresh, seen_now)[: wanted - len(bred)]
                seen_now.update(decisions.keys(fresh))
                bred.extend(fresh)
                if len(bred) == wanted:
                    break
            return np.array(bred, np.int32).reshape(-1, decisions.length)

        mutated = breed(mutant_key, mutants, round(settings.mutants * size))
        children = breed(crossing_key, crossed, size - round(settings.mutants * size))
        bred = np.concatenate([mutated, children])
        # Parents that are alike have few new children.
        pool, drawn = filled_up(decisions, random_key, bred, size, seen=seen, accept=accept)
        facts = {"mutants": len(mutated), "crossed": len(children), "filled_at_random": drawn}
        return pool, facts

    return Strategy("evolution", init, tell, ask)
