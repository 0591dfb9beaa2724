"""Move each region of a BED file by a random number of bases, the same for everybody.

python examples/shift_regions.py REGIONS.bed GENOME.fa MOST [SEED] > SHIFTED.bed

Moves are whole numbers within -MOST .. MOST; a region that would leave its contig stays.
"""

from __future__ import annotations

import sys

import numpy as np

from dnatk.genome.bed import read_bed
from dnatk.genome.fasta import Genome


def main() -> None:
    path, genome, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
    rng = np.random.default_rng(int(sys.argv[4]) if len(sys.argv) > 4 else 1)
    with Genome(genome) as sequences:
        lengths = sequences.lengths
    for region in read_bed(path):
        by = int(rng.integers(-most, most + 1))
        if region.start + by < 0 or region.end + by > lengths[region.contig]:
            by = 0
        print(region.contig, region.start + by, region.end + by, *region.fields[3:], sep="\t")


if __name__ == "__main__":
    main()
