"""What runs a task: trunk with its adapter merged in, head and tokens."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dnatk.errors import ModelError, first_line
from dnatk.kmers import KmerTokens, Tokens
from dnatk.model.checked import (
    POSITIVE,
    check,
    check_tensors,
    one_of,
    read_json,
    read_tensors,
    whole,
)
from dnatk.model.encoder import Encoder
from dnatk.model.heads import Head, HeadConfig
from dnatk.model.loading import read_model, read_weights
from dnatk.model.placement import resolve_device, resolve_precision
from dnatk.tasks.places import TASK_FILE
from dnatk.tasks.registry import find_task
from dnatk.tasks.task import ADAPTER_CONFIG, ADAPTER_FILE, HEAD_FILE, Task

# What peft's file may say; with other values of the last ones W + alpha / r * B A is not it.
_ADAPTER = {
    "r": whole(1),
    "lora_alpha": POSITIVE,
    "use_rslora": one_of(None, False),
    "use_dora": one_of(None, False),
    "fan_in_fan_out": one_of(None, False),
    "rank_pattern": one_of(None, {}),
    "alpha_pattern": one_of(None, {}),
}


@dataclass(frozen=True)
class Scorer:
    """A task ready to score; the encoder and the head are on the device."""

    task: Task
    encoder: torch.nn.Module
    tokens: Tokens
    head: Head


def load_scorer(
    task: Task,
    *,
    device: str = "auto",
    precision: str = "auto",
    trust_remote_code: bool = False,
) -> Scorer:
    """Load a task's weights and check that they belong together.

    Raises:
        ModelError: the trunk is missing or another one, a file is damaged, or the trunk brings
            its own code and that is not trusted.

    >>> scorer = dnatk.load_scorer(dnatk.find_task("promoter"), device="cpu")
    >>> dnatk.predict_sequences(["ACGTTGCA" * 40], task=scorer).label.tolist()
    ['other']
    """
    if task.trunk.remote_code and not trust_remote_code:
        raise ModelError(
            f"runs code that came with '{task.trunk.name}'",
            path=task.directory,
            hint="--trust-remote-code, if you trust whoever made the task",
        )
    place = resolve_device(device)
    dtype = resolve_precision(precision, place)
    if task.trunk.native:
        info = read_model(task.trunk_directory())
        task.check_trunk(info.sha256, info.k)
        weights = read_weights(info)
        if task.method == "lora":
            _merge(weights, task)
        encoder = Encoder(info.config, weights).to(device=place, dtype=dtype)
        hidden = info.config.hidden
        tokens: Tokens = KmerTokens(info.k, task.trunk.kmer_stride)
    else:
        encoder, tokens = _load_foreign(task)
        encoder, hidden = encoder.to(device=place, dtype=dtype).eval(), encoder.hidden
    if task.head["hidden"] != hidden:
        raise ModelError(
            f"head.hidden is {task.head['hidden']}, the trunk has {hidden}",
            path=task.directory / TASK_FILE,
        )
    head = _head(task)
    return Scorer(task, encoder, tokens, head.to(place).eval())


def as_scorer(
    task: str | Path | Task | Scorer,
    *,
    device: str = "auto",
    precision: str = "auto",
    trust_remote_code: bool = False,
) -> Scorer:
    """A scorer as it is; else that of a task, or of a task's name or directory."""
    if isinstance(task, Scorer):
        return task
    return load_scorer(
        task if isinstance(task, Task) else find_task(task),
        device=device,
        precision=precision,
        trust_remote_code=trust_remote_code,
    )


def _head(task: Task) -> Head:
    config, path = HeadConfig(**task.head), task.directory / HEAD_FILE
    tensors = read_tensors(path)
    check_tensors(tensors, config.shapes(), path, TASK_FILE)
    head = Head(config)
    head.load_state_dict(tensors)
    return head


def _merge(weights: dict[str, torch.Tensor], task: Task) -> None:
    """Add a LoRA adapter in peft's format to the trunk's weights: W + alpha / r * B A."""
    path, config_path = task.directory / ADAPTER_FILE, task.directory / ADAPTER_CONFIG
    adapter, config = read_tensors(path), read_json(config_path)
    check(config, _ADAPTER, config_path)
    try:
        rank, scale = config["r"], config["lora_alpha"] / config["r"]
    except KeyError as error:
        raise ModelError(f"has no {error.args[0]}", path=config_path) from None
    end, targets = ".lora_A.weight", dict[str, tuple[str, str]]()
    shapes: dict[str, tuple[int, ...]] = {}
    for stem in [name.removesuffix(end) for name in adapter if name.endswith(end)]:
        target = f"{stem.removeprefix('base_model.model.')}.weight"
        if target not in weights or weights[target].ndim != 2:
            raise ModelError(f"'{stem}' fits nothing in the trunk", path=task.directory)
        outputs, inputs = weights[target].shape
        a, b = f"{stem}{end}", f"{stem}.lora_B.weight"
        shapes |= {a: (rank, inputs), b: (outputs, rank)}
        targets[target] = a, b
    if not targets:
        raise ModelError("holds no adapter", path=path)
    check_tensors(adapter, shapes, path, f"{ADAPTER_CONFIG} or the trunk")
    for target, (a, b) in targets.items():
        a_RD, b_OR = adapter[a].float(), adapter[b].float()
        weights[target] = weights[target].float() + scale * (b_OR @ a_RD)


def _load_foreign(task: Task) -> tuple[Any, Tokens]:
    from dnatk.model.foreign import load_foreign, state_sha256

    trunk, tokens, _ = load_foreign(
        task.trunk_directory(),
        trust_remote_code=task.trunk.remote_code,
        revision=task.trunk.revision,
    )
    task.check_trunk(state_sha256(trunk.model), 0)
    if task.method == "lora":
        from peft import PeftModel

        try:
            with warnings.catch_warnings():
                # peft still asks transformers for an attribute by its old name.
                warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`")
                # It only warns of an adapter that is not there, and runs the trunk without.
                warnings.filterwarnings("error", message=".*missing adapter keys")
                adapted = PeftModel.from_pretrained(trunk.model, task.directory)
        except Exception as error:  # whatever peft makes of damaged files
            raise ModelError(
                f"its adapter cannot be loaded: {first_line(error)}", path=task.directory
            ) from None
        trunk.model = adapted.merge_and_unload()
    return trunk, tokens
