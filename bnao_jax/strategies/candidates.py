"""What a strategy may propose: new architectures within the limits, each once."""

import numpy as np

from bnao_jax.decisions import Decisions

DECODED, BRED = "decoded", "bred"  # where a candidate comes from


class Candidates:
    """New architectures in the order they came; shapes: C of them, D decisions.

    Args:
      decisions: those of the space.
      seen: keys of architectures that are not new.
      accept: function from a pool to bool[P], the limit; None for no limit.
    """

    def __init__(self, decisions: Decisions, seen, accept=None):
        self._decisions, self._seen, self._accept = decisions, set(seen), accept
        self._rows, self._sources = [], []
        names = ("decoded", "decoded_repeated", "decoded_invalid", "decoded_beyond_limit")
        self.facts = dict.fromkeys(names, 0)  # what became of all that was decoded

    @property
    def size(self) -> int:
        """C."""
        return len(self._rows)

    @property
    def pool(self) -> np.ndarray:
        """int32[C, D]."""
        return np.array(self._rows, np.int32).reshape(-1, self._decisions.length)

    def of(self, source) -> np.ndarray:
        """bool[C], those from a source."""
        return np.array(self._sources, object) == source

    def add(self, pool, source, most=None):
        """Adds what of a pool [P, D] is new, up to a size of `most` in all; None: all."""
        valid = ((pool >= 0) & (pool < np.array(self._decisions.options))).all(1)
        fresh = self._decisions.unseen(pool[valid], self._seen)
        allowed = np.ones(len(fresh), bool)
        if self._accept is not None and len(fresh):
            allowed = np.asarray(self._accept(fresh))
        kept = fresh[allowed][: None if most is None else most - self.size]
        self._seen.update(self._decisions.keys(kept))
        self._rows.extend(kept)
        self._sources.extend([source] * len(kept))
        if source == DECODED:
            self.facts["decoded"] += len(pool)
            self.facts["decoded_invalid"] += int(np.sum(~valid))
            self.facts["decoded_repeated"] += int(valid.sum()) - len(fresh)
            self.facts["decoded_beyond_limit"] += int(np.sum(~allowed))
