"""The command line as a user meets it: exit codes, one-line errors, silence in pipes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from conftest import make_task, random_bases, without_pace, write_fasta
from terminals import read_terminal

import dnatk
from dnatk.cli import COMMANDS

GOLDEN = Path(__file__).parent / "golden"


def shell(*args: str, **kwargs) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "dnatk", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["embed", "--help"]])
def test_help_imports_neither_torch_nor_transformers(args):
    script = (
        "import sys\nfrom dnatk.cli import main\n"
        f"try:\n    main({args!r})\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'numpy', 'rich', 'h5py', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["embed", "predict"])
def test_inference_starts_without_what_it_does_not_need(command, genome, tiny_model, tmp_path):
    task = make_task(tmp_path / "task", tiny_model, length=60)
    what = {"embed": ["-o", tmp_path / "o.h5", "--model", tiny_model], "predict": ["--task", task]}
    script = (
        "import sys\nfrom dnatk.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "heavy = {'transformers', 'scipy', 'sklearn', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "print(heavy, file=sys.stderr)\n"
    )
    args = map(str, ["-q", command, genome, *what[command]])
    done = subprocess.run(
        [sys.executable, "-c", script, *args], capture_output=True, text=True, check=False
    )
    assert done.stderr == "set()\n"
    assert (command == "predict") == bool(done.stdout)


def test_importing_dnatk_loads_nothing_heavy():
    script = "import sys, dnatk; assert not {'torch', 'numpy', 'h5py'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_a_process_ends_without_taking_torch_apart():
    """Output is written, what was registered for the end runs, and nothing else does."""
    code = (
        "import atexit, sys\nfrom dnatk.cli import script\n"
        "class Torch:\n    def __del__(self): print('taken apart')\n"
        "sys.modules['kept'] = Torch()\natexit.register(print, 'bye')\n"
        "sys.argv = ['dnatk', *sys.argv[1:]]\nscript()"
    )
    for words, said, status in (
        (["-V"], f"dnatk {dnatk.__version__}\nbye\n", 0),
        (["x"], "bye\n", 2),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
        )
        assert (done.stdout, done.returncode) == (said, status), done.stderr
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m dnatk -V >&-"], capture_output=True, check=False
    )
    assert b"Traceback" not in done.stderr


def test_threads_do_not_spin_for_long_unless_asked_to(genome, tiny_model, tmp_path):
    """What GNU's OpenMP itself says it was told, once torch has loaded it."""

    def spins(**variables: str) -> set[str]:
        names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
        kept = {name: value for name, value in os.environ.items() if name not in names}
        environment = {**kept, "OMP_DISPLAY_ENV": "VERBOSE", **variables}
        args = ["embed", genome, "-o", tmp_path / "o.h5", "--model", tiny_model, "--force"]
        done = shell(*args, "--device", "cpu", env=environment)
        assert done.returncode == 0, done.stderr
        return set(re.findall(r"GOMP_SPINCOUNT = '(\w+)'", done.stderr))

    ours = spins()
    if not ours:
        pytest.skip("torch has another OpenMP here than GNU's")
    assert ours == {"1000"}
    assert spins(GOMP_SPINCOUNT="77") == {"77"}
    assert spins(OMP_WAIT_POLICY="PASSIVE") == {"0"}


def unread(kind: str) -> int:
    """Where nothing can be written: a pipe whose reader has gone, or a full device."""
    if kind == "full":
        return os.open("/dev/full", os.O_WRONLY)
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize("kind", ["pipe", "full"])
def test_a_stderr_that_nobody_reads_stops_nothing(kind, tiny_model, tmp_path):
    fasta, out = write_fasta(tmp_path / "g.fa", {"a": random_bases(99, 1)}), tmp_path / "o.h5"
    stderr = unread(kind)

    def code(*words: object) -> int:
        command = [sys.executable, "-m", "dnatk", *map(str, words)]
        return subprocess.run(command, stderr=stderr, check=False).returncode

    assert code("embed", fasta, "-o", out, "--model", tiny_model, "--device", "cpu") == 0
    assert len(dnatk.read_embeddings(out)[0]) == 1
    assert code("embed", fasta, "-o", out) == 1  # it exists
    assert code("embed", "--no-such-option") == 2
    os.close(stderr)


