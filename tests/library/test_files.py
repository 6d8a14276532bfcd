"""What is read whole is a file, no link where none may be, and of a size."""

import os

import pytest

from bnao_jax import files


@pytest.fixture
def victim(tmp_path):
    path = tmp_path / "victim"
    path.write_text("precious")
    return path


@pytest.mark.parametrize("mode", ["rb", "r", "a", "r+b"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, mode):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", "/dev/null", tmp_path):
        with pytest.raises(OSError):
            files.open_file(path, mode)


def test_links_are_followed_where_a_user_names_them_alone(victim, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(victim)
    assert files.read(link) == b"precious" and files.read_text(link) == "precious"
    for mode in ("rb", "a", "w"):
        with pytest.raises(OSError, match="is a link"):
            files.open_file(link, mode, links=False)
    with pytest.raises(OSError, match="is a link"):
        files.read_text(link, links=False)
    assert victim.read_text() == "precious"


def test_more_than_the_most_is_refused(victim):
    assert files.read(victim, most=8) == b"precious"
    with pytest.raises(OSError, match="holds more than 7 bytes"):
        files.read(victim, most=7)


@pytest.mark.parametrize("content", ["new", b"new"])
def test_writing_replaces_links(victim, tmp_path, content):
    for name in ("file", "file.new"):
        (tmp_path / name).symlink_to(victim)
    files.write(tmp_path / "file", content)
    assert (tmp_path / "file").read_text() == "new" and not (tmp_path / "file").is_symlink()
    assert victim.read_text() == "precious" and not (tmp_path / "file.new").is_symlink()
