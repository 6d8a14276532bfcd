"""What a search strategy is: three functions over pools and scores.

A strategy proposes architectures of a space and learns from their scores. It keeps what it knows in
an explicit state, a tree of arrays. Scores are float32[P], higher is better.
"""

from collections.abc import Callable
from typing import Any, NamedTuple


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
        (`SearchSpace.keys`) are not in `seen`, each once. Every architecture satisfies the limit
        that the strategy was made with.
    """

    name: str
    init: Callable[..., Any]
    tell: Callable[..., tuple[Any, dict]]
    ask: Callable[..., tuple[Any, dict]]
