"""Failures of native code among several processes: one line instead of an abort with its stacks.

XLA ends a process with SIGABRT where it loses another one, so that no Python error is raised.
"""

import ctypes
import os
import re
import signal
import sys
import tempfile

from launch.command import abandon

STATUS = re.compile(r"absl::Status: ([A-Z_]+: [^\n]*)")
FATAL = re.compile(r"^F\d{4} \S+ +\d+ \S+\] ([^\n]*)", re.MULTILINE)
LONGEST = 150  # characters of XLA's message that are shown
_kept = []  # what must live as long as the process


def report_aborts(meaning):
    """From now on an abort ends the process in one line and status 1.

    What native code writes to standard error goes to a file without a name, of which the line
    quotes the last message; BNAO_TRACEBACK leaves all as it is.

    Args:
      meaning: `meaning()` is what an abort means at that moment, in words.
    """
    if _kept or os.environ.get("BNAO_TRACEBACK"):
        return
    log = tempfile.TemporaryFile()
    sys.stderr.flush()
    shown = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    os.dup2(log.fileno(), 2)
    sys.stderr = shown

    @ctypes.CFUNCTYPE(None, ctypes.c_int)
    def on_abort(number):
        del number
        log.seek(0)
        abandon(f"{meaning()} ({quoted(log.read().decode('utf-8', 'replace'))})")

    ctypes.CDLL(None).signal(signal.SIGABRT, on_abort)
    _kept.extend((log, shown, on_abort))


def quoted(text) -> str:
    """The last message of native code in what it has written."""
    said = STATUS.findall(text) or FATAL.findall(text) or ["native code aborted"]
    return said[-1][:LONGEST]
