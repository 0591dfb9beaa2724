"""``dnatk embed``: FASTA (and BED) in, HDF5 embeddings out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dnatk import __version__
from dnatk.errors import InputError
from dnatk.genome.bed import read_bed
from dnatk.genome.fasta import Genome, read_fasta
from dnatk.genome.regions import Region, parse_region
from dnatk.genome.windows import Tiling
from dnatk.inference.engine import Engine, Row, Tile
from dnatk.inference.pooled import Pooled
from dnatk.inference.tiles import Tally, genome_tiles, record_tiles, region_tiles
from dnatk.kmers import KmerTokens
from dnatk.model.encoder import Encoder, resolve_layer
from dnatk.model.loading import DEFAULT_MODEL, ModelInfo, load_encoder, read_model
from dnatk.model.pooling import POOLS
from dnatk.output.files import check_output, written_whole
from dnatk.output.hdf5 import EmbeddingWriter, Status
from dnatk.progress import NullProgress, Progress


@dataclass(frozen=True)
class EmbedOptions:
    """How sequences become vectors.

    Attributes:
        pool: mean, max, cls (one vector a row) or none (a vector for every k-mer).
        layer: 0 the embeddings, n after layer n, negative from the end.
        window, stride: bases; None: the longest window that fits the model, and the stride at
            which neighbouring windows share no k-mer and none is lost.
        rc: "none", or "average" with the other strand.
        on_error: "fail" or "na", for regions that cannot be scored.
        batch_tokens: of one forward; None: by the device.
    """

    pool: str = "mean"
    layer: int = -1
    window: int | None = None
    stride: int | None = None
    rc: str = "none"
    device: str = "auto"
    precision: str = "auto"
    dtype: str = "float16"
    on_error: str = "fail"
    batch_tokens: int | None = None

    def __post_init__(self) -> None:
        for name, allowed in (
            ("pool", POOLS),
            ("rc", ("none", "average")),
            ("dtype", ("float16", "float32")),
            ("on_error", ("fail", "na")),
        ):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} must be one of {', '.join(allowed)}")

    def tiling(self, info: ModelInfo) -> Tiling:
        """Window and stride for a model, checked against what it can take."""
        window = info.max_window if self.window is None else self.window
        if window > info.max_window:
            raise InputError(
                f"--window {window} is more than the model takes",
                hint=f"at most {info.max_window} bases",
            )
        tokens = (window - info.k) // info.kmer_stride + 1
        stride = max(1, tokens) * info.kmer_stride if self.stride is None else self.stride
        return Tiling(window, stride, info.k, info.kmer_stride)


@dataclass(frozen=True)
class EmbedSummary:
    """What was written.

    Attributes:
        rows: in the file; of these ``unscored`` are NaN.
        skipped: tiles without a valid k-mer, left out (without BED only).
    """

    path: Path
    rows: int
    skipped: int
    unscored: dict[Status, int]


def embed(
    fasta: str | Path,
    output: str | Path,
    *,
    bed: str | Path | None = None,
    regions: Sequence[str] = (),
    model: str | Path = DEFAULT_MODEL,
    options: EmbedOptions | None = None,
    force: bool = False,
    command: str = "",
    progress: Progress | None = None,
) -> EmbedSummary:
    """Embed a genome tile by tile, or regions of it, into an HDF5 file.

    Args:
        fasta: a file, or "-" to stream standard input (whole records only).
        output: the HDF5 file, layout in :mod:`dnatk.output.hdf5`.
        bed: BED file, or "-": one row a line; else
        regions: strings such as "chr1:1-100" (1-based inclusive): one row each; else
            every tile of every contig is a row.
        model: a model directory, or the name of a shipped model.
        command: recorded in the file.

    Raises:
        InputError, ReferenceError_, ModelError, OutputError: nothing is left under ``output``.
    """
    options = options or EmbedOptions()
    path = check_output(output, force=force)
    info = read_model(model)
    tiling = options.tiling(info)
    layer = resolve_layer(options.layer, info.config.layers)
    tally = Tally()
    progress = progress or NullProgress()
    with nullcontext() if str(fasta) == "-" else Genome(fasta) as genome:
        source = _source(genome, bed, regions, tiling, options.on_error, tally)
        encoder = load_encoder(info, device=options.device, precision=options.precision)
        tokens = KmerTokens(info.k, info.kmer_stride)
        pooled = Pooled(tokens, options.pool, info.config.hidden)
        engine = Engine(
            encoder,
            tokens,
            pooled,
            layer=layer,
            rc=options.rc,
            batch_tokens=options.batch_tokens,
        )
        with written_whole(path) as partial:
            writer = EmbeddingWriter(
                partial,
                width=info.config.hidden,
                dtype=options.dtype,
                per_token=options.pool == "none",
                contigs=source.contigs,
                attributes=_attributes(info, tiling, options, encoder, command),
            )
            try:
                progress.start("embedding", source.total, source.unit)
                _run(engine, pooled, source, writer, tally, progress)
                if not tally.rows:
                    shown = "<stdin>" if genome is None else genome.path
                    raise InputError(
                        "nothing to embed: no tile holds a k-mer free of N", path=shown
                    )
                writer.finish()
            finally:
                progress.finish()
                writer.close()
    return EmbedSummary(path, tally.rows, tally.skipped, tally.unscored)


def _run(
    engine: Engine,
    pooled: Pooled,
    source: _Source,
    writer: EmbeddingWriter,
    tally: Tally,
    progress: Progress,
) -> None:
    done = 0
    for rows in engine.run(source.tiles(writer.add_contig)):
        _write(writer, pooled, rows)
        drawn = tally.rows + tally.skipped
        progress.advance(drawn - done)
        done = drawn


@dataclass(frozen=True)
class _Source:
    """Where tiles come from, and how progress counts them.

    ``tiles`` hears of contigs that are met while the FASTA is streamed: (name, length).
    """

    contigs: dict[str, int]
    total: int | None
    unit: str
    tiles: Callable[[Callable[[str, int], None]], Iterator[Tile]]


def _source(
    genome: Genome | None,
    bed: str | Path | None,
    regions: Sequence[str],
    tiling: Tiling,
    on_error: str,
    tally: Tally,
) -> _Source:
    """The tiles asked for; no genome: the FASTA on standard input."""
    if genome is None:
        return _Source(
            {}, None, "windows", lambda met: record_tiles(read_fasta("-"), tiling, tally, met)
        )
    lengths = genome.lengths
    if bed is None and not regions:
        total = sum(tiling.count(length) for length in lengths.values())
        return _Source(lengths, total, "windows", lambda _: genome_tiles(genome, tiling, tally))
    if bed is None:
        wanted = [parse_region(text, lengths) for text in regions]
        total = _count(wanted, genome, on_error)
    else:
        wanted = read_bed(bed)
        # "-", or a pipe with a name, can be read once.
        known = Path(bed).is_file()
        total = _count(read_bed(bed), genome, on_error) if known else None
    return _Source(
        lengths,
        total,
        "regions",
        lambda _: region_tiles(wanted, genome, tiling, tally, on_error=on_error),
    )


def _count(regions: Iterable[Region], genome: Genome, on_error: str) -> int:
    """Read a BED to its end before any work, so that line 90,000 fails in the first second."""
    count = 0
    for region in regions:
        count += 1
        if on_error == "fail":
            genome.check(region)
    return count


def _write(writer: EmbeddingWriter, pooled: Pooled, rows: list[Row]) -> None:
    if not rows:
        return
    regions = [row.region for row in rows]
    status_N = np.array([row.status for row in rows])
    if pooled.pool == "none":
        tokens = [part for row in rows for part in row.parts]
        tokens_N = np.array([sum(map(len, row.parts)) for row in rows])
        vectors = np.concatenate(tokens) if tokens else pooled.no_tokens()
        writer.append(regions, status_N, vectors, tokens_N)
    else:
        writer.append(regions, status_N, np.stack([pooled.vector(row) for row in rows]))


def _attributes(
    info: ModelInfo, tiling: Tiling, options: EmbedOptions, encoder: Encoder, command: str
) -> dict[str, object]:
    return {
        "dnatk_version": __version__,
        "command": command,
        "model": info.name,
        "model_sha256": info.sha256,
        "k": info.k,
        "kmer_stride": info.kmer_stride,
        "window": tiling.window,
        "stride": tiling.stride,
        "pool": options.pool,
        "layer": resolve_layer(options.layer, info.config.layers),
        "rc": options.rc,
        "precision": str(encoder.dtype).removeprefix("torch."),
    }
