"""Every strategy goes through the same laws, and through a whole search on a toy objective."""

import dataclasses
import itertools

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

from bnao_jax.checkpoint import fill, flat
from bnao_jax.controller import predict as predict_scores
from bnao_jax.decisions import Decisions
from bnao_jax.graph import chain
from bnao_jax.ranking import pairwise_accuracy
from bnao_jax.search import PROPOSE, begin, search
from bnao_jax.spaces.nao.graph import graph_form
from bnao_jax.spaces.nao.outline import Outline, nao_decisions
from bnao_jax.spaces.shufflenet import cost as shufflenet_cost
from bnao_jax.spaces.shufflenet import outline as shufflenet
from bnao_jax.strategies.bonas import BonasSettings, bonas
from bnao_jax.strategies.evolution import EvolutionSettings, evolution
from bnao_jax.strategies.nao import NaoSettings, _scales, controller_of, nao_strategy
from bnao_jax.strategies.random import random_search

SEEDS, ROUNDS, PROPOSALS = 60, 3, 20
CAPACITY = SEEDS + (ROUNDS - 1) * PROPOSALS
SPACE = nao_decisions("small", 2)
NAO = NaoSettings(parents=20, exchanges=2, epochs=15, batch_size=40)
# What is not in the papers, all of it.
RANKED = dataclasses.replace(
    NAO,
    **dict(targets="ranks", own_tokens=True, embedding_scale=0.1, learning_rate=3e-3, epochs=8),
    **dict(step_sizes=4, passes=2, jitter=0.7, mutants=30, crossed=0.5, ranked=True, carried=False),
    **dict(exchanges=0, unlabelled=20, held_out=0.0, steps=40),
)
FORM = graph_form(Outline(2, 1, 10, operations="small", nodes=2))
BONAS = BonasSettings(epochs=50, batch_size=32, generations=10)
# Those with predictors; what predicts its own proposals, which are alike, may do no better.
BETTER_THAN_CHANCE = ("nao", "bonas")
VALUES = np.random.default_rng(0).normal(size=(SPACE.length, 6))
MAKERS = {
    "nao": lambda space, accept=None, form=FORM: nao_strategy(
        space, NAO, capacity=CAPACITY, accept=accept
    ),
    "nao, ranked": lambda space, accept=None, form=FORM: nao_strategy(
        space, RANKED, capacity=CAPACITY, accept=accept
    ),
    "bonas": lambda space, accept=None, form=FORM: bonas(
        space, form, BONAS, capacity=CAPACITY, accept=accept
    ),
    "evolution": lambda space, accept=None, form=FORM: evolution(space, accept=accept),
    "random": lambda space, accept=None, form=FORM: random_search(space, accept=accept),
}


def objective(pool):
    """A score that is a sum of one value for each decision."""
    return VALUES[np.arange(pool.shape[1]), pool].sum(1).astype(np.float32)


def run(strategy, key, *, seeds=None, state=None, **hooks):
    """A search, or the rest of one; training is counted, the scores are the objective."""
    trained, seeds = [], SPACE.sample(key, SEEDS) if seeds is None else seeds

    def train(number, pool):
        trained.append((number, pool))
        return np.arange(len(pool))

    state = search(
        key,
        begin(key, strategy, seeds) if state is None else state,
        SPACE,
        strategy,
        train=train,
        evaluate=lambda number, pool: objective(pool),
        rounds=ROUNDS,
        proposals=PROPOSALS,
        **hooks,
    )
    return state, trained


# NAO with all of its settings walks every way that the paper's walks, and more.
@pytest.fixture(params=[name for name in MAKERS if name != "nao"])
def make(request):
    return MAKERS[request.param]


@pytest.mark.parametrize("name", MAKERS)
def test_proposals_are_new_valid_and_as_many_as_asked(name, key):
    state, trained = run(MAKERS[name](SPACE), key)
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


def test_blocks_in_a_chain_are_proposed_as_cells_are(make, key):
    outline = shufflenet.Outline(4, 1, 10, "cifar", channel_choice=True)
    space, image = outline.decisions, (32, 32, 3)
    macs = lambda pool: shufflenet_cost.cost(outline, np.asarray(pool), image).macs
    most = np.median(macs(space.random(key, 100)))
    accept = lambda pool: macs(pool) <= most
    strategy, pool = make(space, accept, chain(space)), space.sample(key, SEEDS, accept=accept)
    state = strategy.init(key)
    for number in range(1, ROUNDS):
        round_key = jax.random.fold_in(key, number)
        state, _ = strategy.tell(state, round_key, pool, np.sin(pool.sum(1)).astype(np.float32))
        proposed, _ = strategy.ask(state, round_key, PROPOSALS, space.keys(pool))
        pool = np.concatenate([pool, proposed])
    space.check(pool)
    assert len(set(space.keys(pool))) == len(pool) == CAPACITY
    assert accept(pool).all()


