"""Command lines played in the test's own process: a start costs a second, and is the same."""

import contextlib
import io
import runpy
import sys
import warnings

import pytest
from absl import flags
from absl.testing import flagsaver
from conftest import ROOT

import launch.run
import launch.run.flags  # noqa: F401  before the first command, which would take it along
from launch import command


def play(main, *words):
    """(exit status, standard output, one-line error) of a command line; an exception is a bug."""
    return _played(lambda: command.run(main, "the usage"), words)


def play_command(name, *words, stdin=b""):
    """The same of `python -m launch.NAME`."""
    with _forgotten_flags(), pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, f"launch.{name}.__main__", raising=False)
        start = lambda: runpy.run_module(f"launch.{name}", run_name="__main__")
        return _played(start, words, stdin)


def _played(start, words, stdin=b""):
    out, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, flagsaver.flagsaver():
        patch.setattr(sys, "argv", ["launcher", *words])
        patch.setattr(sys, "path", sys.path[:])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        patch.setattr(sys, "unraisablehook", sys.unraisablehook)
        patch.chdir(ROOT)
        # ml_collections loads a config by what Python calls deprecated.
        with warnings.catch_warnings(), pytest.raises(SystemExit) as stop:
            warnings.filterwarnings("ignore", "the load_module", DeprecationWarning)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
                start()
    status, error = stop.value.code or 0, errors.getvalue()
    if status:
        assert status == 2 and out.getvalue() == ""
        assert error.startswith("error: ") and error.endswith("\n") and len(error) < 2_100
        assert len(error.splitlines()) == 1 and "Traceback (most recent call last)" not in error
    else:
        assert error == ""
    return status, out.getvalue(), error


@contextlib.contextmanager
def _forgotten_flags():
    """Takes away the flags of all commands; they exclude each other in one program."""
    modules = flags.FLAGS.flags_by_module_dict()
    kept = [
        (module, flag)
        for module in modules
        if module.startswith("launch.") and module != command.__name__
        for flag in modules[module]
    ]
    for _, flag in kept:
        delattr(flags.FLAGS, flag.name)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.delitem(sys.modules, "launch.run.flags")  # who wants its flags, imports it
            patch.delattr(launch.run, "flags")
            yield
    finally:
        for module, flag in kept:
            flags.FLAGS[flag.name] = flag
            flags.FLAGS.register_flag_by_module(module, flag)
