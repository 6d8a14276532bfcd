"""What all entry points share: flags, one-line errors, the compilation cache."""

import os
import sys
import traceback

from absl import flags
from ml_collections import config_flags

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Experiment, for example configs/cifar.py or configs/cifar.py:smoke. Any field can be changed: "
    "--config.search.rounds=2.",
    lock_config=True,
)


class UsageError(ValueError):
    """Input the user can mend; reported in one line."""


def run(main, usage):
    """Parses the flags, runs `main()`, and exits; bad input gives one line and exit status 2."""
    sys.path.insert(0, os.getcwd())  # configs import each other
    try:
        rest = flags.FLAGS(sys.argv, known_only=False)
        if len(rest) > 1:
            raise UsageError(f"unexpected argument {rest[1]!r}; flags begin with --")
    except SystemExit:
        raise
    except Exception as error:  # absl, ml_collections and the config file itself all raise here
        if _wants_help():
            _print_help(usage)
        _fail(error)
    try:
        status = main()
    except KeyboardInterrupt:
        _fail("interrupted", status=130)
    except (ValueError, OSError) as error:
        if os.environ.get("BNAO_TRACEBACK"):
            traceback.print_exc()
        _fail(error)
    sys.exit(status)


def _wants_help():
    return any(word in ("--help", "-h", "-help") for word in sys.argv[1:])


def _print_help(usage):
    print(usage)
    sys.exit(0)


def _fail(error, status=2):
    text = " ".join(str(error).split()) or type(error).__name__
    print(f"error: {text}", file=sys.stderr)
    sys.exit(status)


def required(flag, example):
    """The value of a flag that must be given."""
    if flag.value is None:
        raise UsageError(f"--{flag.name} is missing; for example --{flag.name}={example}")
    return flag.value


def enable_compilation_cache(folder):
    """Keeps compiled programs in a folder, so that the next start need not compile; "": not."""
    if not folder:
        return
    import jax

    jax.config.update("jax_compilation_cache_dir", os.path.expanduser(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