def test_a_kept_state_continues_alike(make, key):
    """Broken off before round 2's learning and within it, as a program that begins anew does it."""
    kept, facts = {}, []
    keep = lambda state, done=0, total=0: kept.setdefault(
        (state.round, state.phase, done), flat(state)
    )
    on_round = lambda state, found: facts.append(found)
    whole, _ = run(make(SPACE), key, on_phase=keep, on_part=keep, on_round=on_round)
    within = [place for place in kept if place[:2] == (2, PROPOSE) and place[2]]
    for place in [(2, PROPOSE, 0), *within[len(within) // 2 :][:1]]:
        strategy, parts, again = make(SPACE), [], []
        state = fill(begin(key, strategy, SPACE.sample(key, SEEDS)), kept[place])
        state = state._replace(round=int(state.round), phase=int(state.phase))
        rest, _ = run(
            strategy,
            key,
            state=state,
            on_part=lambda state, done, total, parts=parts: parts.append(done),
            on_round=lambda state, found, again=again: again.append(found),
        )
        for name, leaf in flat(whole).items():
            np.testing.assert_array_equal(flat(rest)[name], leaf, err_msg=name)
        np.testing.assert_equal(again, facts[1:])
        assert parts == [done for *_, done in within if done > place[2]]


@pytest.mark.parametrize("name", ["bonas", "nao, ranked"])
def test_a_strategy_tells_how_well_it_foresaw_the_new(name, key):
    """Its guesses are of what the fit before had not seen, in the units of the scores it had."""
    strategy, pool = MAKERS[name](SPACE), SPACE.sample(key, 60)
    scores, few = 100 + objective(pool), 50
    state, facts = strategy.tell(strategy.init(key), key, pool[:few], scores[:few])
    assert not [name for name in facts if name.startswith("held_out")]
    _, facts = strategy.tell(state, key, pool, scores)
    predicted, actual = facts["held_out_predicted"], facts["held_out_scores"]
    assert actual == scores[few:].tolist()
    assert pairwise_accuracy(predicted, actual) == facts["held_out_pairwise_accuracy"]
    # The targets of the least and the best score known are .1 and .9, the sigmoid's ends 0 and 1.
    low, high = scores[:few].min(), scores[:few].max()
    reach = (high - low) / 8
    assert low - reach < min(predicted) and max(predicted) < high + reach
    assert abs(np.mean(predicted) - np.mean(actual)) < np.std(scores)
    _, facts = strategy.tell(state, key, pool[:few], scores[:few])
    assert "held_out_scores" not in facts


@pytest.mark.parametrize("name", ["nao", "nao, ranked", "bonas", "evolution"])
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
    tested = [row for row in facts if "held_out_scores" in row]
    for row in tested:
        scores, predicted = row["held_out_scores"], row["held_out_predicted"]
        assert pairwise_accuracy(predicted, scores) == row["held_out_pairwise_accuracy"]
    if name in BETTER_THAN_CHANCE:
        assert np.mean([row["held_out_pairwise_accuracy"] for row in tested]) > 0.5
    for row in tested if name.startswith("nao") else ():
        proposed = row["decoded_new"] + row["mutants_new"] + row["filled_at_random"]
        assert proposed == PROPOSALS <= row["candidates"] + row["filled_at_random"]
        assert row["decoded_invalid"] == 0
        assert row["decoded"] >= row["decoded_new"] + row["decoded_repeated"]


def test_candidates_are_proposed_in_the_order_of_the_predictor(key):
    """Of all that was decoded or mutated the best by prediction, best first."""
    strategy, pool = MAKERS["nao, ranked"](SPACE), SPACE.sample(key, SEEDS)
    state, _ = strategy.tell(strategy.init(key), key, pool, objective(pool))
    controller = controller_of(SPACE, RANKED)
    tokens = lambda pool: SPACE.canonical(pool) + controller.first[None]
    predict = lambda pool: np.asarray(predict_scores(controller, state["fit"].params, tokens(pool)))
    few, facts = strategy.ask(state, key, 5, SPACE.keys(pool))
    many, _ = strategy.ask(state, key, 20, SPACE.keys(pool))
    np.testing.assert_array_equal(few, many[:5])
    assert facts["candidates"] > 40 and facts["mutants_new"] + facts["decoded_new"] == 5
    assert (np.diff(predict(many)) <= 1e-6).all()


@pytest.mark.parametrize("mutants", [0, 11])
def test_sources_of_candidates_give_no_more_than_asked(mutants, key):
    settings = dataclasses.replace(RANKED, decoded=7, mutants=mutants, passes=2)
    strategy = nao_strategy(SPACE, settings, capacity=CAPACITY)
    pool = SPACE.sample(key, SEEDS)
    state, _ = strategy.tell(strategy.init(key), key, pool, objective(pool))
    _, facts = strategy.ask(state, key, 5, SPACE.keys(pool))
    assert facts["candidates"] == 2 * (7 + mutants)


def test_the_one_form_of_equal_networks_is_learned(key):
    strategy, pool = MAKERS["nao, ranked"](SPACE), SPACE.sample(key, SEEDS)
    others = np.asarray(SPACE.exchange(key, pool))
    assert (others != pool).any()
    fits = [strategy.tell(strategy.init(key), key, p, objective(pool))[0] for p in (pool, others)]
    for name, leaf in flat(fits[0]["fit"].params).items():
        np.testing.assert_array_equal(leaf, flat(fits[1]["fit"].params)[name], err_msg=name)


def test_steps_are_as_many_for_every_pool():
    settings = NaoSettings(steps=400, batch_size=50, epochs=100)
    assert [settings.epochs_of(rows) for rows in (10, 100, 990, 10**6)] == [100, 100, 20, 1]
    assert NaoSettings(epochs=7).epochs_of(990) == 7


def test_tokens_of_their_own_are_of_one_position_each():
    allowed = controller_of(SPACE, RANKED).allowed
    tokens = [token for first, count in allowed for token in range(first, first + count)]
    assert tokens == list(range(1, sum(SPACE.options) + 1))
    assert controller_of(SPACE).allowed == SPACE.token_ranges


def test_ranks_as_targets_are_in_order_and_equal_where_scores_are():
    to_targets, to_scores = _scales("ranks", np.array([3.0, 9.0, 3.0, 900.0]))
    np.testing.assert_allclose(to_targets, [0.25, 0.625, 0.25, 0.875])
    assert to_scores(np.array([0.0, 1.0])).tolist() == [3.0, 900.0]
    np.testing.assert_allclose(to_scores(to_targets), [3, 9, 3, 900])
    assert (np.diff(to_scores(np.linspace(0.25, 0.875, 9))) > 0).all()  # equal scores or not
    to_targets, to_scores = _scales("range", np.array([3.0, 9.0, 5.0]))
    np.testing.assert_allclose(to_scores(to_targets), [3, 9, 5])


@pytest.mark.parametrize("name", ["nao", "bonas"])
def test_more_than_the_capacity_is_refused(name, key):
    strategy = MAKERS[name](SPACE)
    pool = SPACE.sample(key, CAPACITY + 1)
    with pytest.raises(ValueError, match="exceed the capacity"):
        strategy.tell(strategy.init(key), key, pool, objective(pool))


@hypothesis.settings(max_examples=10, deadline=None)
@hypothesis.given(
    options=st.lists(st.integers(1, 5), min_size=2, max_size=6),
    parents=st.integers(1, 8),
    mutants=st.sampled_from((0.0, 0.3, 1.0)),
    limit=st.floats(0.2, 1.0),
    seed=st.integers(0, 99),
)
def test_evolution_repeats_nothing_and_keeps_to_its_limit(options, parents, mutants, limit, seed):
    space = Decisions("plain", tuple(options), (1,) * len(options))
    most = limit * sum(n - 1 for n in options)
    accept = lambda pool: np.asarray(pool).sum(1) <= most
    everything = np.array(list(itertools.product(*map(range, options))), np.int32)
    allowed = everything[accept(everything)]
    size = len(allowed) // 2
    known, key = allowed[: max(1, size)], jax.random.key(seed)
    settings = EvolutionSettings(parents=parents, mutants=mutants)
    strategy = evolution(space, settings, accept=accept)
    state, _ = strategy.tell(strategy.init(key), key, known, known.sum(1).astype(np.float32))
    wanted = (len(allowed) - len(known)) // 2
    found, facts = strategy.ask(state, key, wanted, space.keys(known))
    assert len(found) == wanted == sum(facts.values())
    assert accept(found).all() and len({*space.keys(found), *space.keys(known)}) == wanted + len(
        known
    )
    assert facts["mutants"] <= round(mutants * wanted)


def test_evolution_breeds_from_the_best(key):
    space = Decisions("plain", (9,) * 12, (1,) * 12)
    pool = np.repeat(np.arange(9, dtype=np.int32)[:, None], 12, 1)
    strategy = evolution(space, EvolutionSettings(parents=2))
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
        EvolutionSettings(**settings)
