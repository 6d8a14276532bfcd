"""The examples in the docstrings of modules run as they stand."""

import doctest
import importlib

import pytest

MODULES = (
    *("halving", "sampler", "training.optimizer", "export", "controller", "surrogate", "choice"),
    "repeat",
    *("nn.packing", "spaces.nao.supernet", "spaces.nao.network"),
    *("spaces.nasbench201.network", "spaces.shufflenet.network", "spaces.module_space"),
)


@pytest.mark.parametrize("name", MODULES)
def test_example(name):
    module = importlib.import_module(f"bnao_jax.{name}")
    assert doctest.testmod(module, raise_on_error=True).attempted > 3
