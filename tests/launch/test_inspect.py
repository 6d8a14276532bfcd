"""What a space costs before a search, and one architecture layer by layer."""

import jax
import numpy as np
import pytest
from command_lines import play_command
from tiny import tiny

from bnao_jax.cost import spread
from bnao_jax.spaces.nasbench201.outline import everything
from launch.command import UsageError
from launch.config.plan import plan
from launch.inspect import tables
from launch.search import job as search_job


def nasbench201():
    config = tiny()
    config.space.name, config.network.cells = "nasbench201", 1
    config.supernet.drop_path_keep = config.final.drop_path_keep = 1.0
    config.search.max_params = None
    return config


def parts(config):
    """Plan, space, image shape, and the function from a pool to its cost."""
    job = plan(config)
    shape, classes = job.form()
    space = job.space(classes)
    return job, space, shape, lambda pool: space.cost(pool, shape)


def numbers(line):
    """The last two figures of a line."""
    return [int(word.replace(",", "")) for word in line.split()[-2:]]


@pytest.mark.parametrize("config", [tiny(), nasbench201()], ids=["nao", "nasbench201"])
def test_layers_sum_to_the_cost(config, capsys):
    _, space, shape, cost_of = parts(config)
    architecture = space.decisions.sample(jax.random.key(3), 1)[0]
    tables.show_layers(space, shape, architecture)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    cost = cost_of(architecture[None])
    expected = [int(cost.params[0]), int(cost.macs[0])]
    assert numbers(lines[-1]) == expected and lines[-1].split()[0] == "sum"
    rows = [numbers(line) for line in lines[3:-1]]
    assert np.sum(rows, 0).tolist() == expected
    assert " classifier " in lines[-2] and "8×8×" in lines[3] and " stem " in lines[3]
    operations = [line for line in lines if " of " in line]
    cells = 5 if config.space.name == "nao" else 3
    assert len(operations) == cells * space.decisions.length // (4 if cells == 5 else 1)


def test_the_spread_of_a_whole_space():
    config = nasbench201()
    _, space, _, cost_of = parts(config)
    every = cost_of(everything())
    least_median_most = spread(every)["parameters"]
    assert least_median_most == [
        every.params.min(),
        np.sort(every.params)[7812],
        every.params.max(),
    ]
    # Of 4,096 random ones the share below the median is a half, ± .8 %.
    pool = np.asarray(space.decisions.random(jax.random.key(0), 4_096))
    share = np.mean(cost_of(pool).params <= least_median_most[1])
    below = np.mean(every.params <= least_median_most[1])
    assert abs(share - below) < 4 * np.sqrt(below * (1 - below) / len(pool))


def test_an_impossible_limit_is_known_at_once(capsys):
    config = nasbench201()
    config.search.max_params = 10
    job, space, shape, _ = parts(config)
    tables.show_space(job, space, shape, 100)
    out = capsys.readouterr().out
    assert "config.search.max_params=10: 0.00 %; a search would hardly find" in out
    assert "smallest" in out and "multiply-adds" in out
    with pytest.raises(ValueError, match="within the limit"):
        search_job.Search(job, None, job.load())


def test_its_picture(tmp_path):
    config = tiny()
    _, space, *_ = parts(config)
    architecture = space.decisions.sample(jax.random.key(3), 1)[0]
    for name in ("cells.svg", "cells.png"):
        tables.check_picture(str(tmp_path / name))
        tables.draw_cells(space, architecture, tmp_path / name)
    text = (tmp_path / "cells.svg").read_text()
    assert all(word in text for word in ("Normal cell", "Reduction cell", "cell k-2", "node 2"))
    assert (tmp_path / "cells.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match="--picture=cells.txt: the name must end in one of .png"):
        tables.check_picture("cells.txt")
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        tables.draw_cells(space, architecture, tmp_path / "absent/cells.svg")


def test_a_space_without_images_and_limits_and_too_many_architectures():
    status, out, _ = play_command(
        "inspect", "--config=configs/tabular.py", "--space", "--samples=9"
    )
    assert status == 0 and "9 random architectures" in out
    words = "--config=configs/quickstart.py", "--random=100001"
    status, _, error = play_command("inspect", *words)
    assert status == 2 and "--random=100001" in error
