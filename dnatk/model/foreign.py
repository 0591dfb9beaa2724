"""Models of other makes: any transformers encoder, through its own tokenizer.

They run packed, with dnatk's attention in place of their own, where that was seen to give what
their own gives; else padded, best sorted by length by the caller. The rest of dnatk sees packed
tokens either way, as of its own encoder.

Shapes: T tokens packed, S sequences, L tokens of the longest one, D hidden.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from dnatk.errors import InputError, ModelError, first_line
from dnatk.kmers import reverse_complement
from dnatk.model.checked import check, read_json, whole
from dnatk.model.places import model_directory

_PROBE = "ACGTTGCAAGCTTCGATCCGGATA"
_LONG_PROBE = _PROBE * 100
_BASES = set("ACGTU")
_LAYER = re.compile(r"\b(?:layers?|h|blocks?)\.(\d+)\.")
_LENGTH = whole(3, 1 << 100)  # transformers' "unlimited" is 1e30


class TextTokens:
    """A transformers tokenizer that reads DNA as text; see :class:`dnatk.kmers.Tokens`."""

    def __init__(self, tokenizer, name: str) -> None:
        self._tokenizer = tokenizer
        _let_long_words_be(tokenizer)
        ids = tokenizer(_PROBE)["input_ids"]
        special = tokenizer.get_special_tokens_mask(ids, already_has_special_tokens=True)
        inner = [i for i, mark in enumerate(special) if not mark]
        long = tokenizer(_LONG_PROBE, verbose=False)["input_ids"]
        if not inner or tokenizer.unk_token_id in [ids[i] for i in inner] + long:
            raise ModelError(
                "its tokenizer makes nothing of plain ACGT",
                path=name,
                hint="dnatk hands the bases over as one text; k-mer models need a vocab.txt in "
                "DNABERT's layout",
            )
        self.prefix = np.array(ids[: inner[0]], dtype=np.int64)
        self.suffix = np.array(ids[inner[-1] + 1 :], dtype=np.int64)
        # A token for each base: the other strand has the same ones, turned round.
        self.aligned = len(inner) == len(_PROBE)
        self._special = np.array([i for i in tokenizer.all_special_ids if i is not None])
        # Some vocabularies have a piece for N, or one of marks alone: neither stands for a base.
        vocabulary = [(letters_of(piece), i) for piece, i in tokenizer.get_vocab().items()]
        unknown = [i for letters, i in vocabulary if not letters or not set(letters) <= _BASES]
        self._invalid = np.union1d(self._special, unknown).astype(np.int64)

    def encode(self, bases: np.ndarray) -> np.ndarray:
        text = bases.tobytes().decode("latin-1").upper()
        ids = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return np.array(ids, dtype=np.int64)

    def valid(self, ids: np.ndarray) -> np.ndarray:
        return ~np.isin(ids, self._invalid)

    def reverse_complement(self, ids: np.ndarray) -> np.ndarray:
        # Tokens are pieces of the text, perhaps with marks that are no letters (##AC); what is
        # unknown stays one unknown letter.
        known = ~np.isin(ids, self._special)
        pieces = self._tokenizer.convert_ids_to_tokens(ids.tolist())
        parts = zip(map(letters_of, pieces), known, strict=True)
        text = "".join(part if k else "N" for part, k in parts)
        return self.encode(reverse_complement(np.frombuffer(text.encode(), dtype=np.uint8)))


def _let_long_words_be(tokenizer) -> None:
    """WordPiece makes one unknown token of a word of more than 100 letters: of any sequence."""
    pieces = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
    if hasattr(pieces, "max_input_chars_per_word"):
        pieces.max_input_chars_per_word = 1 << 31


def letters_of(piece: str) -> str:
    """Upper-case letters of a piece, without the marks that tokenizers add (##AC)."""
    return re.sub("[^A-Za-z]", "", piece).upper()


class ForeignTrunk(nn.Module):
    """A transformers encoder that takes and gives packed tokens.

    Attributes:
        first_position: what the model calls the position of a sequence's first token, where it
            runs packed; None: it runs padded.
        max_tokens: the longest sequence, specials included; None: unknown.
        has_cls: whether it puts a token before a sequence whose state tells of what follows; not
            so in models that only look back.
    """

    def __init__(self, model: nn.Module, pad_id: int) -> None:
        super().__init__()
        self.model, self.pad_id = model, pad_id
        self.first_position: int | None = None
        self.max_tokens: int | None = None
        self.has_cls = True

    @property
    def hidden(self) -> int:
        return self.model.config.hidden_size

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype

    def forward(
        self,
        ids_T: torch.Tensor,
        position_T: torch.Tensor,
        lengths: Sequence[int],
        layer: int = -1,
    ) -> torch.Tensor:
        """Hidden states (T, D), as :meth:`dnatk.model.encoder.Encoder.forward`, with gradients."""
        if layer == getattr(self.model.config, "num_hidden_layers", None):
            layer = -1  # the states of all others need not be kept
        if self.first_position is None:
            return self._padded(ids_T, lengths, layer)
        out = self.model(
            input_ids=ids_T[None],
            position_ids=position_T[None] + self.first_position,
            output_hidden_states=layer != -1,
            packed_lengths=tuple(lengths),
        )
        return _layer(out, layer)[0]

    def _padded(self, ids_T, lengths, layer) -> torch.Tensor:
        longest = max(lengths)
        length_S = torch.tensor(lengths, device=ids_T.device)
        real_SL = torch.arange(longest, device=ids_T.device) < length_S[:, None]
        ids_SL = ids_T.new_full(real_SL.shape, self.pad_id)
        ids_SL[real_SL] = ids_T
        out = self.model(
            input_ids=ids_SL,
            attention_mask=real_SL.long(),
            output_hidden_states=layer != -1,
        )
        return _layer(out, layer)[real_SL]


def _layer(out, layer: int) -> torch.Tensor:
    return out.last_hidden_state if layer == -1 else out.hidden_states[layer]


def load_foreign(
    model: str | Path, *, trust_remote_code: bool = False, revision: str = ""
) -> tuple[ForeignTrunk, TextTokens, int]:
    """(trunk in fp32 on the CPU, tokens, longest sequence in tokens) of a transformers model.

    Raises:
        InputError: remote code without a pinned revision.
        ModelError: no such model, weights missing, or a tokenizer that cannot read DNA.
    """
    from transformers import AutoModel, AutoTokenizer

    from dnatk.model.foreign_check import looks_ahead, run_packed
    from dnatk.training.masked_lm import quiet_transformers

    if trust_remote_code and not revision:
        raise InputError(
            "--trust-remote-code needs --revision SHA",
            hint="code from a hub may change; a commit cannot",
        )
    directory = model_directory(model)
    on_disk = os.path.isdir(directory)  # of a name that cannot be one, pathlib raises
    if on_disk:
        model = directory
        read_json(directory / "config.json")
    quiet_transformers()
    options = {"trust_remote_code": trust_remote_code, "revision": revision or None}
    try:
        tokenizer = AutoTokenizer.from_pretrained(model, **options)
        network, loading = AutoModel.from_pretrained(
            model, dtype=torch.float32, output_loading_info=True, **options
        )
    except Exception as error:  # whatever a config or weights that are damaged lead to
        raise ModelError(
            f"cannot be loaded: {_said(error)[:400]}",
            path=str(model),
            hint=None
            if on_disk
            else "without a network, give the directory of a model that was downloaded before",
        ) from None
    _check_loaded(loading, getattr(network.config, "num_hidden_layers", 0), str(model))
    check_told(network.config, "hidden_size", str(model))
    positions = getattr(network.config, "max_position_embeddings", None) or 1 << 20
    limits = {"model_max_length": tokenizer.model_max_length, "max_position_embeddings": positions}
    check(limits, dict.fromkeys(limits, _LENGTH), Path(model))
    longest = min(limits.values())
    tokens = TextTokens(tokenizer, str(model))
    pad = tokenizer.pad_token_id
    trunk = ForeignTrunk(network, 0 if pad is None else pad)
    before = _positions_before(network)
    run_packed(trunk, tokens, min(longest, positions - before), str(model))
    first = before if trunk.first_position is None else trunk.first_position
    trunk.max_tokens = min(longest, positions - first)
    trunk.has_cls = len(tokens.prefix) > 0 and looks_ahead(trunk, tokens)
    return trunk, tokens, trunk.max_tokens


def check_told(config, size: str, path: str) -> None:
    """Raise :class:`ModelError` unless a model's configuration says that size itself.

    Those of several parts keep it in the configuration of a part.
    """
    check({size: getattr(config, size, None)}, {size: whole(0)}, Path(path))


def _positions_before(network: nn.Module) -> int:
    """Positions that no token takes: RoBERTa's kind counts from after the one of padding."""
    modules = network.named_modules()
    tables = [each for name, each in modules if name.endswith("position_embeddings")]
    pads = [getattr(each, "padding_idx", None) for each in tables]
    return max((pad + 1 for pad in pads if pad is not None), default=0)


def _said(error: Exception) -> str:
    """What transformers says, on one line."""
    said = first_line(error)
    if "ignore_mismatched_sizes" in said:  # and "the above report", which is not shown
        return "its weights have other sizes than its config.json says"
    # A field that is refused is named in a line that ends in a colon; the cause says why.
    return f"{said} {first_line(error.__cause__)}" if said[-1:] == ":" and error.__cause__ else said


def _check_loaded(loading: dict, n_layers: int, path: str) -> None:
    """Raise :class:`ModelError` where weights and config.json are of two models."""
    missing = [name for name in loading["missing_keys"] if "pooler" not in name]
    if missing:
        raise ModelError(
            f"lacks weights: {', '.join(sorted(missing)[:3])}",
            path=path,
            hint="they would stay random",
        )
    numbers = [int(match[1]) for match in map(_LAYER.search, loading["unexpected_keys"]) if match]
    if n_layers and max(numbers, default=0) >= n_layers:
        raise ModelError(
            f"has more layers than its config.json says (num_hidden_layers {n_layers})", path=path
        )


def state_sha256(model: nn.Module) -> str:
    """Hexadecimal sha256 of a model's weights as fp32, in the order of their names.

    Without a pooler: nothing here reads it, and where a checkpoint has none it is random.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if "pooler" in name:
            continue
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