@pytest.mark.parametrize("words", [["--help"], ["embed", "--help"], ["tasks"]])
def test_a_stdout_that_nobody_reads_is_no_error(words):
    stdout = unread("pipe")
    command = [sys.executable, "-m", "dnatk", *words]
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, check=False)
    os.close(stdout)
    assert (done.returncode, done.stderr) == (0, b"")


def test_version(run):
    result = run("--version")
    assert (result.code, result.out) == (0, f"dnatk {dnatk.__version__}\n")


def test_every_command_is_listed_and_has_an_example(run):
    listing = run("--help").out
    for name, text in COMMANDS.items():
        assert name in listing
        assert text in " ".join(listing.split())
        assert "Example:" in run(name, "--help").out


def test_every_option_has_a_help(run):
    import importlib

    for name in COMMANDS:
        command = importlib.import_module(f"dnatk.cli.{name}").command
        for part in (command, *getattr(command, "commands", {}).values()):
            for option in part.params:
                if isinstance(option, click.Option):
                    assert option.help, f"{name} {option.name}"


def test_cli_choices_are_those_of_the_library():
    import importlib

    from dnatk.masking.schedule import ORDERS
    from dnatk.masking.strategies import CORRUPTIONS, MASKINGS, SPANS
    from dnatk.model.loading import DEFAULT_MODEL
    from dnatk.model.placement import PRECISIONS
    from dnatk.model.pooling import POOLS
    from dnatk.model.presets import PRESETS

    def option(command, name):
        params = importlib.import_module(f"dnatk.cli.{command}").command.params
        return next(p for p in params if p.name == name)

    for name, values in (
        ("masking", MASKINGS),
        ("span", SPANS),
        ("order", ORDERS),
        ("corruption", CORRUPTIONS),
        ("preset", PRESETS),
        ("precision", ["auto", *PRECISIONS]),
    ):
        assert sorted(option("pretrain", name).type.choices) == sorted(values)
    assert sorted(option("embed", "pool").type.choices) == sorted(POOLS)
    assert option("embed", "model").default == DEFAULT_MODEL


def test_cli_defaults_are_those_of_the_library():
    import importlib
    from dataclasses import fields

    from dnatk.inference.embed import EmbedOptions
    from dnatk.training.config import PretrainConfig

    for name, options in (("embed", EmbedOptions), ("pretrain", PretrainConfig)):
        command = importlib.import_module(f"dnatk.cli.{name}").command
        defaults = command.make_context(name, [], resilient_parsing=True).params
        own = ("inputs", "kmer_stride", "weights", "holdout", "max_grad_norm")
        for field in (f for f in fields(options) if f.name not in own):
            assert defaults[field.name] in (field.default, None), field.name


def test_embed_says_where_it_writes(run, genome, tiny_model, tmp_path):
    fasta = tmp_path / "g.fa"
    fasta.write_bytes(genome.read_bytes())
    result = run("embed", fasta, "--model", tiny_model)
    assert result.code == 0
    assert result.out == "", "stdout belongs to results"
    assert without_pace(result.err).splitlines() == [
        f"writing {fasta}.embeddings.h5",
        f"{fasta}.embeddings.h5: 16 rows, 1 window(s) without a valid k-mer skipped",
    ]
    assert "\r" not in result.err, "no progress bar in a pipe"
    quiet = run("-q", "embed", fasta, "--model", tiny_model, "--force")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def test_na_rows_are_counted(run, genome, tiny_model, tmp_path):
    (tmp_path / "r.bed").write_text("chr1\t0\t50\nchr9\t0\t50\nchr1\t0\t99999\n")
    result = run(
        "embed", genome, "--bed", tmp_path / "r.bed", "-o", tmp_path / "o.h5",
        "--model", tiny_model, "--on-error", "na",
    )  # fmt: skip
    assert without_pace(result.err) == (
        f"{tmp_path}/o.h5: 3 rows, 1 NaN (unknown contig), 1 NaN (out of bounds)\n"
    )


