"""Test that a folder is made as a whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest
from mergesketch.sketches.core import atomic
from mergesketch.sketches.core.atomic import atomic_folder
from paths import environment


def names(path) -> list[str]:
    return sorted(os.listdir(path))


@pytest.mark.parametrize("is_there", [False, True])
def test_a_folder_appears_with_its_contents(tmp_path, is_there):
    path = tmp_path / "new"
    if is_there:
        path.mkdir()
    with atomic_folder(path) as folder:
        assert folder.parent == tmp_path and names(tmp_path) == sorted([folder.name, *["new"] * is_there])
        (folder / "below").mkdir()
        (folder / "below" / "a").write_text("text")
        assert not is_there or names(path) == []
    assert names(tmp_path) == ["new"]
    assert (path / "below" / "a").read_text() == "text"


def test_a_link_to_an_empty_folder_stays(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    with atomic_folder(tmp_path / "link") as folder:
        (folder / "a").touch()
    assert (tmp_path / "link").is_symlink() and names(tmp_path / "there") == ["a"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_after_an_error(tmp_path, error):
    with pytest.raises(error), atomic_folder(tmp_path / "new") as folder:
        (folder / "a").touch()
        raise error
    assert names(tmp_path) == []


def test_nothing_is_left_if_the_beginning_is_interrupted(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic.fcntl, "flock", interrupt)
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "new"):
        pass
    with pytest.raises(KeyboardInterrupt), atomic.atomic_write(tmp_path / "file"):
        pass
    assert names(tmp_path) == []


def test_what_is_there_is_not_replaced(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("old")
    for name in ("file", "folder"):
        with (
            pytest.raises(FileExistsError, match=f"not an empty folder: '.*{name}'"),
            atomic_folder(tmp_path / name),
        ):
            pass
    with pytest.raises(FileNotFoundError, match="nowhere/new"), atomic_folder(tmp_path / "nowhere" / "new"):
        pass
    # What comes meanwhile is not replaced either.
    with pytest.raises(OSError, match="new"), atomic_folder(tmp_path / "new"):
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "b").write_text("other")
    assert names(tmp_path) == ["file", "folder", "new"] and names(tmp_path / "new") == ["b"]


def test_the_folder_of_a_killed_process_is_removed_by_the_next(tmp_path):
    program = """
    import os, signal, sys
    from mergesketch.sketches.core.atomic import atomic_folder
    with atomic_folder(sys.argv[1]) as folder:
        (folder / "a").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "new")]
    assert subprocess.run(command, env=environment(), timeout=100, check=False).returncode == -9
    (left,) = names(tmp_path)
    with atomic_folder(tmp_path / "first") as folder:
        assert names(tmp_path) == [folder.name] != [left]
        # One that is in use is not removed.
        with atomic_folder(tmp_path / "second"):
            assert folder.exists()
    assert names(tmp_path) == ["first", "second"]
