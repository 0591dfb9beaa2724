"""Training sequences on disk: all inputs as one memory-mapped file of base codes.

No k-mer text is ever written. Inputs are read by one process, see :mod:`dnatk.training.sources`;
the others of a run open what it wrote. The files can be taken away as soon as all have them open,
so nothing stays behind, and a killed run's leftovers are replaced by the next one's.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from dnatk.errors import InputError, OutputError
from dnatk.genome.names import unknown_contig_hint
from dnatk.training.sources import Segments, SourceSummary, read_source

DIRECTORY = ".corpus"
_BASES, _INDEX = "bases", "index.npz"


@dataclass(frozen=True, eq=False)
class Corpus:
    """The bases of all inputs, and the segments to train on and to hold out.

    Attributes:
        bases: (total,) uint8 codes, memory-mapped; not to be written to.
        train, heldout: the :class:`Segments` of each part.
        sources: a :class:`SourceSummary` for each input.
    """

    bases: np.ndarray
    train: Segments
    heldout: Segments
    sources: list[SourceSummary]
    _copies: dict[torch.device, torch.Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def read(
        cls,
        paths: Sequence[str | Path],
        *,
        directory: str | Path,
        k: int,
        holdout: Sequence[str] = (),
        min_length: int = 32,
    ) -> Corpus:
        """Read the inputs, write their codes to ``directory``/.corpus and open that.

        One process of a run calls this; the others :meth:`open` the same directory when it has
        returned; when they all have, :meth:`remove` takes the files away. What a run that was
        killed has left there is replaced.

        Raises:
            InputError: an input that cannot be read, a contig to hold out that is not there, or
                nothing to train on. Nothing is left behind.
            OutputError: the codes cannot be written.
        """
        cls.remove(directory)
        try:
            _write([Path(path) for path in paths], Path(directory), k, set(holdout), min_length)
        except OSError as error:
            cls.remove(directory)
            raise OutputError(
                f"the bases cannot be written: {error.strerror}",
                path=Path(directory, DIRECTORY),
                hint="is there room?",
            ) from None
        except BaseException:
            cls.remove(directory)
            raise
        return cls.open(directory)

    @classmethod
    def open(cls, directory: str | Path) -> Corpus:
        """Map what :meth:`read` wrote to ``directory``/.corpus."""
        place = Path(directory, DIRECTORY)
        with np.load(place / _INDEX) as index:
            train, heldout = (Segments(*index[part]) for part in ("train", "heldout"))
            sources = [SourceSummary(**row) for row in json.loads(str(index["sources"]))]
        # Copy-on-write, as torch wants memory that it may write to.
        return cls(np.memmap(place / _BASES, np.uint8, mode="c"), train, heldout, sources)

    @staticmethod
    def remove(directory: str | Path) -> None:
        """Take the files away, if there are any; a corpus that is open stays as it is."""
        shutil.rmtree(Path(directory, DIRECTORY), ignore_errors=True)

    def codes(self, device: torch.device) -> torch.Tensor:
        """The bases as a uint8 tensor: the mapped file, or a copy on a GPU, made once.

        A corpus that would take more than half of a GPU's free memory stays where it is.
        """
        if device not in self._copies:
            codes = torch.from_numpy(self.bases)
            if device.type != "cuda" or codes.nbytes <= torch.cuda.mem_get_info(device)[0] // 2:
                codes = codes.to(device)
            self._copies[device] = codes
        return self._copies[device]


def _write(paths: list[Path], directory: Path, k: int, holdout: set[str], min_length: int) -> None:
    """Write the codes of all inputs and the index of their segments."""
    place = directory / DIRECTORY
    place.mkdir(parents=True)
    with open(place / _BASES, "wb") as file:
        read = [read_source(path, file) for path in paths]
    names = [name for source in read for name in source.names]
    labels = {label for source in read for pair in source.labels() for label in pair}
    for name in sorted(holdout - labels):
        raise InputError(f"no contig '{name}' to hold out", hint=unknown_contig_hint(name, names))
    parts = [source.parts(n, k, holdout, min_length) for n, source in enumerate(read)]
    trains, heldouts, summaries = zip(*parts, strict=True)
    train, heldout = Segments.joined(trains), Segments.joined(heldouts)
    if not len(train.start):
        _refuse(summaries, min_length)
    if holdout and not len(heldout.start):
        raise InputError(
            f"nothing can be measured on what is held out ({', '.join(sorted(holdout))})",
            hint=f"hold out sequences of at least {min_length} bases that are not mostly N",
        )
    np.savez(
        place / _INDEX,
        train=np.stack([train.start, train.length, train.source]),
        heldout=np.stack([heldout.start, heldout.length, heldout.source]),
        sources=json.dumps([asdict(summary) for summary in summaries]),
    )


def _refuse(summaries: Sequence[SourceSummary], min_length: int) -> None:
    path = summaries[0].path if len(summaries) == 1 else None
    if any(summary.mostly_n for summary in summaries):
        raise InputError(
            f"no usable sequence of at least {min_length} bases: more than half of each is N",
            path=path,
            hint="are the sequences masked with N?",
        )
    raise InputError(
        f"no sequence of at least {min_length} bases to train on",
        path=path,
        hint="lower --min-length, or hold out less",
    )
