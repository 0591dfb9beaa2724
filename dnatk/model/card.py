"""What a model directory says of itself, told from its files without importing torch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dnatk.errors import ModelError, first_line
from dnatk.model.checked import OBJECT, Rule, check, list_of, read_json, shown, whole
from dnatk.model.checksums import SUMS_FILE
from dnatk.model.places import (
    CONFIG_FILE,
    FACTS_FILE,
    SHIPPED,
    existing_model,
    last_kmer,
    user_models,
)
from dnatk.output.files import size_and_sha256

PULLED_FILE = "pulled.json"  # repository and commit of a model that came from a hub
INDEX_FILE = "model.safetensors.index.json"
# What a plain transformers model needs to be loaded. Code and checkpoints stay behind.
MODEL_FILES = ("*.safetensors", "*.json", "vocab.txt", "merges.txt", "*.model", "*.md", "LICENSE*")
PICKLES = ("pytorch_model*.bin",)

_PIECES = Rule(
    "files by tensors",
    lambda v: isinstance(v, dict) and bool(v) and all(isinstance(p, str) for p in v.values()),
)
# A run that trained the model, or all of them in order.
_RUNS = Rule(
    "a run, or a list of runs, each with the bases of its sources",
    lambda v: all(map(_is_run, v if isinstance(v, list) else [v])),
)
_FACTS = {"k": whole(0), "kmer_stride": whole(0), "training": _RUNS}
_NUMBERS = whole(0, 1 << 62)  # more is in no file
_SIZES = ("num_hidden_layers", "hidden_size", "num_attention_heads", "max_position_embeddings")


@dataclass(frozen=True)
class ModelCard:
    """Facts of a model.

    Attributes:
        name: the directory's, by which shipped models and the user's own are named.
        origin: "shipped", "yours" or "directory".
        kind: the architecture, as transformers calls it ("bert").
        layers, hidden, heads, positions: sizes; None where config.json does not say.
        k, kmer_stride: of its tokens; 0, 0 where these are no k-mers.
        weights: its weights files.
        facts: dnatk.json, empty for other makes.
        pulled: {"repo", "revision"} of a model from a hub, else empty.
    """

    name: str
    directory: Path
    origin: str
    kind: str
    layers: int | None
    hidden: int | None
    heads: int | None
    positions: int | None
    k: int
    kmer_stride: int
    weights: tuple[Path, ...]
    facts: dict[str, Any]
    pulled: dict[str, Any]

    @classmethod
    def read(cls, model: str | Path) -> ModelCard:
        """The card of a model by its name or directory; its weights are not read.

        Raises:
            ModelError: no such model, or a file of it is missing or damaged.
        """
        directory = existing_model(model)
        path = directory / CONFIG_FILE
        config = read_json(path)
        told = [name for name in _SIZES if config.get(name) is not None]
        check(config, dict.fromkeys(told, whole(1)), path)
        facts = _optional(directory / FACTS_FILE)
        check(facts, _FACTS, directory / FACTS_FILE)
        k = facts.get("k", last_kmer(directory) if config.get("model_type") == "bert" else 0)
        sizes = [config.get(name) for name in _SIZES]
        roots = {SHIPPED: "shipped", user_models(): "yours"}
        return cls(
            directory.name or directory.resolve().name,
            directory,
            roots.get(directory.parent, "directory"),
            str(config.get("model_type", "unknown")),
            *sizes,
            k,
            facts.get("kmer_stride", 1 if k else 0),
            tuple(_weights(directory)),
            facts,
            _optional(directory / PULLED_FILE),
        )

    @cached_property
    def parameters(self) -> int | None:
        """How many numbers the weights hold; None of pickles, which are not opened."""
        return sum(size for size, _ in self._tensors) or None

    @cached_property
    def dtype(self) -> str:
        """Of the weights ("F16"), or several with "+"; "" of pickles."""
        return "+".join(sorted({dtype for _, dtype in self._tensors}))

    @cached_property
    def bytes(self) -> int:
        """Size of the weights."""
        return sum(path.stat().st_size for path in self.weights)

    @cached_property
    def sha256(self) -> dict[str, str]:
        """Weights file -> hexadecimal sha256."""
        return {path.name: size_and_sha256(path)[1] for path in self.weights}

    @cached_property
    def _tensors(self) -> list[tuple[int, str]]:
        return [each for path in self.weights for each in _header(path)]

    @property
    def text(self) -> str:
        """The README of the directory, "" where there is none."""
        try:
            return (self.directory / "README.md").read_text("utf-8", "replace").strip()
        except OSError:
            return ""

    def as_dict(self) -> dict[str, Any]:
        """What ``dnatk models --json`` tells."""
        names = ("name", "origin", "kind", "layers", "hidden", "heads", "positions", "k")
        return {
            **{name: getattr(self, name) for name in names},
            "kmer_stride": self.kmer_stride,
            "parameters": self.parameters,
            "dtype": self.dtype,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "recorded": (self.directory / SUMS_FILE).exists(),
            "pulled": self.pulled or None,
            "directory": str(self.directory),
        }


def longest_window(positions: int, k: int, kmer_stride: int) -> int:
    """The longest window in bases whose k-mers, [CLS] and [SEP] have a position each."""
    return (positions - 3) * kmer_stride + k


def _is_run(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    sources = value.get("sources", [])
    return list_of(OBJECT).holds(sources) and all(
        whole(0, 1 << 62).holds(source.get("bases", 0)) for source in sources
    )


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}


def _weights(directory: Path) -> Iterator[Path]:
    """The weights files that would be loaded: safetensors, whole or in pieces, before pickles.

    Where there is more than one kind, that which transformers would take.
    """
    if (whole_file := directory / "model.safetensors").is_file():
        yield whole_file
        return
    if (index := directory / INDEX_FILE).is_file():
        pieces = read_json(index).get("weight_map")
        if not _PIECES.holds(pieces):
            raise ModelError("has no weight_map", path=index)
        found = [directory / name for name in sorted(set(pieces.values()))]
        missing = [path.name for path in found if not path.is_file()]
        if missing:
            raise ModelError(f"has no {shown(missing[0])}", path=directory)
        yield from found
        return
    for pattern in PICKLES:
        if found := sorted(directory.glob(pattern)):
            yield from found
            return
    raise ModelError("has no weights (model.safetensors or pytorch_model.bin)", path=directory)


def _header(path: Path) -> list[tuple[int, str]]:
    """(numbers, dtype) of each tensor of a safetensors file; nothing of a pickle."""
    if path.suffix != ".safetensors":
        return []
    try:
        with open(path, "rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            if length > path.stat().st_size:
                raise ValueError("its header is longer than the file")
            header = json.loads(handle.read(length))
        header.pop("__metadata__", None)
        return [(_size(each["shape"]), str(each["dtype"])) for each in header.values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"cannot be read: {first_line(error)}", path=path, hint="is the file cut short?"
        ) from None


def _size(shape: object) -> int:
    """How many numbers a tensor of that shape holds."""
    if not list_of(_NUMBERS).holds(shape) or not _NUMBERS.holds(size := math.prod(shape)):
        raise ValueError(f"{shown(shape)} is no shape")
    return size
