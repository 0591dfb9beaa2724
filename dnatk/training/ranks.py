"""Several processes at one pre-training run: torchrun or accelerate starts them.

Rank 0 reads what is there, decides and writes; the others are told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list, gather_object

from dnatk.errors import InputError, OutputError, first_line
from dnatk.inference.ranks import Ranks

T = TypeVar("T")
_LOST = ("connection", "gloo", "nccl", "socket", "timed out")
# Rank 0 may read inputs for so long before the others hear of it.
_PATIENCE = timedelta(hours=2)


class PeerGone(OutputError):
    """Another process of this run has ended; what it was has been said there."""


def join(device: torch.device) -> PartialState:
    """This process among those of its run; alone without a launcher.

    Raises:
        InputError: they do not find each other.
    """
    world = Ranks.from_environment().world
    threads = torch.get_num_threads()
    AcceleratorState._reset_state(reset_partial_state=True)  # as TrainingArguments does
    try:
        return PartialState(cpu=device.type == "cpu", timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"the {world} processes do not find each other: {first_line(error)}",
            hint="start them by torchrun, or unset RANK and WORLD_SIZE",
        ) from error
    finally:
        torch.set_num_threads(threads)  # accelerate has its own idea of them


def first(state: PartialState, work: Callable[[], T]) -> T:
    """Rank 0 does ``work``, and all ranks get what it gives (by pickle)."""
    told = [work() if state.is_main_process else None]
    return broadcast_object_list(told)[0]


def over_ranks(number: float) -> float:
    """The sum of each rank's."""
    return math.fsum(gather_object([number]))


@contextmanager
def peers() -> Iterator[None]:
    """Say of another process that is gone in one line, as :class:`PeerGone`; leave at the end."""
    given = dist.is_initialized()
    try:
        yield
    except RuntimeError as error:
        lost = isinstance(error, dist.DistError) or any(w in str(error).lower() for w in _LOST)
        if not (lost and dist.is_initialized() and dist.get_world_size() > 1):
            raise
        raise PeerGone(
            "another process of this run has ended too early",
            hint="see what it says; --resume goes on",
        ) from error
    # Gloo's is left to the end of the process: its threads may still want Python's lock for the
    # last tensors, while the end of the group waits for these threads and holds the lock.
    if dist.is_initialized() and not given and dist.get_backend() != "gloo":
        dist.destroy_process_group()
