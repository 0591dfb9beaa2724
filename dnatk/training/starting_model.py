"""The model that a pre-training run starts from, and what it decides of the run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace

import torch

from dnatk import __version__
from dnatk.errors import InputError
from dnatk.model.loading import read_model
from dnatk.model.presets import preset
from dnatk.training.config import PretrainConfig
from dnatk.training.initialise import start_local
from dnatk.training.masked_lm import PackedMaskedLM, new_model, pretrained_model
from dnatk.training.sources import SourceSummary

log = logging.getLogger(__name__)


def resolved(config: PretrainConfig) -> PretrainConfig:
    """``config`` with what follows from the model filled in, and checked.

    Raises:
        InputError, ModelError: no such model, or windows and k-mers that do not suit it.
    """
    if config.init:
        info = read_model(config.init)
        config = replace(config, k=info.k, kmer_stride=info.kmer_stride, preset="")
        widest = info.max_window
    else:
        positions = preset(config.preset).max_position_embeddings
        widest = (positions - 3) * config.kmer_stride + config.k
    if config.kmer_stride not in (1, config.k):
        raise InputError(f"the k-mer stride must be 1 or k = {config.k}")
    window = config.window or widest
    if not config.k <= window <= widest:
        raise InputError(
            f"a window of {window} bases does not fit", hint=f"{config.k} to {widest} bases do"
        )
    return replace(config, window=window)


def starting_model(
    config: PretrainConfig, sources: Sequence[SourceSummary], device: torch.device
) -> PackedMaskedLM:
    """A fresh model, or that of ``config.init``; it knows what its dnatk.json shall say."""
    model = pretrained_model(read_model(config.init).directory) if config.init else _fresh(config)
    dropout = model.config.attention_probs_dropout_prob
    if device.type == "cuda" and dropout:
        model.set_attention_dropout(0.0)
        log.warning("attention dropout %g is 0 on CUDA: its fast attention has none", dropout)
    model.describe(
        config.k,
        config.kmer_stride,
        dnatk_version=__version__,
        steps=config.max_steps,
        training={**asdict(config), "sources": [asdict(source) for source in sources]},
    )
    return model


def _fresh(config: PretrainConfig) -> PackedMaskedLM:
    sizes = preset(config.preset).bert_config(config.k)
    if config.start == "normal":
        return new_model(sizes, config.seed)
    model = new_model({**sizes, "initializer_range": sizes["hidden_size"] ** -0.5}, config.seed)
    start_local(model, config.k, config.seed)
    return model
