"""``dnatk embed``: FASTA (and BED) in, HDF5 embeddings out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dnatk import __version__
from dnatk.errors import InputError
from dnatk.genome.fasta import Genome
from dnatk.genome.windows import Tiling
from dnatk.inference.embed_options import EmbedOptions
from dnatk.inference.embed_sink import EmbedSink
from dnatk.inference.embed_source import embed_source
from dnatk.inference.engine import Engine
from dnatk.inference.parts import part_bases
from dnatk.inference.pooled import Pooled
from dnatk.inference.run import Sharing, opened_store, run
from dnatk.inference.tiles import Tally
from dnatk.model.encoder import Encoder, resolve_layer
from dnatk.model.models import Model, find_model
from dnatk.model.places import DEFAULT_MODEL
from dnatk.output.files import check_output
from dnatk.output.finished import finished_rows, merged_h5
from dnatk.output.hdf5 import FORMAT
from dnatk.output.status import Status
from dnatk.progress import NullProgress, Progress

__all__ = ["EmbedOptions", "EmbedSummary", "embed"]


@dataclass(frozen=True)
class EmbedSummary:
    """What was written.

    Attributes:
        rows: in the file; of these ``unscored`` are NaN, ``kept`` were made by a run before. A
            file that was finished is not looked through: none is then told of as NaN or skipped.
        skipped: tiles without a valid k-mer, left out (without BED only).
    """

    path: Path
    rows: int
    skipped: int
    unscored: dict[Status, int]
    kept: int = 0


def embed(
    fasta: str | Path,
    output: str | Path,
    *,
    bed: str | Path | None = None,
    regions: Sequence[str] = (),
    model: str | Path = DEFAULT_MODEL,
    options: EmbedOptions | None = None,
    shard: str | None = None,
    resume: bool = False,
    force: bool = False,
    command: str = "",
    config: str = "",
    progress: Progress | None = None,
) -> EmbedSummary | None:
    """Embed a genome tile by tile, or regions of it, into an HDF5 file.

    Rows are kept in ``OUTPUT.partial/`` as they are made, and merged at the end. Under torchrun
    the processes share the work, and the first one gives the summary.

    Args:
        fasta: a file, or "-" to stream standard input (whole records only).
        output: the HDF5 file, layout in :mod:`dnatk.output.hdf5`.
        bed: BED file, or "-": one row a line; else
        regions: strings such as "chr1:1-100" (1-based inclusive): one row each; else
            every tile of every contig is a row.
        model: a model directory, or the name of a shipped model.
        shard: "2/8": the second of eight neighbouring pieces of the work; for files only.
        resume: go on where the same run was cut off; a finished one is left as it is.
        command, config: recorded in the file: what was typed, and all options as TOML.

    Raises:
        InputError, ReferenceError_, ModelError, OutputError: nothing is left under ``output``;
            parts that were made stay in ``OUTPUT.partial/``.

    >>> summary = dnatk.embed("genome.fa", "promoters.h5", bed="promoters.bed")
    >>> summary.rows, summary.unscored
    (2, {})
    >>> regions, vectors = dnatk.read_embeddings("promoters.h5")
    >>> vectors.shape
    (2, 256)
    """
    options = options or EmbedOptions()
    sharing = Sharing.asked(shard)
    ranks = sharing.ranks
    if str(fasta) == "-" and (bed is not None or regions):
        raise InputError("regions are read from a FASTA file, not from standard input")
    path = check_output(output, force=force or ranks.rank > 0, resume=resume, inputs=(fasta, bed))
    found = find_model(model)
    tiling = options.tiling(found, pieces=bed is None and not regions)
    layer = resolve_layer(options.layer, found.layers)
    tally = Tally()
    with nullcontext() if str(fasta) == "-" else Genome(fasta) as genome:
        source = embed_source(genome, bed, regions, tiling, found.tokens, options.on_error, tally)
        encoder = found.load(device=ranks.device(options.device), precision=options.precision)
        pooled = Pooled(found.tokens, options.pool, found.hidden, options.dtype)
        engine = Engine(
            encoder,
            found.tokens,
            pooled,
            layer=layer,
            rc=options.rc,
            batch_tokens=options.batch_tokens,
        )
        size = part_bases(engine.batch_tokens, _bytes_of_base(found, options))
        share, total = sharing.share(source, size)
        facts = {**_facts(found, tiling, layer, options, encoder), **share.facts}
        whole = {**facts, "dtype": options.dtype}
        if resume and (rows := finished_rows(path, FORMAT, whole)) is not None:
            return EmbedSummary(path, rows, 0, {}, kept=rows)
        what = {
            "output": FORMAT,
            # Before the digest of a shard, which hangs on them and says less.
            "device": encoder.device.type,
            "batch_tokens": engine.batch_tokens,
            "dtype": options.dtype,
            **facts,
            "command": command,
            "config": config,
        }
        with opened_store(path, what, ranks, resume=resume, force=force) as store:
            kept = store.rows()
            mine = share.of(source.items(), size, source.bases)
            sink = EmbedSink(store, source.contigs, facts, pooled, options)
            with _Told(progress or NullProgress(), total, source.unit, tally) as told:
                run(engine, source.tiles(mine), sink, store, share, source.contigs, told)
            ranks.wait()
            if ranks.rank:
                return None
            store.refresh()
            if not store.rows() and sharing.shard is None:
                shown = "<stdin>" if genome is None else genome.path
                raise InputError("nothing to embed: no tile holds a k-mer free of N", path=shown)
            merged, rows = merged_h5(store, path, sink.empty, source.contigs)
            unscored = {Status(status): n for status, n in store.unscored().items()}
            store.publish({merged: path})
    skipped = tally.skipped
    if ranks.world > 1:
        skipped = (source.total or 0) - rows if sharing.shard is None else 0
    return EmbedSummary(path, rows, skipped, unscored, kept)


class _Told:
    """Progress by what was drawn, skipped windows too."""

    def __init__(self, progress: Progress, total: int | None, unit: str, tally: Tally) -> None:
        self._progress, self._tally, self._done = progress, tally, 0
        self._stage = total, unit

    def __enter__(self) -> _Told:
        self._progress.start("embedding", *self._stage)
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.finish()

    def made(self, _: int, bases: int) -> None:
        self._progress.advance(self._drawn())
        self._progress.read(bases)

    def kept(self, _: int) -> None:
        self._progress.skip(self._drawn())

    def _drawn(self) -> int:
        before, self._done = self._done, self._tally.rows + self._tally.skipped
        return self._done - before


def _bytes_of_base(model: Model, options: EmbedOptions) -> int:
    """What is written for a base at most, where every token is."""
    if options.pool != "none":
        return 0
    return model.hidden * np.dtype(options.dtype).itemsize


def _facts(
    model: Model,
    tiling: Tiling,
    layer: int,
    options: EmbedOptions,
    encoder: Encoder,
) -> dict[str, object]:
    """What stands in the root of the file, and what a resumed run must agree with."""
    return {
        "dnatk_version": __version__,
        "model": model.name,
        "model_sha256": model.sha256,
        "k": model.k,
        "kmer_stride": model.kmer_stride,
        "window": tiling.window,
        "stride": tiling.stride,
        "pool": options.pool,
        "layer": layer,
        "rc": options.rc,
        "precision": str(encoder.dtype).removeprefix("torch."),
    }
