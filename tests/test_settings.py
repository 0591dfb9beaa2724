"""The user's settings, and which genome is meant."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnatk.cli import COMMANDS
from dnatk.errors import InputError, OutputError
from dnatk.genome.locate import NoGenomeError, find_genome, installed_genomes
from dnatk.settings import read_settings, settings_path, write_settings


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A home of the test's own, with nothing in it."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "DNATK_GENOME"):
        monkeypatch.delenv(name, raising=False)
    # `config` joins the table of commands with `predict`.
    monkeypatch.setitem(COMMANDS, "config", "Settings.")
    return tmp_path / "home"


@pytest.fixture
def fasta(tmp_path) -> Path:
    path = tmp_path / "genome.fa"
    path.write_text(">chr1\nACGT\n")
    return path


def install(directory: Path, *files: str) -> None:
    """Lay out genomes as genomepy does."""
    for file in files:
        path = directory / file.split(".fa")[0] / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(">chr1\nACGT\n")


# The file


def test_the_settings_are_under_xdg_config_home(home, tmp_path):
    assert settings_path() == home / ".config/dnatk/config.toml"
    assert settings_path({"XDG_CONFIG_HOME": str(tmp_path)}) == tmp_path / "dnatk/config.toml"
    assert read_settings() == {}


@given(st.text(st.characters(codec="utf-8"), min_size=1))
@settings(max_examples=80, deadline=None)
def test_any_value_is_read_back(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("settings") / "new" / "config.toml"
    assert write_settings({"genome": value}, path) == path
    assert read_settings(path) == {"genome": value}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("genom = 'x'", r"config\.toml: unknown setting 'genom' \(known: genome\)"),
        ("[genome]\nx = 1", "'genome' must be a text in quotes"),
        ("genome = 7", "'genome' must be a text in quotes"),
        ("genome = ''", "'genome' must be a text in quotes"),
        ("# x\ngenome = hg38", r"config\.toml:2: is not TOML: Invalid value$"),
        ("genome", r"config\.toml(:1)?: is not TOML: "),
        (b"genome = '\xff'", "is not a text file"),
    ],
)
def test_a_faulty_file_is_named_with_its_fault(home, text, complaint):
    path = settings_path()
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(InputError, match=complaint):
        read_settings()


def test_settings_that_cannot_be_written_are_an_output_error(home):
    home.write_text("a file in the way")
    with pytest.raises(OutputError, match="cannot be written: Not a directory"):
        write_settings({})


# Which genome


def test_the_option_goes_before_the_environment_before_the_settings(tmp_path):
    paths = [tmp_path / name for name in ("a.fa", "b.fa", "c.fa")]
    for path in paths:
        path.touch()
    a, b, c = map(str, paths)
    assert find_genome(a, {"DNATK_GENOME": b}, {"genome": c}) == Path(a)
    assert find_genome(None, {"DNATK_GENOME": b}, {"genome": c}) == Path(b)
    assert find_genome(None, {"DNATK_GENOME": ""}, {"genome": c}) == Path(c)


def test_a_home_directory_is_expanded(home):
    home.mkdir()
    (home / "x.fa").touch()
    assert find_genome(None, {}, {"genome": "~/x.fa"}) == home / "x.fa"


DEFAULT = "home/.local/share/genomes"


@pytest.mark.parametrize(
    ("line", "place"),
    [
        (None, DEFAULT),
        ("bgzip: false\ngenomes_dir: ~/.local/share/genomes/\nplugin: []", DEFAULT),
        ("genomes_dir: ~/my genomes  # mine", "home/my genomes"),
        ("genomes_dir: '$HOME/g'", "home/g"),
        ('genome_dir: "~/g"', "home/g"),
        ("genomes_dir: null", DEFAULT),
        ("genomes_dir:\nplugin: []", DEFAULT),
        ("# genomes_dir: /x", DEFAULT),
    ],
)
def test_genomepy_is_asked_for_names(tmp_path, home, line, place):
    install(tmp_path / place, "sacCer3.fa", "hg38.fa.gz", "both.fa", "both.fa.gz")
    (tmp_path / place / "empty").mkdir()
    (tmp_path / place / "a file").touch()
    if line is not None:
        (home / ".config/genomepy").mkdir(parents=True)
        (home / ".config/genomepy/genomepy.yaml").write_text(line + "\n")
    assert list(installed_genomes({})) == ["both", "hg38", "sacCer3"]
    path = tmp_path / place / "hg38/hg38.fa.gz"
    assert find_genome("hg38", {}, {}) == path
    assert find_genome(None, {"DNATK_GENOME": "hg38"}, {}) == path
    assert find_genome(None, {}, {"genome": "hg38"}) == path
    assert find_genome("both", {}, {}) == tmp_path / place / "both/both.fa"


def test_a_file_goes_before_a_name_and_a_name_before_a_directory(tmp_path, home, monkeypatch):
    install(home / ".local/share/genomes", "sacCer3.fa")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sacCer3").mkdir()
    assert find_genome("sacCer3", {}, {}).name == "sacCer3.fa"
    (tmp_path / "sacCer3").rmdir()
    (tmp_path / "sacCer3").touch()
    assert find_genome("sacCer3", {}, {}) == Path("sacCer3")


def test_what_is_neither_is_named_with_where_it_was_read(tmp_path, home):
    with pytest.raises(InputError) as caught:
        find_genome("../hg38", {}, {})
    assert str(caught.value) == "../hg38: no such file, and no genome that genomepy installed"
    install(home / ".local/share/genomes", "sacCer3.fa")
    with pytest.raises(InputError) as caught:
        find_genome(None, {"DNATK_GENOME": "hg38"}, {})
    assert str(caught.value) == (
        "hg38: no such file, and no genome that genomepy installed "
        "(named by DNATK_GENOME; genomepy has sacCer3)"
    )
    with pytest.raises(InputError, match="is a directory, and no genome"):
        find_genome(str(tmp_path), {}, {})


def test_without_a_genome_every_way_to_name_one_is_shown(home):
    with pytest.raises(NoGenomeError) as caught:
        find_genome(None, {}, {})
    text = str(caught.value)
    for way in ("--genome FILE", "export DNATK_GENOME=FILE", "dnatk config set genome", "genomepy"):
        assert way in text
    assert len(text.splitlines()) == 5
    install(home / ".local/share/genomes", "sacCer3.fa")
    with pytest.raises(NoGenomeError, match=r"\(there is sacCer3\)"):
        find_genome(None, {}, {})


# `dnatk config`


def test_a_genome_is_set_shown_and_forgotten(run, fasta, monkeypatch):
    monkeypatch.chdir(fasta.parent)
    result = run("config", "set", "genome", "genome.fa")
    assert (result.code, result.out) == (0, "")
    assert result.err == f"{settings_path()}: genome = {fasta}\n"
    assert run("config", "get", "genome").out == f"{fasta}\n", "a relative path is kept whole"
    assert run("config", "show").out == f"genome = {fasta}\n"
    assert find_genome(None, os.environ, read_settings()) == fasta
    assert run("config", "unset", "genome").code == 0
    result = run("config", "get", "genome")
    assert (result.code, result.out) == (1, "")
    assert result.err == "dnatk: error: genome is not set (dnatk config set genome VALUE)\n"
    result = run("config", "show")
    assert (result.code, result.out) == (0, "")
    assert run("config", "unset", "genome").code == 0


def test_a_name_of_genomepys_is_kept_as_a_name(run, home):
    install(home / ".local/share/genomes", "sacCer3.fa")
    assert run("config", "set", "genome", "sacCer3").code == 0
    assert read_settings() == {"genome": "sacCer3"}


def test_a_genome_that_is_not_there_is_refused(run):
    result = run("config", "set", "genome", "none.fa")
    assert result.code == 1
    assert result.err.startswith("dnatk: error: none.fa: no such file")
    assert not settings_path().exists()


@pytest.mark.parametrize("args", [["set", "genom", "x"], ["get"], ["set", "genome"], ["put"]])
def test_a_wrong_command_line_exits_with_2(run, args):
    assert run("config", *args).code == 2


def test_a_faulty_file_is_told_in_one_line(run):
    settings_path().parent.mkdir(parents=True)
    settings_path().write_text("genome = x\n")
    for args in (["show"], ["get", "genome"], ["unset", "genome"]):
        result = run("config", *args)
        assert result.code == 1
        assert result.err == f"dnatk: error: {settings_path()}:1: is not TOML: Invalid value\n"


def test_every_command_of_config_has_an_example(run):
    for name in ("set", "get", "unset", "show"):
        assert "Example:" in run("config", name, "--help").out
