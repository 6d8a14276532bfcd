"""Cells as graphs: what leads where, for drawing."""

from bnao_jax.space import Wire
from bnao_jax.spaces.nao.graph import graph
from bnao_jax.spaces.nao.space import Outline
from bnao_jax.spaces.nasbench201 import graph as nasbench201_graph
from bnao_jax.spaces.nasbench201 import space as nasbench201_space


def test_a_nao_cell_by_hand():
    outline = Outline(4, 1, 5, nodes=2)
    # Normal: node 1 = sep 3x3 of input 0 + identity of input 0, node 2 = max pool of node 1 + sep
    # 5x5 of node 1; nobody reads input 1. Reduction: node 2 reads nothing of node 1.
    cells = graph(outline, (0, 0, 0, 4, 2, 3, 2, 1, 0, 2, 1, 2, 1, 4, 0, 4))
    assert cells == {
        "normal": [
            Wire("cell k-2", "sep_conv_3x3", "node 1"),
            Wire("cell k-2", "identity", "node 1"),
            Wire("node 1", "max_pool_3x3", "node 2"),
            Wire("node 1", "sep_conv_5x5", "node 2"),
            Wire("cell k-1", None, "output"),
            Wire("node 2", None, "output"),
        ],
        "reduction": [
            Wire("cell k-2", "avg_pool_3x3", "node 1"),
            Wire("cell k-1", "avg_pool_3x3", "node 1"),
            Wire("cell k-1", "identity", "node 2"),
            Wire("cell k-2", "identity", "node 2"),
            Wire("node 1", None, "output"),
            Wire("node 2", None, "output"),
        ],
    }


def test_a_nas_bench_201_cell_by_hand():
    outline = nasbench201_space.Outline()
    text = "|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_1x1~1|skip_connect~2|"
    (wires,) = nasbench201_graph.graph(outline, outline.space.parse(text)).values()
    assert wires == [
        Wire("input", "nor_conv_3x3", "node 1"),
        Wire("input", "none", "node 2"),
        Wire("node 1", "avg_pool_3x3", "node 2"),
        Wire("input", "skip_connect", "output"),
        Wire("node 1", "nor_conv_1x1", "output"),
        Wire("node 2", "skip_connect", "output"),
    ]
