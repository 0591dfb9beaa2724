"""Inputs that nobody would write: a result that is right, or one DnatkError; no third thing.

A few hundred cases here, ten thousand with ``-m slow``. A failure names the case as a call of
:func:`fuzz_inputs.draw`, which makes it again; ``DNATK_FUZZ=SEED:NUMBER`` runs that one alone.
"""

from __future__ import annotations

import io
import os
import random
import shutil
import sys
from collections import Counter
from pathlib import Path

import fuzz_inputs
import numpy as np
import pytest
from conftest import make_model, make_task, random_bases, write_fasta
from fuzz_inputs import Case, Plain, Slow, draw, limit

import dnatk
from dnatk.errors import DnatkError
from dnatk.genome.bed import read_bed
from dnatk.genome.fasta import Genome, read_fasta
from dnatk.genome.sniff import open_regions_or_sequences
from dnatk.inference.embed import EmbedOptions
from dnatk.inference.predict import PredictOptions
from dnatk.output.frames import read_embeddings

SEED = 1
SECONDS = 5.0  # what one case may take; they take a millisecond
FEW, MANY, BATCH = 300, 10_000, 1000


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def every(check, numbers, place: Path) -> Counter:
    """Run ``check(case, directory)`` over cases; what became of them is counted."""
    if "DNATK_FUZZ" in os.environ:
        numbers = [int(os.environ["DNATK_FUZZ"].split(":")[1])]
    outcomes: Counter = Counter()
    directory = place / "case"
    for number in numbers:
        case = draw(int(os.environ.get("DNATK_FUZZ", f"{SEED}:").split(":")[0]), number)
        directory.mkdir()
        try:
            with limit(SECONDS):
                outcomes[case.way, case.kind, case.packing, check(case, directory)] += 1
        except (Exception, Slow) as error:
            raise AssertionError(f"{type(error).__name__}: {error}\n{case}") from error
        assert not list(place.rglob("*partial*")), f"a partial file is left\n{case}"
        shutil.rmtree(directory)
        shutil.rmtree(place / "cache", ignore_errors=True)
    return outcomes


def outcome(read, *args):
    """What ``read`` gives, or the DnatkError that it raises: one line with no traceback in it."""
    try:
        return read(*args)
    except DnatkError as caught:
        # Without the frames, which would keep files open.
        error = caught.with_traceback(None)
        error.__context__ = None
    assert str(error)
    assert "\n" not in str(error), "more than one line"
    return error


def good(result) -> bool:
    return not isinstance(result, DnatkError)


# The readers


def streamed(path: Path | str) -> list[tuple[str, bytes]]:
    return [(name, bases.tobytes()) for name, bases in read_fasta(path)]


def indexed(path: Path) -> list[tuple[str, bytes]]:
    with Genome(path) as genome:
        return [
            (name, genome.fetch(name, 0, length).tobytes())
            for name, length in genome.lengths.items()
        ]


def piecewise(path: Path, rng: random.Random) -> list[tuple[str, int, int, bytes]]:
    """Pieces drawn from each contig, which need not begin or end where a line does."""
    pieces = []
    with Genome(path) as genome:
        for name, length in genome.lengths.items():
            for _ in range(3):
                low, high = sorted(rng.randint(0, length) for _ in range(2))
                pieces.append((name, low, high, genome.fetch(name, low, high).tobytes()))
    return pieces


def places(path: Path | str) -> list[tuple[str, int, int, str]]:
    return [(r.contig, r.start, r.end, r.strand) for r in read_bed(path)]


def sniffed(path: Path | str):
    kind, items = open_regions_or_sequences(path)
    if kind == "bed":
        return kind, [(r.contig, r.start, r.end, r.strand) for r in items]
    return kind, [(name, bases.tobytes()) for name, bases in items]


def check_readers(case: Case, directory: Path) -> str:
    path = directory / "input.fa"
    path.write_bytes(case.data)
    by_stream, by_bed = outcome(streamed, path), outcome(places, path)
    check_fasta(case, path, by_stream)
    check_bed(case, by_bed)
    told = outcome(sniffed, path)
    if good(told):
        kind, items = told
        assert items == (by_bed if kind == "bed" else by_stream)
    else:
        assert not (good(by_stream) and case.text.startswith(b">")), "FASTA, not told as such"
        assert not (good(by_bed) and fuzz_inputs.plain_bed(case.text)), "BED, not told as such"
    assert not (good(by_stream) and good(by_bed)), "FASTA and BED in one"
    return "fasta" if good(by_stream) else "bed" if good(by_bed) else "refused"


