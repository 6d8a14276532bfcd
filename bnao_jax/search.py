"""Algorithm 1 of Balanced NAO (Luo, Qin, Chen, 2020, https://arxiv.org/abs/1909.10815).

Knows slots, not members: the strategy, and how to train and to evaluate, are passed in. Where the
shared weights are trained only once (SPOS), later rounds score and propose alone.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

from bnao_jax.decisions import Decisions
from bnao_jax.settings import (
    ARCHITECTURES,
    AT_LEAST_ZERO,
    LIMIT,
    SECONDS,
    SWITCH,
    TEXT,
    SettingError,
    Settings,
    one_of,
    setting,
    several,
    whole,
)
from bnao_jax.strategies.strategy import Strategy

TRAIN, EVALUATE, PROPOSE = range(3)  # the phases of a round
STRATEGIES = ("nao", "evolution", "bonas", "random")


@dataclasses.dataclass(frozen=True)
class RoundsSettings(Settings):
    """How many architectures are searched, and within which limits."""

    initial: int = setting(1_000, whole(1, ARCHITECTURES), "random architectures of round 1")
    rounds: int = setting(4, whole(1, ARCHITECTURES), "of training, scoring and proposing")
    trained_rounds: int = setting(
        0, whole(0, ARCHITECTURES), "first rounds that train; the others score what is new; 0: all"
    )
    proposals: int = setting(300, whole(0, ARCHITECTURES), "new architectures of each later round")
    max_params: int | None = setting(
        None, LIMIT, "limit of the stand-alone network at config.network"
    )
    max_macs: int | None = setting(None, LIMIT, "the same for multiply-adds of one image")
    max_cost: int | None = setting(
        None, LIMIT, "the same for the space's own cost; of quantised: bit operations"
    )

    def __post_init__(self):
        super().__post_init__()
        if self.rounds > 1 and self.proposals < 1:
            raise SettingError("proposals must be at least 1 where there are later rounds")
        if self.trained_rounds > self.rounds:
            raise SettingError(
                f"trained_rounds={self.trained_rounds} exceeds config.search.rounds={self.rounds}"
            )

    @property
    def rounds_that_train(self) -> int:
        """Rounds that train the supernet, the first ones."""
        return self.trained_rounds or self.rounds

    @property
    def population_size(self) -> int:
        """Architectures of all rounds together."""
        return self.initial + (self.rounds - 1) * self.proposals

    def check_space(self, space, *, baseline):
        """Raises SettingError where a space holds too few architectures, or they are too many.

        Or where it has no cost of its own to be limited.
        """
        if self.max_cost is not None and space.own_cost is None:
            raise SettingError(
                f"max_cost={self.max_cost}: the space {space.name!r} has no cost of its own"
            )
        decisions, needed = space.decisions, self.population_size + baseline
        if needed > decisions.cardinality:
            raise SettingError(
                f"initial, proposals and rounds ask for {needed} different architectures; "
                f"{decisions.name} holds {decisions.cardinality}"
            )
        if needed > ARCHITECTURES:
            raise SettingError(
                f"initial, proposals and rounds ask for {needed} architectures together; the most "
                f"is {ARCHITECTURES}"
            )

    def scored_architectures(self, *, rescored=True) -> np.ndarray:
        """How many architectures each round scores: int64[rounds]; `rescored` as in `search`."""
        number = np.arange(self.rounds)
        new = np.where(number == 0, self.initial, self.proposals)
        again = (number < self.rounds_that_train) & rescored
        return np.where(again, np.cumsum(new), new)


@dataclasses.dataclass(frozen=True)
class SearchSettings(RoundsSettings):
    """A search with shared weights; the defaults are Balanced NAO's."""

    strategy: str = setting("nao", one_of(STRATEGIES), "who proposes")
    max_latency: float | None = setting(
        None, SECONDS, "limit in seconds, of a batch of latency_batch"
    )
    latencies: str = setting(
        "", TEXT, "file that launch.inspect --latency has printed, for max_latency"
    )
    latency_batch: int = setting(1, whole(1), "images")
    report: bool = setting(True, SWITCH, "report.html at the end")

    def check_supernet(self, supernet):
        """Raises SettingError where the settings of a supernet do not go with a search."""
        if supernet.sampler == "strictly_fair":
            raise SettingError(
                "strategy proposes pools, and config.supernet.sampler='strictly_fair' draws from "
                "the whole space; it goes with launch.rank alone"
            )
        if not supernet.from_scratch:
            return
        if self.trained_rounds not in (0, self.rounds):
            raise SettingError(
                f"trained_rounds={self.trained_rounds}: with config.supernet.from_scratch=True "
                "every round has to train"
            )


