"""What is asked of XLA on each platform."""

import jax
import pytest

from bnao_jax.parallel import IN_GRAPHS, MANY_CONVOLUTIONS, OPTIONS, SWITCH, compiler_options


def program_of_convolutions(count):
    return "stablehlo.convolution " * count


@pytest.mark.parametrize("options", [*OPTIONS.values(), IN_GRAPHS], ids=[*OPTIONS, "in graphs"])
def test_xla_knows_the_options(options):
    """It knows those of all platforms on each, and refuses others and other values."""
    lowered = jax.jit(lambda x: x + 1).lower(1.0)
    assert lowered.compile(compiler_options=options)(1.0) == 2.0
    name = next(iter(options))
    with pytest.raises(Exception, match="(?i)no such|unknown|unrecognized|not a valid|illegal"):
        lowered.compile(compiler_options={name + "_not": options[name]})


def test_convolutions_are_put_into_graphs_where_there_are_many():
    few, many = (program_of_convolutions(n) for n in (MANY_CONVOLUTIONS - 1, MANY_CONVOLUTIONS))
    assert compiler_options("gpu", few) == OPTIONS["gpu"]
    assert compiler_options("gpu", many) == OPTIONS["gpu"] | IN_GRAPHS
    assert compiler_options("cpu", many) == OPTIONS["cpu"]
    assert compiler_options("tpu", many) == {}


def test_the_options_can_be_switched_off(monkeypatch):
    monkeypatch.setenv(SWITCH, "off")
    assert not any(compiler_options(platform) for platform in ("cpu", "gpu", "tpu"))
