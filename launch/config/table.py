"""The table of all fields in configs/README.md, made from what the settings say of themselves.

    python -m launch.config.table

writes it between its two marks.
"""

import ast
import importlib
import pathlib
import re

import configs
from launch.config import schema

README = pathlib.Path(configs.__file__).parent / "README.md"
MARKED = re.compile(r"(?<=<!-- fields -->\n).*?(?=<!-- /fields -->)", re.DOTALL)
HEAD = "| field | value | may be | meaning |\n|---|---|---|---|\n"
# Each shows the fields that the ones before it have not.
CONFIGS = (
    *("cifar", "cifar_train", "imagenet_train", "rank_nasbench201", "rank_study", "tabular"),
    "compare_quickstart",
)
ALONE = ("final", "train")  # sections that share rows
UNBOUNDED = re.compile(r"from (\d+) to (2147483647|9223372036854775807)")


def table() -> str:
    """The table in Markdown: every field once, with its value in the first config that has it."""
    fields, values = {}, {}
    for name in CONFIGS:
        settings = schema.read(importlib.import_module(f"configs.{name}").get_config())
        sections = schema.JOBS[settings.job].sections
        if getattr(settings.data, "streamed", False):
            sections = sections | schema.STREAMED
        for field, description in schema.fields_of(settings.job, sections).items():
            if field not in fields:
                section, _, key = field.rpartition(".")
                fields[field] = description
                values[field] = getattr(getattr(settings, section) if section else settings, key)
    sections = list(schema.Config.__dataclass_fields__)
    place = lambda field: sections.index(rows_of(field)[0].split(".")[0]) if "." in field else -1
    rows = dict.fromkeys(tuple(filter(fields.get, rows_of(f))) for f in sorted(fields, key=place))
    return HEAD + "".join(_row(names, fields, values) for names in rows)


def rows_of(field) -> list[str]:
    """The names of the fields that share a row with a field, and its own."""
    section, _, key = field.rpartition(".")
    return [f"{name}.{key}" for name in ALONE] if section in ALONE else [field]


def write():
    """Writes the table into the README."""
    text = README.read_text(encoding="utf-8")
    README.write_text(MARKED.sub(lambda _: table(), text), encoding="utf-8")


def _row(names, fields, values):
    cells = (
        (f"`{name}`" for name in names),
        (_shown(values[name]) for name in names),
        (_allowed(fields[name].metadata["rule"]) for name in names),
        (fields[name].metadata["meaning"] for name in names),
    )
    texts = (", ".join(dict.fromkeys(texts)).replace("|", "\\|") for texts in cells)
    return f"| {' | '.join(texts)} |\n"


def _shown(value):
    """A value as it is written on the command line."""
    if value is None:
        return "none"
    return '`""`' if value == "" else f"`{value}`"


def _allowed(rule):
    """A rule in fewer words."""
    if rule.words.startswith("one of "):
        return ", ".join(f"`{name}`" for name in ast.literal_eval(rule.words[len("one of ") :]))
    return UNBOUNDED.sub(r"of at least \1", rule.words)


if __name__ == "__main__":
    write()