@dataclasses.dataclass(frozen=True)
class BaselineSettings(Settings):
    """Random networks, and found ones that are trained as they are, to compare the two."""

    networks: int = setting(
        5, whole(0, 100), "of each group: found, random, random of the found ones' sizes; 0: none"
    )
    epochs: int = setting(10, whole(1), "that each is trained alone, by the supernet's recipe")
    random: bool = setting(True, SWITCH, "whether random networks are trained beside the found")

    @property
    def others(self) -> int:
        """Networks that are not found, but drawn."""
        return 2 * self.networks if self.random else 0


@dataclasses.dataclass(frozen=True)
class ComparisonSettings(Settings):
    """Which strategies are compared on a table or on a teacher."""

    column: str = setting("cifar10_valid_acc_12ep", TEXT, "of the truth: what strategies see")
    final_column: str = setting("cifar10_test_acc_200ep", TEXT, "of the truth: what judges them")
    strategies: tuple[str, ...] = setting(
        STRATEGIES, several(STRATEGIES.__contains__, f"of {list(STRATEGIES)}"), "compared"
    )
    evaluations: tuple[int, ...] = setting(
        (200, 300),
        several(whole(1).holds, "whole numbers of at least 1"),
        "after which they are judged",
    )
    noise: float = setting(
        0.0, AT_LEAST_ZERO, "of a teacher's scores, in standard deviations of its values"
    )


class Population(NamedTuple):
    """Everything searched so far, P architectures.

    Attributes:
      pool: int32[P, D].
      born: int32[P], the round, from 1, that an architecture was proposed for.
      scores: float32[P] of the last evaluation, higher is better; NaN before the first.
      measured: float32[P, M], what they were last measured by; NaN before the first time.
      counts: int64[P], steps that trained exactly this architecture.
    """

    pool: np.ndarray
    born: np.ndarray
    scores: np.ndarray
    measured: np.ndarray
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


def begin(key, strategy: Strategy, initial, *, measures=1) -> SearchState:
    """The state before round 1.

    Args:
      key: random key, consumed.
      strategy: the strategy.
      initial: int32[P, D], the architectures of round 1.
      measures: M, how many numbers an evaluation gives for each architecture.
    """
    size = len(initial)
    population = Population(
        np.asarray(initial, np.int32),
        np.ones(size, np.int32),
        np.full(size, np.nan, np.float32),
        np.full((size, measures), np.nan, np.float32),
        np.zeros(size, np.int64),
    )
    return SearchState(1, TRAIN, population, strategy.init(key))


