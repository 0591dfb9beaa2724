"""Where options come from, which of them wins, and that a run's options give the same run again."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from itertools import combinations
from pathlib import Path

import click
import h5py
import numpy as np
import pytest
from conftest import SAVE_PLOT, Result, files, label_options, no_plot, write_fasta
from pages import DOCS, blocks, check_block

from dnatk.cli.configured import Configured, command_line, defaults, record
from dnatk.cli.keys import check_keys, configured_commands, is_lasting, key_of
from dnatk.cli.tables import aligned
from dnatk.output.recorded import recorded
from dnatk.settings import parse_settings, settings_path, toml

GOLDEN = Path(__file__).parent / "golden"
# What a command must be given, so that its options can be looked at.
NEEDED = {
    "embed": ["g.fa"],
    "predict": ["r.bed", "--task", "t"],
    "finetune": ["d.csv", "-o", "out"],
    "evaluate": ["t", "d.csv"],
    "pretrain": ["g.fa", "-o", "out"],
    "inspect": ["m", "-o", "out"],
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """No settings, and no variables of dnatk's."""
    for name in [name for name in os.environ if name.startswith("DNATK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def user_file(text: str) -> Path:
    path = settings_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def options(command: str, *args: object) -> dict:
    """The options that a command would run with."""
    words = [*NEEDED[command], *map(str, args)]
    return configured_commands()[command].make_context(command, words).params


# Which one wins

# Strongest first.
SOURCES = ("typed", "given", "own variable", "variable", "own table", "top")
# What each of them says.
CASES = {
    ("finetune", "pool"): ["all", "max", "cls", "positions", "max", "cls"],
    ("embed", "window"): [100, 101, 102, 103, 104, 105],
    ("predict", "threads"): [1, 2, 3, 4, 5, 6],
    ("pretrain", "lr"): [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
    ("embed", "model"): ["a", "b c", "d", "e", "f", 'g"'],
    ("finetune", "label_column"): [
        ("a b", "b"),
        ("c d",),
        ("e", "f"),
        ("g",),
        ("h", "i j"),
        ("k",),
    ],
}


def resolved(command: str, key: str, said: dict[str, object]) -> object:
    """What an option is when these sources say something."""
    typed: list[str] = []
    if "typed" in said:
        value, option = said["typed"], f"--{key.replace('_', '-')}"
        if isinstance(value, bool):
            typed = [option] * value
        else:
            each = value if isinstance(value, tuple) else [value]
            typed = [str(part) for one in each for part in (option, one)]
    if "given" in said:
        Path("given.toml").write_text(f"[{command}]\n{key} = {toml(said['given'])}\n")
        typed += ["--config", "given.toml"]
    top = f"{key} = {toml(said['top'])}\n" if "top" in said else ""
    own = f"[{command}]\n{key} = {toml(said['own table'])}\n" if "own table" in said else ""
    user_file(top + own)
    with pytest.MonkeyPatch.context() as patch:
        for source, name in (("own variable", f"{command}_{key}"), ("variable", key)):
            value = said.get(source, "")
            text = " ".join(value) if isinstance(value, tuple) else str(value)
            patch.setenv(f"DNATK_{name}".upper(), text)
        return options(command, *typed)[named(command, key).name]


def named(command: str, key: str) -> click.Parameter:
    return next(p for p in configured_commands()[command].params if key_of(p) == key)


@pytest.mark.parametrize(("command", "key"), CASES)
def test_the_strongest_source_wins(command, key):
    default = options(command)[named(command, key).name]
    says = dict(zip(SOURCES, CASES[command, key], strict=True))
    assert default not in says.values()
    for count in range(len(SOURCES) + 1):
        for some in combinations(SOURCES, count):
            wanted = says[some[0]] if some else default
            assert resolved(command, key, {each: says[each] for each in some}) == wanted, some


@pytest.mark.parametrize(("command", "key"), [("predict", "no_header"), ("finetune", "rc_augment")])
def test_the_strongest_source_wins_of_flags_too(command, key):
    for some in (each for n in range(1, 7) for each in combinations(SOURCES, n)):
        for value in (True, False) if some[0] != "typed" else (True,):
            said = {each: value is (each == some[0]) for each in some}
            assert resolved(command, key, said) is value, said


def test_an_empty_text_stands_for_the_default(monkeypatch):
    user_file("threads = 4\n[embed]\nthreads = ''\nmodel = ''")
    assert options("embed")["threads"] is None
    assert options("embed")["model"] == "dnatk-small"
    assert options("predict")["threads"] == 4
    monkeypatch.setenv("DNATK_EMBED_THREADS", "2")
    assert options("embed")["threads"] == 2
    Path("x.toml").write_text("threads = ''")
    assert options("embed", "--config", "x.toml")["threads"] is None


def test_predict_looks_for_a_genome_whatever_a_table_says(run, genome, task_of, monkeypatch):
    """As dnatk.predict() does; the page says so."""
    Path("r.bed").write_text("chr1\t100\t300\tone\n")
    path = user_file(f"genome = '{genome}'\n[predict]\ngenome = ''\n")
    assert options("predict")["genome"] is None
    said = ("predict", "r.bed", "--task", task_of("binary"), "--no-provenance")
    assert "\tone\t" in run(*said).out
    path.write_text("[predict]\ngenome = ''\n")
    assert run(*said).code == 2
    monkeypatch.setenv("DNATK_GENOME", str(genome))
    assert "\tone\t" in run(*said).out


def test_numbers_and_lists_may_be_written_as_one_would():
    user_file(
        "kmer-stride = 1\nthreshold = 0.5\nlabel-column = 'y'\nclass-names = ['a', 'b']\n"
        "lr = 1\n[pretrain]\nk = 4\nweights = [1, 2.5]\n"
    )
    found = options("finetune")
    assert (found["kmer_stride"], found["threshold"], found["lr"]) == ("1", "0.5", 1.0)
    assert (found["label_columns"], found["class_names"]) == (("y",), "a,b")
    assert (options("pretrain")["k"], options("pretrain")["weights"]) == (4, "1,2.5")


def test_help_goes_by_both_names_whatever_context_came_first():
    command = Configured("any")
    defaults(command)
    asked = command.get_help_option(click.Context(command, help_option_names=["-h", "--help"]))
    assert asked.opts == ["-h", "--help"]


def test_what_is_of_one_run_is_in_no_variable_and_may_be_given(monkeypatch):
    for name in ("BED", "FASTA", "OUTPUT", "FORCE", "SHARD", "CONFIG", "EMBED_BED", "TEST_DATA"):
        monkeypatch.setenv(f"DNATK_{name}", "x")
    found = options("embed")
    assert (found["bed"], found["output"], found["force"]) == (None, None, False)
    Path("x.toml").write_text("[embed]\nfasta = 'f.fa'\nbed = 'b.bed'\noutput = 'o.h5'\n")
    command = configured_commands()["embed"]
    found = command.make_context("embed", ["--config", "x.toml"]).params
    assert (found["fasta"], found["bed"], found["output"]) == ("f.fa", "b.bed", "o.h5")
    Path("y.toml").write_text("inputs = ['a.fa', 'b c.fa']\noutput = 'out'\n")
    command = configured_commands()["pretrain"]
    found = command.make_context("pretrain", ["--config", "y.toml"]).params
    assert (found["inputs"], found["output"]) == (("a.fa", "b c.fa"), "out")
    found = command.make_context("pretrain", ["z.fa", "--config", "y.toml"]).params
    assert found["inputs"] == ("z.fa",)


def test_every_command_that_computes_is_configured():
    assert list(configured_commands()) == list(NEEDED)


@pytest.mark.parametrize("command", NEEDED)
def test_any_record_is_taken_back(command, monkeypatch):
    """Whatever stands in files and variables: a record says all of it."""
    odd = 'a "b"\\\n\u2028é#'
    own = {"embed": ["--bed", odd], "predict": ["--genome", odd], "pretrain": ["--holdout", odd]}
    words = [*NEEDED[command], *own.get(command, ["--label-column", odd])]
    context = configured_commands()[command].make_context(command, list(words))
    with context:
        text = record()
    Path("run.toml").write_text(text)
    user_file(
        "threads = 3\nseed = 7\nrc = 'average'\ngenome = 'x'\nmodel = 'x'\nprecision = 'bf16'"
    )
    monkeypatch.setenv("DNATK_DEVICE", "cuda:1")
    outputs = [part for part in words if part in ("-o", "out")]
    again = configured_commands()[command].make_context(command, ["--config", "run.toml", *outputs])
    assert again.params == context.params
    for left_out in ("output", "force", "resume", "shard"):
        assert not re.search(rf"^{left_out} =", text, re.MULTILINE)


# Options that exclude each other


@pytest.mark.parametrize(
    ("file", "variable", "typed", "left"),
    [
        ("mask_prob = 0.1", "", ["--mask-ratio", "0.2"], (None, 0.2)),
        ("mask_prob = 0.1", "0.2", [], (None, 0.2)),
        ("mask_prob = 0.1", "", [], (0.1, None)),
        ("", "0.2", ["--mask-prob", "0.1"], (0.1, None)),
    ],
)
def test_the_stronger_of_two_puts_the_other_aside(monkeypatch, file, variable, typed, left):
    user_file(f"[pretrain]\n{file}\n")
    monkeypatch.setenv("DNATK_MASK_RATIO", variable)
    found = options("pretrain", *typed)
    assert (found["mask_prob"], found["mask_ratio"]) == left


@pytest.mark.parametrize(
    ("file", "variable", "typed", "left"),
    [
        ("weights = '3,1'", "", ["--temperature", "1"], ("", 1.0)),
        ("weights = '3,1'", "1", [], ("", 1.0)),
        ("weights = '3,1'\ntemperature = 1", "", [], ("3,1", 1.0)),
        ("temperature = 0.5", "", ["--weights", ""], ("", 1.0)),
        ("", "1", ["--weights", "3,1"], ("3,1", 1.0)),
    ],
)
def test_a_default_that_is_said_puts_the_other_aside_too(monkeypatch, file, variable, typed, left):
    user_file(f"[pretrain]\n{file}\n")
    monkeypatch.setenv("DNATK_TEMPERATURE", variable)
    found = options("pretrain", *typed)
    assert (found["weights"], found["temperature"]) == left


def test_two_that_exclude_each_other_in_one_place_are_refused(run, genome):
    path = user_file("mask_prob = 0.1\nmask_ratio = 0.2\n")
    result = run("pretrain", genome, "-o", "out")
    assert result.code == 2
    named = f"(--mask-prob is set by {path}:1, --mask-ratio is set by {path}:2)"
    assert f"--mask-prob and --mask-ratio exclude each other {named}." in result.err
    result = run("pretrain", genome, "-o", "o", "--mask-prob", "0.1", "--mask-ratio", "0.2")
    assert result.code == 2


def test_typed_data_put_those_of_a_record_aside():
    Path("x.toml").write_text("[embed]\nfasta = 'f.fa'\nbed = 'b.bed'\n[finetune]\ndev = 'd.csv'\n")
    found = options("embed", "--config", "x.toml", "--region", "chr1:1-9")
    assert (found["bed"], found["regions"]) == (None, ("chr1:1-9",))
    found = options("finetune", "--config", "x.toml", "--dev-contig", "chr1")
    assert (found["dev"], found["dev_contigs"]) == (None, ("chr1",))


def test_a_model_to_start_from_has_its_own_k_whatever_is_set(run, tiny_model, genome, monkeypatch):
    monkeypatch.setattr(
        "dnatk.training.pretrain.pretrain", lambda config, *_, **__: seen.append(config)
    )
    seen: list = []
    user_file("[pretrain]\npreset = 'mini'\nk = 3\n")
    run("pretrain", genome, "-o", "out", "--init", tiny_model)
    assert seen[0].init == str(tiny_model)
    result = run("pretrain", genome, "-o", "out", "--init", tiny_model, "-k", "3")
    assert (result.code, len(seen)) == (2, 1)
    assert "-k does not go with --init" in result.err


def test_a_usage_error_names_the_place_of_what_nobody_typed(run, genome, monkeypatch):
    """Of the options that it speaks of, and of no other."""
    path = user_file("[pretrain]\nmasking = 'token'\nseed = 3\n")
    typed = ["pretrain", genome, "-o", "out"]
    result = run(*typed, "--span", "uniform")
    said = "Error: --span goes with --masking random-mask: token has one width"
    assert (result.code, result.err.splitlines()[-1]) == (
        2, f"{said} (--masking is set by {path}:2)."
    )  # fmt: skip
    monkeypatch.setenv("DNATK_INIT", "pm")
    result = run(*typed, "--preset", "tiny")
    said = "Error: --preset does not go with --init: the model has its own"
    assert (result.code, result.err.splitlines()[-1]) == (
        2, f"{said} (--init is set by DNATK_INIT)."
    )  # fmt: skip
    result = run(*typed, "--preset", "tiny", "--init", "pm")
    assert result.err.splitlines()[-1] == f"{said}."


def test_embeddings_are_for_runs_with_an_hdf5_file(run, genome, task_of):
    user_file("[predict]\nembeddings = true\nno_provenance = true\n")
    bed = Path("r.bed")
    bed.write_text("chr1\t0\t60\n")
    args = ["predict", bed, "--task", task_of(), "--genome", genome, "--device", "cpu"]
    assert run(*args).code == 0
    assert run(*args, "--embeddings").code == 2
    assert run(*args, "--h5", "p.h5").code == 0
    with h5py.File("p.h5") as file:
        assert "embedding" in file


# A run's options, given back


def contents(path: Path) -> dict[str, object]:
    """All of an HDF5 file but what was typed."""
    found: dict[str, object] = {}
    with h5py.File(path) as file:
        found |= {f"@{key}": value for key, value in file.attrs.items() if key != "command"}
        keep = lambda name, data: isinstance(data, h5py.Dataset) and found.update({name: data[()]})  # noqa: E731
        file.visititems(lambda name, data: keep(name, data) and None)
    return found


def assert_same(one: Path, other: Path) -> None:
    a, b = contents(one), contents(other)
    assert list(a) == list(b)
    for key, value in a.items():
        np.testing.assert_array_equal(value, b[key], err_msg=key)


def test_an_embedding_is_made_again(run, genome, tiny_model, monkeypatch):
    user_file(f"model = {toml(str(tiny_model))}\n[embed]\nrc = 'average'\n")
    monkeypatch.setenv("DNATK_DTYPE", "float32")
    typed = ["embed", genome, "--region", "chr1:1-500", "--region", "chr2:5-90", "-o", "a.h5"]
    assert run(*typed, "--device", "cpu").code == 0
    monkeypatch.setenv("DNATK_POOL", "max")
    monkeypatch.setenv("DNATK_RC", "none")
    user_file("[embed]\nlayer = 0\n")
    assert run("embed", "--config", "a.h5", "-o", "b.h5").code == 0
    assert_same(Path("a.h5"), Path("b.h5"))
    assert contents(Path("a.h5"))["@config"] == recorded("b.h5")[0]
    assert run("embed", "--config", "a.h5", "--pool", "max", "-o", "c.h5").code == 0
    assert contents(Path("c.h5"))["@pool"] == "max"
    info = run("h5", "info", "a.h5")
    assert "[embed]" not in info.out
    assert "config" not in json.loads(run("h5", "info", "a.h5", "--json").out)
    assert run("config", "show", "a.h5").out == recorded("a.h5")[0]


def test_the_command_in_a_file_says_presets_too(run, genome, tiny_model, monkeypatch):
    monkeypatch.setattr("sys.argv", ["dnatk", "embed", "--config", "x.toml", "-o", "a.h5"])
    Path("x.toml").write_text(f"[embed]\nfasta = {toml(str(genome))}\nregion = ['chr1:1-99']\n")
    user_file(f"model = {toml(str(tiny_model))}\n[embed]\npool = 'mean'\nrc = 'average'\n")
    assert run("embed", "--config", "x.toml", "-o", "a.h5").code == 0
    with h5py.File("a.h5") as file:
        command = file.attrs["command"]
    assert command == (
        f"dnatk embed -o a.h5 {genome} --region chr1:1-99 --model {tiny_model} --rc average"
    )


@pytest.mark.parametrize(
    ("typed", "config", "recorded"),
    [
        # What a "--" ends stays at the end.
        ("embed --config x.toml -- -w.fa", "", "embed --pool max -- -w.fa"),
        ("-q embed --bed t.bed -- -w.fa", "", "-q embed --bed t.bed --pool max -- -w.fa"),
        ("embed --dtype float32 -- --config", "", "embed --dtype float32 --pool max -- --config"),
        ("-- embed w.fa", "", "-- embed w.fa --pool max"),
        # An argument that looks like an option stands behind one.
        ("embed --config x.toml", "fasta = '-w.fa'", "embed --pool max -- -w.fa"),
        ("embed --config x.toml", "fasta = '-'", "embed - --pool max"),
        ("embed --config=x.toml --", "fasta = 'g.fa'", "embed --pool max -- g.fa"),
    ],
)
def test_presets_are_recorded_before_what_ends_the_options(typed, config, recorded, monkeypatch):
    monkeypatch.setenv("DNATK_POOL", "max")
    Path("x.toml").write_text(f"[embed]\nrc = 'none'\n{config}\n")
    words = typed.split()
    monkeypatch.setattr("sys.argv", ["dnatk", *words])
    own = words[words.index("embed") + 1 :]
    with configured_commands()["embed"].make_context("embed", own) as context:
        assert command_line() == f"dnatk {recorded}"
        params = context.params
    again = shlex.split(recorded)
    again = again[again.index("embed") + 1 :]
    assert configured_commands()["embed"].make_context("embed", again).params == params


def test_parts_keep_the_options_of_the_whole(run, genome, tiny_model, monkeypatch):
    typed = ["embed", genome, "--model", tiny_model, "--device", "cpu", "--window", "500"]
    assert run(*typed, "-o", "whole.h5").code == 0
    for part in (1, 2):
        assert run(*typed, "--shard", f"{part}/2", "-o", f"{part}.h5").code == 0
    assert run("h5", "merge", "2.h5", "1.h5", "-o", "merged.h5").code == 0
    assert_same(Path("merged.h5"), Path("whole.h5"))

    def cut_off(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("dnatk.inference.embed.merged_h5", cut_off)
        assert run(*typed, "-o", "cut.h5").code == 130
    assert run(*typed, "--threads", "1", "--resume", "-o", "cut.h5").code == 0
    assert_same(Path("cut.h5"), Path("whole.h5"))


def test_a_prediction_is_made_again(run, genome, task_of, monkeypatch):
    bed = Path("r.bed")
    bed.write_text(
        "chr1\t0\t90\ta\t0\t-\nchr2\t5\t300\nchrX\t1\t2\n".replace("300", "300\tb\t0\t+").replace(
            "1\t2", "1\t2\tc\t0\t."
        )
    )
    user_file(f"genome = {toml(str(genome))}\n[predict]\nrc = 'average'\nprobabilities = true\n")
    monkeypatch.setenv("DNATK_TASK", str(task_of()))
    one = run("predict", bed, "--h5", "a.h5", "--device", "cpu", "--combine", "max")
    assert one.code == 0
    user_file("genome = 'nix'\ntask = 'nix'\nno_header = true\n")
    monkeypatch.setenv("DNATK_COMBINE", "mean")
    monkeypatch.delenv("DNATK_TASK")
    two = run("predict", "--config", "a.h5", "--h5", "b.h5")
    assert two.code == 0, two.err
    rows = [
        [x for x in each.out.split("\n") if not x.startswith("##dnatk command")]
        for each in (one, two)
    ]
    assert rows[0] == rows[1]
    assert_same(Path("a.h5"), Path("b.h5"))


def test_a_task_is_made_again(run, tables, tiny_model, monkeypatch):
    monkeypatch.setattr(SAVE_PLOT, no_plot)
    user_file("[finetune]\nmethod = 'lora'\nmax_steps = 2\npatience = 3\n")
    monkeypatch.setenv("DNATK_BATCH_SIZE", "8")
    typed = [*files(tables, "multiclass"), "--model", tiny_model, "--device", "cpu"]
    assert run("finetune", *typed, *label_options("multiclass"), "-o", "a").code == 0
    user_file("max_steps = 9\nseed = 1\n")
    monkeypatch.setenv("DNATK_BATCH_SIZE", "16")
    done = run("finetune", "--config", "a", "-o", "b")
    assert done.code == 0, done.err
    for name in ("head.safetensors", "adapter_model.safetensors", "config.toml"):
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes(), name
    # A task is evaluated with options of a file, too.
    test = tables / "multiclass.test.csv"
    wanted = run("evaluate", "a", test, "--resamples", "9", "--device", "cpu", "--json")
    Path("e.toml").write_text(
        f"[evaluate]\ntask = 'a'\ndata = {toml(str(test))}\nresamples = 9\njson = true\n"
        "device = 'cpu'\n"
    )
    found = run("evaluate", "--config", "e.toml")
    assert (found.code, found.out) == (0, wanted.out)


def test_a_pretraining_is_made_again(run, genome, monkeypatch):
    monkeypatch.setattr("dnatk.training.pretrain.measured_peak", lambda *_: 1e12)
    user_file("[pretrain]\npreset = 'tiny'\nholdout = 'chr3'\nweights = '2,1'\nphases = 3\n")
    monkeypatch.setenv("DNATK_PRETRAIN_MASK_RATIO", "0.2")
    Path("other.fa").write_text(genome.read_text().replace(">", ">o"))
    start = ["pretrain", genome, "other.fa", "-o", "a", "--max-steps", "3", "--window", "69"]
    more = ["--batch-tokens", "512", "--repeat-weight", "0"]
    done = run(*start, *more, "--device", "cpu", "-t", "1")
    assert done.code == 0, done.err
    user_file("max_steps = 9\nmask_prob = 0.3\nk = 3\n")
    monkeypatch.setenv("DNATK_PRETRAIN_MASK_RATIO", "0.3")
    done = run("pretrain", "--config", "a/config.toml", "-o", "b", "--device", "cpu", "-t", "1")
    assert done.code == 0, done.err
    for name in ("config.toml", "model.safetensors"):
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes(), name
    done = run("pretrain", "--config", "a", "-o", "a", "--resume", "--device", "cpu")
    assert done.code == 0, "it is the same run"
    done = run("pretrain", "--config", "a", "-o", "a", "--resume", "--lr", "0.1")
    assert done.err.startswith("dnatk: error: a/config.toml: lr was 0.0005 and is now 0.1")


def test_a_look_at_a_model_is_taken_again(run, tiny_model, genome, monkeypatch):
    monkeypatch.setattr("dnatk.analysis.inspect_plots.draw_figures", lambda *_: {})
    monkeypatch.setattr("dnatk.analysis.inspect_page.page", lambda *_: "")
    user_file("[inspect]\nwindows = 2\nno_tsne = true\nwindow = 60\n")
    done = run("inspect", tiny_model, genome, "-o", "a", "--device", "cpu")
    assert done.code == 0, done.err
    user_file("seed = 3\n")
    done = run("inspect", "--config", "a", "-o", "b")
    assert done.code == 0, done.err
    for name in ("inspect.json", "config.toml"):
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes(), name


# `dnatk config`


def test_every_option_is_shown_with_its_place(run, monkeypatch):
    path = user_file("threads = 2\n[embed]\nrc = 'average'\n")
    monkeypatch.setenv("DNATK_EMBED_POOL", "max")
    monkeypatch.setenv("DNATK_DEVCIE", "cpu")
    result = run("config", "show", "embed", "--json")
    shown = {each["option"]: (each["value"], each["from"]) for each in json.loads(result.out)}
    assert shown["threads"] == (2, f"{path}:1")
    assert shown["rc"] == ("average", f"{path}:3")
    assert shown["pool"] == ("max", "DNATK_EMBED_POOL")
    assert shown["layer"] == (-1, "default")
    assert shown["window"] == (None, "default")
    command = configured_commands()["embed"]
    assert list(shown) == [key_of(param) for param in command.params if is_lasting(param)]
    assert "did you mean 'DNATK_DEVICE'?" in result.err
    text = run("config", "show", "embed").out
    assert re.search(
        r"^window +\(what it was trained on, 515 of dnatk-small\) +default$", text, re.MULTILINE
    )
    assert re.search(rf"^threads +2 +{path}:1$", text, re.MULTILINE)
    result = run("config", "show", "--json")
    assert [list(each.values()) for each in json.loads(result.out)] == [
        ["embed.pool", "max", "DNATK_EMBED_POOL"],
        ["threads", 2, f"{path}:1"],
        ["embed.rc", "average", f"{path}:3"],
    ]


def test_keys_are_set_read_and_forgotten(run):
    assert run("config", "path").out == f"{settings_path()}\n"
    assert run("config", "show").out == ""
    for key, words, value in [
        ("device", ["cpu"], "cpu"),
        ("embed.batch-tokens", ["64"], "64"),
        ("predict.no_header", ["yes"], "true"),
        ("finetune.label_column", ["a", "b c"], '["a", "b c"]'),
        ("pretrain.lr", ["1e-3"], "0.001"),
        ("threads", ["2"], "2"),
    ]:
        result = run("config", "set", key, *words)
        assert (result.code, result.out) == (0, ""), result.err
        assert result.err == f"{settings_path()}: {key} = {value}\n"
        assert run("config", "get", key).out == f"{value}\n"
    assert options("embed")["batch_tokens"] == 64
    assert options("finetune")["label_columns"] == ("a", "b c")
    assert options("predict")["no_header"] is True
    assert run("config", "unset", "threads").code == 0
    result = run("config", "get", "threads")
    assert (result.code, result.out) == (1, "")
    assert result.err == "dnatk: error: threads is not set (dnatk config set threads VALUE)\n"
    assert run("config", "unset", "threads").err == "threads was not set\n"


def test_an_unknown_key_can_be_forgotten(run):
    user_file("genom = 1\ndevice = 'cpu'\n[embd]\nx = 1\n")
    assert run("config", "unset", "genom").code == 0
    assert run("config", "unset", "embd.x").code == 0
    assert run("config", "show").code == 0


def test_a_genome_and_other_files_are_kept_whole(run, genome, tiny_model, monkeypatch):
    monkeypatch.chdir(genome.parent)
    assert run("config", "set", "genome", genome.name).code == 0
    assert run("config", "get", "genome").out == f"{genome}\n"
    monkeypatch.chdir(tiny_model.parent)
    assert run("config", "set", "embed.model", tiny_model.name).code == 0
    assert run("config", "get", "embed.model").out == f"{tiny_model}\n"
    assert run("config", "set", "embed.model", "dnatk-small").code == 0
    assert run("config", "get", "embed.model").out == "dnatk-small\n"
    result = run("config", "set", "genome", "none.fa")
    assert result.code == 1
    assert result.err.startswith("dnatk: error: none.fa: no such file, and no genome that genomepy")


def test_a_name_is_kept_where_a_directory_is_called_the_same(run, tmp_path, monkeypatch, genome):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("dnatk-small", "promoter", "hg38"):
        (tmp_path / name).mkdir()
    (tmp_path / "dnatk-small" / "config.json").write_text("{}")
    installed = tmp_path / ".local/share/genomes/hg38/hg38.fa"
    installed.parent.mkdir(parents=True)
    shutil.copyfile(genome, installed)
    named = {"embed.model": "dnatk-small", "predict.task": "promoter", "genome": "hg38"}
    for key, name in named.items():
        assert run("config", "set", key, name).code == 0
        assert run("config", "get", key).out == f"{name}\n"
    assert run("config", "set", "embed.model", "~nobody/m").code == 0
    assert run("config", "get", "embed.model").out == "~nobody/m\n"


def test_a_value_may_begin_with_a_dash(run):
    assert run("config", "set", "embed.layer", "-2").code == 0
    assert options("embed")["layer"] == -2
    assert "Usage" in run("config", "set", "-h").out


def test_whose_code_is_run_is_only_typed(run, monkeypatch):
    monkeypatch.setenv("DNATK_TRUST_REMOTE_CODE", "1")
    assert options("finetune")["trust_remote_code"] is False
    Path("x.toml").write_text("[predict]\ntask = 'promoter'\ntrust_remote_code = true\n")
    result = run("predict", "--config", "x.toml", "x.bed")
    said = "x.toml:3: trust_remote_code: is for the command line alone"
    assert (result.code, result.err) == (1, f"dnatk: error: {said}\n")


def test_a_name_of_genomepys_is_kept_as_a_name(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".local/share/genomes/sacCer3/sacCer3.fa"
    path.parent.mkdir(parents=True)
    write_fasta(path, {"chr1": "ACGTTGCATCAGG" * 20})
    assert run("config", "set", "genome", "sacCer3").code == 0
    assert run("config", "get", "genome").out == "sacCer3\n"
    # And is found by commands that read labels.
    Path("x.bed").write_text("chr1\t0\t60\n")
    result = run("finetune", "x.bed", "-o", "t", "--label-column", "9")
    assert "no column '9'" in result.err or "column" in result.err, result.err
    assert "genome" not in result.err


WRONG = [
    (["set", "genom", "x"], "unknown option 'genom' (did you mean 'genome'?)"),
    (["set", "embed.pol", "x"], "embed has no option 'pol' (did you mean 'pool'?)"),
    (["set", "h5.json", "x"], "'h5' is no command with settings: embed, "),
    (["set", "force", "true"], "force: is for the command line alone"),
    (["set", "embed.bed", "x"], "bed: is of one run, no setting (type it, "),
    (["set", "precision", "fp8"], "precision: 'fp8' is not one of 'auto', 'fp32', 'bf16', 'fp16'"),
    (["set", "threads", "0"], "threads: 0 is not in the range x>=1"),
    (["set", "threads", "1", "2"], "threads takes one value, not 2"),
    (["set", "device", "gpu"], "device: no device 'gpu' (auto, cpu, cuda, cuda:0 or mps)"),
    (["set", "pool", "none"], "'positions' (for finetune; embed.pool is of embed alone)"),
    (["show", "embd"], "'embd' is no file, and no command with settings: embed, "),
    (["get"], "Missing argument 'KEY'."),
    (["set", "genome"], "Missing argument 'VALUE...'."),
]


@pytest.mark.parametrize(("args", "said"), WRONG, ids=[" ".join(args) for args, _ in WRONG])
def test_a_wrong_key_or_value_is_refused(run, args, said):
    result = run("config", *args)
    assert (result.code, result.out) == (2, "")
    assert said in result.err.splitlines()[-1]
    assert not settings_path().exists()


# Faults, in one line each

FAULTS = {
    "key": "# x\nthread = 1\n",
    "table": "\n[embd]\npool = 'max'\n",
    "key_of_table": "[embed]\ncombine = 'max'\n",
    "of_one_run": "[embed]\nbed = 'x.bed'\n",
    "typed_only": "force = true\n",
    "choice": "\n\nprecision = 'fp8'\n",
    "whole_number": "threads = 1.5\n",
    "truth": "[embed]\nlayer = true\n",
    "range": "threads = 0\n",
    "device": "device = 'gpu'\n",
    "syntax": "threads =\n",
}


def golden(name: str, text: str) -> None:
    text = text.replace(str(settings_path()), "CONFIG")
    path = GOLDEN / f"error_config_{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()
    assert text.count("\n") == 1


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_users_file_is_one_line(run, name):
    user_file(FAULTS[name])
    result = run("embed", "g.fa")
    assert (result.code, result.out) == (1, "")
    golden(name, result.err)
    assert run("embed", "--help").code == 0, "which needs no settings"


GIVEN = {
    "given_key": "pretrain = 1\n",
    "given_other": "# x\n[finetune]\nlr = 1.0\n",
    "given_typed_only": "[embed]\nresume = true\n",
    "given_choice": "[embed]\nrc = 'both'\n",
    "given_missing": None,
    "given_empty": "",
}


@pytest.mark.parametrize("name", GIVEN)
def test_a_fault_of_a_given_file_is_one_line(run, name):
    if GIVEN[name] is not None:
        Path("run.toml").write_text(GIVEN[name])
    result = run("embed", "g.fa", "--config", "run.toml")
    assert (result.code, result.out) == (1, "")
    golden(name, result.err)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("DNATK_PRECISION", "fp8", "DNATK_PRECISION: precision: 'fp8' is not one of "),
        ("DNATK_EMBED_THREADS", "two", "DNATK_EMBED_THREADS: threads: 'two' is not a valid int"),
        ("DNATK_MODEL", "nix", "no model 'nix' (named by DNATK_MODEL; "),
        ("DNATK_DEVICE", "cuda:9", "device 'cuda:9' is not here (named by DNATK_DEVICE; torch"),
    ],
)
def test_a_fault_of_the_environment_names_the_variable(run, genome, monkeypatch, name, value, said):
    monkeypatch.setenv(name, value)
    result = run("embed", genome, "-o", "o.h5")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"dnatk: error: {said}")
    assert result.err.count("\n") == 1


def test_a_genome_that_is_not_there_is_told_with_its_place(run, task_of):
    Path("r.bed").write_text("chr1\t0\t60\n")
    path = user_file("\ngenome = 'hg38'\n")
    result = run("predict", "r.bed", "--task", task_of(), "--device", "cpu")
    assert result.code == 1
    assert result.err == (
        "dnatk: error: hg38: no such file, and no genome that genomepy installed "
        f"(named by {path}:2)\n"
    )


def test_files_without_options_say_so(run, tmp_path):
    with h5py.File("x.h5", "w") as file:
        file["x"] = 1
    assert "is no embedding or prediction file" in run("embed", "g.fa", "--config", "x.h5").err
    assert ".: has no config.toml" in run("embed", "g.fa", "--config", ".").err
    Path("x.bin").write_bytes(b"\xff\xfe")
    assert "x.bin: is not a text file" in run("config", "show", "x.bin").err


# The page


def test_the_page_shows_what_happens(run, tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    write_fasta(Path("genome.fa"), {"chr1": "ACGTTGCATCAGGTACCTTAACGATTGCAA" * 40})

    def as_ada(*args: str) -> Result:
        done = run(*args)
        shown = [text.replace(str(tmp_path), "/home/ada") for text in (done.out, done.err)]
        if shown[0].startswith("option "):  # its columns were as wide as the longer paths
            rows = [re.split(" {2,}", line) for line in shown[0].splitlines()]
            shown[0] = aligned(rows[0], rows[1:], right=())
        return Result(done.code, *shown)

    for block in blocks(DOCS / "configuration.md", "console"):
        check_block(block, as_ada, tmp_path)


@pytest.mark.parametrize("block", blocks(DOCS / "configuration.md", "toml"), ids=str)
def test_the_files_of_the_page_are_good(block):
    """Each as settings, or as a file for --config."""
    settings = parse_settings(block.text, Path("page.toml"))
    check_keys(settings, of_one_run="output" in block.text)
    Path("page.toml").write_text(block.text)
    for command in set(settings.values) - {""}:
        options(command, "--config", "page.toml")
