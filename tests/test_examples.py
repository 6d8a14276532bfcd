"""The examples in the docstrings of modules that others pull out run as they stand."""

import doctest
import importlib

import pytest

MODULES = (
    *("sampler", "optimizer", "export", "controller", "spaces.nao.supernet", "spaces.nao.network"),
    *("spaces.nasbench201.network", "spaces.shufflenet.network", "surrogate"),
)


@pytest.mark.parametrize("name", MODULES)
def test_example(name):
    module = importlib.import_module(f"bnao_jax.{name}")
    assert doctest.testmod(module, raise_on_error=True).attempted > 3
