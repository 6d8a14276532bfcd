"""Kills a search at random moments, again and again, and compares its end with an undisturbed one.

    python tests/kill_search.py --kills=20 [--seed=N] [-- --config=FILE --config.FIELD=VALUE …]

Not a test that pytest collects: it takes minutes. Needs an empty folder, --folder, for both.
"""

import argparse
import pathlib
import random
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests/whole"))
from test_resume import assert_same_end  # noqa: E402

OFTEN = ("--config.checkpoint_every_seconds=1", "--config.checkpoint_every_steps=50")


def search(folder, flags):
    command = [sys.executable, "-m", "launch.search", f"--workdir={folder}", *flags]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def place(folder):
    """The checkpoints that there are, for the record."""
    names = [path.name for path in (folder / "checkpoints").glob("*")]
    return " ".join(sorted(names))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", default="runs/kills")
    parser.add_argument("flags", nargs="*", default=["--config=configs/quickstart.py"])
    args = parser.parse_args()
    draw, folder = random.Random(args.seed), ROOT / args.folder
    started = time.monotonic()
    process = search(folder / "undisturbed", args.flags)
    assert process.wait() == 0
    whole = time.monotonic() - started
    print(f"undisturbed: {whole:.0f} s", flush=True)
    kills, longest = 0, 2.5 * whole / args.kills
    while True:
        process = search(folder / "killed", [*args.flags, *OFTEN])
        try:
            process.wait(draw.uniform(0, longest) if kills < args.kills else None)
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
            print(f"kill {kills}; checkpoints {place(folder / 'killed')}", flush=True)
            process.communicate()
            longest += 1  # a start takes time of its own
            continue
        assert process.returncode == 0, process.returncode
        break
    assert_same_end(folder / "killed", folder / "undisturbed")
    print(f"{kills} kills: pool, result, weights and round metrics are the same")


if __name__ == "__main__":
    main()
