"""What leads where in a cell, for drawing."""

from bnao_jax.graph import Wire
from bnao_jax.spaces.nao.graph import wires as nao_wires
from bnao_jax.spaces.nao.outline import Outline
from bnao_jax.spaces.nasbench201 import outline as nasbench201_space
from bnao_jax.spaces.nasbench201.graph import wires as nasbench201_wires
from bnao_jax.spaces.shufflenet import outline as shufflenet_space
from bnao_jax.spaces.shufflenet.graph import wires as shufflenet_wires


def test_a_nao_cell_by_hand():
    outline = Outline(4, 1, 5, nodes=2)
    # Normal: node 1 = sep 3x3 of input 0 + identity of input 0, node 2 = max pool of node 1 + sep
    # 5x5 of node 1; nobody reads input 1. Reduction: node 2 reads nothing of node 1.
    cells = nao_wires(outline, (0, 0, 0, 4, 2, 3, 2, 1, 0, 2, 1, 2, 1, 4, 0, 4))
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
    (wires,) = nasbench201_wires(outline, outline.decisions.parse(text)).values()
    assert wires == [
        Wire("input", "nor_conv_3x3", "node 1"),
        Wire("input", "none", "node 2"),
        Wire("node 1", "avg_pool_3x3", "node 2"),
        Wire("input", "skip_connect", "output"),
        Wire("node 1", "nor_conv_1x1", "output"),
        Wire("node 2", "skip_connect", "output"),
    ]


def test_blocks_of_shufflenet_by_hand():
    outline = shufflenet_space.Outline(16, 1, 5, "cifar", channel_choice=True)
    found = shufflenet_wires(outline, [0, 3, 1, 2, 0, *(4, 9, 0, 1, 2)])
    assert found == {
        "stage 1": [Wire("input", "shuffle3, width 1.0", "block 1")],
        "stage 2": [Wire("block 1", "xception, width 2.0", "block 2")],
        "stage 3": [
            Wire("block 2", "shuffle5, width 0.2", "block 3"),
            Wire("block 3", "shuffle7, width 0.4", "block 4"),
        ],
        "stage 4": [Wire("block 4", "shuffle3, width 0.6", "block 5")],
    }
    plain = shufflenet_space.Outline(16, 1, 5, "cifar")
    (first, *_) = shufflenet_wires(plain, [0, 3, 1, 2, 0]).values()
    assert first == [Wire("input", "shuffle3", "block 1")]
