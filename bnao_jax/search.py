"""Algorithm 1 of Balanced NAO (Luo, Qin, Chen, 2020, https://arxiv.org/abs/1909.10815).

Knows slots, not members: the strategy, and how to train and to evaluate, are passed in.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from bnao_jax.space import SearchSpace
from bnao_jax.strategies.strategy import Strategy


class Population(NamedTuple):
    """Everything searched so far, P architectures.

    Attributes:
      pool: int32[P, D].
      born: int32[P], the round, from 1, that an architecture was proposed for.
      scores: float32[P] of the last evaluation, higher is better; NaN before the first.
      counts: int64[P], steps that trained exactly this architecture.
    """

    pool: np.ndarray
    born: np.ndarray
    scores: np.ndarray
    counts: np.ndarray

    def best(self, size: int) -> np.ndarray:
        """Rows of the `size` best scores, best first."""
        return np.argsort(-self.scores, kind="stable")[:size]


class SearchState(NamedTuple):
    """All that a search carries from round to round."""

    round: int
    population: Population
    strategy: Any


def begin(key, strategy: Strategy, seeds) -> SearchState:
    """The state before round 1, whose architectures are `seeds` int32[P, D]."""
    size = len(seeds)
    population = Population(
        np.asarray(seeds, np.int32),
        np.ones(size, np.int32),
        np.full(size, np.nan, np.float32),
        np.zeros(size, np.int64),
    )
    return SearchState(1, population, strategy.init(key))


def search(
    key,
    state: SearchState,
    space: SearchSpace,
    strategy: Strategy,
    *,
    train,
    evaluate,
    rounds: int,
    proposals: int,
    on_round=lambda state, facts: None,
) -> SearchState:
    """Runs the rounds that are left and returns the final state.

    Args:
      key: random key of the whole search; round l uses `fold_in(key, l)`.
      state: from `begin`, or a state that was kept.
      space: the search space.
      strategy: proposes and learns.
      train: `train(round, pool [P, D]) -> counts int[P]`: trains the shared weights on the round's
        architectures and tells how often each was drawn.
      evaluate: `evaluate(round, pool [P, D]) -> float32[P]`: scores with the shared weights.
      rounds: L, rounds in all.
      proposals: architectures proposed for each round after the first.
      on_round: called with the state and the strategy's facts after each round's evaluation.
    """
    while state.round <= rounds:
        number, population = state.round, state.population
        propose_key, tell_key = jax.random.split(jax.random.fold_in(key, number))
        new = population.born == number
        counts = population.counts.copy()
        counts[new] += train(number, population.pool[new])
        scores = evaluate(number, population.pool)
        population = population._replace(counts=counts, scores=scores)
        known, facts = state.strategy, {}
        if number < rounds:
            known, facts = strategy.tell(known, tell_key, population.pool, population.scores)
            seen = space.keys(population.pool)
            proposed, asked = strategy.ask(known, propose_key, proposals, seen)
            facts = facts | asked
        on_round(SearchState(number, population, known), facts)
        if number < rounds:
            population = _enlarge(population, proposed, number + 1)
        state = SearchState(number + 1, population, known)
    return state


def _enlarge(population, proposed, number):
    size = len(proposed)
    return Population(
        np.concatenate([population.pool, proposed]),
        np.concatenate([population.born, np.full(size, number, np.int32)]),
        np.concatenate([population.scores, np.full(size, np.nan, np.float32)]),
        np.concatenate([population.counts, np.zeros(size, np.int64)]),
    )