def test_the_command_is_recorded(genome, tiny_model, tmp_path):
    done = shell("embed", genome, "-o", tmp_path / "o h.h5", "--model", tiny_model)
    assert done.returncode == 0, done.stderr
    regions, _ = dnatk.read_embeddings(tmp_path / "o h.h5")
    assert regions.attrs["command"] == (
        f"dnatk embed {genome} -o '{tmp_path}/o h.h5' --model {tiny_model}"
    )


def test_pretrain_then_embed(run, tmp_path):
    fasta = write_fasta(tmp_path / "one.fa", {"chr": random_bases(4000, 1)})
    result = run(
        "pretrain", fasta, "-o", tmp_path / "m", "--preset", "tiny", "--max-steps", "3",
        "--batch-tokens", "512", "--window", "69", "--device", "cpu",
    )  # fmt: skip
    assert (result.code, result.out) == (0, "")
    assert without_pace(result.err) == f"model in {tmp_path}/m: 3 steps\n", "the Trainer is silent"
    again = run(
        "pretrain", fasta, "-o", tmp_path / "n", "--init", tmp_path / "m", "--max-steps", "1",
        "--batch-tokens", "512", "--window", "69", "--device", "cpu",
    )  # fmt: skip
    assert without_pace(again.err) == f"model in {tmp_path}/n: 1 steps\n"
    assert run("embed", fasta, "-o", tmp_path / "o.h5", "--model", tmp_path / "m").code == 0


DEVICES = "auto, cpu, cuda, cuda:0 or mps"
USAGE = [
    (["embed"], "Missing argument 'FASTA'"),
    (["embd"], "Did you mean 'embed'?"),
    (["embed", "-"], "name the output with -o"),
    (["embed", "-", "-o", "o.h5", "--bed", "b.bed"], "stdin cannot be read at any place"),
    (["embed", "g.fa", "-o", "-"], "HDF5 cannot go to stdout"),
    (["embed", "g.fa", "--bed", "b", "--region", "c:1-2"], "exclude each other"),
    (["embed", "g.fa", "--pool", "sum"], "'sum' is not one of"),
    (["pretrain", "g.fa"], "Missing option '-o'"),
    (["pretrain", "-", "-o", "m"], "training needs files"),
    (["pretrain", "g.fa", "-o", "m", "--mask-prob", ".1", "--mask-ratio", ".2"], "exclude each"),
    (["pretrain", "g.fa", "-o", "m", "--kmer-stride", "3"], "must be 1 or k"),
    (["pretrain", "g.fa", "-o", "m", "--init", "x", "-k", "4"], "-k does not go with --init"),
    (["pretrain", "g.fa", "-o", "m", "--weights", "a"], "must be numbers"),
    (["pretrain", "g.fa", "-o", "m", "--window", "0"], "0 is not in the range"),
    (["embed", "g.fa", "--window", "-5"], "-5 is not in the range x>=1"),
    (["embed", "g.fa", "--stride", "0"], "0 is not in the range x>=1"),
    (["embed", "g.fa", "--device", "gpu"], f"'--device': no device 'gpu' ({DEVICES})."),
    (["doctor", "--device", "cuda:-1"], f"'--device': no device 'cuda:-1' ({DEVICES})."),
    (["embed", "g.fa", "--shard", "3/2"], "'--shard': no shard '3/2' (write 2/8: the second of "),
    (["predict", "r.bed", "--task", "t", "--shard", ""], "'--shard': no shard '' (write 2/8"),
    (["predict", "r.bed", "--task", "t", "--fit", "foo"], "'--fit': cannot read the fit 'foo' ("),
    (["finetune", "d.csv", "-o", "t", "--fit", "tss:5,5"], "'--fit': the fit 'tss:5,5' has no "),
    (["h5", "plot", "e.h5", "-o", "m.png", "--bed", "b.bed"], "--bed goes with --colour"),
    (["inspect", "m", "-o", "d", "--negatives", "gc"], "none of the labelled files is BED."),
    ([], "Usage: dnatk"),
    (["-q", "-v", "embed", "g.fa"], "exclude each other"),
]


