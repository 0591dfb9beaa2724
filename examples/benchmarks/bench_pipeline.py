"""``dnatk embed`` end to end against the bare forward of the same packed batches.

The RATIO is the bare forward's time over that of the whole: 1.0 would mean that reading, encoding,
packing, pooling, writing, the parts kept on disk and the merge at the end cost nothing. Loading
the model counts to the whole run. Both run in this process, on the same threads, interleaved.

    python examples/benchmarks/bench_pipeline.py --preset small --bases 200000
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from timing import (
    cores,
    interleaved,
    parser,
    random_bases,
    random_model,
    report,
    summary,
    write_fasta,
)


def main() -> None:
    options = parser(__doc__, repeats=5)
    options.add_argument("--preset", default="small", help="default: %(default)s")
    options.add_argument("--bases", type=int, default=200_000, help="default: %(default)s")
    options.add_argument("--threads", type=int, default=cores(), help="default: all (%(default)s)")
    options.add_argument("--device", default="cpu", help="default: %(default)s")
    options.add_argument("--pool", default="mean", help="default: %(default)s")
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        report(compare(Path(directory), args), args.json)


def compare(directory: Path, args: argparse.Namespace) -> dict[str, object]:
    import dnatk
    from dnatk.inference.embed import EmbedOptions
    from dnatk.model.placement import prepare_cpu

    prepare_cpu(args.threads)
    model = random_model(directory / "model", args.preset)
    fasta, output = directory / "in.fa", directory / "out.h5"
    write_fasta(fasta, {"chr1": random_bases(args.bases, args.seed)})
    options = EmbedOptions(device=args.device, pool=args.pool)
    sides = {
        "embed": lambda: dnatk.embed(fasta, output, model=model, options=options, force=True),
        "bare forward": bare(fasta, model, options),
    }
    seconds = interleaved(sides, args.repeats)
    figures = {name: summary(found) for name, found in seconds.items()}
    for figure in figures.values():
        figure["kbp_per_s"] = args.bases / figure["median_s"] / 1e3
    return {
        "RATIO": figures["bare forward"]["median_s"] / figures["embed"]["median_s"],
        **figures,
        "input": {"bases": args.bases, "pool": args.pool, "preset": args.preset},
        "threads": args.threads,
        "repeats": args.repeats,
    }


def bare(fasta: Path, model: Path, options):
    """A function that runs the encoder over the batches of that very run, packed beforehand."""
    import torch

    from dnatk.genome.fasta import Genome
    from dnatk.inference.embed_source import embed_source
    from dnatk.inference.engine import Engine
    from dnatk.inference.parts import numbered, part_bases
    from dnatk.inference.pooled import Pooled
    from dnatk.inference.tiles import Tally
    from dnatk.model.models import find_model

    found = find_model(model)
    encoder = found.load(device=options.device, precision=options.precision)
    engine = Engine(encoder, found.tokens, Pooled(found.tokens, options.pool, found.hidden))
    with Genome(fasta) as genome:
        tiling = options.tiling(found)
        source = embed_source(genome, None, (), tiling, found.tokens, "fail", Tally())
        items = numbered(source.items(), part_bases(engine.batch_tokens), source.bases)
        strands = [batch.strands[0] for batch in engine.batches(source.tiles(items))]
    packed = [
        (
            torch.from_numpy(strand.ids_T).to(encoder.device),
            torch.from_numpy(strand.position_T).to(encoder.device),
            strand.lengths,
        )
        for strand in strands
    ]

    def run() -> None:
        for batch in packed:
            encoder(*batch)
        if encoder.device.type == "cuda":
            torch.cuda.synchronize()

    return run


if __name__ == "__main__":
    main()
