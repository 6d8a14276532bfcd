"""Every strategy goes through the same laws, and through a whole search on a toy objective."""

import itertools

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

from bnao_jax.ranking import pairwise_accuracy
from bnao_jax.search import begin, search
from bnao_jax.space import SearchSpace
from bnao_jax.spaces.nao.graph import graph_form
from bnao_jax.spaces.nao.space import Outline, nao_space
from bnao_jax.strategies import bonas as bonas_strategy
from bnao_jax.strategies import evolution as evolution_strategy
from bnao_jax.strategies.nao import Settings, nao_strategy
from bnao_jax.strategies.random import random_search

SEEDS, ROUNDS, PROPOSALS = 60, 3, 20
CAPACITY = SEEDS + (ROUNDS - 1) * PROPOSALS
SPACE = nao_space("small", 2)
NAO = Settings(capacity=CAPACITY, seeds=20, exchanges=2, epochs=15, batch_size=40)
FORM = graph_form(Outline(2, 1, 10, operations="small", nodes=2))
BONAS = bonas_strategy.Settings(capacity=CAPACITY, epochs=50, batch_size=32, generations=10)
EVOLUTION = evolution_strategy.Settings()
BETTER_THAN_CHANCE = {
    "nao": {"held_out_pairwise_accuracy": 0.5},
    "bonas": {"predicted_pairwise_accuracy": 0.5},  # of its own proposals, which are alike
}
VALUES = np.random.default_rng(0).normal(size=(SPACE.decisions, 6))
MAKERS = {
    "nao": lambda space, accept=None: nao_strategy(space, NAO, accept=accept),
    "bonas": lambda space, accept=None: bonas_strategy.bonas(space, FORM, BONAS, accept=accept),
    "evolution": lambda space, accept=None: evolution_strategy.evolution(
        space, EVOLUTION, accept=accept
    ),
    "random": lambda space, accept=None: random_search(space, accept=accept),
}


def objective(pool):
    """A score that is a sum of one value for each decision."""
    return VALUES[np.arange(pool.shape[1]), pool].sum(1).astype(np.float32)


def run(strategy, key, *, seeds=None, on_round=lambda state, facts: None):
    """A search whose training is counted and whose scores are the objective."""
    trained = []

    def train(number, pool):
        trained.append((number, pool))
        return np.arange(len(pool))

    state = search(
        key,
        begin(key, strategy, SPACE.sample(key, SEEDS) if seeds is None else seeds),
        SPACE,
        strategy,
        train=train,
        evaluate=lambda number, pool: objective(pool),
        rounds=ROUNDS,
        proposals=PROPOSALS,
        on_round=on_round,
    )
    return state, trained


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


def test_proposals_are_new_valid_and_as_many_as_asked(make, key):
    state, trained = run(make(SPACE), key)
    population = state.population
    SPACE.check(population.pool)
    assert len(set(SPACE.keys(population.pool))) == len(population.pool) == CAPACITY
    assert [len(pool) for _, pool in trained] == [SEEDS, PROPOSALS, PROPOSALS]
    assert np.bincount(population.born).tolist() == [0, SEEDS, PROPOSALS, PROPOSALS]
    np.testing.assert_array_equal(population.scores, objective(population.pool))
    assert population.counts[:SEEDS].tolist() == list(range(SEEDS))
    assert population.counts[-PROPOSALS:].tolist() == list(range(PROPOSALS))


def test_the_limit_is_never_exceeded(make, key):
    accept = lambda pool: np.asarray(pool)[:, [1, 3, 5, 7]].sum(1) <= 6
    seeds = SPACE.sample(key, SEEDS, accept=accept)
    state, _ = run(make(SPACE, accept), key, seeds=seeds)
    assert len(state.population.pool) == CAPACITY
    assert accept(state.population.pool).all()


def test_a_kept_state_continues_alike(make, key):
    kept = []
    strategy = make(SPACE)
    whole, _ = run(strategy, key, on_round=lambda state, facts: kept.append(state))
    again, _ = run(strategy, key)
    for first, second in zip(whole.population, again.population, strict=True):
        np.testing.assert_array_equal(first, second)
    assert [state.round for state in kept] == [1, 2, 3]


