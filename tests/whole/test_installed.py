"""What a wheel holds, from an installed copy in an empty folder, beside a project of one's own."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

OWN = """
from configs import base


def get_config():
    return base.get_config()
"""
BASE = """
from configs import cifar


def get_config():
    config = cifar.get_config()
    config.space.nodes = 2
    return config
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder that the wheel is installed to."""
    folder, site = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("site")
    source = folder / "source"  # a build leaves files where it is made
    for name in ("bnao_jax", "launch", "configs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    shutil.copy(ROOT / "setup.py", source)
    pip = sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"
    wheel = "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source
    subprocess.run([*pip, *wheel], check=True, cwd=folder, capture_output=True)
    install = "install", "--no-deps", "--target", site, *folder.glob("*.whl")
    subprocess.run([*pip, *install], check=True, capture_output=True)
    return site


@pytest.fixture
def play(site, tmp_path):
    """Runs python in an empty folder with the installed copy: (status, output, error)."""

    def play(*words):
        environment = os.environ | {"PYTHONPATH": str(site)}
        done = subprocess.run(
            *([sys.executable, "-P", *words],),
            **dict(cwd=tmp_path, env=environment, capture_output=True, text=True),
        )
        return done.returncode, done.stdout, done.stderr

    return play


def test_commands_run_and_configs_are_found_by_name(site, play):
    status, out, _ = play("-c", "import launch, configs; print(launch.__file__, configs.__file__)")
    assert status == 0 and out.count(str(site)) == 2
    status, out, error = play("-m", "launch")
    assert status == 0 and "search" in out, error
    words = "-m", "launch.inspect", "--config=quickstart", "--random=1"
    status, out, error = play(*words)
    assert status == 0 and '"params"' in out, error
    status, _, error = play(*words[:2], "--config=nothing", "--random=1")
    assert status == 2 and "there is no file nothing; shipped are bonas, cifar" in error


@pytest.mark.parametrize("words", [("launch",), ("launch.search", "--help")])
def test_nobody_need_listen(words, site):
    """A closed pipe and a full disk are no tracebacks."""
    command, environment = (sys.executable, "-m", *words), os.environ | {"PYTHONPATH": str(site)}
    quiet = dict(env=environment, stderr=subprocess.PIPE, text=True)
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, **quiet)
    assert done.returncode == 2 and done.stderr == "error: [Errno 28] No space left on device\n"
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        done = subprocess.run(command, stdout=closed, **quiet)
    assert done.returncode == 0 and not done.stderr


def test_a_project_may_have_configs_and_launch_of_its_own(play, tmp_path):
    for folder in ("configs", "launch"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "configs/base.py").write_text(BASE)
    (tmp_path / "own.py").write_text(OWN)
    for name, integers in (("own.py", 16), ("cifar", 40)):
        status, out, error = play("-m", "launch.inspect", f"--config={name}", "--random=1")
        assert status == 0, error
        assert len(out.split('"')[3].split()) == integers
