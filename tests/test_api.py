"""The public Python API: names, types, examples, and the numbers of the commands' files."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import CLASSES, random_bases, write_fasta, write_labelled

import dnatk

ROOT = Path(__file__).parents[1]
NAMES = [name for name in dnatk.__all__ if name != "__version__"]


def imported_for_type_checkers() -> dict[str, str]:
    """name -> module, of the imports that only type checkers see."""
    tree = ast.parse(Path(dnatk.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {alias.name: node.module for node in block.body for alias in node.names}


def test_names_are_the_same_at_run_time_and_for_type_checkers():
    typed = imported_for_type_checkers()
    assert sorted(typed) == sorted(NAMES)
    for name, module in typed.items():
        assert getattr(dnatk, name) is getattr(importlib.import_module(module), name)
    assert dir(dnatk) == sorted(dnatk.__all__)
    with pytest.raises(AttributeError, match="no attribute 'embd'"):
        _ = dnatk.embd


def test_importing_dnatk_is_light():
    script = (
        "import sys, dnatk\n"
        "assert not {'torch', 'numpy', 'h5py', 'pandas', 'click', 'rich'} & set(sys.modules)\n"
        "dnatk.DnatkError, dnatk.Vocabulary, dnatk.Genome, dnatk.read_embeddings\n"
        "assert not {'torch', 'transformers', 'pandas'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_public_names_are_documented():
    for name in NAMES:
        thing = getattr(dnatk, name)
        assert inspect.getdoc(thing), name
        if inspect.isfunction(thing):
            given = inspect.signature(thing)
            assert given.return_annotation is not inspect.Signature.empty, name


def test_the_page_shows_every_name():
    shown = re.findall(r"^::: (\S+)$", (ROOT / "docs/api.md").read_text(), flags=re.MULTILINE)
    modules = imported_for_type_checkers()
    assert sorted(shown) == sorted(f"{modules[name]}.{name}" for name in NAMES)


@pytest.fixture
def files_of_examples(tmp_path, monkeypatch, genome):
    """The files that examples name, in the directory at hand."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "genome.fa").write_bytes(genome.read_bytes())
    lines = ("chr1\t10\t310\tp1\t0\t+", "chr2\t2000\t2300\tp2\t0\t-")
    (tmp_path / "promoters.bed").write_text("".join(f"{line}\n" for line in lines))
    write_labelled(tmp_path / "train.csv", "binary", 80, 1)
    write_labelled(tmp_path / "test.csv", "binary", 20, 2)


@pytest.mark.usefixtures("files_of_examples")
def test_the_examples_of_the_page_run(capsys):
    text = (ROOT / "docs/api.md").read_text()
    programs = re.findall(r"<!-- run -->\n```python\n(.*?)```", text, flags=re.DOTALL)
    assert programs
    for program in programs:
        exec(compile(program, "api.md", "exec"), {})
    assert capsys.readouterr().out


@pytest.mark.usefixtures("files_of_examples")
def test_the_examples_of_docstrings_run():
    places = {dnatk, *map(importlib.import_module, set(imported_for_type_checkers().values()))}
    ran = 0
    for module in sorted(places, key=lambda m: m.__name__):
        result = doctest.testmod(module, extraglobs={"dnatk": dnatk})
        assert not result.failed, module
        ran += result.attempted
    assert ran > 40


def test_types_are_right():
    """mypy --strict of the modules behind the public names and of a user's program."""
    command = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_typed_program_uses_every_name():
    text = (ROOT / "tests/typed_use.py").read_text()
    assert not [name for name in dnatk.__all__ if f"dnatk.{name}" not in text]
    assert (Path(dnatk.__file__).parent / "py.typed").exists()


SEQUENCES = [
    random_bases(300, 1),
    random_bases(40, 2).lower().encode(),
    np.frombuffer(random_bases(1300, 3).encode(), dtype=np.uint8),  # longer than a window
    random_bases(100, 4) + "N" * 30 + random_bases(100, 5),
    random_bases(6, 6),
]
UNSCORED = ["", "ACG", "N" * 400, "ACGTN" * 20]


def as_text(sequence) -> str:
    if isinstance(sequence, np.ndarray):
        sequence = sequence.tobytes()
    return sequence if isinstance(sequence, str) else sequence.decode()


@pytest.fixture(scope="module")
def regions(tmp_path_factory) -> tuple[Path, Path]:
    """A FASTA of all sequences that have bases, and a BED of each whole record."""
    path = tmp_path_factory.mktemp("regions")
    texts = [as_text(sequence) for sequence in [*SEQUENCES, *UNSCORED[1:]]]
    fasta = write_fasta(path / "g.fa", {f"s{i}": text for i, text in enumerate(texts)})
    bed = path / "g.bed"
    bed.write_text("".join(f"s{i}\t0\t{len(text)}\n" for i, text in enumerate(texts)))
    return fasta, bed


