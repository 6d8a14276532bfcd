"""The strategies that come with the library, by name."""

from bnao_jax.strategies.bonas import bonas
from bnao_jax.strategies.evolution import evolution
from bnao_jax.strategies.nao import nao_strategy
from bnao_jax.strategies.random import random_search
from bnao_jax.strategies.strategy import Strategy


def make(name, space, settings, *, capacity: int, accept=None) -> Strategy:
    """The strategy of that name on a space.

    Args:
      name: "nao", "evolution", "bonas" or "random".
      space: the `Space`.
      settings: object whose attributes `nao`, `evolution`, `bonas` are their settings.
      capacity: most architectures it will ever be told.
      accept: function from a pool to bool[P]; others are never proposed.
    """
    decisions = space.decisions
    if name == "random":
        return random_search(decisions, accept=accept)
    if name == "evolution":
        return evolution(decisions, settings.evolution, accept=accept)
    sizes = dict(capacity=capacity, accept=accept)
    if name == "bonas":
        return bonas(decisions, space.graph(), settings.bonas, **sizes)
    if name == "nao":
        return nao_strategy(decisions, settings.nao, **sizes)
    raise ValueError(f"there is no strategy {name!r}")
