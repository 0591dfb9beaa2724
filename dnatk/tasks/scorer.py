"""What runs a task: trunk with its adapter merged in, head and tokens."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass

import torch

from dnatk.errors import ModelError, first_line
from dnatk.kmers import KmerTokens, Tokens
from dnatk.model.encoder import Encoder
from dnatk.model.heads import Head, HeadConfig
from dnatk.model.loading import read_model, read_weights
from dnatk.model.placement import resolve_device, resolve_precision
from dnatk.tasks.task import HEAD_FILE, Task

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_FILE = "adapter_model.safetensors"


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
        task.check_trunk(info.sha256, info.k, info.kmer_stride)
        weights = read_weights(info)
        if task.method == "lora":
            _merge(weights, task)
        encoder = Encoder(info.config, weights).to(device=place, dtype=dtype)
        tokens = KmerTokens(info.k, info.kmer_stride)
    else:
        encoder, tokens = _load_foreign(task)
        encoder = encoder.to(device=place, dtype=dtype).eval()
    head = Head(HeadConfig(**task.head))
    try:
        head.load_state_dict(_tensors(task, HEAD_FILE))
    except RuntimeError as error:
        raise ModelError(
            f"does not fit {task.directory / 'task.json'}: {str(error).splitlines()[-1].strip()}",
            path=task.directory / HEAD_FILE,
        ) from None
    return Scorer(task, encoder, tokens, head.to(place).eval())


def _tensors(task: Task, name: str) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    path = task.directory / name
    try:
        return {key: tensor.float() for key, tensor in load_file(path).items()}
    except FileNotFoundError:
        raise ModelError(f"has no {name}", path=task.directory) from None
    except Exception as error:
        raise ModelError(
            f"cannot be read: {first_line(error)}", path=path, hint="is it cut short?"
        ) from None


def _merge(weights: dict[str, torch.Tensor], task: Task) -> None:
    """Add a LoRA adapter in peft's format to the trunk's weights: W + alpha / r * B A."""
    adapter = _tensors(task, ADAPTER_FILE)
    try:
        config = json.loads((task.directory / ADAPTER_CONFIG).read_text())
        scale = config["lora_alpha"] / config["r"]
    except FileNotFoundError:
        raise ModelError(f"has no {ADAPTER_CONFIG}", path=task.directory) from None
    except (json.JSONDecodeError, KeyError, ZeroDivisionError) as error:
        raise ModelError(f"cannot be read: {error}", path=task.directory / ADAPTER_CONFIG) from None
    prefix = "base_model.model."
    for name, a_RD in adapter.items():
        if not name.endswith(".lora_A.weight"):
            continue
        stem = name.removesuffix(".lora_A.weight")
        target = f"{stem.removeprefix(prefix)}.weight"
        b_OR = adapter.get(f"{stem}.lora_B.weight")
        if target not in weights or b_OR is None:
            raise ModelError(f"'{stem}' fits nothing in the trunk", path=task.directory)
        weights[target] = weights[target].float() + scale * (b_OR @ a_RD)


def _load_foreign(task: Task):
    from dnatk.model.foreign import load_foreign, state_sha256

    trunk, tokens, _ = load_foreign(
        task.trunk_directory(),
        trust_remote_code=task.trunk.remote_code,
        revision=task.trunk.revision,
    )
    task.check_trunk(state_sha256(trunk.model), 0, 0)
    if task.method == "lora":
        from peft import PeftModel

        with warnings.catch_warnings():
            # peft still asks transformers for an attribute by its old name.
            warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`")
            adapted = PeftModel.from_pretrained(trunk.model, task.directory)
        trunk.model = adapted.merge_and_unload()
    return trunk, tokens