@pytest.mark.parametrize(("pool", "rc"), [("mean", "none"), ("max", "average"), ("cls", "none")])
def test_vectors_in_memory_are_those_of_the_file(regions, tiny_model, tmp_path, pool, rc):
    fasta, bed = regions
    options = dnatk.EmbedOptions(pool=pool, rc=rc, layer=1, dtype="float32", on_error="na",
                                 device="cpu", precision="fp32")  # fmt: skip
    dnatk.embed(fasta, tmp_path / "o.h5", bed=bed, model=tiny_model, options=options)
    rows, wanted = dnatk.read_embeddings(tmp_path / "o.h5")
    found = dnatk.embed_sequences(
        [*SEQUENCES, *UNSCORED[1:]], model=tiny_model, pool=pool, rc=rc, layer=1, device="cpu",
        precision="fp32",
    )  # fmt: skip
    assert (found.dtype, found.shape) == (np.float32, (len(rows), 64))
    np.testing.assert_array_equal(np.isnan(found).all(axis=1), rows.status != 0)
    np.testing.assert_array_equal(found, wanted)


def test_sequences_that_cannot_be_embedded_are_nan_rows(tiny_model):
    found = dnatk.embed_sequences(
        (each for each in [UNSCORED[0], SEQUENCES[0], *UNSCORED[1:]]), model=tiny_model
    )
    assert np.isfinite(found).all(axis=1).tolist() == [False, True, False, False, False]
    assert dnatk.embed_sequences([], model=tiny_model).shape == (0, 64)


@pytest.mark.parametrize("kind", CLASSES)
def test_predictions_in_memory_are_those_of_the_file(kind, task_of, regions, tmp_path):
    fasta, _ = regions
    options = dnatk.PredictOptions(device="cpu", precision="fp32", format="jsonl")
    h5 = None if kind == "per-base" else tmp_path / "o.h5"
    dnatk.predict(fasta, tmp_path / "o.jsonl", task=task_of(kind), h5=h5, options=options)
    table = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    found = dnatk.predict_sequences(
        [*SEQUENCES, *UNSCORED[1:]], task=task_of(kind), device="cpu", precision="fp32"
    )
    assert found.note.tolist() == [row["note"] for row in table]
    assert found.label.tolist() == [row["label"] or "NA" for row in table]
    scores = [np.nan if row["score"] is None else row["score"] for row in table]
    np.testing.assert_allclose(found.score, scores, atol=1e-4, rtol=1e-5)
    assert np.isnan(scores).tolist() == [False] * 5 + [True] * 3
    if h5 is not None:
        frame, _ = dnatk.read_predictions(h5)
        columns = [name for name in frame.columns if name.startswith(("p_", "value_"))]
        assert columns == list(found.columns[3:])
        np.testing.assert_array_equal(found[columns], frame[columns])
        np.testing.assert_array_equal(found.score, frame.score)


def test_options_of_predictions_in_memory(task_of):
    scorer = dnatk.load_scorer(dnatk.find_task(task_of()), device="cpu", precision="fp32")

    def scores(**options):
        return dnatk.predict_sequences(SEQUENCES, task=scorer, **options).score

    assert (scores(combine="max") >= scores(combine="mean")).all()
    assert (scores(rc="average") != scores(rc="none")).any()
    assert scores(fit="center")[2] != scores()[2], "one window of the longest"
    assert len(dnatk.predict_sequences([], task=scorer)) == 0
    with pytest.raises(dnatk.InputError, match="mean or max"):
        scores(combine="tiles")


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ("ACGT", "one sequence where several are wanted"),
        (["ACGT", "ACGQ"], r"sequences\[1\]:4: 'Q' is no nucleotide"),
        (["ACGT", 7], r"sequences\[1\] is no sequence"),
        ([np.zeros(3)], r"sequences\[0\] is no sequence"),
    ],
)
def test_what_is_no_sequence_is_told_before_any_work(sequences, message):
    for work in (
        lambda: dnatk.embed_sequences(sequences, model="nowhere"),
        lambda: dnatk.predict_sequences(sequences, task="nowhere"),
    ):
        with pytest.raises(dnatk.InputError, match=message):
            work()


def test_tokens_have_no_matrix():
    with pytest.raises(dnatk.InputError, match="mean, max or cls"):
        dnatk.embed_sequences(["ACGTACGT"], pool="none")


def test_evaluate_takes_names_and_files(task_of, tmp_path):
    path = write_labelled(tmp_path / "test.csv", "binary", 20, 5)
    options = {"device": "cpu", "precision": "fp32", "resamples": 20}
    by_name = dnatk.evaluate(task_of(), path, **options)
    task = dnatk.find_task(task_of())
    data = dnatk.read_labelled(path, space=task.space)
    scorer = dnatk.load_scorer(task, device="cpu", precision="fp32")
    for each in (dnatk.evaluate(task, data, **options), dnatk.evaluate(scorer, data, resamples=20)):
        assert repr(each.metrics) == repr(by_name.metrics)
    assert by_name.examples == 20
