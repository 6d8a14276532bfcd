"""Files that others may have made: what they hold is read whole, and only if they are files.

A path that a user names may be a link; what lies in a folder that may be a stranger's may not.
"""

import errno
import os
import stat

MOST = 2**31  # bytes of a file that is read whole


def open_file(path, mode="rb", *, links=True):
    """A regular file, opened; text is UTF-8. Neither waits for a pipe nor reads a device.

    Args:
      path: of the file.
      mode: as of `open`.
      links: whether the path may be a link.

    Raises:
      OSError: there is none, or it is something else.
    """
    encoding = None if "b" in mode else "utf-8"
    return open(path, mode, encoding=encoding, opener=_follow if links else _stay)


def _follow(path, flags):
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    return descriptor


def _stay(path, flags):
    try:
        return _follow(path, flags | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise OSError(error.errno, "is a link", str(path)) from None
        raise


def read(path, *, links=True, most=MOST) -> bytes:
    """What a file holds.

    Raises:
      OSError: it cannot be read, is no regular file, or holds more than `most` bytes.
    """
    with open_file(path, links=links) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"holds more than {most} bytes", str(path))
    return content


def read_text(path, **settings) -> str:
    """The same as text; UnicodeDecodeError, a ValueError, where it is not UTF-8."""
    return read(path, **settings).decode("utf-8")


def write(path, content):
    """Writes a file in one move: a reader sees the old one or the new one; a link is replaced.

    Args:
      path: pathlib.Path of the file.
      content: bytes, or text, which becomes UTF-8.
    """
    content = content.encode() if isinstance(content, str) else content
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)  # a stranger's may be a link to elsewhere
    with open_file(fresh, "xb", links=False) as file:
        file.write(content)
    os.replace(fresh, path)