def search(
    key,
    state: SearchState,
    decisions: Decisions,
    strategy: Strategy,
    *,
    train,
    evaluate,
    rounds: int,
    proposals: int,
    objective=lambda pool, measured: measured[:, 0],
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
      decisions: those of the space.
      strategy: proposes and learns.
      train: `train(round, pool [P, D]) -> counts int[P]`: trains the shared weights on the round's
        architectures and tells how often each was drawn.
      evaluate: `evaluate(round, pool [P', D]) -> float32[P']` or [P', M]: measures architectures
        with the shared weights. What was measured before and is not measured again, see `rescored`
        and `trained_rounds`, the search keeps.
      rounds: L, rounds in all.
      proposals: architectures proposed for each round after the first.
      objective: `objective(pool [P, D], measured [P, M]) -> float32[P]`: the scores of all, higher
        is better; by default the first of what was measured.
      trained_rounds: the first so many rounds train, the others only score and propose; None: all.
      rescored: whether rounds that train measure everything again, as weights that are trained on
        want; if not, each is measured in the round that it was proposed for, once.
      on_phase: called with the state after each phase.
      on_part: called with the state, the parts done and all parts, while the strategy learns.
      on_round: called with the state and the strategy's facts at the end of each round.

    Raises:
      ValueError: what was passed in, or what it returned, has the wrong shape or is not finite.
    """
    trained_rounds = rounds if trained_rounds is None else trained_rounds
    if not 0 <= trained_rounds <= rounds:
        raise ValueError(f"trained_rounds={trained_rounds} must be from 0 to rounds={rounds}")
    decisions.check(state.population.pool)
    while state.round <= rounds:
        number, facts = state.round, {}
        propose_key, tell_key = jax.random.split(jax.random.fold_in(key, number))
        if state.phase == TRAIN and number <= trained_rounds:
            state = _trained(state, train)
            on_phase(state)
        if state.phase in (TRAIN, EVALUATE):
            everything = rescored and number <= trained_rounds
            state = _evaluated(state, decisions, evaluate, objective, everything=everything)
            on_phase(state)
        if number < rounds:
            state, facts = _learned(state, tell_key, strategy, on_part)
            seen = decisions.keys(state.population.pool)
            proposed, asked = strategy.ask(state.strategy, propose_key, proposals, seen)
            proposed, facts = _checked(decisions, proposed, proposals, strategy), facts | asked
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
    trained = np.asarray(train(state.round, population.pool[new]))
    if trained.shape != (new.sum(),):
        raise ValueError(
            f"train gave counts of the shape {list(trained.shape)}, not [{new.sum()}], one for "
            "each architecture"
        )
    counts = population.counts.copy()
    counts[new] += trained
    return state._replace(phase=EVALUATE, population=population._replace(counts=counts))


def _evaluated(state, decisions, evaluate, objective, *, everything):
    population = state.population
    # Without training the weights, and so what the others reach with them, are what they were.
    wanted = (population.born == state.round) | everything
    results = np.asarray(evaluate(state.round, population.pool[wanted]), np.float32)
    results = results[:, None] if results.ndim == 1 else results
    expected = int(wanted.sum()), population.measured.shape[1]
    if results.shape != expected:
        raise ValueError(
            f"evaluate gave results of the shape {list(results.shape)}, not {list(expected)}"
        )
    _check_finite("evaluate", results, population.pool[wanted], decisions)
    measured = population.measured.copy()
    measured[wanted] = results
    scores = np.asarray(objective(population.pool, measured), np.float32)
    if scores.shape != (len(population.pool),):
        raise ValueError(
            f"objective gave scores of the shape {list(scores.shape)}, not [{len(population.pool)}]"
        )
    _check_finite("objective", scores, population.pool, decisions)
    population = population._replace(measured=measured, scores=scores)
    return state._replace(phase=PROPOSE, population=population)


def _check_finite(name, values, pool, decisions):
    """Raises ValueError naming the first architecture whose values are not finite."""
    wrong = ~np.isfinite(values.reshape(len(values), -1)).all(1)
    if wrong.any():
        row = wrong.argmax()
        raise ValueError(f"{name} gave {values[row]} for {decisions.format(pool[row])}")


def _learned(state, key, strategy, on_part):
    def on_state(learner, done, total):
        on_part(state._replace(strategy=learner), done, total)

    pool, scores = state.population.pool, state.population.scores
    learner, facts = strategy.tell(state.strategy, key, pool, scores, on_state)
    return state._replace(strategy=learner), facts


def _checked(decisions, proposed, size, strategy):
    """The proposals of a strategy; ValueError where they are not what was asked for."""
    proposed = decisions.check(proposed)
    if len(proposed) != size:
        raise ValueError(f"{strategy.name} proposed {len(proposed)} architectures, not {size}")
    return proposed


def _enlarge(population, proposed, number):
    size, measures = len(proposed), population.measured.shape[1]
    return Population(
        np.concatenate([population.pool, proposed]),
        np.concatenate([population.born, np.full(size, number, np.int32)]),
        np.concatenate([population.scores, np.full(size, np.nan, np.float32)]),
        np.concatenate([population.measured, np.full((size, measures), np.nan, np.float32)]),
        np.concatenate([population.counts, np.zeros(size, np.int64)]),
    )
