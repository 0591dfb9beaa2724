"""Whether a model of another make gives the same packed as by its own forward.

Shapes: T tokens of all sequences one after another, D hidden.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from dnatk.errors import ModelError, first_line
from dnatk.kmers import Tokens
from dnatk.kmers.tokens import pack
from dnatk.model.foreign_attention import ATTENTION, attention_of, set_attention

log = logging.getLogger(__name__)

# Of a token's hidden state, as a vector; fp32 sums in another order differ by some 1e-6.
TOLERANCE = 1e-4

_LONG = 200  # tokens, or more where a model's local attention reaches further
_told: set[str] = set()


def run_packed(trunk, tokens: Tokens, longest: int, name: str) -> None:
    """Let ``trunk`` (a ForeignTrunk) run packed if it then gives what its own forward gives.

    Compared are a few random sequences, some longer than local attention reaches, in fp32 and
    in eval mode, with transformers' eager attention on one sequence at a time. Where hidden
    states differ by more than :data:`TOLERANCE`, or anything fails, the model stays as it was,
    padded, and a warning says so, once for all models of its class.

    Raises:
        ModelError: it cannot be run padded either.

    Args:
        longest: tokens that the model takes.
        name: what errors call the model.
    """
    own, model = attention_of(trunk.model), trunk.model
    pad = getattr(model.config, "pad_token_id", None)
    # RoBERTa and ESM count positions from after the one that stands for padding.
    firsts = (0,) if pad is None else (0, pad + 1)
    try:
        with _at_rest(model):
            batch = _batch(tokens, max(longest - firsts[-1], longest // 2), model)
            set_attention(model, "eager")
            want_TD = _one_by_one(model, *batch)
            set_attention(model, ATTENTION)
            differences = []
            for trunk.first_position in firsts:
                differences.append(_difference(trunk, batch, want_TD))
                if differences[-1] <= TOLERANCE:
                    return
        seen = f"differs from the model's own forward by {min(differences):.1g}"
    except Exception as error:
        # Any: it is the model's own code, perhaps one that came with it, that could not do this.
        log.info("%s: %s: %s", name, type(error).__name__, first_line(error))
        seen = "cannot run this model"
    trunk.first_position = None
    set_attention(model, own)
    try:
        with _at_rest(model):
            trunk(*_batch(tokens, longest, model))
    except Exception as error:  # as above
        raise ModelError(
            f"cannot be run: {first_line(error)[:200]}",
            path=name,
            hint="dnatk runs encoders, given input_ids and attention_mask",
        ) from None
    # By its class: the directory may be one that only stands while the model is pulled.
    if (kind := type(model).__name__) not in _told:
        _told.add(kind)
        log.warning("%s: packed attention %s, running it padded", kind, seen)


def looks_ahead(trunk, tokens: Tokens) -> bool:
    """Whether the state of the first token depends on those behind it."""
    rng = np.random.default_rng(0)
    known = _known(tokens, rng)
    ids_T, position_T, lengths = pack(tokens, [rng.choice(known, 9) for _ in range(2)])
    with _at_rest(trunk.model):
        hidden_TD = trunk(torch.from_numpy(ids_T), torch.from_numpy(position_T), lengths)
    first_D, second_D = hidden_TD[0], hidden_TD[lengths[0]]
    return bool((first_D - second_D).norm() > 1e-6 * first_D.norm())


@contextmanager
def _at_rest(model: nn.Module) -> Iterator[None]:
    """No dropout, no gradients; modes and random numbers are as before afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    # Not inference mode: what a model keeps from its first forward must serve training too.
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode


def _batch(tokens: Tokens, longest: int, model: nn.Module):
    """ids_T, position_T, lengths of sequences of random tokens of DNA."""
    rng = np.random.default_rng(0)
    known = _known(tokens, rng)
    extra = len(tokens.prefix) + len(tokens.suffix)
    reach = getattr(model.config, "sliding_window", None) or 0
    lengths = (37, 37, extra + 1, max(_LONG, reach + 72), 9)
    inner = [max(1, min(length, longest) - extra) for length in lengths]
    ids_T, position_T, lengths = pack(tokens, [rng.choice(known, n) for n in inner])
    return torch.from_numpy(ids_T), torch.from_numpy(position_T), lengths


def _known(tokens: Tokens, rng: np.random.Generator) -> np.ndarray:
    """Tokens that DNA has."""
    bases = rng.choice(np.frombuffer(b"ACGT", dtype=np.uint8), 2000)
    return np.unique(tokens.encode(bases))


def _one_by_one(model: nn.Module, ids_T, position_T, lengths) -> torch.Tensor:
    parts = [model(input_ids=ids[None]).last_hidden_state[0] for ids in ids_T.split(lengths)]
    return torch.cat(parts)


def _difference(trunk, batch, want_TD: torch.Tensor) -> float:
    got_TD = trunk(*batch)
    apart_T = (got_TD - want_TD).norm(dim=1) / want_TD.norm(dim=1)
    return apart_T.max().item()
