"""The end of a run: its parts become the file that was asked for, or it is there already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from dnatk.errors import InputError, OutputError
from dnatk.output import layout
from dnatk.output.layout import damage_told
from dnatk.output.merge import Piece, merge_rows
from dnatk.output.part_store import NAMES, PartStore, unfinished


def finished_rows(path: Path, file_format: str, facts: Mapping[str, object]) -> int | None:
    """Rows of a finished file at ``path``; None where there is none, or a run is at it.

    Args:
        facts: that stand in its root; "embeddings": whether it has vectors; "dtype": of these.

    Raises:
        OutputError: it is damaged, or has other ``facts`` than these.
    """
    if not path.exists() or unfinished(path):
        return None
    try:
        with damage_told(path), layout.open_rows(path, only=file_format) as file:
            held = {"embeddings": "embedding" in file, **file.attrs}
            if (vectors := layout.vector_name(file)) is not None:
                held["dtype"] = file[vectors].dtype.name
            # A file of the whole has no shard, nor have the facts of such a run.
            for key, now in {"shard": "none", **facts}.items():
                if key not in NAMES and (before := held.get(key, "none")) != now:
                    raise OutputError(
                        f"is finished, but with {key} {before}, not {now}",
                        path=path,
                        hint="name another output, or --force overwrites it",
                    )
            return len(file["region/start"])
    except InputError as error:
        raise OutputError(error.message, path=path, hint="--force overwrites it") from None


def merged_h5(
    store: PartStore,
    final: Path,
    empty: Callable[[Path], None],
    contigs: Mapping[str, int],
) -> tuple[Path, int]:
    """The parts as one HDF5 file that waits for its name.

    Args:
        final: the name it will have: it waits on the same file system.
        empty: writes a file without a row, for a run that has no part.
        contigs: the first ones of /contig.

    Returns:
        Where it is, and its rows.
    """
    merged = staged(store, final, ".h5")
    parts = [store.path(number, ".h5") for number in sorted(store.made)]
    if not parts:
        parts = [store.directory / "merged.empty"]
        empty(parts[0])
    try:
        rows = merge_rows(
            [Piece(part) for part in parts], merged, contigs=contigs, attributes=store.asked
        )
    except BaseException:
        merged.unlink(missing_ok=True)
        raise
    return merged, rows


def staged(store: PartStore, final: Path, suffix: str) -> Path:
    """Where a file waits for its final name: among the parts if that is its directory.

    Args:
        suffix: of its parts; that of its name may be another file's too.
    """
    if final.parent.resolve() == store.output.parent.resolve():
        return store.directory / f"merged{suffix}"
    return final.with_name(f".{final.name}.merged")
