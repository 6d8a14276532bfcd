"""Random search: the control that every other strategy has to beat at equal cost."""

from bnao_jax.space import SearchSpace
from bnao_jax.strategies.strategy import Strategy


def random_search(space: SearchSpace, *, accept=None) -> Strategy:
    """Draws unseen architectures of the space, each option equally likely.

    Args:
      space: the search space.
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
        return space.sample(key, size, seen=seen, accept=accept), {}

    return Strategy("random", init, tell, ask)
