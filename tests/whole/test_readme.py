"""What the READMEs show is run, and what they name is there."""

import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT

from launch.config import schema, table

PLACES = ("README.md", *(f"{room}/**/README.md" for room in ("bnao_jax", "configs", "launch")))
FILES = sorted(path for place in PLACES for path in ROOT.glob(place))
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in FILES}
README, FIELDS = TEXTS["README.md"], TEXTS["configs/README.md"]
TO_COME = "LIBRARY_EXAMPLE"  # a block that is to be written yet
ALL_FIELDS = {
    name
    for job, kind in schema.JOBS.items()
    for sections in (kind.sections, kind.sections | schema.STREAMED)
    for name in schema.fields_of(job, sections if job == "train" else None)
}
EXAMPLES = [
    (name, code)
    for name, text in TEXTS.items()
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    if name != "README.md"  # that one is run by test_oneshot, without the launchers
]
every = pytest.mark.parametrize("name", TEXTS)


@pytest.mark.parametrize(("name", "code"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_python_examples_run(name, code, tmp_path):
    if code.strip() == TO_COME:
        pytest.skip(f"{name} has no example yet")
    for of, other in EXAMPLES:
        if of == name and (file := re.match(r"# (\w+\.py)\n", other)):  # what others import
            (tmp_path / file[1]).write_text(other)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    done = subprocess.run(
        *([sys.executable, "-c", code],),
        **dict(cwd=ROOT, env=environment, capture_output=True, text=True),
    )
    assert done.returncode == 0, done.stderr


def test_the_two_commands_are_lines_to_paste():
    commands = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert len(commands) == 2 and "launch.search" in commands[0] and "pytest" in commands[1]


def test_the_first_page_is_short():
    assert len(README.splitlines()) <= 150


def test_the_table_of_fields_is_current():
    # In a process of its own: tests have operations that nobody else has.
    code = "from launch.config import table; print(table.table(), end='')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert [done.stdout] == table.MARKED.findall(FIELDS), (
        f"python -m launch.config.table writes what belongs there\n{done.stderr}"
    )


def test_every_field_is_in_the_table_with_its_meaning():
    (rows,) = table.MARKED.findall(FIELDS)
    rows = [re.split(r" (?<!\\)\| ", line.strip("| ")) for line in rows.splitlines()[2:]]
    assert all(len(row) == 4 and all(row) for row in rows)
    names = [name.strip("`") for row in rows for name in row[0].split(", ")]
    assert sorted(names) == sorted(ALL_FIELDS)


@every
def test_links_lead_somewhere(name):
    folder = (ROOT / name).parent
    links = re.findall(r"\]\(([^)\s]+)\)", TEXTS[name]) + re.findall(r'src="([^"]+)"', TEXTS[name])
    for link in links:
        path, _, place = link.partition("#")
        if "://" in path:
            continue
        target = (folder / path if path else ROOT / name).resolve()
        assert target.exists(), link
        if place:
            assert place in _places(target.read_text(encoding="utf-8")), link


def _places(text):
    """The names by which GitHub reaches the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every
def test_files_commands_and_fields_it_names_exist(name):
    text = TEXTS[name]
    for path in re.findall(r"\b((?:configs|tests|bnao_jax|launch)/[a-z_0-9/]+\.py)", text):
        assert (ROOT / path).is_file(), path
    for command in re.findall(r"python -m launch\.([a-z_]+(?:\.[a-z_]+)*)", text):
        path = ROOT / "launch" / command.replace(".", "/")
        assert (path / "__main__.py").is_file() or path.with_suffix(".py").is_file(), command
    for field in re.findall(r"--config\.([a-z_0-9.]+)=", text):
        assert field in ALL_FIELDS, field
