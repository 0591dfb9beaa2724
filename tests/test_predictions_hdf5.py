"""Files of predictions: what is written is read back, in constant memory."""

from __future__ import annotations

import json
import tracemalloc

import h5py
import numpy as np
import pandas as pd
import pytest

from dnatk.errors import InputError
from dnatk.genome.regions import Region
from dnatk.labelled.dataset import LabelSpace
from dnatk.output.frames import read_embeddings, read_predictions
from dnatk.output.predictions_hdf5 import PredictionWriter
from dnatk.output.status import Status
from dnatk.output.table import Labeller, Prediction

SPACE = LabelSpace("multiclass", ("none", "donor,é", "acceptor"))
REGIONS = [
    Region("chr1", 0, 9, "-", "gene å"),
    Region("chrQ", 5, 8),
    Region("chr2", 3, 10**12, "+"),
]
CONTIGS = {"chr2": 200, "chr1": 100}


def write(path, rows, *, space=SPACE, batch=2, **options):
    writer = PredictionWriter(path, space=space, contigs=CONTIGS, attributes={"k": 6}, **options)
    for i in range(0, len(rows), batch):
        writer.append(rows[i : i + batch])
    writer.finish()
    return path


@pytest.fixture
def rows():
    label = Labeller(SPACE)
    return [
        label(REGIONS[0], np.array([0.25, 0.5, 0.25]), np.array([1.0, -2.0])),
        Prediction.unscored(REGIONS[1], Status.UNKNOWN_CONTIG.note),
        label(REGIONS[2], np.array([0.0, 0.125, 0.875]), np.array([0.5, 65504.0])),
    ]


def test_what_is_written_is_read_back(tmp_path, rows):
    frame, vectors = read_predictions(write(tmp_path / "p.h5", rows, width=2))
    assert frame["contig"].tolist() == ["chr1", "chrQ", "chr2"]
    assert frame["start"].tolist() == [0, 5, 3]
    assert frame["end"].tolist() == [9, 8, 10**12]
    assert frame["strand"].tolist() == ["-", ".", "+"]
    assert frame["name"].tolist() == ["gene å", "chrQ:6-8", f"chr2:4-{10**12}"]
    assert frame["status"].tolist() == [0, Status.UNKNOWN_CONTIG, 0]
    assert frame["label"].tolist() == ["donor,é", "NA", "acceptor"]
    np.testing.assert_array_equal(frame["score"], np.float32([0.5, np.nan, 0.875]))
    np.testing.assert_array_equal(frame["p_donor,é"], np.float32([0.5, np.nan, 0.125]))
    np.testing.assert_array_equal(vectors, np.float16([[1, -2], [np.nan] * 2, [0.5, 65504]]))
    assert frame.attrs["kind"] == "multiclass"
    assert frame.attrs["k"] == 6


def test_frames_can_be_written_as_parquet(tmp_path, rows):
    pytest.importorskip("pyarrow")
    frame, _ = read_predictions(write(tmp_path / "p.h5", rows))
    json.dumps(frame.attrs)
    frame.to_parquet(tmp_path / "p.parquet")
    assert pd.read_parquet(tmp_path / "p.parquet").equals(frame)


def test_what_is_no_such_file_is_told(tmp_path, rows):
    path = write(tmp_path / "p.h5", rows)
    with pytest.raises(InputError, match="is not an embedding file of dnatk"):
        read_embeddings(path)
    with h5py.File(path, "a") as file:
        del file["prediction/score"]
    with pytest.raises(InputError, match="has no dataset /prediction/score"):
        read_predictions(path)
    with h5py.File(path, "a") as file:
        file.attrs["format_version"] = 99
    with pytest.raises(InputError, match="has version 99 of dnatk-prediction, this dnatk reads"):
        read_predictions(path)


def test_vectors_are_there_only_where_asked_for(tmp_path, rows):
    path = write(tmp_path / "p.h5", rows)
    assert read_predictions(path)[1] is None
    path = write(tmp_path / "p.h5", rows, width=2, dtype="float32")
    assert read_predictions(path)[1].dtype == np.float32


def test_the_layout_is_as_documented(tmp_path, rows):
    with h5py.File(write(tmp_path / "p.h5", rows, width=2)) as file:
        found = {}
        file.visititems(
            lambda name, item: (
                found.update({name: (item.shape, item.dtype)})
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
        assert file.attrs["format"] == "dnatk-prediction"
    text = h5py.string_dtype("utf-8")
    assert found == {
        "region/contig": ((3,), "u4"), "region/start": ((3,), "i8"), "region/end": ((3,), "i8"),
        "region/strand": ((3,), "S1"), "region/name": ((3,), text), "region/status": ((3,), "u1"),
        "contig/name": ((3,), text), "contig/length": ((3,), "i8"),
        "prediction/class": ((3,), text), "prediction/label": ((3,), text),
        "prediction/score": ((3,), "f4"), "prediction/probability": ((3, 3), "f4"),
        "embedding": ((3, 2), "f2"),
    }  # fmt: skip


def test_a_regression_has_values(tmp_path):
    space = LabelSpace("regression", ("dev", "hk"))
    row = Labeller(space)(REGIONS[0], np.array([-1.5, 1e9]))
    frame, _ = read_predictions(write(tmp_path / "p.h5", [row], space=space))
    assert frame[["label", "score", "value_dev", "value_hk"]].iloc[0].tolist() == [
        ".", -1.5, -1.5, 1e9,
    ]  # fmt: skip


def test_streamed_contigs_are_known_when_they_come(tmp_path, rows):
    met = {}
    writer = PredictionWriter(tmp_path / "p.h5", space=SPACE, lengths=met, attributes={})
    for row in rows:
        met[row.region.contig] = 50
        writer.append([row])
    writer.finish()
    assert read_predictions(tmp_path / "p.h5")[0]["contig"].tolist() == ["chr1", "chrQ", "chr2"]


def test_every_reason_has_a_word():
    assert Status.SCORED.note == "."
    assert {Status[status.note.upper()] for status in Status if status} == set(Status) - {0}


def test_other_and_unfinished_files_are_refused(tmp_path, rows):
    path = write(tmp_path / "p.h5", rows)
    with pytest.raises(InputError, match="is not an embedding file"):
        read_embeddings(path)
    with pytest.raises(InputError, match="no such file"):
        read_predictions(tmp_path / "none.h5")
    with h5py.File(path, "a") as file:
        file.attrs["complete"] = False
    with pytest.raises(InputError, match="is not complete"):
        read_predictions(path)
    (tmp_path / "t.h5").write_text("text")
    with pytest.raises(InputError, match="is no HDF5 file"):
        read_predictions(tmp_path / "t.h5")


def test_memory_does_not_grow_with_the_rows(tmp_path):
    rows = [
        Labeller(SPACE)(REGIONS[0], np.array([0.2, 0.5, 0.3]), np.zeros(64)) for _ in range(100)
    ]
    writer = PredictionWriter(
        tmp_path / "p.h5", space=SPACE, contigs=CONTIGS, attributes={}, width=64
    )
    peaks = []
    for _ in range(3):
        tracemalloc.start()
        for _ in range(100):
            writer.append(rows)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    writer.finish()
    assert max(peaks[1:]) < 4e6
    assert len(read_predictions(tmp_path / "p.h5")[0]) == 30_000
