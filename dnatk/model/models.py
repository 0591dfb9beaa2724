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
from dnatk.model.places import FACTS_FILE, last_kmer, model_directory

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
        has_cls: whether the first token's state tells of the sequence.
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
    has_cls: bool = True


def find_model(model: str | Path) -> Model:
    """A model by its name or directory.

    Raises:
        ModelError: as :func:`read_model` and :func:`dnatk.model.foreign.load_foreign`.
    """
    if not is_native(model):
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


def is_native(model: str | Path) -> bool:
    """Whether dnatk's own encoder runs ``model``: BERT's layout with a vocabulary of k-mers.

    So is what is damaged: :func:`read_model` says what is wrong.
    """
    directory = model_directory(model)
    try:
        kind = read_json(directory / "config.json").get("model_type")
    except ModelError:
        return True
    if kind != "bert":
        return not isinstance(kind, str)
    if (directory / FACTS_FILE).exists() or last_kmer(directory):
        return True
    return not any((directory / name).exists() for name in ("vocab.txt", "tokenizer.json"))


def _foreign(model: str | Path) -> Model:
    from dnatk.model.foreign import check_told, load_foreign, state_sha256
    from dnatk.model.placement import resolve_device, resolve_precision

    trunk, tokens, longest = load_foreign(model)
    check_told(trunk.model.config, "num_hidden_layers", str(model))
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
        has_cls=trunk.has_cls,
    )
