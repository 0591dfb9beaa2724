"""Batches for masked language modelling: rows of a corpus, masked, on the device that trains."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext

import torch
from torch.utils.data import Dataset

from dnatk.kmers.vocab import FIRST_KMER
from dnatk.masking import Masker, Schedule, hidden_bases
from dnatk.training.windows import Sampler


def masked_batch(sampler: Sampler, masker: Masker, width: int, rows: Sequence[int]) -> dict:
    """What :class:`~dnatk.training.masked_lm.PackedMaskedLM` takes, and "counts" for the log.

    Tensors lie on the sampler's device; "lengths" is a list. counts: (4,) int64, of tokens,
    maskable tokens, masked tokens and hidden bases.
    """
    batch = sampler.batch(rows)
    corrupted_T, masked_T = masker.apply(
        batch.ids_T, batch.first_T, batch.last_T, width, batch.draws, batch.repeat_T
    )
    kmer_T = batch.ids_T >= FIRST_KMER
    maskable_T = masker.maskable(batch.ids_T, batch.repeat_T)
    counts = torch.stack(
        [
            maskable_T.new_full((), len(batch.ids_T), dtype=torch.int64),
            maskable_T.sum(),
            masked_T.sum(),
            hidden_bases(masked_T, kmer_T, batch.sequence_T, sampler.k, sampler.kmer_stride),
        ]
    )
    # Here the CPU waits for a GPU: how many are masked decides a shape.
    masked_M = masked_T.nonzero()[:, 0]
    return {
        "ids_T": corrupted_T,
        "position_T": batch.position_T,
        "lengths": batch.lengths,
        "masked_M": masked_M,
        "labels": batch.ids_T[masked_M],
        "counts": counts,
    }


class RowDataset(Dataset):
    """Global rows 0 .. steps x rows_per_step - 1; a whole batch is made at once.

    Args:
        ahead: a thread makes the next batch while the step of this one runs, on a GPU on a stream
            of its own, so that neither waits for the other. Which rows come next is guessed from
            those before: a wrong guess costs time alone. None: on a GPU.
    """

    def __init__(
        self,
        sampler: Sampler,
        masker: Masker,
        schedule: Schedule,
        steps: int,
        rows_per_step: int,
        *,
        ahead: bool | None = None,
    ) -> None:
        self._sampler, self._masker, self._schedule = sampler, masker, schedule
        self._length, self._rows_per_step = steps * rows_per_step, rows_per_step
        on_gpu = sampler.device.type == "cuda"
        self._stream = torch.cuda.Stream(sampler.device) if on_gpu else None
        self._thread = None
        if on_gpu if ahead is None else ahead:
            # A new thread's GPU is the first, whichever this process has.
            place = (torch.cuda.set_device, (self._stream.device,)) if on_gpu else (None, ())
            self._thread = ThreadPoolExecutor(1, "", *place)
        self._rows: list[int] = []
        self._guess: tuple[list[int], Future] | None = None

    def __len__(self) -> int:
        return self._length

    def __getitems__(self, rows: list[int]) -> dict:
        if self._thread is None:
            return self._received(self._made(rows))
        if self._guess is None or self._guess[0] != rows:
            self._guess = rows, self._thread.submit(self._made, rows)
        batch = self._received(self._guess[1].result())
        self._guess = self._guess_after(rows)
        return batch

    def _made(self, rows: list[int]) -> dict:
        width = self._schedule.at(rows[0] // self._rows_per_step).width
        with nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
            return masked_batch(self._sampler, self._masker, width, rows)

    def _received(self, batch: dict) -> dict:
        """The batch, for use on the current stream."""
        if self._stream is not None:
            current = torch.cuda.current_stream(self._stream.device)
            current.wait_stream(self._stream)
            for value in batch.values():
                if isinstance(value, torch.Tensor):
                    # Its memory must not go to the next batch while the step still reads it.
                    value.record_stream(current)
        return batch

    def _guess_after(self, rows: list[int]) -> tuple[list[int], Future] | None:
        """The next batch in the making: as far from this one as this one from that before."""
        further = rows[0] - self._rows[0] if self._rows else len(rows)
        self._rows = rows
        following = [row + further for row in rows]
        if not 0 <= following[0] <= following[-1] < self._length:
            return None
        return following, self._thread.submit(self._made, following)
