"""Lists the commands.

python -m launch
"""

import ast
import pathlib
import sys

from launch import command

HERE = pathlib.Path(__file__).parent


def commands():
    """Yields (name, what it does) of every command: the folders that can be run."""
    for file in sorted(HERE.glob("*/__main__.py")):
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
        yield file.parent.name, text.splitlines()[0]


def main():
    """Lists the commands."""
    head = "python -m launch.NAME --help tells the flags of a command."
    command.show("\n".join([head, "", *(f"  {name:10} {what}" for name, what in commands())]))


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))
