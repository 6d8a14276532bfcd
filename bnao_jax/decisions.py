"""Architectures as vectors of choices.

Shapes: P architectures in a pool, D decisions in an architecture, V tokens in the vocabulary. An
architecture is `int32[D]`, a pool `int32[P, D]`; everything that works on architectures works on
pools. Text and tokens are made here and nowhere else.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

DRAWS_PER_ROUND = 4096  # architectures drawn at once when looking for unseen ones
FRUITLESS_ROUNDS = 20  # such draws without a single find before giving up


class ArchitectureError(ValueError):
    """A text or a vector that is not an architecture of the space."""


class ExhaustedError(ValueError):
    """The space, or the part of it within the limit, seems to hold no more architectures."""


@dataclasses.dataclass(frozen=True)
class Decisions:
    """The decisions of a search space as a table: how many options each has, and how it is written.

    Attributes:
      name: how messages call the space.
      options: number of options at each of the D decisions; option k is the integer k.
      first_tokens: token of option 0 at each decision. Token 0 is the start token.
      commuting: pairs of groups of decisions whose exchange leaves the network the same, for
        example the two (input, operation) pairs of a node.
      labels: what each decision is, for messages.
    """

    name: str
    options: tuple[int, ...]
    first_tokens: tuple[int, ...]
    commuting: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = ()
    labels: tuple[str, ...] = ()

    def __post_init__(self):
        if not self.options or min(self.options) < 1:
            raise ValueError(f"{self.name}: every decision needs at least one option")
        if len(self.first_tokens) != len(self.options) or min(self.first_tokens) < 1:
            raise ValueError(f"{self.name}: every decision needs a first token of at least 1")

    @property
    def length(self) -> int:
        """D, the number of decisions of an architecture."""
        return len(self.options)

    @functools.cached_property
    def cardinality(self) -> int:
        """Number of different architectures, those equal up to exchanges counted once."""
        free = set(range(self.length))
        total = 1
        for first, second in self.commuting:
            ways = math.prod(self.options[d] for d in first)
            total *= ways * (ways + 1) // 2
            free -= {*first, *second}
        return total * math.prod(self.options[d] for d in free)

    # Drawing. All return int32[P, D]; the key is consumed.

    @functools.partial(jax.jit, static_argnums=(0, 2))
    def random(self, key, size: int):
        """Draws `size` architectures, each option equally likely; not necessarily different."""
        options = jnp.array(self.options)[None]
        return jax.random.randint(key, (size, self.length), 0, options)

    @functools.partial(jax.jit, static_argnums=(0, 4))
    def mutate(self, key, pool, rate, to_another=True):
        """Redraws each decision of `pool` [P, D] with probability `rate`.

        It becomes one of the other options or, without `to_another`, any of all.
        """
        where_key, shift_key = jax.random.split(key)
        options = jnp.array(self.options)[None]
        least = 1 if to_another else 0
        shift = jax.random.randint(shift_key, pool.shape, least, jnp.maximum(options, 2))
        changed = jax.random.bernoulli(where_key, rate, pool.shape)
        return jnp.where(changed, (pool + shift) % options, pool).astype(jnp.int32)

    @functools.partial(jax.jit, static_argnums=0)
    def crossover(self, key, mothers, fathers):
        """Takes each decision from `mothers` or `fathers` [P, D] with equal probability."""
        return jnp.where(jax.random.bernoulli(key, 0.5, mothers.shape), mothers, fathers)

    @functools.partial(jax.jit, static_argnums=0)
    def exchange(self, key, pool):
        """Exchanges each commuting pair of `pool` [P, D] with probability one half."""
        if not self.commuting:
            return pool
        first, second = (jnp.array(side) for side in zip(*self.commuting, strict=True))
        swap = jax.random.bernoulli(key, 0.5, (pool.shape[0], len(self.commuting), 1))
        a, b = pool[:, first], pool[:, second]
        return pool.at[:, first].set(jnp.where(swap, b, a)).at[:, second].set(jnp.where(swap, a, b))

    # Equality.

    def canonical(self, pool) -> np.ndarray:
        """Orders every commuting pair, so that equal networks are equal rows: int32[P, D]."""
        pool = np.array(pool, np.int32)
        for first, second in map(list, self.commuting):
            a, b = pool[:, first], pool[:, second]
            differs = a != b
            at = differs.argmax(1)
            rows = np.arange(len(pool))
            swap = differs.any(1) & (a[rows, at] > b[rows, at])
            pool[np.ix_(swap, first)], pool[np.ix_(swap, second)] = b[swap], a[swap]
        return pool

    def keys(self, pool) -> list[bytes]:
        """A hashable key for each architecture; equal networks have equal keys."""
        return [row.tobytes() for row in self.canonical(pool)]

    def unseen(self, pool, seen=()) -> np.ndarray:
        """The rows of `pool` whose keys are not in `seen`, each once, in order: int32[P', D]."""
        seen, kept = set(seen), []
        for row, key in zip(np.asarray(pool, np.int32), self.keys(pool), strict=True):
            if key not in seen:
                seen.add(key)
                kept.append(row)
        return np.array(kept, np.int32).reshape(-1, self.length)

    def sample(self, key, size: int, *, seen=(), accept=None) -> np.ndarray:
        """Draws `size` different architectures that are not in `seen`: int32[size, D].

        Args:
          key: random key, consumed.
          size: number of architectures.
          seen: keys (see `keys`) of architectures not to be returned.
          accept: function from a pool to bool[P]; others are never returned.

        Raises:
          ExhaustedError: too few architectures can be found.
        """
        seen, sampled, fruitless, draw = set(seen), [], 0, 0
        while len(sampled) < size:
            drawn = np.asarray(self.random(jax.random.fold_in(key, draw), DRAWS_PER_ROUND))
            draw += 1
            fresh = drawn if accept is None else drawn[np.asarray(accept(drawn))]
            fresh = self.unseen(fresh, seen)[: size - len(sampled)]
            seen.update(self.keys(fresh))
            sampled.extend(fresh)
            fruitless = 0 if len(fresh) else fruitless + 1
            if fruitless >= FRUITLESS_ROUNDS:
                limit = "" if accept is None else " within the limit"
                raise ExhaustedError(
                    f"found only {len(sampled)} of {size} new architectures of {self.name}{limit} "
                    f"in {draw * DRAWS_PER_ROUND} draws"
                )
        return np.array(sampled, np.int32).reshape(-1, self.length)

    # Text and tokens.

    def check(self, pool) -> np.ndarray:
        """Returns `pool` as int32[P, D].

        Raises:
          ArchitectureError: it names position, value and what is allowed.
        """
        pool = np.asarray(pool)
        if pool.ndim != 2 or pool.shape[1] != self.length:
            raise ArchitectureError(
                f"{self.name}: a pool has shape [P, {self.length}], not {list(pool.shape)}"
            )
        wrong = (pool < 0) | (pool >= np.array(self.options))
        if wrong.any():
            row, at = np.argwhere(wrong)[0]
            where = f"architecture {row + 1}, " if len(pool) > 1 else ""
            raise ArchitectureError(
                f"{self.name}: {where}{self._place(at)}: {pool[row, at]} is not one of "
                f"{self._allowed(at)}"
            )
        return pool.astype(np.int32)

    def check_known(self, architecture):
        """Raises ArchitectureError as `check` does; a traced architecture passes."""
        if not isinstance(architecture, jax.core.Tracer):
            self.check(np.asarray(architecture)[None])

    def format(self, architecture) -> str:
        """The published text form: D integers with blanks between."""
        return " ".join(str(int(choice)) for choice in architecture)

    def parse(self, text: str) -> np.ndarray:
        """Reads the text form of one architecture: int32[D].

        Raises:
          ArchitectureError: it names position, value and what is allowed.
        """
        words = text.split()
        for at, word in enumerate(words[: self.length]):
            if not (word.isascii() and word.isdigit()) or len(word) > 9:
                raise ArchitectureError(
                    f"{self.name}: {self._place(at)}: {word[:20]!r} is not one of "
                    f"{self._allowed(at)}"
                )
        if len(words) != self.length:
            raise ArchitectureError(
                f"{self.name}: an architecture is {self.length} integers, not {len(words)}"
            )
        return self.check(np.array([words]).astype(np.int64))[0]

    def parse_lines(self, lines) -> np.ndarray:
        """Reads one architecture a line, skipping empty lines and `#` comments: int32[P, D].

        Raises:
          ArchitectureError: it names the line as well.
        """
        pool = []
        for number, line in enumerate(lines, 1):
            if text := line.split("#")[0].strip():
                try:
                    pool.append(self.parse(text))
                except ArchitectureError as error:
                    raise ArchitectureError(f"line {number}: {error}") from None
        return np.array(pool, np.int32).reshape(-1, self.length)

    @property
    def token_ranges(self) -> tuple[tuple[int, int], ...]:
        """The (first token, number of tokens) allowed at each decision."""
        return tuple(zip(self.first_tokens, self.options, strict=True))

    @property
    def vocabulary(self) -> int:
        """V, the start token included."""
        return max(first + count for first, count in self.token_ranges)

    def to_tokens(self, pool):
        """Tokens int32[P, D] of a pool, each in 1..V-1."""
        return pool + np.array(self.first_tokens, np.int32)[None]

    def from_tokens(self, tokens):
        """The pool int32[P, D] of tokens made by `to_tokens` or by a masked decoder."""
        return tokens - np.array(self.first_tokens, np.int32)[None]

    def _place(self, at) -> str:
        label = f" ({self.labels[at]})" if self.labels else ""
        return f"position {at + 1}{label}"

    def _allowed(self, at) -> str:
        return f"0..{self.options[at] - 1}"
