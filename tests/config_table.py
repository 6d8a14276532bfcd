"""The README's table of fields, made from the configs and the comments in them.

    python tests/config_table.py

prints it.
"""

import ast
import importlib
import io
import pathlib
import sys
import tokenize

ROOT = pathlib.Path(__file__).parent.parent
HEAD = "| field | value | meaning |\n|---|---|---|\n"
# The configs whose fields are told, of each those that the ones before it have not.
CONFIGS = ("cifar", "cifar_train", "imagenet_train", "rank_nasbench201", "rank_study", "tabular")
ALONE = ("final", "train")  # sections with the same fields, which are told together


def table() -> str:
    """The table in Markdown: every field once, with its value in the first config that has it."""
    values, meanings = {}, {}
    for name in CONFIGS:
        source = (ROOT / "configs" / f"{name}.py").read_text(encoding="utf-8")
        for field, text in comments(source).items():
            meanings[field] = meanings.get(field) or text
        config = importlib.import_module(f"configs.{name}").get_config()
        values = dict(fields(config)) | values
    places = {field: place for place, field in enumerate(meanings)}
    sections = list(dict.fromkeys(section(field) for field in meanings))
    order = lambda field: (sections.index(section(both(field)[0])), _least(places, both(field)))
    lines, told = [], set()
    for field in sorted(values, key=order):
        if field not in told:
            names = [name for name in both(field) if name in values]
            told |= {*names}
            shown = dict.fromkeys(_shown(values[name]) for name in names)
            text = next((meanings[name] for name in names[::-1] if meanings.get(name)), "")
            named = ", ".join(f"`{name}`" for name in names)
            lines.append(f"| {named} | {', '.join(shown)} | {text.replace('|', chr(92) + '|')} |\n")
    return HEAD + "".join(lines)


def _least(places, names):
    return min(places[name] for name in names if name in places)


def section(field) -> str:
    """The section of a field; "" of those that are in none."""
    return field.rpartition(".")[0]


def both(field) -> list[str]:
    """A field, and the same one of the other section that says how networks are trained alone."""
    name = field.rpartition(".")[2]
    return [f"{part}.{name}" for part in ALONE] if section(field) in ALONE else [field]


def fields(config, prefix=""):
    """Yields (name, value) of every field."""
    for name, value in config.items():
        if hasattr(value, "items"):
            yield from fields(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def comments(source) -> dict[str, str]:
    """What is said of each field that is assigned, in the order of the source.

    That is the comment behind the assignment, or the lines of comment right above it.
    """
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    behind = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
    lines, sections, found = source.splitlines(), {"config": ""}, {}
    assigned = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assign)]
    for node in sorted(assigned, key=lambda node: node.lineno):
        text = _comment(node, behind, lines)
        attributes = [t.attr for t in node.targets if isinstance(t, ast.Attribute)]
        for target in node.targets:
            if isinstance(target, ast.Name) and target.id not in sections:
                sections[target.id] = f"{(attributes or [target.id])[0]}."
            for part in getattr(target, "elts", [target]):
                if isinstance(part, ast.Attribute) and len(node.targets) == 1:
                    found.setdefault(_prefix(part.value, sections) + part.attr, text)
    return found


def _prefix(node, sections):
    """The section that an expression stands for, as "section."."""
    if isinstance(node, ast.Attribute):
        return f"{_prefix(node.value, sections)}{node.attr}."
    return sections.get(node.id, "")


def _comment(node, behind, lines):
    alone = lambda line: lines[line - 1].lstrip().startswith("#")
    if node.end_lineno in behind:
        return behind[node.end_lineno]
    above, line = [], node.lineno - 1
    while line in behind and alone(line):
        above.insert(0, behind[line])
        line -= 1
    return " ".join(above)


def _shown(value):
    """A value as it is written on the command line."""
    if value is None:
        return "none"
    return '`""`' if value == "" else f"`{value}`"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    print(table(), end="")
