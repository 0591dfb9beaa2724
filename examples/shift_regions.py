"""Move each region of a BED file by a random number of bases, the same for everybody.

python examples/shift_regions.py REGIONS.bed GENOME.fa MOST > SHIFTED.bed

Moves are whole numbers within -MOST .. MOST; a region that would leave its contig stays.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dnatk.errors import DnatkError
from dnatk.genome.bed import read_bed
from dnatk.genome.fasta import Genome


def shifted(bed: str | Path, fasta: str | Path, most: int, seed: int) -> Iterator[str]:
    """The lines of a BED file, each region moved by up to ``most`` bases."""
    rng = np.random.default_rng(seed)
    with Genome(fasta) as genome:
        for region in read_bed(bed):
            genome.check(region)
            by = int(rng.integers(-most, most + 1))
            if region.start + by < 0 or region.end + by > genome.lengths[region.contig]:
                by = 0
            moved = (region.contig, region.start + by, region.end + by, *region.fields[3:])
            yield "\t".join(map(str, moved))


def main() -> int:
    """Run; 1 where the data are at fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bed")
    parser.add_argument("genome", help="FASTA, for the lengths of its contigs")
    parser.add_argument("most", type=int, help="bases")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    try:
        for line in shifted(options.bed, options.genome, options.most, options.seed):
            print(line)
    except DnatkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
