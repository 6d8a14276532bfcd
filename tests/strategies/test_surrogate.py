"""BONAS's surrogate: graphs, the graph network, the regression on its embeddings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import SHARED

from bnao_jax import ground_truth, ranking, surrogate
from bnao_jax.decisions import Decisions
from bnao_jax.graph import chain
from bnao_jax.spaces.nao.graph import graph_form as nao_form
from bnao_jax.spaces.nao.outline import Outline
from bnao_jax.spaces.nasbench201.graph import alive
from bnao_jax.spaces.nasbench201.graph import graph_form as nasbench201_form
from bnao_jax.spaces.nasbench201.outline import connected, everything, nasbench201_decisions

NAO = Outline(channels=4, cells=1, classes=10, nodes=2)
TRUTH = SHARED / "data" / "nasbench201.csv.gz"


def data(rows, features, *, noise=0.3, key=0):
    """Features, targets and the weights that made them."""
    rng = np.random.default_rng(key)
    weights, x = rng.normal(size=features), rng.normal(size=(rows, features))
    return x, x @ weights + noise * rng.normal(size=rows), weights


# The regression.


def test_the_posterior_is_bayes_rule():
    x, y, _ = data(30, 5)
    found = surrogate.posterior(x, y)
    covariance = np.linalg.inv(found.alpha * np.eye(5) + found.beta * x.T @ x)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.mean, found.beta * covariance @ x.T @ y, rtol=1e-9)
    mean, variance = surrogate.predict(found, x[:3])
    np.testing.assert_allclose(mean, x[:3] @ found.mean, rtol=1e-12)
    own = [1 / found.beta + row @ covariance @ row for row in x[:3]]
    np.testing.assert_allclose(variance, own, rtol=1e-9)


def test_the_precisions_make_the_targets_most_likely():
    x, y, _ = data(40, 6)
    found = surrogate.posterior(x, y)

    def log_evidence(alpha, beta):
        covariance = np.eye(len(y)) / beta + x @ x.T / alpha  # of the targets
        return -0.5 * (np.linalg.slogdet(covariance)[1] + y @ np.linalg.solve(covariance, y))

    best = log_evidence(found.alpha, found.beta)
    for factor in (0.9, 1.1):
        assert log_evidence(found.alpha * factor, found.beta) < best
        assert log_evidence(found.alpha, found.beta * factor) < best


def test_the_posterior_is_that_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y, _ = data(50, 4)
    flat = dict.fromkeys(("alpha_1", "alpha_2", "lambda_1", "lambda_2"), 0.0)
    other = linear_model.BayesianRidge(fit_intercept=False, max_iter=1000, tol=1e-10, **flat)
    other.fit(x, y)
    found = surrogate.posterior(x, y)
    np.testing.assert_allclose(found.mean, other.coef_, rtol=1e-5)
    np.testing.assert_allclose((found.alpha, found.beta), (other.lambda_, other.alpha_), rtol=1e-4)
    mean, deviation = other.predict(x[:5], return_std=True)
    ours = surrogate.predict(found, x[:5])
    np.testing.assert_allclose(ours[0], mean, rtol=1e-5)
    np.testing.assert_allclose(np.sqrt(ours[1]), deviation, rtol=1e-4)


def test_its_intervals_are_calibrated():
    inside = []
    for key in range(20):
        x, y, _ = data(400, 10, key=key)
        mean, variance = surrogate.predict(surrogate.posterior(x[:60], y[:60]), x[60:])
        inside.append(np.abs(y[60:] - mean) < 1.96 * np.sqrt(variance))
    # 20 fits of 60 noisy targets know the noise to 10 %, all together to 2 %.
    assert 0.93 < np.mean(inside) < 0.97


def test_features_that_say_nothing_and_targets_without_noise():
    x, _, weights = data(30, 3)
    dead = np.column_stack([x, np.zeros(30)])
    mean, variance = surrogate.predict(surrogate.posterior(dead, x @ weights), dead)
    np.testing.assert_allclose(mean, x @ weights, atol=1e-5)
    assert (variance >= 0).all() and variance.max() < 1e-4
    constant = surrogate.posterior(np.zeros((4, 2)), np.zeros(4))
    assert np.isfinite(constant.covariance).all()
    with pytest.raises(ValueError, match="finite"):
        surrogate.posterior(x, np.full(30, np.nan))
    with pytest.raises(ValueError, match="do not fit"):
        surrogate.posterior(x, np.zeros(29))


@pytest.mark.parametrize("mean, deviation", [(0.0, 0.1), (0.0, 1.0), (-2.0, 0.5), (1.5, 2.0)])
def test_moments_of_a_sigmoid(mean, deviation):
    drawn = np.random.default_rng(0).normal(mean, deviation, 200_000)
    values = 1 / (1 + np.exp(-drawn))
    expected, spread = surrogate.sigmoid_moments(np.float64(mean), np.float64(deviation**2))
    np.testing.assert_allclose((expected, spread), (values.mean(), values.std()), atol=2e-3)


# Graphs.


def test_graph_of_a_cell_of_nasbench201():
    space, form = nasbench201_decisions(), nasbench201_form()
    text = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
    graphs = form.of(space.parse(text)[None])
    # Nodes: 0 the input, 1 to 6 the edges 1←0, 2←0, 2←1, 3←0, 3←1, 3←2, and 7 the output.
    heard = {1: [0], 2: [], 3: [1], 4: [0], 5: [], 6: [3], 7: [4, 6], 0: []}
    assert {n: np.flatnonzero(row).tolist() for n, row in enumerate(graphs.adjacency[0])} == heard
    assert graphs.types[0].tolist() == [5, 3, 0, 1, 4, 0, 2, 6]
    assert form.types == 7


def test_edges_that_carry_nothing_are_not_in_the_graph():
    pool = everything()
    assert (alive(pool).any(1) == connected(pool)).all()
    space, form = nasbench201_decisions(), nasbench201_form()
    texts = [
        "|none~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|none~1|nor_conv_1x1~2|",
        "|none~0|+|nor_conv_3x3~0|skip_connect~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_1x1~2|",
    ]
    graphs = form.of(np.stack([space.parse(text) for text in texts]))
    for part in graphs:
        np.testing.assert_array_equal(part[0], part[1])


def test_graph_of_a_nao_cell():
    form = nao_form(NAO)
    # Normal: node 2 = op0(in 0) + op1(in 1), node 3 = op2(node 2) + op3(in 0); reduction: both
    # nodes read the inputs alone.
    architecture = [0, 0, 1, 1, 2, 2, 0, 3, 0, 4, 1, 4, 0, 4, 1, 4]
    graphs = form.of(np.array([architecture]))
    normal, reduction = graphs.adjacency[0, :7, :7], graphs.adjacency[0, 7:, 7:]
    # Nodes of a cell: its two inputs, four edges, the output.
    rows = lambda part: [np.flatnonzero(row).tolist() for row in part]
    assert rows(normal) == [[], [], [0], [1], [2, 3], [0], [4, 5]]
    assert rows(reduction) == [[], [], [0], [1], [0], [1], [2, 3, 4, 5]]
    assert not graphs.adjacency[0, :7, 7:].any() and not graphs.adjacency[0, 7:, :7].any()
    assert graphs.types[0].tolist() == [0, 1, 3, 4, 5, 6, 2, 8, 9, 15, 15, 15, 15, 10]
    assert form.types == 16


def test_a_chain_for_any_space():
    space = Decisions("plain", (3, 2, 3), (1, 4, 1))
    graphs = chain(space).of(np.array([[2, 0, 1]]))
    assert np.argwhere(graphs.adjacency[0]).tolist() == [[1, 0], [2, 1]]
    assert graphs.types.tolist() == [[2, 3, 6]] and chain(space).types == 8


# The graph network.


@pytest.fixture(scope="module")
def fitted():
    """A graph network fitted to the number of operations 0 in NAO cells."""
    form, pool = nao_form(NAO), np.asarray(NAO.decisions.random(jax.random.key(0), 96))
    gcn, graphs = surrogate.GCN(form.types), nao_form(NAO).of(pool)
    targets = 0.1 + 0.1 * (pool[:, 1::2] == 0).sum(1)
    fit = lambda graphs, targets: surrogate.fit(
        *(gcn, jax.random.key(1), *map(jnp.asarray, graphs), jnp.asarray(targets, jnp.float32)),
        **dict(count=64, epochs=60, batch_size=32, learning_rate=1e-3),
    )
    return gcn, form, pool, graphs, targets, fit, fit(graphs, targets)


def test_it_learns(fitted):
    gcn, _, _, graphs, targets, _, found = fitted
    predicted, embedding = surrogate.embed(gcn, found, *graphs)
    assert ranking.kendall_tau(np.asarray(predicted[64:]), targets[64:]) > 0.6
    assert embedding.shape == (96, 64) and (embedding >= 0).all()


def test_padding_changes_nothing(fitted):
    _, _, _, graphs, targets, fit, found = fitted
    changed = np.where(np.arange(96) < 64, targets, 7.0)
    again = fit(graphs._replace(types=graphs.types * (np.arange(96) < 64)[:, None]), changed)
    jax.tree.map(np.testing.assert_array_equal, again, found)


def test_the_order_of_nodes_means_nothing(fitted):
    gcn, form, pool, graphs, _, _, found = fitted
    expected, _ = surrogate.embed(gcn, found, *graphs)
    order = np.random.default_rng(0).permutation(graphs.types.shape[1])
    moved = graphs.adjacency[:, order][:, :, order], graphs.types[:, order]
    np.testing.assert_allclose(surrogate.embed(gcn, found, *moved)[0], expected, atol=1e-5)
    # So equal networks have equal predictions.
    exchanged = form.of(NAO.decisions.exchange(jax.random.key(2), pool))
    assert (exchanged.types != graphs.types).any()
    np.testing.assert_allclose(surrogate.embed(gcn, found, *exchanged)[0], expected, atol=1e-5)


@pytest.mark.skipif(not TRUTH.exists(), reason="needs ../shared/data/nasbench201.csv.gz")
def test_on_nasbench201_it_ranks_better_than_a_linear_model():
    truth = ground_truth.load(TRUTH, nasbench201_decisions())
    form, values = nasbench201_form(), truth.accuracies["cifar10_valid_acc_12ep"]
    gcn, graphs = surrogate.GCN(form.types), form.of(truth.pool)
    ones = np.ones((len(values), 1))
    choices = np.concatenate([np.eye(5)[truth.pool].reshape(len(values), -1), ones], 1)
    for seed in range(2):
        order = np.random.RandomState(seed).permutation(len(values))
        known, new = order[:200], order[200:1200]
        targets = (values[known] - values[known].min()) / np.ptp(values[known])
        found = surrogate.fit(
            *(gcn, jax.random.key(seed), *(jnp.asarray(part[known]) for part in graphs)),
            jnp.asarray(targets, jnp.float32),
            **dict(count=200, epochs=100, batch_size=128, learning_rate=1e-3),
        )
        predicted, _ = surrogate.embed(gcn, found, *(part[new] for part in graphs))
        weights = np.linalg.lstsq(choices[known], targets, rcond=None)[0]
        ours = ranking.kendall_tau(np.asarray(predicted), values[new])
        assert ours > ranking.kendall_tau(choices[new] @ weights, values[new]) + 0.05
