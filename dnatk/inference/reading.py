"""Where the system cannot read what is worked on: told of the input, or the output is blamed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from dnatk.errors import InputError
from dnatk.genome.fasta import Genome
from dnatk.output.files import reason


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Raise :class:`InputError` of ``path`` where the system cannot read."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot be read: {reason(error)}", path=path) from error


def fetched(genome: Genome, contig: str, start: int, end: int) -> np.ndarray:
    """As :meth:`Genome.fetch`."""
    with reading(genome.path):
        return genome.fetch(contig, start, end)
