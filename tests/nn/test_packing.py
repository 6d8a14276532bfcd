"""Laws of packed weights: what goes in comes out, each candidate's apart from the others'."""

import jax
import numpy as np
import pytest

from bnao_jax.nn import operations
from bnao_jax.nn.operations import IDENTITY, MAX_POOL, convolution, separable
from bnao_jax.nn.packing import Packing

CANDIDATES = (MAX_POOL, separable(3), IDENTITY, convolution(3), separable(5))
LEAD = 2, 3  # cells and edges


@pytest.fixture(params=(1, 2), ids=("stride 1", "stride 2"))
def packing(request):
    return Packing(CANDIDATES, request.param, width=4)


def numbers(packing, seed):
    rng = np.random.default_rng(seed)
    return packing.weights(lambda *shape: rng.normal(size=(*LEAD, *shape)).astype(np.float32))


def segments(packing, rows):
    for operation, start in zip(packing.candidates, packing.starts, strict=True):
        yield operation, rows[..., start : start + packing.longest]


def test_a_segment_holds_the_weights_of_its_candidate(packing):
    weights = numbers(packing, 0)
    rows = packing.pack(weights)
    assert rows.shape == (*LEAD, packing.size)
    for operation, of_all in segments(packing, rows):
        unpacked = packing.unpack_segment(operation, of_all[1, 2], np.float32)
        name = operations.weights_name(operation, packing.stride)
        expected = {} if name is None else {name: jax.tree.map(lambda a: a[1, 2], weights[name])}
        jax.tree.map(np.testing.assert_array_equal, unpacked, expected)


def test_segments_written_one_after_the_other_are_the_row(packing):
    """What a segment holds beyond its candidate's weights is zero, and harms no other."""
    weights = jax.tree.map(lambda a: a[1, 2], numbers(packing, 0))
    total = np.zeros(packing.size, np.float32)
    for operation, start in zip(packing.candidates, packing.starts, strict=True):
        segment = packing.pack_segment(operation, weights)
        assert segment.shape == (packing.longest,)
        total[start : start + packing.longest] += segment
    np.testing.assert_array_equal(total, packing.pack(weights))


def test_rows_are_chosen_by_candidate(packing):
    weights, seen = numbers(packing, 0), []
    rows = packing.pack(weights, lambda name, rows: seen.append(name) or rows[:, :1])
    assert sorted(seen) == sorted(weights)
    np.testing.assert_array_equal(rows, packing.pack(weights)[:, :1])


def test_norms_keep_their_type(packing):
    row = packing.pack(numbers(packing, 0))[0, 0]
    segment = dict(segments(packing, row))[convolution(3)]
    (unit,) = packing.unpack_segment(convolution(3), segment, jax.numpy.bfloat16)["conv_3x3"]
    assert unit["linear"]["kernel"].dtype == jax.numpy.bfloat16
    assert unit["norm"]["scale"].dtype == np.float32
