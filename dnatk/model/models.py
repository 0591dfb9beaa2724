"""One face for the models that embed: dnatk's own encoder, and others through transformers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dnatk.errors import ModelError
from dnatk.kmers import KmerTokens, Tokens
from dnatk.model.checked import read_json
from dnatk.model.loading import load_encoder, read_model
from dnatk.model.places import model_directory

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Model:
    """What is to be known of a model before it runs.

    Attributes:
        name: as the user gave it.
        sha256: of its weights.
        k, kmer_stride: of its tokens; 0, 0 where these are no k-mers.
        layers, hidden: sizes.
        max_window: the longest window in bases that fits in any case.
        trained_window: the longest of which every position is trained.
        tokens: its tokenizer.
        load: gives its encoder; keywords ``device`` and ``precision``.
    """

    name: str
    sha256: str
    k: int
    kmer_stride: int
    layers: int
    hidden: int
    max_window: int
    trained_window: int
    tokens: Tokens
    load: Callable


def find_model(model: str | Path) -> Model:
    """A model by its name or directory.

    Raises:
        ModelError: as :func:`read_model` and :func:`dnatk.model.foreign.load_foreign`.
    """
    if _is_foreign(model):
        return _foreign(model)
    info = read_model(model)
    return Model(
        name=info.name,
        sha256=info.sha256,
        k=info.k,
        kmer_stride=info.kmer_stride,
        layers=info.config.layers,
        hidden=info.config.hidden,
        max_window=info.max_window,
        trained_window=info.trained_window,
        tokens=KmerTokens(info.k, info.kmer_stride),
        load=partial(load_encoder, info),
    )


def warn_of_untrained(window: int, model: str, trained_window: int) -> None:
    """Say it where a window is longer than those that a model was trained on."""
    if window > trained_window:
        log.warning(
            "--window %d: %s was trained on windows of %d bases, what lies behind is guesswork",
            *(window, model, trained_window),
        )


def _is_foreign(model: str | Path) -> bool:
    """Whether a directory holds another architecture, or a BERT whose tokens are no k-mers."""
    directory = model_directory(model)
    try:
        kind = read_json(directory / "config.json").get("model_type")
    except ModelError:
        return False  # read_model says what is wrong
    if kind == "bert":
        return (directory / "tokenizer.json").exists() and not (directory / "vocab.txt").exists()
    return isinstance(kind, str)


def _foreign(model: str | Path) -> Model:
    from dnatk.model.foreign import load_foreign, state_sha256
    from dnatk.model.placement import resolve_device, resolve_precision

    trunk, tokens, longest = load_foreign(model)
    # A token stands for one base at least.
    longest -= len(tokens.prefix) + len(tokens.suffix)

    def load(device: str, precision: str):
        place = resolve_device(device)
        return trunk.to(device=place, dtype=resolve_precision(precision, place)).eval()

    return Model(
        name=str(model),
        sha256=state_sha256(trunk.model),
        k=0,
        kmer_stride=0,
        layers=trunk.model.config.num_hidden_layers,
        hidden=trunk.hidden,
        max_window=longest,
        trained_window=longest,
        tokens=tokens,
        load=load,
    )
