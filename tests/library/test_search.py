"""Algorithm 1 alone: what it asks of its slots, keeps of their answers, and refuses of them."""

from types import SimpleNamespace

import numpy as np
import pytest

from bnao_jax.decisions import ArchitectureError, Decisions
from bnao_jax.search import EVALUATE, TRAIN, SearchSettings, begin, search
from bnao_jax.strategies.random import random_search
from bnao_jax.strategies.strategy import Strategy

SPACE = Decisions("plain", (5, 4, 3), (1, 1, 1))
INITIAL, PROPOSALS, ROUNDS = 6, 4, 3


class Slots:
    """Training and evaluation by formula, and what they were asked for."""

    def __init__(self):
        self.trained, self.evaluated = [], []

    def train(self, number, pool):
        self.trained.append((number, len(pool)))
        return np.arange(len(pool))

    def evaluate(self, number, pool):
        """How large the choices are, and a hundred for the round, so that old values show."""
        self.evaluated.append((number, np.array(pool)))
        return np.sum(pool, 1) + 100.0 * number


def run(key, *, slots=None, strategy=None, measures=1, state=None, **changes):
    slots = Slots() if slots is None else slots
    strategy = random_search(SPACE) if strategy is None else strategy
    if state is None:
        state = begin(key, strategy, SPACE.sample(key, INITIAL), measures=measures)
    settings = dict(train=slots.train, evaluate=slots.evaluate, rounds=ROUNDS, proposals=PROPOSALS)
    return search(key, state, SPACE, strategy, **(settings | changes))


def sizes(slots):
    return [(number, len(pool)) for number, pool in slots.evaluated]


# What is asked, and what is kept.


def test_all_rounds_train_on_the_new_and_measure_everything_again(key):
    slots = Slots()
    population = run(key, slots=slots).population
    assert slots.trained == [(1, 6), (2, 4), (3, 4)]
    assert sizes(slots) == [(1, 6), (2, 10), (3, 14)]
    np.testing.assert_array_equal(slots.evaluated[-1][1], population.pool)
    np.testing.assert_array_equal(population.measured[:, 0], population.pool.sum(1) + 300)
    np.testing.assert_array_equal(population.scores, population.measured[:, 0])
    assert population.counts.tolist() == [*range(6), *range(4), *range(4)]


@pytest.mark.parametrize(
    "trained_rounds, rescored, measured",
    [(1, True, [6, 4, 4]), (2, True, [6, 10, 4]), (0, True, [6, 4, 4]), (3, False, [6, 4, 4])],
)
def test_only_what_is_wanted_is_measured_and_old_values_stay(
    key, trained_rounds, rescored, measured
):
    slots = Slots()
    state = run(key, slots=slots, trained_rounds=trained_rounds, rescored=rescored)
    population = state.population
    assert [size for _, size in sizes(slots)] == measured
    assert [number for number, _ in slots.trained] == [*range(1, trained_rounds + 1)]
    last_round = population.born.copy()  # that measured each
    if rescored:
        last_round = np.maximum(last_round, trained_rounds)
    expected = population.pool.sum(1) + 100.0 * last_round
    np.testing.assert_array_equal(population.measured[:, 0], expected)
    for number, pool in slots.evaluated:
        again = rescored and number <= trained_rounds
        wanted = population.born <= number if again else population.born == number
        np.testing.assert_array_equal(pool, population.pool[wanted])
    # The settings foresee the same.
    settings = SearchSettings(
        initial=INITIAL, rounds=ROUNDS, proposals=PROPOSALS, trained_rounds=trained_rounds
    )
    if trained_rounds:  # 0 are all of them there
        assert settings.scored_architectures(rescored=rescored).tolist() == measured


def test_without_trained_rounds_nothing_is_ever_trained(key):
    def train(number, pool):
        raise AssertionError

    phases = []
    state = run(key, train=train, trained_rounds=0, on_phase=lambda s: phases.append(s.phase))
    assert not state.population.counts.any()
    assert TRAIN not in phases and phases.count(EVALUATE) == ROUNDS  # the next round's


