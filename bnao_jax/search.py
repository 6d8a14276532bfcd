"""Algorithm 1 of Balanced NAO (Luo, Qin, Chen, 2020, https://arxiv.org/abs/1909.10815).

Knows slots, not members: the strategy, and how to train and to evaluate, are passed in. Where the
shared weights are trained only once (SPOS), later rounds score and propose alone.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from bnao_jax.space import SearchSpace
from bnao_jax.strategies.strategy import Strategy

TRAIN, EVALUATE, PROPOSE = range(3)  # the phases of a round


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
    """All that a search carries from phase to phase.

    Attributes:
      round: the present round, from 1.
      phase: of the round, the next thing to do: TRAIN, EVALUATE or PROPOSE.
      population: the architectures.
      strategy: what the strategy knows.
    """

    round: int
    phase: int
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
    return SearchState(1, TRAIN, population, strategy.init(key))


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
    trained_rounds: int | None = None,
    rescored: bool = True,
    on_phase=lambda state: None,
    on_part=lambda state, done, total: None,
    on_round=lambda state, facts: None,
) -> SearchState:
    """Runs what is left of the rounds and returns the final state.

    A search may be broken off in any call; a state that was kept leads to the same end.

    Args:
      key: random key of the whole search; round l uses `fold_in(key, l)`.
      state: from `begin`, or a state that was kept.
      space: the search space.
      strategy: proposes and learns.
      train: `train(round, pool [P, D]) -> counts int[P]`: trains the shared weights on the round's
        architectures and tells how often each was drawn.
      evaluate: `evaluate(round, pool [P, D], wanted bool[P]) -> float32[P]`: scores of all. Those
        wanted are to be measured with the shared weights; the others, see `rescored` and
        `trained_rounds`, have been.
      rounds: L, rounds in all.
      proposals: architectures proposed for each round after the first.
      trained_rounds: the first so many rounds train, the others only score and propose; None: all.
      rescored: whether rounds that train score everything again, as weights that are trained on
        want; if not, they are measured in the round that they were proposed for, once.
      on_phase: called with the state after each phase.
      on_part: called with the state, the parts done and all parts, while the strategy learns.
      on_round: called with the state and the strategy's facts at the end of each round.
    """
    trained_rounds = rounds if trained_rounds is None else trained_rounds
    while state.round <= rounds:
        number, facts = state.round, {}
        propose_key, tell_key = jax.random.split(jax.random.fold_in(key, number))
        if state.phase == TRAIN:
            state = _trained(state, train)
            on_phase(state)
        if state.phase == EVALUATE:
            everything = rescored and number <= trained_rounds
            state = _evaluated(state, evaluate, everything=everything)
            on_phase(state)
        if number < rounds:
            state, facts = _told(state, tell_key, strategy, on_part)
            seen = space.keys(state.population.pool)
            proposed, asked = strategy.ask(state.strategy, propose_key, proposals, seen)
            facts = facts | asked
        on_round(state, facts)
        if number < rounds:
            state = state._replace(population=_enlarge(state.population, proposed, number + 1))
        begins_with = TRAIN if number < trained_rounds else EVALUATE
        state = state._replace(round=number + 1, phase=begins_with)
        on_phase(state)
    return state


def _trained(state, train):
    population = state.population
    new = population.born == state.round
    counts = population.counts.copy()
    counts[new] += train(state.round, population.pool[new])
    return state._replace(phase=EVALUATE, population=population._replace(counts=counts))


def _evaluated(state, evaluate, *, everything):
    population = state.population
    # Without training the weights, and so what the others reach with them, are what they were.
    wanted = (population.born == state.round) | everything
    scores = np.asarray(evaluate(state.round, population.pool, wanted), np.float32)
    return state._replace(phase=PROPOSE, population=population._replace(scores=scores))


def _told(state, key, strategy, on_part):
    def on_known(known, done, total):
        on_part(state._replace(strategy=known), done, total)

    population = state.population
    known, facts = strategy.tell(state.strategy, key, population.pool, population.scores, on_known)
    return state._replace(strategy=known), facts


def _enlarge(population, proposed, number):
    size = len(proposed)
    return Population(
        np.concatenate([population.pool, proposed]),
        np.concatenate([population.born, np.full(size, number, np.int32)]),
        np.concatenate([population.scores, np.full(size, np.nan, np.float32)]),
        np.concatenate([population.counts, np.zeros(size, np.int64)]),
    )
