"""The user's settings, and which genome is meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnatk.directories import user_directory
from dnatk.errors import InputError, OutputError
from dnatk.genome.locate import NoGenomeError, find_genome, installed_genomes
from dnatk.settings import read_settings, settings_path, user_settings, write_setting


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A home of the test's own, with nothing in it."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "DNATK_GENOME"):
        monkeypatch.delenv(name, raising=False)
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


def written(text: str | bytes) -> Path:
    """The user's file, with this in it."""
    path = settings_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_the_settings_are_under_xdg_config_home(home, tmp_path):
    assert settings_path() == home / ".config/dnatk/config.toml"
    assert settings_path({"XDG_CONFIG_HOME": str(tmp_path)}) == tmp_path / "dnatk/config.toml"
    assert user_settings().values == read_settings() == {}


@pytest.mark.parametrize("named", ["", "rel", "./rel", "../rel", "~/rel"])
def test_a_directory_that_is_not_absolute_is_ignored(home, monkeypatch, named):
    """As the XDG specification says; else it would be another one wherever one is."""
    for kind, place in (("config", ".config"), ("data", ".local/share"), ("cache", ".cache")):
        assert user_directory(kind, {f"XDG_{kind.upper()}_HOME": named}) == home / place
    monkeypatch.setenv("XDG_CONFIG_HOME", named)
    assert settings_path() == home / ".config/dnatk/config.toml"


VALUES = st.one_of(
    st.text(st.characters(codec="utf-8")),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
)


@given(VALUES | st.lists(VALUES, max_size=3))
@settings(max_examples=80, deadline=None)
def test_any_value_is_read_back(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("settings") / "new" / "config.toml"
    assert write_setting("", "genome", value, path) == path
    assert write_setting("embed", "model", value, path) == path
    assert user_settings(path).values == {"": {"genome": value}, "embed": {"model": value}}


KEYS = st.sampled_from(["genome", "device", "k"])
PLACES = st.tuples(st.sampled_from(["", "embed", "predict"]), KEYS)


@given(st.lists(st.tuples(PLACES, st.none() | st.integers() | st.text('a#[]="\n ', max_size=5))))
@settings(max_examples=80, deadline=None)
def test_keys_are_set_and_forgotten_one_by_one(tmp_path_factory, changes):
    """Whatever the order: the file says what a dictionary would, and no comment is lost."""
    path = tmp_path_factory.mktemp("settings") / "config.toml"
    path.write_text("# mine\n\n[predict]\n# and this\n")
    said: dict[tuple[str, str], object] = {}
    for place, value in changes:
        said.pop(place, None)
        write_setting(*place, value, path)
        if value is not None:
            said[place] = value
    found = user_settings(path)
    assert {(table, key): v for table, e in found.values.items() for key, v in e.items()} == said
    assert [x for x in path.read_text().split("\n") if x[:1] == "#"] == ["# mine", "# and this"]
    lines = path.read_text().split("\n")
    for (_, key), line in ((place, line) for place, line in found.lines.items() if place[1]):
        assert lines[line - 1].startswith(f"{key} = ")


def test_what_one_wrote_stays(home):
    path = written("# mine\ndevice = 'cpu'   # for now\n\n[embed]\nbatch-tokens = 64\n# end\n")
    path.chmod(0o600)
    write_setting("embed", "batch_tokens", 32)
    assert path.stat().st_mode & 0o777 == 0o600
    write_setting("", "genome", "hg38")
    write_setting("finetune", "label_column", ["a", "b"])
    assert path.read_text() == (
        "# mine\ndevice = 'cpu'   # for now\ngenome = \"hg38\"\n\n[embed]\nbatch-tokens = 32\n"
        '# end\n\n[finetune]\nlabel_column = ["a", "b"]\n'
    )
    for table, key in (("embed", "batch_tokens"), ("finetune", "label_column"), ("", "device")):
        write_setting(table, key, None)
    assert path.read_text() == '# mine\ngenome = "hg38"\n\n[embed]\n# end\n'
    write_setting("predict", "rc", "average")
    path.write_text(path.read_text() + "\ntask = 'x'\n")
    write_setting("predict", "rc", None)
    write_setting("predict", "task", None)
    assert user_settings(path).values == {"": {"genome": "hg38"}, "embed": {}, "predict": {}}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("threads = 8\t# keep me", "threads = 4\t# keep me"),
        ("threads = 8# and # me", "threads = 4# and # me"),
        ("threads = '#8 # no' # but me", "threads = 4 # but me"),
        ("threads = 8  ", "threads = 4"),
    ],
)
def test_a_comment_behind_a_value_stays(home, before, after):
    path = written(f"{before}\n")
    write_setting("", "threads", 4)
    assert path.read_text() == f"{after}\n"


def test_a_line_that_cannot_be_changed_alone_is_left_to_its_owner(home):
    text = "label_column = [\n  'a',\n  'b',\n]\n"
    path = written(text)
    with pytest.raises(OutputError, match=r"cannot change label_column alone \(edit the file"):
        write_setting("", "label_column", None)
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("# x\ngenome = hg38", r"config\.toml:2: is not TOML: Invalid value$"),
        ("genome", r"config\.toml(:1)?: is not TOML: "),
        (b"genome = '\xff'", "is not a text file"),
        ("\nk = 1979-05-27", r"config\.toml:2: k: must be a text, a number, true or false"),
        ("[embed]\nx = {y = 1}", r"config\.toml:2: x: must be a text"),
        ("batch-tokens = 1\nbatch_tokens = 2", r"config\.toml:2: batch_tokens is set twice$"),
        ("genome = 7", r"config\.toml:1: genome: must be a text in quotes$"),
    ],
)
def test_a_faulty_file_is_named_with_its_fault(home, text, complaint):
    written(text)
    with pytest.raises(InputError, match=complaint):
        read_settings()


def test_settings_that_cannot_be_written_are_an_output_error(home):
    home.write_text("a file in the way")
    with pytest.raises(OutputError, match="cannot be written: Not a directory"):
        write_setting("", "genome", "x")


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