@pytest.mark.parametrize("name", ["nao", "bonas", "evolution"])
def test_proposals_are_better_than_random(name):
    """The mean of what is proposed beats the mean of random architectures, on every key."""
    facts, strategy = [], MAKERS[name](SPACE)
    for seed in range(3):
        state, _ = run(
            strategy, jax.random.key(seed), on_round=lambda state, found: facts.append(found)
        )
        population = state.population
        random = population.scores[population.born == 1]
        proposed = population.scores[population.born > 1]
        error = random.std() / np.sqrt(len(proposed))
        assert proposed.mean() > random.mean() + 2 * error
    facts = [row for row in facts if row]
    for key, least in BETTER_THAN_CHANCE.get(name, {}).items():
        assert np.mean([row[key] for row in facts if key in row]) > least
    for row in facts if name == "nao" else ():
        assert row["decoded_new"] + row["filled_at_random"] == PROPOSALS
        assert row["decoded_invalid"] == 0
        assert row["decoded"] >= row["decoded_new"] + row["decoded_repeated"]
        scores, predicted = row["held_out_scores"], row["held_out_predicted"]
        assert pairwise_accuracy(predicted, scores) == row["held_out_pairwise_accuracy"]


def test_nao_refuses_more_than_its_capacity(key):
    strategy = MAKERS["nao"](SPACE)
    pool = SPACE.sample(key, CAPACITY + 1)
    with pytest.raises(ValueError, match="exceed the capacity"):
        strategy.tell(strategy.init(key), key, pool, objective(pool))


def test_nao_takes_spaces_of_odd_length(key):
    space = SearchSpace("plain", (3, 4, 5), (1, 1, 1))
    strategy = nao_strategy(space, Settings(capacity=20, seeds=5, exchanges=1, epochs=2))
    pool = space.sample(key, 20)
    scores = pool.sum(1).astype(np.float32)
    state, _ = strategy.tell(strategy.init(key), key, pool, scores)
    proposed, _ = strategy.ask(state, key, 6, space.keys(pool))
    assert len(set(space.keys(proposed)) - set(space.keys(pool))) == 6


@hypothesis.settings(max_examples=10, deadline=None)
@hypothesis.given(
    options=st.lists(st.integers(1, 5), min_size=2, max_size=6),
    parents=st.integers(1, 8),
    mutants=st.sampled_from((0.0, 0.3, 1.0)),
    limit=st.floats(0.2, 1.0),
    seed=st.integers(0, 99),
)
def test_evolution_repeats_nothing_and_keeps_to_its_limit(options, parents, mutants, limit, seed):
    space = SearchSpace("plain", tuple(options), (1,) * len(options))
    most = limit * sum(n - 1 for n in options)
    accept = lambda pool: np.asarray(pool).sum(1) <= most
    everything = np.array(list(itertools.product(*map(range, options))), np.int32)
    allowed = everything[accept(everything)]
    size = len(allowed) // 2
    known, key = allowed[: max(1, size)], jax.random.key(seed)
    settings = evolution_strategy.Settings(parents=parents, mutants=mutants)
    strategy = evolution_strategy.evolution(space, settings, accept=accept)
    state, _ = strategy.tell(strategy.init(key), key, known, known.sum(1).astype(np.float32))
    wanted = (len(allowed) - len(known)) // 2
    found, facts = strategy.ask(state, key, wanted, space.keys(known))
    assert len(found) == wanted == sum(facts.values())
    assert accept(found).all() and len({*space.keys(found), *space.keys(known)}) == wanted + len(
        known
    )
    assert facts["mutants"] <= round(mutants * wanted)


def test_evolution_breeds_from_the_best(key):
    space = SearchSpace("plain", (9,) * 12, (1,) * 12)
    pool = np.repeat(np.arange(9, dtype=np.int32)[:, None], 12, 1)
    strategy = evolution_strategy.evolution(space, evolution_strategy.Settings(parents=2))
    state, _ = strategy.tell(strategy.init(key), key, pool, pool[:, 0].astype(np.float32))
    found, facts = strategy.ask(state, key, 40, space.keys(pool))
    assert facts == {"mutants": 20, "crossed": 20, "filled_at_random": 0}
    assert (found[20:] >= 7).all()  # each decision is that of one of the two best
    same = np.maximum((found[:20] == 8).sum(1), (found[:20] == 7).sum(1))
    assert same.mean() > 9  # 12 * (1 - .1) of 12 are as in the parent


@pytest.mark.parametrize(
    "settings", [{"parents": 0}, {"mutants": 1.5}, {"mutation_rate": 0.0}, {"mutation_rate": 2.0}]
)
def test_evolution_refuses_settings_that_cannot_be(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        evolution_strategy.Settings(**settings)
