"""A device that runs out of memory, told apart from other faults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from dnatk.errors import ModelError

# torch's CPU allocator and cuBLAS say it in words only.
_WORDS = "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch says that memory did not suffice."""
    return isinstance(error, torch.OutOfMemoryError) or any(w in str(error) for w in _WORDS)


@contextmanager
def memory_told(device: object, hint: str) -> Iterator[None]:
    """Where work cannot be halved: :class:`ModelError` with what would need less memory."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise ModelError(f"{device} is out of memory", hint=hint) from error