def check_fasta(case: Case, path: Path, by_stream) -> None:
    plain = None if case.text is None else fuzz_inputs.plain_fasta(case.text)
    if good(by_stream):
        assert case.text is not None, "a broken gzip was read"
        assert len(by_stream) == fuzz_inputs.counted_records(case.text), "records lost or made"
        assert sum(len(b) for _, b in by_stream) == fuzz_inputs.counted_bases(case.text)
    if plain is not None:
        assert good(by_stream), f"a sound FASTA was refused: {by_stream}"
        assert by_stream == list(plain.records.items())
    for _ in range(2):  # the second time there is an index
        check_index(case, path, by_stream, plain)


def check_index(case: Case, path: Path, by_stream, plain: Plain | None) -> None:
    by_index = outcome(indexed, path)
    if good(by_index):
        assert good(by_stream), f"read by index, refused as a stream: {by_stream}"
        assert by_index == by_stream
    elif plain is not None and plain.even and any(plain.records.values()):
        bgzip = case.data[12:14] == b"BC"  # it must have its end mark, and blocks alone
        allowed = bgzip and case.packing != "bgzip"
        assert allowed, f"a sound FASTA has no index: {by_index}"
    if good(by_stream):
        whole = dict(by_stream)
        pieces = outcome(piecewise, path, random.Random(case.number))
        for name, low, high, bases in pieces if good(pieces) else ():
            assert bases == whole[name][low:high], f"{name}:{low}-{high}"


def check_bed(case: Case, by_bed) -> None:
    plain = None if case.text is None else fuzz_inputs.plain_bed(case.text)
    if good(by_bed):
        assert case.text is not None, "a broken gzip was read"
        assert len(by_bed) == fuzz_inputs.counted_regions(case.text), "regions lost or made"
    if plain is not None:
        assert good(by_bed), f"a sound BED was refused: {by_bed}"
        assert by_bed == plain


def test_readers_give_the_truth_or_one_error(place):
    outcomes = every(check_readers, range(FEW), place)
    assert {"fasta", "bed", "refused"} == {key[-1] for key in outcomes}


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, MANY, BATCH))
def test_readers_give_the_truth_or_one_error_ten_thousand_times(place, first):
    outcomes = every(check_readers, range(first, first + BATCH), place)
    total = Counter()
    for (*_, what), count in outcomes.items():
        total[what] += count
    assert min(total.values()) > BATCH / 20, f"cases must be of every kind: {total}"


def test_cases_can_be_made_again():
    assert [draw(3, n) for n in range(50)] == [draw(3, n) for n in range(50)]
    assert draw(3, 1) != draw(4, 1)


# Indexes that came from elsewhere


def check_foreign_index(number: int, directory: Path, pack: bool) -> str:
    """A .fai or .gzi that was spoilt, of which the date says nothing."""
    rng = random.Random(f"index {number}")
    path = directory / ("genome.fa.gz" if pack else "genome.fa")
    text = fuzz_inputs.fasta(rng)
    path.write_bytes(fuzz_inputs.bgzipped(text) if pack else text)
    wanted = outcome(streamed, path)
    if not good(outcome(indexed, path)):
        return "none"
    index = path.with_name(path.name + rng.choice((".fai", ".gzi") if pack else (".fai",)))
    data = index.read_bytes()
    for _ in range(rng.choice((1, 1, 3))):
        data = rng.choice(fuzz_inputs.MUTATIONS)(rng, data)
    index.write_bytes(data)
    os.utime(index, (2e9, 2e9))
    found = outcome(indexed, path)
    if good(found):
        assert found == wanted, f"index {number}: {data!r}"
    pieces = outcome(piecewise, path, rng)
    for name, low, high, bases in pieces if good(pieces) else ():
        assert bases == dict(wanted)[name][low:high], f"index {number}: {name}:{low}-{high}"
    return "right" if good(found) else "refused"