@pytest.mark.parametrize(("args", "message"), USAGE)
def test_usage_errors_exit_2(run, args, message):
    result = run(*args)
    assert result.code == 2
    assert message in result.err
    assert result.out == ""


def bad(name: str, content: str | bytes):
    return name, content.encode() if isinstance(content, str) else content


ERRORS = [
    ("missing", None, ["embed", "missing.fa"]),
    ("empty", bad("g.fa", ""), ["embed", "g.fa"]),
    ("binary", bad("g.fa", b"\x7fELF\0\1\2"), ["embed", "g.fa"]),
    ("no_bases", bad("g.fa", ">a\n>b\n"), ["embed", "g.fa"]),
    ("no_window", bad("g.fa", ">a\nNNNNNNNNNN\n"), ["embed", "g.fa"]),
    ("protein", bad("g.fa", ">a\nACGTACGT\nMKVLEFPQ\n"), ["embed", "g.fa"]),
    ("duplicate", bad("g.fa", ">a\nACGT\n>b\nAC\n>a\nAC\n"), ["embed", "g.fa"]),
    ("text", bad("g.fa", "hello world\n"), ["embed", "g.fa"]),
    ("bed_bounds", bad("b.bed", "chr1\t10\t90\n"), ["embed", "ok.fa", "--bed", "b.bed"]),
    ("bed_order", bad("b.bed", "chr1\t9\t9\n"), ["embed", "ok.fa", "--bed", "b.bed"]),
    ("bed_negative", bad("b.bed", "chr1\t-1\t9\n"), ["embed", "ok.fa", "--bed", "b.bed"]),
    ("bed_number", bad("b.bed", "#x\nchr1\tone\t9\n"), ["embed", "ok.fa", "--bed", "b.bed"]),
    ("bed_columns", bad("b.bed", "chr1 5\n"), ["embed", "ok.fa", "--bed", "b.bed"]),
    ("bed_contig", bad("b.bed", "I\t0\t9\n"), ["embed", "ok.fa", "--bed", "b.bed"]),
    ("bed_empty", bad("b.bed", "# nothing\n"), ["embed", "ok.fa", "--bed", "b.bed"]),
    ("bed_strand", bad("b.bed", "chr1\t0\t9\tn\t0\t*\n"), ["embed", "ok.fa", "--bed", "b.bed"]),
    ("window_5", None, ["embed", "ok.fa", "--window", "5"]),
    ("device", None, ["embed", "ok.fa", "--device", "cuda:9"]),
    ("fp16", None, ["embed", "ok.fa", "--device", "cpu", "--precision", "fp16"]),
    ("model", None, ["embed", "ok.fa", "--model", "nowhere"]),
    ("exists", None, ["embed", "ok.fa", "-o", "ok.fa"]),
    ("no_directory", None, ["embed", "ok.fa", "-o", "no/out.h5"]),
    ("train_short", bad("g.fa", ">a\nACGT\n"), ["pretrain", "g.fa", "-o", "m"]),
    ("train_n", bad("g.fa", ">a\n" + "N" * 900), ["pretrain", "g.fa", "-o", "m"]),
    ("train_window", None, ["pretrain", "ok.fa", "-o", "m", "--window", "4"]),
]  # fmt: skip


