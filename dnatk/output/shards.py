"""Which row files may be made one, and in which order: shards of a run, or files alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dnatk.errors import InputError
from dnatk.output import layout
from dnatk.output.files import check_output, written_whole
from dnatk.output.merge import Piece, merge_rows

# Attributes that may differ: what was typed, and which shard it is.
_OWN = ("command", "config", "shard")
# Why one that must agree may not, where its name does not tell.
_HINTS = {"shard_input": "all shards need the same input and the same --batch-tokens"}


def merge_files(paths: Sequence[str | Path], output: str | Path, *, force: bool = False) -> int:
    """Merge row files into one; the number of its rows.

    All shards of a run, in any order, give the file of the whole run. Others are concatenated in
    the order given. The result has the first file's ``command`` and ``config``.

    Raises:
        InputError: a file is none of dnatk's or unlike the first, or a file or shard is there
            twice, or a shard missing.
        OutputError: the result cannot be written.
    """
    path = check_output(output, force=force, inputs=paths)
    given: dict[Path, str | Path] = {}
    for each in paths:
        if (place := Path(each).resolve()) in given:
            raise InputError("is given twice", path=each)
        given[place] = each
    heads = [_Head.read(Path(each)) for each in paths]
    for other in heads[1:]:
        _check_alike(heads[0], other)
    with written_whole(path) as partial:
        return merge_rows(_pieces(heads), partial, attributes={"shard": None, "shard_input": None})


@dataclass(frozen=True)
class _Head:
    """What is known of a file before its rows are read.

    Attributes:
        facts: what must agree.
        shard: (index from 1, count), None: it is no shard.
    """

    path: Path
    facts: dict[str, object]
    shard: tuple[int, int] | None

    @classmethod
    def read(cls, path: Path) -> _Head:
        with layout.open_rows(path) as file, layout.damage_told(path):
            facts = {key: value for key, value in file.attrs.items() if key not in _OWN}
            facts |= _shape(file, path)
            shard = None
            if "shard" in file.attrs:
                match = re.fullmatch(r"(\d+)/(\d+)", str(file.attrs["shard"]))
                if match is None or not 1 <= int(match[1]) <= int(match[2]):
                    raise InputError(f"has no shard '{file.attrs['shard']}'", path=path)
                shard = int(match[1]), int(match[2])
        return cls(path, facts, shard)


def _shape(file, path: Path) -> dict[str, object]:
    """Width and type of the numbers, and the classes."""
    facts: dict[str, object] = {"per-token vectors": layout.is_per_token(file)}
    name = layout.vector_name(file)
    if name is not None:
        vectors = layout.dataset(file, name, path)
        facts |= {"width": vectors.shape[-1], "dtype": str(vectors.dtype)}
    if layout.is_prediction(file):
        facts["classes"] = layout.dataset(file, "prediction/class", path).asstr()[:].tolist()
    return facts


def _check_alike(first: _Head, other: _Head) -> None:
    for key in dict.fromkeys([*first.facts, *other.facts]):
        one, two = first.facts.get(key, "none"), other.facts.get(key, "none")
        if not np.array_equal(one, two):
            raise InputError(
                f"has {key} {two}, {first.path} has {one}",
                path=other.path,
                hint=_HINTS.get(key, "only files that agree in this can be merged"),
            )
    if (first.shard is None) != (other.shard is None):
        whole, part = (first, other) if first.shard is None else (other, first)
        index, count = part.shard
        raise InputError(f"is no shard, but {part.path} is shard {index}/{count}", path=whole.path)


def _pieces(heads: list[_Head]) -> list[Piece]:
    if heads[0].shard is None:
        return [Piece(head.path) for head in heads]
    return [Piece(head.path) for head in _all_shards(heads)]


def _all_shards(heads: list[_Head]) -> list[_Head]:
    """The shards in their order, each of them once."""
    count = heads[0].shard[1]
    found: dict[int, _Head] = {}
    for head in heads:
        index, of = head.shard
        if of != count:
            raise InputError(
                f"is shard {index}/{of}, {heads[0].path} is {heads[0].shard[0]}/{count}",
                path=head.path,
            )
        if index in found:
            raise InputError(f"is shard {index}/{of}, so is {found[index].path}", path=head.path)
        found[index] = head
    missing = [f"{i}/{count}" for i in range(1, count + 1) if i not in found]
    if missing:
        shown = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
        raise InputError(f"{'shard' if len(missing) == 1 else 'shards'} missing: {shown}")
    return [found[i] for i in range(1, count + 1)]
