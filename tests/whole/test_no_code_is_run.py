"""No module turns what it reads into code."""

import ast

import pytest
from conftest import ROOT

LOADERS_OF_CODE = {
    *("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"),
    *("torch", "pandas"),  # whose loaders unpickle
}


def imported(node):
    if isinstance(node, ast.Import):
        return {name.name.split(".")[0] for name in node.names}
    return {(node.module or "").split(".")[0]} if isinstance(node, ast.ImportFrom) else set()


def runs_code(node):
    """Whether a node of the syntax tree turns data into code."""
    if imported(node) & LOADERS_OF_CODE:
        return True
    if not isinstance(node, ast.Call):
        return False
    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
    if name in ("eval", "exec", "__import__"):
        return True
    allowed = [word.value for word in node.keywords if word.arg == "allow_pickle"]
    return any(not isinstance(v, ast.Constant) or v.value is not False for v in allowed)


@pytest.mark.parametrize("folder", ["bnao_jax", "launch", "configs"])
def test_no_module_runs_what_it_reads(folder):
    for file in (ROOT / folder).rglob("*.py"):
        nodes = [node for node in ast.walk(ast.parse(file.read_text())) if runs_code(node)]
        assert not nodes, f"{file}:{nodes[0].lineno}"


@pytest.mark.parametrize(
    "source",
    [
        *("import pickle", "from pickle import loads", "import os, marshal", "eval('1')"),
        *("np.load(f, allow_pickle=True)", "np.load(f, allow_pickle=flag)", "__import__('os')"),
    ],
)
def test_the_search_for_such_modules_finds_them(source):
    assert any(runs_code(node) for node in ast.walk(ast.parse(source)))