@pytest.mark.parametrize("option", ["-q", "--quiet", "-v", "--debug"])
def test_options_of_all_commands_after_a_command_are_told_their_place(run, option):
    for command in (["pretrain"], ["models", "list"]):
        done = run(*command, option)
        assert (done.code, done.out) == (2, "")
        place = f"It goes before the command: dnatk {option} ..."
        assert done.err.endswith(f"Error: No such option '{option}'. {place}\n")


@pytest.mark.parametrize(("name", "file", "args"), ERRORS, ids=[e[0] for e in ERRORS])
def test_bad_input_is_one_clear_line(run, tiny_model, tmp_path, monkeypatch, name, file, args):
    monkeypatch.chdir(tmp_path)
    write_fasta(tmp_path / "ok.fa", {"chr1": "ACGTTGCATCAGGTACCTTAACGATTGCAA" * 2})
    if file is not None:
        (tmp_path / file[0]).write_bytes(file[1])
    if args[0] == "embed" and "--model" not in args:
        args = [*args, "--model", tiny_model]
    if args[0] == "pretrain":
        args = [*args, "--preset", "tiny", "--max-steps", "1", "--device", "cpu"]
    before = {p.name for p in tmp_path.iterdir()}
    result = run("-q", *args)
    assert result.code in (1, 2)
    assert result.out == ""
    assert "Traceback" not in result.err
    line = result.err.replace(str(tiny_model), "MODEL").replace(str(tmp_path), "TMP")
    line = re.sub(r"sees \d+", "sees N", line)
    golden = GOLDEN / f"error_{name}.txt"
    if os.environ.get("DNATK_UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(line)
    assert line == golden.read_text()
    assert line.count("\n") == 1
    after = {p.name for p in tmp_path.iterdir()} - before
    assert not [n for n in after if "partial" in n or n.endswith(".h5")]
    assert not (tmp_path / "m" / "model.safetensors").exists()


def test_debug_shows_the_traceback():
    done = shell("--debug", "embed", "missing.fa", "-o", "x.h5")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_interrupt_exits_130(run, genome, tiny_model, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("dnatk.inference.embed.embed", interrupt)
    result = run("embed", genome, "-o", tmp_path / "o.h5", "--model", tiny_model)
    assert result.code == 130
    assert result.err.endswith("dnatk: interrupted\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_run_leaves_nothing_behind(tiny_model, tmp_path, number, code):
    command = [sys.executable, "-m", "dnatk", "embed", "-", "-o", tmp_path / "o.h5"]
    process = subprocess.Popen(
        [*map(str, command), "--model", str(tiny_model)],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not list(tmp_path.iterdir()):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    assert [p.name for p in tmp_path.iterdir()] == ["o.h5.partial"]
    time.sleep(0.3)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert said.strip() == (b"dnatk: interrupted" if code == 130 else b"")
    assert not list(tmp_path.iterdir())


def test_an_unexpected_error_asks_for_a_report(run, genome, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("surprise\nsecond line")

    monkeypatch.setattr("dnatk.inference.embed.embed", broken)
    result = run("embed", genome, "-o", "x.h5")
    assert result.code == 1
    assert "unexpected RuntimeError: surprise\n" in result.err
    assert "--debug" in result.err


def test_a_progress_bar_on_a_terminal(genome, tiny_model, tmp_path):
    """Under a pseudo-terminal the bar shows stage, count, rate and time left; stdout is clean."""
    import pty

    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "dnatk", "embed", genome, "-o", tmp_path / "o.h5"]
    process = subprocess.Popen(
        [*map(str, command), "--model", str(tiny_model), "--batch-tokens", "600"],
        stdout=subprocess.PIPE, stderr=follower, env={**os.environ, "COLUMNS": "120"},
    )  # fmt: skip
    os.close(follower)
    shown = read_terminal(leader)
    assert process.communicate()[0] == b""
    assert process.returncode == 0
    text = shown.decode()
    assert "embedding" in text
    assert "17/17" in text
    assert "windows/s" in text
