"""What a search strategy is: three functions over pools and scores.

A strategy proposes architectures of a space and learns from their scores. It keeps what it knows in
an explicit state, a tree of arrays. Scores are float32[P], higher is better.
Below it stands what several strategies do alike.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bnao_jax.decisions import Decisions


class Strategy(NamedTuple):
    """A search strategy.

    Attributes:
      name: what reports call it.
      init: `init(key) -> state`.
      tell: `tell(state, key, pool [P, D], scores [P], on_part) -> (state, facts)`; gets everything
        scored so far, newly scored each time. `facts` is a dict of numbers, or lists of them, for
        the log. Where this is long work, `on_part(state, done, total)` is called between its parts,
        and the same call with such a state goes on from there to the same end.
      ask: `ask(state, key, size, seen) -> (pool [size, D], facts)`: architectures whose keys
        (`Decisions.keys`) are not in `seen`, each once. Every architecture satisfies the limit
        that the strategy was made with.
    """

    name: str
    init: Callable[..., Any]
    tell: Callable[..., tuple[Any, dict]]
    ask: Callable[..., tuple[Any, dict]]


class Range(NamedTuple):
    """The least and the highest of some scores."""

    low: float
    high: float

    @classmethod
    def of(cls, scores):
        """The range of scores [P], P at least 1."""
        return cls(float(np.min(scores)), float(np.max(scores)))

    def shares(self, scores):
        """Scores as shares 0..1 of the range, 0 where it is empty."""
        return (scores - self.low) / max(self.high - self.low, 1e-12)

    def scores(self, shares):
        """The scores that are such shares of the range."""
        return self.low + (self.high - self.low) * shares


def best(pool, scores, size: int) -> np.ndarray:
    """The `size` architectures with the best scores, best first."""
    return pool[np.argsort(-scores, kind="stable")[:size]]


def check_capacity(pool, capacity: int):
    """Raises ValueError where a pool is larger than what a strategy was made for."""
    if len(pool) > capacity:
        raise ValueError(f"{len(pool)} architectures exceed the capacity {capacity}")


def padded(rows, size: int) -> np.ndarray:
    """`rows`, and the first of them again and again up to `size` rows."""
    return np.concatenate([rows, np.repeat(rows[:1], size - len(rows), 0)])


def filled_up(decisions: Decisions, key, pool, size: int, *, seen, accept=None):
    """`pool` with new architectures at random up to `size`: ([size, D], how many are random)."""
    seen = {*seen, *decisions.keys(pool)}
    drawn = decisions.sample(key, size - len(pool), seen=seen, accept=accept)
    return np.concatenate([pool, drawn]), len(drawn)
