"""Tables of known accuracies, and what may be wrong with them."""

import gzip
import os

import numpy as np
import pytest
from conftest import SHARED

from bnao_jax import ground_truth
from bnao_jax.decisions import Decisions
from bnao_jax.ground_truth import GroundTruthError
from bnao_jax.spaces.nasbench201.outline import nasbench201_decisions
from bnao_jax.spaces.nasbench201.space import NasBench201Space

SPACE = Decisions("plain", (3, 2), (1, 4))
HEAD = "index,arch_str,cifar10_test_acc_200ep,cifar10_valid_acc_12ep"
TABLE = f"{HEAD}\n0,1 0,90.5,80\n1,2 1,91,70.25\n"


@pytest.mark.parametrize("packed", [False, True])
def test_a_table(tmp_path, packed):
    path = tmp_path / "table"
    path.write_bytes(gzip.compress(TABLE.encode()) if packed else TABLE.encode())
    truth = ground_truth.load(path, SPACE)
    np.testing.assert_array_equal(truth.pool, [[1, 0], [2, 1]])
    assert sorted(truth.accuracies) == ["cifar10_test_acc_200ep", "cifar10_valid_acc_12ep"]
    found = truth.of([[2, 1], [1, 0], [2, 1]], "cifar10_valid_acc_12ep")
    np.testing.assert_allclose(found, [0.7025, 0.8, 0.7025])
    with pytest.raises(GroundTruthError, match="no column 'x'; it has cifar10_test_acc_200ep"):
        truth.of(truth.pool, "x")
    with pytest.raises(GroundTruthError, match="lacks 1 of 2 architectures"):
        truth.of([[1, 0], [0, 0]], "cifar10_test_acc_200ep")


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "must name a column arch_str"),
        ("arch_str,accuracy\n1 0,3\n", "must name a column arch_str and columns as"),
        (HEAD + "\n", "holds no architecture"),
        (HEAD + "\n0,1 0,90.5\n", "line 2: cifar10_valid_acc_12ep: 'None' is no number"),
        (HEAD + "\n0,1 0,90.5,101\n", "line 2: cifar10_valid_acc_12ep: '101' is no number from"),
        (HEAD + "\n0,1 0,nan,10\n", "line 2: cifar10_test_acc_200ep: 'nan'"),
        (HEAD + "\n0,1 7,90,10\n", "line 2: plain: position 2: 7 is not one of 0..1"),
        (TABLE + "2,1 0,90,10\n", "lines 2 and 4: the same architecture"),
    ],
)
def test_bad_tables(tmp_path, text, message):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(GroundTruthError, match=message):
        ground_truth.load(path, SPACE)


@pytest.mark.parametrize("content", [b"\x1f\x8b\x00broken", b"\xff\xfe\x00"])
def test_unreadable_files(tmp_path, content):
    path = tmp_path / "table.csv.gz"
    with pytest.raises(GroundTruthError, match="cannot be read"):
        ground_truth.load(path, SPACE)
    path.write_bytes(content)
    with pytest.raises(GroundTruthError, match="cannot be read"):
        ground_truth.load(path, SPACE)


def test_the_benchmark_s_table():
    path = SHARED / "data" / "nasbench201.csv.gz"
    if not path.exists():
        pytest.skip("no table here")
    truth = ground_truth.load(path, nasbench201_decisions())
    known = truth.of(truth.pool, "cifar10_test_acc_200ep")
    assert len(known) == 15_625 and known.argmax() == 6_111 and known.max() == 0.943733
    assert truth.of(truth.pool, "cifar100_test_acc_200ep").argmax() == 9_930
    for name, row in (("cifar10", 6_111), ("cifar100", 9_930)):
        best = nasbench201_decisions().parse(NasBench201Space.published[f"nasbench201_{name}"])
        np.testing.assert_array_equal(best, truth.pool[row])


def test_any_damage_to_a_compressed_table(tmp_path):
    """A bit, an end or a part that is another: a table, or the error that is documented."""
    draw, path = np.random.default_rng(0), tmp_path / "table.csv.gz"
    text = "\n".join(["arch_str,cifar10_test_acc_200ep", f"{SPACE.format([0, 1])},90.1"])
    whole, refused = gzip.compress(text.encode()), 0
    for _ in range(400):
        content = bytearray(whole)
        at = draw.integers(2, len(content))  # the first two say that it is compressed
        kind = draw.integers(3)
        if kind == 0:
            content[at] ^= 1 << draw.integers(8)
        elif kind == 1:
            del content[at:]
        else:
            content[at:at] = draw.bytes(3)
        path.write_bytes(content)
        try:
            ground_truth.load(path, SPACE)
        except GroundTruthError:
            refused += 1
    assert refused > 100


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(GroundTruthError, match="is no regular file"):
            ground_truth.load(path, SPACE)
