"""Shared fixtures: everything is generated from a seed; real data only through DNATK_TEST_DATA."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest

from dnatk.cli import main

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Of several workers (pytest -n) each keeps to its own cores: threads that outnumber them are slow.
if (worker := os.environ.get("PYTEST_XDIST_WORKER")) and hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    own = cores[int(worker[2:]) :: int(os.environ["PYTEST_XDIST_WORKER_COUNT"])]
    os.sched_setaffinity(0, own or cores)
# The files that take longest begin. xdist's own order is that of most tests: the long ones, of few
# tests, would come last, and one worker be left alone with one of them.
LONGEST = (
    "test_faults.py", "test_tutorials.py", "test_pretrain_ranks.py", "test_pretrain_kill.py",
    "test_ranks.py", "test_inspect.py", "test_pipelines.py", "test_pretrain_faults.py",
    "test_kill.py", "test_real_data.py", "test_finetune.py",
)  # fmt: skip
# A shell's jobs in the background ignore SIGINT, and so would every process that is tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config):
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    rank = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real genomes and sets, see docs/data.md; the test is skipped where they are not."""
    root = Path(__file__).parents[1]
    path = Path(os.environ.get("DNATK_TEST_DATA", root / "../shared/data")).resolve()
    if not (path / "yeast").is_dir():
        pytest.skip(f"no real data at {path}: set DNATK_TEST_DATA")
    return path


def random_bases(length: int, seed: int, alphabet: str = "ACGT") -> str:
    rng = np.random.default_rng(seed)
    return "".join(rng.choice(list(alphabet), length))


@pytest.fixture(scope="session")
def genome_sequences() -> dict[str, str]:
    """Three contigs; chr2 has soft-masked bases and a run of N, chr3 fits one window."""
    chr2 = random_bases(3000, 2)
    return {
        "chr1": random_bases(5000, 1),
        "chr2": chr2[:1000] + "N" * 700 + chr2[1700:2000].lower() + chr2[2000:],
        "chr3": random_bases(200, 3),
    }


@pytest.fixture(scope="session")
def genome(tmp_path_factory, genome_sequences) -> Path:
    """A plain FASTA of ``genome_sequences``."""
    return write_fasta(tmp_path_factory.mktemp("genome") / "genome.fa", genome_sequences)


