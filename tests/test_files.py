"""Directories take the place of others whole, or leave them as they were."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from dnatk.errors import OutputError
from dnatk.output.files import check_directory, directory_written_whole


@pytest.fixture
def old(tmp_path) -> Path:
    """A directory that may be replaced."""
    made = tmp_path / "place"
    made.mkdir()
    (made / "mark").write_text("old")
    return made


def write(target: Path, replace: bool = True) -> None:
    with directory_written_whole(target, replace=replace) as staging:
        (staging / "mark").write_text("new")


@pytest.mark.parametrize("named", [".", "..", "../place", "below/..", "../../place"])
def test_what_holds_the_working_directory_is_not_replaced(old, monkeypatch, named):
    (old / "below").mkdir()
    monkeypatch.chdir(old / "below" if named.startswith("../..") or named == ".." else old)
    with pytest.raises(OutputError, match="is where this command runs"):
        check_directory(named, marker="mark", force=True)


@pytest.mark.parametrize("named", ["elsewhere/../place", "link", "place"])
def test_the_new_one_takes_the_place_of_the_old(old, tmp_path, monkeypatch, named):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(old)
    write(check_directory(named, marker="mark", force=True))
    assert (old / "mark").read_text() == "new"
    assert (tmp_path / "link").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "link", "place"]


def test_what_has_come_there_since_is_not_replaced_unasked(old):
    with pytest.raises(OutputError, match="has come to be while this ran") as error:
        write(old, replace=False)
    assert (old / "mark").read_text() == "old"
    (beside,) = (path for path in old.parent.iterdir() if path != old)
    assert (beside / "mark").read_text() == "new"
    assert str(beside) in str(error.value)
    empty = old.parent / "empty"
    empty.mkdir()
    write(empty, replace=False)
    assert (empty / "mark").read_text() == "new"


def test_the_old_one_stays_where_the_new_one_cannot_be_put(old, monkeypatch):
    rename = Path.rename

    def refuse(path, target):
        if path.name.endswith(".partial"):
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OutputError, match="cannot be written: Input/output error"):
        write(old)
    assert (old / "mark").read_text() == "old"
    assert os.listdir(old.parent) == ["place"]


def test_an_old_one_that_cannot_be_removed_is_told(old, monkeypatch, caplog):
    remove = shutil.rmtree
    monkeypatch.setattr(
        shutil, "rmtree", lambda path, **more: path.suffix == ".old" or remove(path, **more)
    )
    write(old)
    assert (old / "mark").read_text() == "new"
    (left,) = (path for path in old.parent.iterdir() if path != old)
    assert (left / "mark").read_text() == "old"
    assert f"{left}: what was replaced; not all of it could be removed" in caplog.text
