"""Directories take the place of others whole, or leave them as they were."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pytest

from dnatk.errors import OutputError
from dnatk.genome.files import is_bgzip
from dnatk.output.files import (
    check_directory,
    check_output,
    directory_written_whole,
    packed_by_name,
    staging_of,
    written_whole,
)


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


def test_what_is_read_is_not_replaced_with_its_directory(old):
    (old / "below").mkdir()
    data = old / "below" / "train.csv"
    data.write_text("ACGT,1\n")
    with pytest.raises(OutputError) as error:
        check_directory(old, marker="mark", force=True, inputs=(None, data))
    assert str(error.value) == f"{old}: holds what is read ({data}), so it is not replaced"
    assert check_directory(old, marker="mark", force=True, inputs=(old.parent,)) == old


@pytest.mark.parametrize("force", [True, False])
def test_pipes_and_devices_are_no_files_to_replace(force, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(OutputError, match="is a pipe or a device"):
            check_output(place, force=force)


def test_what_a_link_leads_to_is_written(tmp_path):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "target", tmp_path / "link"
    link.symlink_to(target)
    for text in ("new", "newer"):
        path = check_output(link, force=True)
        assert path == target
        for each in (path, link):
            with written_whole(each) as partial:
                partial.write_text(text)
            assert (link.is_symlink(), target.read_text()) == (True, text)
    assert os.listdir(target.parent) == ["target"]


@pytest.mark.parametrize("name", ["t.bed.gz", "t.tsv.bgz", "t.BED.GZ", "t.bed"])
def test_a_name_says_whether_a_table_is_packed(name, tmp_path):
    """As bgzip does, so that tabix and samtools read it."""
    text = b"chr1\t0\t5\n" * 20_000
    with packed_by_name(tmp_path / "made", Path(name)) as out:
        out.write(text[:77])
        out.write(text[77:])
    packed = (tmp_path / "made").read_bytes()
    if name == "t.bed":
        assert packed == text
        return
    assert gzip.decompress(packed) == text
    assert packed.endswith(
        bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
    )
    assert is_bgzip(tmp_path / "made")


def test_processes_of_several_machines_have_directories_of_their_own(tmp_path, monkeypatch):
    """Of containers of one image their numbers are the same."""
    monkeypatch.setattr("os.getpid", lambda: 7)
    places = set()
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        places.add(staging_of(tmp_path / "task"))
    assert len(places) == 2
