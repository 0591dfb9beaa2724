"""A map of regions: their embeddings in two dimensions, coloured by a column.

Shapes: N rows drawn, D hidden.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dnatk.analysis.region_colours import colours_of
from dnatk.analysis.region_figure import map_figure, map_page
from dnatk.analysis.token_maps import pca_map, tsne_map
from dnatk.errors import InputError, OutputError
from dnatk.output import layout
from dnatk.output.figures import as_svg
from dnatk.output.files import written_whole

METHODS = ("pca", "tsne", "umap")
SUFFIXES = (".png", ".svg", ".pdf", ".html")
MOST = 5000
_FEWEST = 3
_SHOWN = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
_DIMENSIONS = 50


@dataclass(frozen=True)
class MapSummary:
    """What is on a map.

    Attributes:
        method: how it was made, as people write it.
        drawn, rows: points, and rows of the file that have a vector.
        unscored: rows that have none.
        colour: the column; "": none.
        why: a word on the method where it was not chosen.
    """

    method: str
    drawn: int
    rows: int
    unscored: int
    colour: str
    seed: int
    why: str = ""

    def __str__(self) -> str:
        said = [f"{self.drawn:,} rows"]
        if self.drawn < self.rows:
            said = [f"{self.drawn:,} of {self.rows:,} rows, drawn by seed {self.seed}"]
        said.append(self.method + (f" ({self.why})" if self.why else ""))
        said.append(f"coloured by {self.colour}" if self.colour else "without colours")
        if self.unscored:
            rows = "row" if self.unscored == 1 else "rows"
            said.append(f"{self.unscored:,} {rows} without a vector left out")
        return ", ".join(said)


def check_map(target: str | Path, method: str) -> None:
    """Raise where a map could not be made at the end of a long run.

    Raises:
        InputError: umap-learn is asked for and not installed.
        OutputError: the name has no ending that is known.
    """
    if Path(target).suffix.lower() not in SUFFIXES:
        raise OutputError("is no name of a plot", path=target, hint=f"end it in {_list(SUFFIXES)}")
    if method == "umap":
        _umap()


def draw_map(
    path: str | Path,
    target: str | Path,
    *,
    method: str = "",
    colour: str = "",
    bed: str | Path | None = None,
    most: int = MOST,
    seed: int = 42,
) -> MapSummary:
    """Draw the rows of a finished HDF5 file of embeddings (or of predictions that have them).

    The same file, seed and versions give the same picture.

    Args:
        target: a PNG, SVG, PDF or HTML file, by its name; overwritten.
        method: of :data:`METHODS`; "": umap where umap-learn is installed, else pca.
        colour: a column, see :func:`dnatk.analysis.region_colours.colours_of`.
        bed: the regions, for columns that the file does not have.
        most: rows; of more, so many are drawn by ``seed``.

    Raises:
        InputError: no such file or column, or too few rows. OutputError: it cannot be written.
    """
    target = Path(target)
    check_map(target, method)
    why = ""
    if not method:
        method = "umap" if _has_umap() else "pca"
        why = "" if method == "umap" else "umap-learn is not installed"
    with layout.open_rows(path) as file, layout.damage_told(path):
        row_N, rows, unscored = _drawn_rows(file, path, most, seed)
        colours = colours_of(file, path, row_N, colour, bed)
        x_ND = _vectors(file, path, row_N)
        facts = {name: str(file.attrs[name]) for name in _FACTS if name in file.attrs}
    finite_N = np.isfinite(x_ND).all(axis=1)
    if not finite_N.all():
        raise InputError(f"{int((~finite_N).sum())} rows are scored, but not numbers", path=path)
    if method != "pca" and (x_ND == x_ND[0]).all():  # t-SNE and UMAP go by distances
        method, why = "pca", "all vectors are equal"
    xy_N2, axes_names = _placed(x_ND, method, seed)
    summary = MapSummary(_SHOWN[method], len(row_N), rows, unscored, colours.name, seed, why)
    figure = map_figure(xy_N2, axes_names, colours, seed)
    with written_whole(target) as partial:
        _save(figure, partial, target.suffix.lower(), summary, Path(path).name, facts)
    return summary


_FACTS = ("model", "model_sha256", "task", "pool", "layer", "window", "rc", "dnatk_version")


def _drawn_rows(
    file: h5py.File, path: str | Path, most: int, seed: int
) -> tuple[np.ndarray, int, int]:
    """(ascending rows to draw, rows with a vector, rows without)."""
    if layout.is_per_token(file):
        raise InputError(
            "holds a vector for each token, a map needs one for each row",
            path=path,
            hint="embed again without --pool none",
        )
    if layout.vector_name(file) is None:
        raise InputError(
            "holds no embeddings", path=path, hint="dnatk predict --h5 FILE --embeddings keeps them"
        )
    status_N = layout.dataset(file, "region/status", path)[:]
    scored = np.flatnonzero(status_N == 0)
    if len(scored) < _FEWEST:
        raise InputError(
            f"a map needs at least {_FEWEST} rows with a vector, there are {len(scored)}", path=path
        )
    unscored = len(status_N) - len(scored)
    if len(scored) > most:
        chosen = np.random.default_rng(seed).choice(scored, most, replace=False)
        return np.sort(chosen), len(scored), unscored
    return scored, len(scored), unscored


def _vectors(file: h5py.File, path: str | Path, row_N: np.ndarray) -> np.ndarray:
    """(N, D) float32 of some rows; a block of the file at a time is in memory."""
    data = layout.dataset(file, "embedding", path)
    x_ND = np.empty((len(row_N), data.shape[1]), dtype=np.float32)
    for at, block in layout.blocks(data, 0, len(data)):
        low, high = np.searchsorted(row_N, (at, at + len(block)))
        x_ND[low:high] = block[row_N[low:high] - at]
    return x_ND


def _placed(x_ND: np.ndarray, method: str, seed: int) -> tuple[np.ndarray, tuple[str, str]]:
    """(N, 2) points, and the names of the axes."""
    if method == "pca":
        points_N2, shares = pca_map(x_ND)
        first, second = (0.0 if math.isnan(share) else 100 * share for share in shares)
        return points_N2, (f"PC 1 ({first:.1f} % of variance)", f"PC 2 ({second:.1f} %)")
    if method == "tsne":
        return tsne_map(x_ND, seed, 2), ("t-SNE 1", "t-SNE 2")
    return _umap_map(x_ND, seed), ("UMAP 1", "UMAP 2")


def _umap_map(x_ND: np.ndarray, seed: int) -> np.ndarray:
    """(N, 2) UMAP of the first 50 principal components."""
    from sklearn.decomposition import PCA

    umap = _umap()
    # The spectral start needs eigenvectors that a graph of three points does not have.
    start = "spectral" if len(x_ND) > 3 else "random"
    reduced = PCA(min(_DIMENSIONS, *x_ND.shape), svd_solver="full").fit_transform(
        x_ND.astype(np.float64)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on threads and small data: nothing a user could do
        return umap.UMAP(
            n_neighbors=min(15, len(x_ND) - 1), init=start, random_state=seed, n_jobs=1
        ).fit_transform(reduced)


def _has_umap() -> bool:
    try:
        _umap()
    except InputError:
        return False
    return True


def _umap() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what else could be installed
            import umap

        umap.UMAP  # noqa: B018  (another package has the name too)
    except (ImportError, AttributeError):
        raise InputError(
            "umap-learn is not installed", hint="pip install 'dnatk[plot]', or --map pca"
        ) from None
    return umap


def _save(
    figure: Any, path: Path, suffix: str, summary: MapSummary, source: str, facts: dict[str, str]
) -> None:
    if suffix == ".svg":
        path.write_text(as_svg(figure), encoding="utf-8")
    elif suffix == ".html":
        path.write_text(
            map_page(figure, summary.method, str(summary), source, facts), encoding="utf-8"
        )
    else:
        metadata = {"CreationDate": None} if suffix == ".pdf" else None
        figure.savefig(path, format=suffix[1:], dpi=150, facecolor="white", metadata=metadata)


def _list(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
