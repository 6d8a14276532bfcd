"""What the README shows is run."""

import re
import subprocess
import sys

import config_table
import pytest
from conftest import ROOT

from launch import fields

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_python_example():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("(4, 10)") == 3


def test_the_table_of_fields_is_current():
    made = config_table.table()
    if config_table.HEAD not in README:
        pytest.skip("the README has no table of fields")
    assert made in README, "python tests/config_table.py prints the table that belongs there"


def test_every_field_is_told_with_its_meaning():
    rows = [line.strip("| ").split(" | ") for line in config_table.table().splitlines()[2:]]
    assert all(len(row) == 3 and row[2] for row in rows)
    told = {name.strip("`") for row in rows for name in row[0].split(", ")}
    assert told == {field for field in fields.RULES}


def test_comments_are_found_by_hand():
    source = """
def get_config():
    config = ConfigDict()
    config.part = part = ConfigDict()
    part.one = 1  # behind
    # above,
    # in two lines
    part.two, part.three = (
        2, 3)
    config.part.four = 4
    config.five = 5  # last
"""
    assert config_table.comments(source) == {
        **{"part.one": "behind", "part.two": "above, in two lines"},
        **{"part.three": "above, in two lines", "part.four": "", "five": "last"},
    }


def test_files_it_names_exist():
    for path in re.findall(r"configs/\w+\.py", README):
        assert (ROOT / path).is_file()
    for name in re.findall(r"^  ([a-z_]+(?:\.py|/))", README, re.MULTILINE):
        assert (ROOT / "bnao_jax" / name).exists()