def indexes(numbers, place: Path, pack: bool) -> Counter:
    outcomes: Counter = Counter()
    for number in numbers:
        directory = place / "case"
        directory.mkdir()
        try:
            with limit(SECONDS):
                outcomes[check_foreign_index(number, directory, pack)] += 1
        except (Exception, Slow) as error:
            raise AssertionError(f"index {number}: {type(error).__name__}: {error}") from error
        shutil.rmtree(directory)
    return outcomes


@pytest.mark.parametrize("pack", [False, True], ids=["fai", "gzi"])
def test_a_spoilt_index_gives_no_wrong_base(place, pack):
    assert indexes(range(100), place, pack)["right"] > 50


@pytest.mark.slow
@pytest.mark.parametrize("pack", [False, True], ids=["fai", "gzi"])
def test_a_spoilt_index_gives_no_wrong_base_many_times(place, pack):
    assert indexes(range(100, 1600), place, pack)["right"] > 500


# The whole of embed and predict


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """A model that takes 60 bases, a task on it, and a genome with the contigs of the BEDs."""
    root = tmp_path_factory.mktemp("tools")
    model = make_model(root / "model", max_position_embeddings=57, num_hidden_layers=1)
    task = make_task(root / "task", model, method="probe")
    names = [name for name in fuzz_inputs.NAMES if len(name) < 20]
    genome = write_fasta(root / "genome.fa", {n: random_bases(400, i) for i, n in enumerate(names)})
    Genome(genome).close()
    return model, task, genome


CPU = {"device": "cpu", "precision": "fp32"}


@pytest.fixture
def check_commands(tools, monkeypatch):
    """``check(case, directory)``: what embed and predict make of a case."""
    model, task, genome = tools

    def embedded(fasta, output: Path, **more) -> int | DnatkError:
        options = EmbedOptions(on_error="na", **CPU)
        summary = outcome(lambda: dnatk.embed(fasta, output, model=model, options=options, **more))
        if not good(summary):
            assert not output.exists()
            return summary
        regions, vectors = read_embeddings(output)
        assert len(regions) == len(vectors) == summary.rows
        assert (np.isfinite(vectors).all(axis=1) == (regions["status"] == 0)).all()
        output.unlink()
        return summary.rows

    def predicted(source, output: Path) -> list[list[str]] | DnatkError:
        options = PredictOptions(provenance=False, header=False, **CPU)
        summary = outcome(
            lambda: dnatk.predict(source, output, task=task, genome=genome, options=options)
        )
        if not good(summary):
            assert not output.exists()
            return summary
        rows = [line.split("\t") for line in output.read_text("utf-8").split("\n")[:-1]]
        assert len(rows) == summary.rows
        assert len({len(row) for row in rows}) == 1
        output.unlink()
        return rows

    def check(case: Case, directory: Path) -> str:
        path = directory / "input"
        path.write_bytes(case.data)
        by_stream, by_bed = outcome(streamed, path), outcome(places, path)
        found = predicted(path, directory / "out")
        if good(found):
            rows = by_bed if good(by_bed) else [(name, 0, len(b)) for name, b in by_stream]
            assert [row[:3] for row in found] == [[n, str(a), str(b)] for n, a, b, *_ in rows]
        else:
            assert not good(by_stream), f"predict refused a FASTA that can be read: {found}"
        by_regions = embedded(genome, directory / "out", bed=path)
        assert good(by_regions) == good(by_bed), f"{by_regions}"
        assert not good(by_bed) or by_regions == len(by_bed)
        by_file = embedded(path, directory / "out")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(case.data)))
        by_stdin = embedded("-", directory / "out")
        assert not (good(by_file) and good(by_stdin)) or by_file == by_stdin
        return "predicted" if good(found) else "refused"

    return check


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_embed_and_predict_give_every_row_or_one_error(place, check_commands):
    outcomes = every(check_commands, range(40), place)
    assert {"predicted", "refused"} == {key[-1] for key in outcomes}


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 1000, 250))
def test_embed_and_predict_give_every_row_or_one_error_a_thousand_times(
    place, check_commands, first
):
    every(check_commands, range(first, first + 250), place)
