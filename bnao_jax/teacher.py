"""Teachers: made-up ground truths, for spaces of which no table is known.

A teacher gives every architecture of a space a value that is drawn at random, but not without
structure, so that there is something to learn. A strategy that finds good architectures for many
teachers is not fitted to one table. Values are in standard deviations of random architectures;
equal networks have equal values.

- sum: the options of all decisions add up. Easy: what is best at one decision is best always.
- pairs: the same, and random pairs of decisions add what both together are worth.
- graph: a random graph network reads the architecture as a graph, so that wiring counts.
"""

import numpy as np

KINDS = ("sum", "pairs", "graph")
SCORE, VALUE = "score", "value"  # columns: with noise, without
STANDARD = 4_000  # random architectures that set the mean 0 and the standard deviation 1
PAIRS = 2  # pairs of decisions, for each decision
WIDTH, LAYERS, GAIN = 32, 4, 1.5  # of the graph network; the gain keeps tanh from being a line
AT_ONCE = 500


class Teacher:
    """A ground truth `of` architectures, as `bnao_jax.ground_truth.GroundTruth` is.

    Args:
      kind: one of KINDS.
      space: the `Space`.
      seed: of the values and of the noise.
      noise: standard deviation of what is added to a value in the column "score"; it is drawn once
        for each architecture. With 1, values and scores have a Kendall's tau of .5, as good
        supernets have with trained networks.
    """

    def __init__(self, kind, space, seed, *, noise=0.0):
        if kind not in KINDS:
            raise ValueError(f"teacher {kind!r} is not one of {list(KINDS)}")
        self._decisions, self._seed, self._noise = space.decisions, seed, noise
        draw = np.random.default_rng([seed, KINDS.index(kind)])
        make = _graph_network if kind == "graph" else _table
        self._raw = make(draw, space, pairs=PAIRS * space.decisions.length * (kind == "pairs"))
        shape = STANDARD, space.decisions.length
        sample = draw.integers(0, np.array(space.decisions.options), shape).astype(np.int32)
        values = self._raw(space.decisions.canonical(sample))
        self._mean, self._deviation = values.mean(), values.std()

    def of(self, pool, column=VALUE) -> np.ndarray:
        """float64[P] of a pool [P, D], higher is better; the column "value" or "score"."""
        if column not in (SCORE, VALUE):
            raise ValueError(f"a teacher has the columns {SCORE} and {VALUE}, not {column!r}")
        pool = self._decisions.canonical(pool)
        values = (self._raw(pool) - self._mean) / self._deviation
        return values if column == VALUE else values + self._noise * self._errors(pool)

    def _errors(self, pool):
        draws = (np.random.default_rng([self._seed, len(KINDS), *row]) for row in pool.tolist())
        return np.array([draw.normal() for draw in draws])


def _table(draw, space, *, pairs):
    options = np.array(space.decisions.options)
    first = np.cumsum(options) - options
    worth = draw.normal(size=options.sum())
    among = np.array([draw.choice(len(options), 2, replace=False) for _ in range(pairs)])
    together = [draw.normal(size=options[pair]) for pair in among]

    def values(pool):
        total = worth[first + pool].sum(1)
        for (one, other), table in zip(among, together, strict=True):
            total += table[pool[:, one], pool[:, other]]
        return total

    return values


def _graph_network(draw, space, *, pairs):
    del pairs
    form = space.graph()
    embedding, readout = draw.normal(size=(form.types, WIDTH)), draw.normal(size=WIDTH)
    weights = draw.normal(size=(LAYERS, WIDTH, WIDTH)) * GAIN / np.sqrt(WIDTH)

    def part(pool):
        adjacency, types = form.of(pool)
        edges = adjacency + np.eye(adjacency.shape[1])
        edges /= edges.sum(2, keepdims=True)
        state = embedding[types]
        for weight in weights:
            state = np.tanh(edges @ state @ weight)
        return state.mean(1) @ readout

    return lambda pool: np.concatenate(
        [np.zeros(0), *(part(pool[at : at + AT_ONCE]) for at in range(0, len(pool), AT_ONCE))]
    )
