#!/usr/bin/env python3
"""A small made-up genome with planted promoter-like motifs, for the tutorials.

    examples/genome/make_genome.py DIR [--seed 1]

Nothing in it is copied from an organism. DIR gets

    genome.fa      chr1 to chr4, 180 kb: genes and what lies between them, soft-masked repeats and
                   one run of N
    genome.sizes   name and length of each contig
    genes.bed      the genes
    tss.bed        the first base of each gene
    promoters.bed  80 bases round it, on the gene's strand: 50 upstream, the first base, 29 after
    features.bed   80 bases of each promoter, each gene, each repeat and each stretch between;
                   the name says which of these a region is

All are BED6. Before each gene, on its strand, stand a box TATAWAAR from -31 to -24 and an
initiator YYANWYY whose A is the first base of the gene, +1 (there is no 0). Each letter of the
motifs is replaced by a random base with probability --mutation. Genes are richer in G and C than
what lies between; copies of one repeat, with a tenth of their bases changed, are in lower case.
The same seed gives the same bytes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

CONTIGS = {"chr1": 60_000, "chr2": 50_000, "chr3": 40_000, "chr4": 30_000}
UPSTREAM, DOWNSTREAM = 50, 30
TATA, TATA_AT = "TATAWAAR", -31  # the codes, and the place of the first one
INITIATOR, INITIATOR_AT = "YYANWYY", -2
CODES = {"A": "A", "C": "C", "G": "G", "T": "T", "W": "AT", "R": "AG", "Y": "CT", "N": "ACGT"}
GC_BETWEEN, GC_GENE = 0.36, 0.50
REPEAT, REPEAT_SHARE = 240, 0.3  # bases; a repeat stands beside that share of the genes
GAP_IN, GAP = "chr2", 600

Feature = tuple[int, int, str, str]  # start and end (0-based half-open), what, strand


class Dice:
    """Draws that are the same in every version of numpy (RandomState is frozen)."""

    def __init__(self, seed: int) -> None:
        self._state = np.random.RandomState(seed)

    def share(self) -> float:
        return float(self._state.random_sample())

    def between(self, low: int, high: int) -> int:
        """A whole number from low to high - 1."""
        return low + int(self.share() * (high - low))

    def bases(self, length: int, gc: float) -> str:
        edges = np.cumsum([(1 - gc) / 2, gc / 2, gc / 2])
        drawn = np.searchsorted(edges, self._state.random_sample(length), side="right")
        return "".join("ACGT"[i] for i in drawn)

    def mutated(self, bases: str, share: float) -> str:
        return "".join(
            "ACGT"[self.between(0, 4)] if self.share() < share else base for base in bases
        )

    def motif(self, codes: str, mutation: float) -> str:
        drawn = "".join(CODES[code][self.between(0, len(CODES[code]))] for code in codes)
        return self.mutated(drawn, mutation)


class Contig:
    """Bases that grow from left to right, and what stands where."""

    def __init__(self, dice: Dice, mutation: float) -> None:
        self.dice, self.mutation = dice, mutation
        self.pieces: list[str] = []
        self.size = 0
        self.genes: list[Feature] = []
        self.features: list[Feature] = []

    def add(self, bases: str) -> int:
        """Put bases at the end; where they start."""
        self.pieces.append(bases)
        self.size += len(bases)
        return self.size - len(bases)

    def add_between(self) -> None:
        start = self.add(self.dice.bases(self.dice.between(120, 260), GC_BETWEEN))
        self.features.append((start + 20, start + 100, "between", "+"))

    def add_repeat(self, repeat: str) -> None:
        start = self.add(self.dice.mutated(repeat, 0.1).lower())
        self.features.append((start + 80, start + 160, "repeat", "+"))

    def add_gene(self) -> None:
        """Promoter and gene on a random strand."""
        bases = self._gene()
        length = len(bases) - UPSTREAM
        if self.dice.share() < 0.5:
            first, strand = self.add(bases) + UPSTREAM, "+"
        else:
            first, strand = self.add(reverse_complement(bases)) + length - 1, "-"
        for kind, start, end, found in (
            ("gene", 0, length, self.genes),
            ("promoter", -UPSTREAM, DOWNSTREAM, self.features),
            ("gene", 100, 180, self.features),
        ):
            place = (first + start, first + end)
            if strand == "-":
                place = (first + 1 - end, first + 1 - start)
            found.append((*place, kind, strand))

    def _gene(self) -> str:
        """A gene and its upstream bases, in its own direction."""
        bases = list(self.dice.bases(UPSTREAM, GC_BETWEEN + 0.04))
        bases += self.dice.bases(self.dice.between(220, 420), GC_GENE)
        for codes, at in ((TATA, TATA_AT), (INITIATOR, INITIATOR_AT)):
            start = UPSTREAM + at
            bases[start : start + len(codes)] = self.dice.motif(codes, self.mutation)
        return "".join(bases)


def reverse_complement(bases: str) -> str:
    return bases.translate(str.maketrans("ACGT", "TGCA"))[::-1]


def make_contig(length: int, gap: bool, repeat: str, dice: Dice, mutation: float) -> Contig:
    contig = Contig(dice, mutation)
    while contig.size + 1500 < length:
        contig.add_between()
        if gap and contig.size > length // 2:
            contig.add("N" * GAP)
            contig.add_between()
            gap = False
        contig.add_gene()
        if dice.share() < REPEAT_SHARE:
            contig.add_between()
            contig.add_repeat(repeat)
    contig.add(dice.bases(length - contig.size, GC_BETWEEN))
    return contig


def write(directory: Path, seed: int = 1, mutation: float = 0.1) -> None:
    """Write all files into ``directory``, which is made."""
    dice = Dice(seed)
    repeat = dice.bases(REPEAT, 0.44)
    contigs = {
        name: make_contig(length, name == GAP_IN, repeat, dice, mutation)
        for name, length in CONTIGS.items()
    }
    directory.mkdir(parents=True, exist_ok=True)
    fasta = []
    for name, contig in contigs.items():
        bases = "".join(contig.pieces)
        fasta += [f">{name}", *(bases[i : i + 60] for i in range(0, len(bases), 60))]
    write_lines(directory / "genome.fa", fasta)
    write_lines(directory / "genome.sizes", (f"{n}\t{size}" for n, size in CONTIGS.items()))
    write_bed(directory / "genes.bed", {n: numbered(c.genes, n) for n, c in contigs.items()})
    write_bed(directory / "tss.bed", {n: firsts(c, n, 0, 1) for n, c in contigs.items()})
    promoters = {n: firsts(c, n, -UPSTREAM, DOWNSTREAM) for n, c in contigs.items()}
    write_bed(directory / "promoters.bed", promoters)
    write_bed(directory / "features.bed", {n: c.features for n, c in contigs.items()})


def numbered(genes: list[Feature], contig: str) -> list[Feature]:
    """The same with names such as gene1.7."""
    stem = contig.removeprefix("chr")
    return [(s, e, f"gene{stem}.{i}", strand) for i, (s, e, _, strand) in enumerate(genes, 1)]


def firsts(contig: Contig, name: str, start: int, end: int) -> list[Feature]:
    """start to end round the first base of each gene, on its strand."""
    places = []
    for left, right, gene, strand in numbered(contig.genes, name):
        first = left if strand == "+" else right - 1
        place = (first + start, first + end)
        if strand == "-":
            place = (first + 1 - end, first + 1 - start)
        places.append((*place, gene, strand))
    return places


def write_bed(path: Path, features: dict[str, list[Feature]]) -> None:
    rows = []
    for contig, places in features.items():
        for start, end, name, strand in sorted(places):
            rows.append(f"{contig}\t{start}\t{end}\t{name}\t0\t{strand}")
    write_lines(path, rows)


def write_lines(path: Path, lines) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), newline="\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", metavar="DIR", type=Path, help="where to write; it is made")
    parser.add_argument("--seed", type=int, default=1, help="of all draws (default: 1)")
    parser.add_argument(
        "--mutation",
        type=float,
        default=0.1,
        help="chance of a motif's letter to be replaced (default: 0.1)",
    )
    args = parser.parse_args()
    write(args.directory, args.seed, args.mutation)


if __name__ == "__main__":
    main()
