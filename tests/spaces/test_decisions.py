import itertools

import jax
import numpy as np
import pytest

from bnao_jax.decisions import ArchitectureError, Decisions, ExhaustedError
from bnao_jax.spaces.nao.outline import Outline, genes, loose_ends, nao_decisions
from bnao_jax.spaces.nasbench201.outline import nasbench201_decisions
from bnao_jax.spaces.shufflenet.outline import shufflenet_decisions

SPACES = [
    *(nao_decisions(), nao_decisions("middle", 3), nasbench201_decisions()),
    *(shufflenet_decisions(20, 4, False), shufflenet_decisions(5, 4, True)),
    Decisions("plain", (3, 1, 2), (1, 4, 5)),
]
NAONET_V2 = "1 1 0 1 2 4 0 0 0 0 2 1 0 0 0 2 0 3 0 0 0 2 0 2 2 2 1 0 0 0 0 1 0 0 0 3 0 0 0 1"


@pytest.mark.parametrize("space", SPACES, ids=lambda s: s.name)
class TestLaws:
    def test_text_and_tokens_are_inverse(self, space, key):
        pool = np.asarray(space.random(key, 50))
        np.testing.assert_array_equal([space.parse(space.format(row)) for row in pool], pool)
        tokens = space.to_tokens(pool)
        np.testing.assert_array_equal(space.from_tokens(tokens), pool)
        assert tokens.min() >= 1 and tokens.max() < space.vocabulary

    def test_every_option_is_drawn_and_valid(self, space, key):
        pool = np.asarray(space.random(key, 500))
        space.check(pool)
        np.testing.assert_array_equal(pool.max(0) + 1, space.options)
        np.testing.assert_array_equal(pool.min(0), 0)

    def test_canonical_form_ignores_exchanges(self, space, key):
        pool = space.random(key, 200)
        exchanged = np.asarray(space.exchange(jax.random.key(1), pool))
        space.check(exchanged)
        np.testing.assert_array_equal(space.canonical(exchanged), space.canonical(pool))
        canonical = space.canonical(pool)
        np.testing.assert_array_equal(space.canonical(canonical), canonical)
        if space.commuting:
            assert (exchanged != np.asarray(pool)).any()

    def test_mutation_rate(self, space, key):
        pool = space.random(key, 400)
        np.testing.assert_array_equal(space.mutate(key, pool, 0.0), pool)
        mutated = np.asarray(space.mutate(key, pool, 1.0))
        space.check(mutated)
        several = np.array(space.options) > 1
        assert (mutated != np.asarray(pool))[:, several].all()
        redrawn = space.check(space.mutate(key, pool, 1.0, False))
        if several.any():  # of k options one in k is drawn again
            assert 0 < (redrawn == np.asarray(pool))[:, several].mean() < 1
        changed = np.asarray(space.mutate(key, pool, 0.25) != pool)[:, several]
        assert abs(changed.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / changed.size)

    def test_crossover_takes_each_gene_from_a_parent(self, space, key):
        mothers, fathers = space.random(key, 200), space.random(jax.random.key(1), 200)
        children = np.asarray(space.crossover(key, mothers, fathers))
        from_mother = children == np.asarray(mothers)
        assert (from_mother | (children == np.asarray(fathers))).all()
        differ = np.asarray(mothers != fathers)
        assert 0.4 < from_mother[differ].mean() < 0.6


def test_cardinality_counts_networks():
    space = nao_decisions("small", 1)
    every = np.array(list(itertools.product(*map(range, space.options))))
    assert space.cardinality == len(set(space.keys(every))) == 55 * 55


def test_samples_are_new_and_exhaust_the_space(key):
    space = nao_decisions("tiny", 1)
    first = space.sample(key, 100)
    assert len(set(space.keys(first))) == 100
    rest = space.sample(key, space.cardinality - 100, seen=space.keys(first))
    assert not set(space.keys(rest)) & set(space.keys(first))
    with pytest.raises(ExhaustedError, match="found only 0 of 1"):
        space.sample(key, 1, seen=space.keys(np.concatenate([first, rest])))


def test_samples_satisfy_the_limit(key):
    space = nao_decisions()
    accept = lambda pool: pool[:, 1] == 4
    assert (space.sample(key, 30, accept=accept)[:, 1] == 4).all()


@pytest.mark.parametrize(
    "text, message",
    [
        ("1 2", "40 integers, not 2"),
        (NAONET_V2 + " 0", "40 integers, not 41"),
        (
            NAONET_V2.replace("4", "5", 1),
            r"position 6 \(normal cell, node 2, edge 1, oper.*5.*0..4",
        ),
        (
            NAONET_V2.replace("1", "x", 1),
            r"position 1 \(normal cell, node 1, edge 1, inp.*'x'.*0..1",
        ),
        ("-1" + NAONET_V2[1:], "position 1 .*'-1' is not one of 0..1"),
        ("99999999999999999999" + NAONET_V2[1:], "position 1"),
    ],
)
def test_bad_text_names_position_value_and_choice(text, message):
    with pytest.raises(ArchitectureError, match=message):
        nao_decisions().parse(text)


def test_lines_skip_comments_and_name_the_line():
    space = nao_decisions()
    assert space.parse_lines(["# title", "", NAONET_V2 + " # best"]).shape == (1, 40)
    with pytest.raises(ArchitectureError, match="line 2: .*not 1"):
        space.parse_lines([NAONET_V2, "7"])


def test_tokens_of_the_paper():
    space = nao_decisions()
    assert space.vocabulary == 12  # start, six inputs, five operations
    assert space.to_tokens(space.parse(NAONET_V2)[None])[0, :4].tolist() == [2, 8, 1, 8]


def test_loose_ends_by_hand():
    inputs, _ = genes(nao_decisions().parse(NAONET_V2), 5)
    assert inputs[0].tolist() == [1, 0, 2, 0, 0, 2, 0, 0, 0, 0]
    assert np.flatnonzero(loose_ends(inputs[0], 5)).tolist() == [3, 4, 5, 6]


@pytest.mark.parametrize(
    "field, value", [("channels", 7), ("channels", 0), ("cells", 0), ("classes", 1), ("nodes", 0)]
)
def test_outline_refuses(field, value):
    settings = {"channels": 4, "cells": 1, "classes": 10} | {field: value}
    with pytest.raises(ValueError, match=field):
        Outline(**settings)
