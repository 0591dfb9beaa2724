"""Predictions as text: golden files for every format and source, each with every kind of task."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dnatk
from dnatk.errors import InputError
from dnatk.genome.bed import read_bed
from dnatk.genome.regions import Region
from dnatk.labelled.dataset import LabelSpace
from dnatk.output.provenance import provenance
from dnatk.output.table import FORMATS, Labeller, Prediction, Table, shown_classes
from dnatk.training.metrics import predicted

GOLDEN = Path(__file__).parent / "golden"

BINARY = LabelSpace("binary", ("other", "promoter"))
SPACES = {
    "binary": BINARY,
    "multiclass": LabelSpace("multiclass", ("none", "donor", "acceptor site")),
    "multilabel": LabelSpace("multilabel", ("H3K4me3", "H3,ac", "tab\there")),
    "regression": LabelSpace("regression", ("expression",)),
    "regression-2": LabelSpace("regression", ("dev", "hk")),
    "per-base": LabelSpace("per-base", ("exon", "intron")),
}
OUTPUTS = {
    "binary": [[0.1, 0.9], [0.50004, 0.49996], [1.0, 0.0]],
    "multiclass": [[0.2, 0.7, 0.1], [0.25, 0.25, 0.5], [1, 0, 0]],
    "multilabel": [[0.9, 0.2, 0.5], [0.1, 0.2, 0.3], [1, 1, 1]],
    "regression": [[-1.25], [1234567.8], [-0.0]],
    "regression-2": [[0.000012345, 12], [-3, 1 / 3], [1e-12, -0.0]],
    "per-base": [
        [[0.75, 0.25]] * 2 + [[0, 0]] + [[0.25, 0.75]],
        [[0.5, 0.5]],
        [[0, 1], [1, 0]],
    ],
}
BED = [
    "chr1\t0\t100\tgene A\t960\t+\t0\t100\t255,0,0",
    "chr1\t007\t50\t.\t.\t-\t\t50\t0",
    "chr2 5 9 x 0.50",
    "chrQ\t5\t9\tpère\t1e999\t.\t5\t9\t0",
]


def bed_regions(tmp_path: Path, lines: list[str]) -> list[Region]:
    (tmp_path / "r.bed").write_text("\n".join(lines) + "\n")
    return list(read_bed(tmp_path / "r.bed"))


def predictions(regions: list[Region], kind: str) -> list[Prediction]:
    label = Labeller(SPACES[kind])
    scored = [
        label(region, np.array(output, dtype=np.float32))
        for region, output in zip(regions, OUTPUTS[kind], strict=False)
    ]
    return [*scored, Prediction.unscored(regions[-1], "unknown_contig")]


def written(rows: list[Prediction], *, header=True, provenance=(), **options) -> str:
    table = Table(rows[0].region, **options)
    return table.head(header=header, provenance=provenance) + "".join(table.rows(rows))


def regions_of(source: str, tmp_path: Path) -> list[Region]:
    if source == "bed":
        return bed_regions(tmp_path, BED)
    return [
        Region("seq1", 0, 300, name="seq1"),
        Region("seq1", 150, 450),
        Region("z|2", 0, 70, name="z|2"),
        Region("empty", 0, 0, name="empty"),
    ]


LINES = provenance(
    command="dnatk predict --task promoter r.bed",
    task="promoter",
    task_sha256="ab" * 32,
    trunk_sha256="cd" * 32,
    source="r.bed",
    genome="genome.fa",
)


@pytest.mark.parametrize("source", ["bed", "fasta"])
@pytest.mark.parametrize("format", FORMATS)
def test_every_format_source_and_kind_is_as_the_golden_file(format, source, tmp_path):
    parts = []
    lines = [line.replace(dnatk.__version__, "0.0") for line in LINES]
    for kind, space in SPACES.items():
        for probabilities in (False, True):
            if probabilities and space.kind == "regression":
                continue
            text = written(
                predictions(regions_of(source, tmp_path), kind),
                space=space,
                format=format,
                source=source,
                probabilities=probabilities,
                provenance=lines if kind == "binary" else (),
            )
            parts.append(f"== {kind}{' --probabilities' if probabilities else ''}\n{text}")
    golden = GOLDEN / f"table_{source}.{format}.txt"
    assert "".join(parts) == golden.read_text("utf-8")


# The rows as a user's tools see them


def test_input_columns_are_untouched_and_results_stand_after_them(tmp_path):
    regions = bed_regions(tmp_path, BED[:2])
    rows = written(predictions(regions, "binary")[:2], space=BINARY).splitlines()
    names = "#chrom start end name bed_score strand col7 col8 col9 label score note"
    assert rows[0] == names.replace(" ", "\t")
    for line, row in zip(BED, rows[1:], strict=False):
        assert row.startswith(line + "\t")


@pytest.mark.parametrize("n_columns", [3, 4, 6, 7, 12])
def test_the_header_has_as_many_columns_as_the_input(tmp_path, n_columns):
    line = "\t".join(["chr1", "0", "9", "x", "0", "+", *"090100"][:n_columns])
    header, row = written(
        predictions(bed_regions(tmp_path, [line]), "binary")[:1], space=BINARY
    ).splitlines()
    assert len(header.split("\t")) == len(row.split("\t")) == n_columns + 3
    assert header.split("\t")[-3:] == ["label", "score", "note"]


def test_a_longer_line_than_the_first_is_refused_after_the_rows_before_it(tmp_path):
    regions = bed_regions(tmp_path, ["chr1\t0\t9", "chr1\t0\t8", "# x", "chr1\t0\t9\tname"])
    lines = []
    with pytest.raises(InputError, match=r"r\.bed:4: has 4 columns, the first region has 3"):
        lines.extend(Table(regions[0], space=BINARY).rows(predictions(regions, "binary")))
    assert len(lines) == 2


def test_regions_without_a_line_have_six_columns():
    text = written(predictions([Region("chr1", 4, 9, "-")], "binary")[:1], space=BINARY)
    assert text.splitlines()[1] == "chr1\t4\t9\tchr1:5-9\t.\t-\tpromoter\t0.9000\t."


def test_header_and_provenance_can_be_left_out():
    rows = predictions([Region("chr1", 4, 9)], "binary")[:1]
    assert len(written(rows, space=BINARY, header=False).splitlines()) == 1
    assert written(rows, space=BINARY).startswith("#chrom\t")


def test_pandas_reads_a_table(tmp_path):
    text = written(
        predictions(bed_regions(tmp_path, BED), "multiclass"),
        space=SPACES["multiclass"],
        probabilities=True,
        provenance=LINES,
    )
    frame = pd.read_csv(io.StringIO(text), sep="\t", skiprows=len(LINES))
    assert frame["score"].tolist()[:3] == [0.7, 0.5, 1.0]
    assert frame["p_acceptor site"].isna().tolist() == [False, False, False, True]
    assert frame["note"].tolist() == [".", ".", ".", "unknown_contig"]


def test_json_lines_are_numbers_text_and_null(tmp_path):
    text = written(
        predictions(bed_regions(tmp_path, BED), "binary"),
        space=BINARY,
        format="jsonl",
        probabilities=True,
        provenance=LINES,
    )
    rows = [json.loads(line) for line in text.splitlines()]
    assert len({tuple(row) for row in rows}) == 1, "keys and their order are those of every row"
    assert rows[0] == {
        "chrom": "chr1", "start": 0, "end": 100, "name": "gene A", "bed_score": 960, "strand": "+",
        "col7": "0", "col8": "100", "col9": "255,0,0", "label": "promoter", "score": 0.9,
        "note": ".", "p_other": 0.1, "p_promoter": 0.9,
    }  # fmt: skip
    assert (rows[1]["start"], rows[1]["bed_score"], rows[2]["bed_score"]) == (7, None, 0.5)
    last = rows[-1]
    assert [last[key] for key in ("label", "score", "p_other")] == [None, None, None]
    assert (last["note"], last["bed_score"]) == ("unknown_contig", "1e999")


def test_a_class_named_na_is_a_label():
    space = LabelSpace("binary", ("x", "NA"))
    row = Labeller(space)(Region("c", 0, 1), np.array([0.1, 0.9]))
    assert json.loads(written([row], space=space, format="jsonl"))["label"] == "NA"


# Label and score


def test_thresholds_decide_labels_not_scores():
    region = Region("c", 0, 1)
    found = Labeller(BINARY, 0.95)(region, np.array([0.1, 0.9]))
    assert (found.label, found.score) == ("other", 0.9)
    assert Labeller(BINARY, [0.9])(region, np.array([0.1, 0.9])).label == "promoter"
    space = LabelSpace("multilabel", ("a", "b"))
    assert Labeller(space)(region, np.array([0.6, 0.5])).label == "a,b"
    found = Labeller(space, (0.7, 0.4))(region, np.array([0.6, 0.5]))
    assert (found.label, found.score) == ("b", 0.6)
    assert Labeller(space, 0.8)(region, np.array([0.6, 0.5])).label == "."


@given(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3), st.floats(0, 1, width=32))
@settings(max_examples=60, deadline=None)
def test_labels_are_those_that_evaluation_counts(output, threshold):
    region = Region("c", 0, 1)
    for kind, classes in (("binary", "ab"), ("multiclass", "abc"), ("multilabel", "abc")):
        space = LabelSpace(kind, tuple(classes))
        output_C = np.array(output[: len(classes)], dtype=np.float32)
        expected = predicted(space, output_C[None], np.float64(threshold))[0]
        label = Labeller(space, threshold)(region, output_C).label
        if kind == "multilabel":
            assert label == (
                ",".join(c for c, on in zip(classes, expected, strict=True) if on) or "."
            )
        else:
            assert label == classes[expected]


def test_a_region_scored_base_by_base_is_told_in_runs():
    label = Labeller(LabelSpace("per-base", ("exon", "in,tron")))
    output_BC = np.array([[0.9, 0.1], [0.8, 0.2], [0, 0], [0.3, 0.7], [0.6, 0.4]])
    found = label(Region("c", 0, 5), output_BC)
    assert found.label == "exon:2,NA:1,in_tron:1,exon:1"
    assert found.score == pytest.approx((0.9 + 0.8 + 0.7 + 0.6) / 4)
    assert found.probability == pytest.approx([2.6 / 4, 1.4 / 4])


def test_probabilities_of_a_regression_are_refused():
    with pytest.raises(InputError, match="no probabilities"):
        Table(Region("c", 0, 1), space=SPACES["regression"], probabilities=True)


@given(
    st.lists(st.text(max_size=6), min_size=2, max_size=4, unique=True),
    st.sampled_from(["multiclass", "multilabel", "regression"]),
    st.floats(allow_nan=True, allow_infinity=True, width=32),
)
@settings(max_examples=80, deadline=None)
def test_any_class_name_and_number_keeps_the_table_rectangular(names, kind, number):
    space = LabelSpace(kind, tuple(names))
    row = Labeller(space)(Region("c", 0, 1), np.full(len(names), number))
    options = {"space": space, "probabilities": kind != "regression"}
    header, line = written([row], **options).rstrip("\n").split("\n")
    assert len(header.split("\t")) == len(line.split("\t")) == 6 + 3 + len(names)
    assert "-0.0000" not in line
    if len(set(shown_classes(space))) == len(names):
        assert len(json.loads(written([row], **options, format="jsonl"))) == 6 + 3 + len(names)


def test_minus_zero_is_zero():
    for kind, value in (("regression", -0.0), ("multiclass", -1e-9)):
        row = Prediction(Region("c", 0, 1), "x", value)
        assert written([row], space=SPACES[kind]).split("\t")[-2] in ("0", "0.0000")


# Provenance


def test_provenance_tells_what_made_the_table_and_nothing_of_the_moment():
    found = [*LINES]
    assert found == [
        f"##dnatk version={dnatk.__version__}",
        "##dnatk command=dnatk predict --task promoter r.bed",
        "##dnatk task=promoter",
        f"##dnatk task_sha256={'ab' * 32}",
        f"##dnatk trunk_sha256={'cd' * 32}",
        "##dnatk genome=genome.fa",
        "##dnatk input=r.bed",
    ]


def test_provenance_is_a_line_for_each_fact_whatever_the_names():
    lines = provenance(
        command="dnatk predict 'a\nb\u2028c'", task="t", task_sha256="", trunk_sha256="", source="-"
    )
    assert [line.splitlines() for line in lines] == [[line] for line in lines]
    assert lines[-1] == "##dnatk input=<stdin>"
    assert not any("genome" in line for line in lines)


def test_an_unscored_row_is_na_whatever_it_holds():
    row = Prediction(Region("c", 0, 1), "x", 0.3, "too_short", np.array([0.7, 0.3]))
    text = written([row], space=BINARY, probabilities=True)
    assert text.splitlines()[1].split("\t")[6:] == ["NA", "NA", "too_short", "NA", "NA"]
    assert math.isnan(Prediction.unscored(row.region, "too_short").score)
