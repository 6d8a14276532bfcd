"""What a space costs before a search, and one architecture layer by layer."""

import jax
import numpy as np
import pytest
from tiny import tiny

from bnao_jax.spaces.nasbench201.space import everything
from launch import inspecting, searching, space_costs, wiring
from launch.command import UsageError
from launch.fields import check_fields


def nasbench201():
    config = tiny()
    config.space.name, config.network.cells = "nasbench201", 1
    config.supernet.drop_path_keep = config.final.drop_path_keep = 1.0
    config.search.max_params = None
    check_fields(config)
    return config


def made(config):
    """Outline, image shape, and the function from a pool to its cost."""
    shape, classes = wiring.form(config)
    outline = wiring.make_outline(config, classes)
    return outline, shape, wiring.make_cost(config, outline, shape)


def numbers(line):
    """The last two figures of a line."""
    return [int(word.replace(",", "")) for word in line.split()[-2:]]


@pytest.mark.parametrize("config", [tiny(), nasbench201()], ids=["nao", "nasbench201"])
def test_layers_sum_to_the_cost(config, capsys):
    outline, shape, cost_of = made(config)
    architecture = outline.space.sample(jax.random.key(3), 1)[0]
    inspecting.show_layers(config, outline, shape, architecture)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    found = cost_of(architecture[None])
    expected = [int(found.params[0]), int(found.macs[0])]
    assert numbers(lines[-1]) == expected and lines[-1].split()[0] == "sum"
    rows = [numbers(line) for line in lines[3:-1]]
    assert np.sum(rows, 0).tolist() == expected
    assert " classifier " in lines[-2] and "8×8×" in lines[3] and " stem " in lines[3]
    operations = [line for line in lines if " of " in line]
    cells = 5 if config.space.name == "nao" else 3
    assert len(operations) == cells * outline.space.decisions // (4 if cells == 5 else 1)


def test_the_spread_of_a_whole_space():
    config = nasbench201()
    outline, _, cost_of = made(config)
    every = cost_of(everything())
    found = space_costs.spread(every)
    assert found["parameters"] == [
        every.params.min(),
        np.sort(every.params)[7812],
        every.params.max(),
    ]
    # Of 4,096 random ones the share below the median is a half, ± .8 %.
    pool = space_costs.sampled(outline.space, 4_096)
    share = space_costs.share_within(
        pool, lambda rows: cost_of(rows).params <= found["parameters"][1]
    )
    below = np.mean(every.params <= found["parameters"][1])
    assert abs(share - below) < 4 * np.sqrt(below * (1 - below) / len(pool))


def test_an_impossible_limit_is_known_at_once(capsys):
    config = nasbench201()
    config.search.max_params = 10
    outline, shape, _ = made(config)
    inspecting.show_space(config, outline, shape, 100)
    out = capsys.readouterr().out
    assert "config.search.max_params=10: 0.00 %; a search would hardly find" in out
    assert "smallest" in out and "multiply-adds" in out
    with pytest.raises(ValueError, match="within the limit"):
        images = wiring.load_data(config)
        searching.Search(config, None, images)


def test_its_picture(tmp_path):
    config = tiny()
    outline, *_ = made(config)
    architecture = outline.space.sample(jax.random.key(3), 1)[0]
    for name in ("cells.svg", "cells.png"):
        inspecting.check_picture(str(tmp_path / name))
        inspecting.draw_cells(config, outline, architecture, tmp_path / name)
    text = (tmp_path / "cells.svg").read_text()
    assert all(word in text for word in ("Normal cell", "Reduction cell", "cell k-2", "node 2"))
    assert (tmp_path / "cells.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match="--picture=cells.txt: the name must end in one of .png"):
        inspecting.check_picture("cells.txt")
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        inspecting.draw_cells(config, outline, architecture, tmp_path / "absent/cells.svg")
