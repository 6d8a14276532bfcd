"""What the README shows is run."""

import re
import subprocess
import sys

from conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_python_example():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("(4, 10)") == 3


def test_files_it_names_exist():
    for path in re.findall(r"configs/\w+\.py", README):
        assert (ROOT / path).is_file()
    for name in re.findall(r"^  ([a-z_]+(?:\.py|/))", README, re.MULTILINE):
        assert (ROOT / "bnao_jax" / name).exists()
