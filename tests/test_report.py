"""Plots are written for every kind of labels, whole, and left out where there is nothing."""

import errno

import numpy as np
import pytest

from dnatk.errors import OutputError
from dnatk.labelled.dataset import LabelSpace
from dnatk.output.figures import blank, save_figure
from dnatk.training.report import draw_plots

CURVES = {"roc.png", "pr.png", "calibration.png"}
HISTORY = [
    {"step": 10, "part": "train", "loss": 0.7},
    {"step": 20, "part": "dev", "mcc": 0.1, "auroc": 0.6, "pearson": 0.1, "nll": 0.6, "mse": 2.0},
    {"step": 20, "part": "train", "loss": 0.5},
    {"step": 40, "part": "dev", "mcc": float("nan"), "auroc": 0.7, "pearson": 0.2, "nll": 0.5},
]


def outputs(kind: str, n_classes: int, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    if kind == "regression":
        return rng.normal(size=(n, n_classes)), rng.normal(size=(n, n_classes))
    p = rng.random((n, n_classes)) + 0.01
    if kind == "multilabel":
        return (rng.random((n, n_classes)) < 0.4).astype(np.float32), p / 1.01
    return np.arange(n) % n_classes, p / p.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("kind", "classes", "expected"),
    [
        ("binary", ("no", "yes"), CURVES | {"confusion.png"}),
        ("multiclass", ("_a", "cost $x$ \\", "a very long name of a class indeed"), None),
        ("multiclass", tuple(f"class {i}" for i in range(14)), CURVES | {"confusion.png"}),
        ("per-base", ("out", "in"), CURVES | {"confusion.png"}),
        ("multilabel", ("x", "y"), CURVES),
        ("multilabel", ("x",), CURVES),
        ("regression", ("expression",), {"scatter.png"}),
        ("regression", tuple("abcdefgh"), {"scatter.png"}),
    ],
)
def test_the_plots_of_a_kind(tmp_path, kind, classes, expected):
    targets, output = outputs(kind, len(classes))
    written = draw_plots(tmp_path, LabelSpace(kind, classes), targets, output, HISTORY)
    expected = expected or CURVES | {"confusion.png"}
    assert {path.name for path in tmp_path.iterdir()} == expected | {"learning_curve.png"}
    assert {f"{name}.png" for name in written} == expected | {"learning_curve.png"}
    for path in tmp_path.iterdir():
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    for svg in written.values():
        assert svg.rstrip().endswith("</svg>")


def test_a_figure_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    """And nothing of its own, half written."""
    figure, target = blank(2, 1), tmp_path / "a.png"
    save_figure(figure, target)
    whole = target.read_bytes()
    assert whole[:8] == b"\x89PNG\r\n\x1a\n"
    write = figure.savefig

    def full(*args, **options):
        write(*args, **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(figure, "savefig", full)
    for target in (tmp_path / "a.png", tmp_path / "b.png"):
        with pytest.raises(OutputError) as error:
            save_figure(figure, target)
        assert str(error.value) == f"{target}: cannot be written: No space left on device"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == whole


def test_one_class_has_no_curves(tmp_path):
    output = outputs("binary", 2)[1]
    draw_plots(tmp_path, LabelSpace("binary", ("no", "yes")), np.ones(60, int), output, [])
    assert {path.name for path in tmp_path.iterdir()} == {"calibration.png", "confusion.png"}


def test_constant_and_many_values(tmp_path):
    space = LabelSpace("regression", ("u",))
    draw_plots(tmp_path, space, np.ones((5, 1)), np.ones((5, 1)), [])
    targets, output = outputs("regression", 1, 5000)
    draw_plots(tmp_path, space, targets, output, [{"step": 1, "other": 1.0}])
    assert [path.name for path in tmp_path.iterdir()] == ["scatter.png"]


def test_the_confusion_takes_the_thresholds(tmp_path):
    targets, output = outputs("binary", 2)
    space = LabelSpace("binary", ("no", "yes"))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    draw_plots(tmp_path / "a", space, targets, output, [])
    draw_plots(tmp_path / "b", space, targets, output, [], thresholds=0.9)
    a, b = ((tmp_path / folder / "confusion.png").read_bytes() for folder in "ab")
    assert a != b
    assert (tmp_path / "a/roc.png").read_bytes() == (tmp_path / "b/roc.png").read_bytes()