def test_the_objective_sees_all_that_was_measured(key):
    """Several measures; an objective that compares architectures with each other."""
    seen = []
    evaluate = lambda number, pool: np.stack([np.sum(pool, 1), np.full(len(pool), number)], 1)

    def objective(pool, measured):
        seen.append((len(pool), measured.copy()))
        return measured[:, 0] - measured[:, 0].mean()

    state = run(key, measures=2, evaluate=evaluate, objective=objective, trained_rounds=1)
    population = state.population
    assert [size for size, _ in seen] == [6, 10, 14]
    np.testing.assert_array_equal(population.measured[:, 1], population.born)
    sums = population.pool.sum(1)
    np.testing.assert_allclose(population.scores, sums - sums.mean(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(seen[-1][1], population.measured)


def test_before_the_first_evaluation_nothing_is_known(key):
    state = begin(key, random_search(SPACE), SPACE.sample(key, 3), measures=2)
    assert np.isnan(state.population.scores).all() and np.isnan(state.population.measured).all()
    assert state.population.measured.shape == (3, 2)
    assert state.population.born.tolist() == [1, 1, 1] and (state.round, state.phase) == (1, TRAIN)


# What is refused.


@pytest.mark.parametrize(
    "results, message",
    [
        (np.zeros(5), r"evaluate gave results of the shape \[5, 1\], not \[6, 1\]"),
        (np.zeros(()), r"evaluate gave results of the shape \[\], not \[6, 1\]"),
        (np.zeros((6, 2)), r"evaluate gave results of the shape \[6, 2\], not \[6, 1\]"),
        (np.zeros((6, 1, 1)), r"evaluate gave results of the shape \[6, 1, 1\], not"),
    ],
)
def test_results_of_the_wrong_shape(key, results, message):
    with pytest.raises(ValueError, match=message):
        run(key, evaluate=lambda number, pool: results)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_results_that_are_not_finite_name_the_architecture(key, value):
    fourth = SPACE.format(SPACE.sample(key, INITIAL)[3])
    bad = lambda pool: np.where(np.arange(len(pool)) < 3, 0.0, value)
    with pytest.raises(ValueError, match=rf"evaluate gave \[{value}\] for {fourth}$"):
        run(key, evaluate=lambda number, pool: bad(pool))
    with pytest.raises(ValueError, match=rf"objective gave {value} for {fourth}$"):
        run(key, objective=lambda pool, measured: bad(pool))


@pytest.mark.parametrize("size", [5, 7])
def test_scores_of_the_wrong_length(key, size):
    with pytest.raises(ValueError, match=rf"objective gave scores .* \[{size}\], not \[6\]"):
        run(key, objective=lambda pool, measured: np.zeros(size))
    with pytest.raises(ValueError, match=r"objective gave scores of the shape \[6, 1\]"):
        run(key, objective=lambda pool, measured: measured)


@pytest.mark.parametrize("counts", [[1] * 5, [1] * 7, 3, [[1] * 6]])
def test_counts_of_the_wrong_length(key, counts):
    with pytest.raises(ValueError, match=r"train gave counts of the shape \[.*\], not \[6\]"):
        run(key, train=lambda number, pool: counts)


def proposing(pool):
    return Strategy(
        "stubborn",
        lambda key: (),
        lambda state, key, pool, scores, on_part: (state, {}),
        lambda state, key, size, seen: (pool, {}),
    )


@pytest.mark.parametrize("size", [0, 3, 5])
def test_proposals_of_the_wrong_number(key, size):
    with pytest.raises(ValueError, match=f"stubborn proposed {size} architectures, not 4"):
        run(key, strategy=proposing(np.zeros((size, 3), np.int32)))


@pytest.mark.parametrize(
    "row, message",
    [
        ((5, 0, 0), "position 1: 5 is not one of 0..4"),
        ((0, 0, -1), "position 3: -1 is not one of 0..2"),
        ((0, 0), r"a pool has shape \[P, 3\], not \[4, 2\]"),
    ],
)
def test_proposals_out_of_range(key, row, message):
    with pytest.raises(ArchitectureError, match=message):
        run(key, strategy=proposing(np.array([row] * PROPOSALS)))


def test_a_first_pool_out_of_range(key):
    strategy = random_search(SPACE)
    state = begin(key, strategy, np.array([[9, 0, 0]]))
    with pytest.raises(ArchitectureError, match="position 1: 9 is not one of"):
        run(key, strategy=strategy, state=state)


@pytest.mark.parametrize("trained_rounds", [-1, ROUNDS + 1])
def test_trained_rounds_out_of_range(key, trained_rounds):
    slots = Slots()
    message = f"trained_rounds={trained_rounds} must be from 0 to rounds=3"
    with pytest.raises(ValueError, match=message):
        run(key, slots=slots, trained_rounds=trained_rounds)
    assert not slots.trained and not slots.evaluated


# The settings of it.


def test_settings_that_ask_for_more_than_there_is():
    settings = SearchSettings(initial=50, rounds=2, proposals=10)
    assert settings.population_size == SPACE.cardinality == 60
    settings.check_space(SimpleNamespace(decisions=SPACE), baseline=0)
    with pytest.raises(ValueError, match="ask for 61 different architectures; plain holds 60"):
        settings.check_space(SimpleNamespace(decisions=SPACE), baseline=1)
