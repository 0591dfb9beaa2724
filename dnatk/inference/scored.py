"""The readout of ``predict`` and ``evaluate``: hidden states to a task's outputs.

Shapes: T tokens packed, S tiles, C outputs, D hidden, P pooled, B bases of a tile or row.
"""

from __future__ import annotations

import numpy as np
import torch

from dnatk.inference.batches import Row, Strand, Tile
from dnatk.inference.pooled import not_finite
from dnatk.model.heads import base_logits
from dnatk.model.placement import to_device
from dnatk.tasks.scorer import Scorer


class Scored:
    """Scores each tile and combines the tiles of a row.

    Args:
        combine: "mean" or "max" over the tiles' probabilities (or values). The probabilities of
            classes stay together: "max" takes those of the tile that is surest of the positive
            class (binary), or of any (multiclass).
        raw: give logits instead of calibrated probabilities.

    Where the other strand was run too, the two strands' logits are averaged.
    """

    def __init__(self, scorer: Scorer, *, combine: str = "mean", raw: bool = False) -> None:
        self.task, self._head, self._tokens = scorer.task, scorer.head, scorer.tokens
        self._combine, self._raw = combine, raw
        self._per_base = scorer.task.kind == "per-base"

    def compute(self, strands: list[Strand], hidden: list[torch.Tensor]) -> list[torch.Tensor]:
        """[logits (S, C), pooled (S, P)], or per base the logits (T, C) of each strand."""
        if self._per_base:
            return [self._head(hidden_TD) for hidden_TD in hidden]
        pairs = list(zip(strands, hidden, strict=True))
        pooled = [self._pooled(strand, hidden_TD) for strand, hidden_TD in pairs]
        logits = [self._head(pooled_SP) for pooled_SP in pooled]
        if self._head.config.vocabulary:
            logits += [self._of_counts(strand, hidden_TD.device) for strand, hidden_TD in pairs]
        return [sum(logits).float() / len(strands), sum(pooled) / len(strands)]

    def results(
        self, strands: list[Strand], arrays: list[np.ndarray]
    ) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """(outputs, pooled) of each tile: (C,) and (P,), or per base (B, C) and None."""
        if self._per_base:
            return self._bases(strands, arrays)
        logits_SC, pooled_SP = arrays
        return list(zip(self._outputs(logits_SC), pooled_SP, strict=True))

    def _pooled(self, strand: Strand, hidden_TD: torch.Tensor) -> torch.Tensor:
        kept_T = to_device(torch.from_numpy(strand.kept_T), hidden_TD.device)
        return self._head.pooled(hidden_TD, strand.lengths, kept_T)

    def _of_counts(self, strand: Strand, device: torch.device) -> torch.Tensor:
        valid = [tile.ids[self._tokens.valid(tile.ids)] for tile in strand.tiles]
        ids_n = torch.from_numpy(np.concatenate(valid).astype(np.int64))
        counts_S = torch.tensor([len(ids) for ids in valid])
        return self._head.of_counts(to_device(ids_n, device), to_device(counts_S, device))

    def _bases(
        self, strands: list[Strand], arrays: list[np.ndarray]
    ) -> list[tuple[np.ndarray, None]]:
        config = self._head.config
        first, last = len(self._tokens.prefix), len(self._tokens.suffix)
        split = [
            torch.from_numpy(logits_TC).float().split(strand.lengths)
            for strand, logits_TC in zip(strands, arrays, strict=True)
        ]
        results = []
        for i, tile in enumerate(strands[0].tiles):
            logits_BC = 0
            for turned, parts in enumerate(split):
                inner = parts[i][first : len(parts[i]) - last]
                # The other strand's tokens are the same k-mers from the end on: of a stride above
                # 1 they begin at the bases that no k-mer covers.
                inner = inner.flip(0) if turned else inner
                logits_BC = logits_BC + base_logits(inner, tile.bases, config.k, config.kmer_stride)
            results.append((self._outputs((logits_BC / len(split)).numpy()), None))
        return results

    def _outputs(self, logits: np.ndarray) -> np.ndarray:
        return logits if self._raw else self.task.outputs(logits).astype(np.float32)

    def add(self, tile: Tile, result: tuple[np.ndarray, np.ndarray | None]) -> None:
        row, (outputs, pooled) = tile.row, result
        if not np.isfinite(outputs).all():
            raise not_finite(row)
        if self._per_base:
            _add_bases(row, tile.start, outputs)
            return
        if not self._tokens.valid(tile.ids).any():
            return
        row.weight += 1
        if row.total is None:
            row.total, row.vector = outputs, pooled
            return
        row.vector = row.vector + pooled
        highest = self._combine == "max"
        row.total = self._higher(row.total, outputs) if highest else row.total + outputs

    def _higher(self, one_C: np.ndarray, other_C: np.ndarray) -> np.ndarray:
        if self.task.kind == "binary":
            return max(one_C, other_C, key=lambda output_C: output_C[1] - output_C[0])
        if self.task.kind == "multiclass":
            return max(one_C, other_C, key=self._sureness)
        return np.maximum(one_C, other_C)

    def _sureness(self, output_C: np.ndarray) -> float:
        """The highest probability, of raw outputs too."""
        top = output_C.max()
        return 1 / np.exp(output_C - top).sum() if self._raw else top

    def output(self, row: Row) -> np.ndarray | None:
        """(C,) of a finished row; per base (B, C); None where nothing could be scored."""
        if row.total is None:
            return None
        if self._per_base:
            return row.total[:, :-1] / np.maximum(row.total[:, -1:], 1)
        return row.total if self._combine == "max" else row.total / row.weight

    def vector(self, row: Row) -> np.ndarray | None:
        """(P,) the mean over its tiles of what the head saw."""
        return None if row.vector is None else row.vector / row.weight


def _add_bases(row: Row, start: int, outputs_BC: np.ndarray) -> None:
    """Add a tile to the row's sum, whose last column counts the tiles of each base.

    What lies outside the row is cut off.
    """
    n_bases = len(row.region)
    if row.total is None:
        row.total = np.zeros((n_bases, outputs_BC.shape[1] + 1), dtype=np.float32)
    low, high = max(start, 0), min(start + len(outputs_BC), n_bases)
    row.total[low:high, :-1] += outputs_BC[low - start : high - start]
    row.total[low:high, -1] += 1
