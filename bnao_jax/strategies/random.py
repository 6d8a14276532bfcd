"""Random search: the control that every other strategy has to beat at equal cost."""

from bnao_jax.decisions import Decisions
from bnao_jax.strategies.strategy import Strategy


def random_search(decisions: Decisions, *, accept=None) -> Strategy:
    """Draws unseen architectures of the decisions, each option equally likely.

    Args:
      decisions: those of the space.
      accept: function from a pool to bool[P]; others are never proposed.
    """

    def init(key):
        del key
        return ()

    def tell(state, key, pool, scores, on_part=None):
        del key, pool, scores, on_part
        return state, {}

    def ask(state, key, size, seen):
        del state
        return decisions.sample(key, size, seen=seen, accept=accept), {}

    return Strategy("random", init, tell, ask)