def write_fasta(path: Path, sequences: dict[str, str], width: int = 60) -> Path:
    lines = []
    for name, sequence in sequences.items():
        lines.append(f">{name}")
        lines += [sequence[i : i + width] for i in range(0, len(sequence), width)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """A model directory with random weights: 2 layers x 64, k = 6."""
    return make_model(tmp_path_factory.mktemp("model") / "tiny")


def make_model(path: Path, k: int = 6, kmer_stride: int = 1, seed: int = 0, **sizes) -> Path:
    from dnatk.model.presets import preset
    from dnatk.training.masked_lm import new_model

    config = {**preset("tiny").bert_config(k), "initializer_range": 0.1, **sizes}
    model = new_model(config, seed)
    model.describe(k, kmer_stride)
    model.save_pretrained(path)
    return path


# What commands measure of themselves, at the end of their last line.
_PACE = r"; [\d.]+ \w+ in [^;\n]+ \([\d.]+ \w+/s\)(?: by this process, of \d+)?$"


def without_pace(text: str) -> str:
    """Messages without bases, seconds and bases a second, which differ from run to run."""
    return re.sub(_PACE, "", text, flags=re.MULTILINE)


class Result:
    """What one run of the command line did."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


# A developer's own settings, models and tasks reach no test.
for variable in [each for each in os.environ if each.startswith("DNATK_")]:
    if variable != "DNATK_TEST_DATA":
        del os.environ[variable]


@pytest.fixture(scope="session", autouse=True)
def _no_home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(home / "config"))
        patch.setenv("XDG_DATA_HOME", str(home / "data"))
        yield


@pytest.fixture(autouse=True)
def _fresh_logger():
    """dnatk's logger as a library's is, whatever the command line has made of it before."""
    logger = logging.getLogger("dnatk")
    logger.setLevel(logging.NOTSET)
    logger.handlers.clear()
    logger.propagate = True


@pytest.fixture
def run(capfd):
    """Run ``dnatk ARGS...`` in this process, through the real error ladder."""

    def call(*args: object) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(arg) for arg in args])
        code = stop.value.code or 0
        captured = capfd.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def clean_home(tmp_path, monkeypatch) -> Path:
    """No settings, no genome and no tasks but those that a test puts there."""
    home = tmp_path / "home"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    monkeypatch.delenv("DNATK_GENOME", raising=False)
    return home


CLASSES = {
    "binary": ("0", "1"),
    "multiclass": ("a", "b", "c"),
    "multilabel": ("x", "y", "z"),
    "regression": ("height", "width"),
    "per-base": ("e", "i"),
}


def make_task(
    path: Path, model: Path, kind: str = "binary", *, method: str = "lora", seed: int = 0, **facts
) -> Path:
    """A task directory with weights drawn from ``seed``, as dnatk finetune would write it."""
    from safetensors.numpy import save_file

    from dnatk.model.heads import HeadConfig
    from dnatk.model.loading import read_model
    from dnatk.tasks.task import Task, TrunkReference

    rng = np.random.default_rng(seed)
    info, classes = read_model(model), facts.pop("classes", CLASSES[kind])
    head = HeadConfig(
        info.config.hidden,
        len(classes),
        pool=facts.pop("pool", "mean"),
        dense=facts.pop("dense", False),
        per_base=kind == "per-base",
        k=info.k,
        kmer_stride=info.kmer_stride,
    )
    path.mkdir(parents=True)
    weights = {
        "out.weight": rng.normal(size=(head.outputs, head.hidden if head.dense else head.width)),
        "out.bias": rng.normal(size=head.outputs) / 10,
    }
    if head.dense:
        weights["dense.weight"] = rng.normal(size=(head.hidden, head.width)) / 8
        weights["dense.bias"] = rng.normal(size=head.hidden) / 10
    save_file({k: v.astype("f4") for k, v in weights.items()}, path / "head.safetensors")
    if method == "lora":
        adapter = {}
        for name, shape in info.config.shapes().items():
            if name.endswith(("query.weight", "value.weight", "dense.weight")):
                stem = f"base_model.model.{name.removesuffix('.weight')}"
                adapter[f"{stem}.lora_A.weight"] = rng.normal(size=(4, shape[1])) * 0.1
                adapter[f"{stem}.lora_B.weight"] = rng.normal(size=(shape[0], 4)) * 0.1
        adapter = {k: v.astype("f4") for k, v in adapter.items()}
        save_file(adapter, path / "adapter_model.safetensors")
        config = {
            "peft_type": "LORA",
            "r": 4,
            "lora_alpha": 8,
            "target_modules": ["query", "value", "dense"],
            "base_model_name_or_path": str(model),
        }
        (path / "adapter_config.json").write_text(json.dumps(config))
    values = {
        "name": path.name,
        "length": 60,
        "class_names": classes,
        "thresholds": {"binary": (0.5,), "multilabel": (0.5,) * len(classes)}.get(kind, ()),
        "metrics": {"dev": {"mcc": {"value": 0.5}}},
        "details": {"config": {"metric": "mcc"}},
    }
    if kind == "regression":
        values |= {"target_mean": (100.0, -3.0)[: len(classes)], "target_scale": (20.0, 0.5)}
        values["target_scale"] = values["target_scale"][: len(classes)]
    Task(
        directory=path,
        kind=kind,
        classes=classes,
        method=method,
        trunk=TrunkReference(str(model), info.sha256, True, info.k, info.kmer_stride),
        head=head.as_dict(),
        **(values | facts),
    ).write()
    return path


@pytest.fixture(scope="session")
def task_of(tmp_path_factory, tiny_model):
    """``task_of(kind, **facts)``: a task directory of that kind on ``tiny_model``, made once."""
    made: dict[str, Path] = {}

    def call(kind: str = "binary", **facts) -> Path:
        key = repr((kind, sorted(facts.items())))
        if key not in made:
            path = tmp_path_factory.mktemp("task") / kind
            made[key] = make_task(path, tiny_model, kind, **facts)
        return made[key]

    return call


def labelled_rows(kind: str, n: int, seed: int, length: int = 60) -> list[tuple[str, ...]]:
    """(sequence, label, ...) of n examples: thirds of AAT or of GGC with errors, and which."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        rich = rng.random(3) < 0.5
        rich[0] = i % 2
        if kind in ("binary", "multiclass"):  # all alike, but for class b
            rich[:] = i % 2
            rich[2] ^= kind == "multiclass" and i % 4 > 1
        third = length // 3
        parts = [("GGC" if each else "AAT") * third for each in rich]
        bases = np.array(list("".join(part[:third] for part in parts)))
        errors = rng.random(len(bases)) < 0.1
        bases[errors] = rng.choice(list("ACGT"), errors.sum())
        gc, sequence = np.isin(bases, ["G", "C"]), "".join(bases)
        labels = {
            "binary": (str(int(rich[0])),),
            "multiclass": ("abc"[int(rich.sum() + 0.5) // 2 + int(rich.all())],),
            "multilabel": tuple(str(int(each)) for each in rich),
            "regression": (f"{100 + 20 * gc.mean():.3f}", f"{-3 - gc[:20].mean():.4f}"),
            "per-base": ("".join("ie"[int(each)] * third for each in rich),),
        }
        rows.append((sequence, *labels[kind]))
    return rows


def write_labelled(path: Path, kind: str, n: int, seed: int, length: int = 60) -> Path:
    """A CSV of :func:`labelled_rows`."""
    several = kind in ("multilabel", "regression")
    header = ("sequence", *(CLASSES[kind] if several else ("label",)))
    rows = [header, *labelled_rows(kind, n, seed, length)]
    path.write_text("".join(",".join(row) + "\n" for row in rows))
    return path


def label_options(kind: str) -> list[str]:
    """What finetune must be told of the tables of :func:`write_labelled`."""
    names = CLASSES[kind] if kind in ("multilabel", "regression") else ()
    return ["--kind", kind, *(part for name in names for part in ("--label-column", name))]


# Plots take longer than all the rest of a short training: one task has them.
SAVE_PLOT = "dnatk.training.report.drawn"
PLOTTED = ("binary", "lora")


def no_plot(*_, **__) -> str:
    """In the place of SAVE_PLOT."""
    return '<svg xmlns="http://www.w3.org/2000/svg"/>'


def files(tables: Path, kind: str) -> list[object]:
    """The arguments of finetune that name the three tables of a kind."""
    train, dev, test = (tables / f"{kind}.{part}.csv" for part in ("train", "dev", "test"))
    return [train, "--dev", dev, "--test", test]


def cli(*args: object) -> int:
    """Run ``dnatk ARGS...`` in this process; its exit code."""
    with pytest.raises(SystemExit) as stop:
        main([str(arg) for arg in args])
    return stop.value.code or 0


@pytest.fixture(scope="session")
def tables(tmp_path_factory) -> Path:
    """A directory of KIND.train.csv, .dev.csv and .test.csv of every kind."""
    path = tmp_path_factory.mktemp("tables")
    for kind in CLASSES:
        for seed, (part, n) in enumerate((("train", 60), ("dev", 24), ("test", 30))):
            write_labelled(path / f"{kind}.{part}.csv", kind, n, seed)
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory, tables, tiny_model):
    """``trained(kind, method)``: a task that dnatk finetune has trained for a few steps, once."""
    from dnatk.training.report import drawn

    made: dict[tuple, Path] = {}

    def call(kind: str = "binary", method: str = "lora") -> Path:
        if (kind, method) not in made:
            out = tmp_path_factory.mktemp("trained") / f"{kind}-{method}"
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(SAVE_PLOT, drawn if (kind, method) == PLOTTED else no_plot)
                code = cli("-q", "finetune", *files(tables, kind), "-o", out, "--model", tiny_model,
                           "--method", method, *label_options(kind),
                           *(PROBE if method == "probe" else QUICK))  # fmt: skip
            assert code == 0
            made[kind, method] = out
        return made[kind, method]

    return call


PROBE = ("--device", "cpu", "--precision", "fp32")
# A run of some seconds that learns something.
QUICK = (*PROBE, "--max-steps", "12", "--batch-size", "16", "--lr", "0.01")
