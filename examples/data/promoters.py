#!/usr/bin/env python3
"""Write the promoters (or the genes) of an Ensembl GTF as BED6.

    examples/data/promoters.py yeast/Saccharomyces_cerevisiae.R64-1-1.109.gtf.gz \\
        --type protein_coding --names ucsc -o promoters.bed

A promoter is --before bases before the first base of a gene's annotation to --after bases from
it on, along its strand. Those that would begin before their contig are left out and counted on
stderr; ends beyond a contig are not seen here, but by dnatk. Names: I becomes chrI, Mito chrM.
"""

from __future__ import annotations

import argparse
import gzip
import re
import sys
from pathlib import Path


def genes(path: Path, biotype: str | None):
    """(contig, start, end, name, strand) of each gene line, 0-based half-open."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            fields = line.rstrip("\n").split("\t")
            if line.startswith("#") or fields[2:3] != ["gene"]:
                continue
            facts = dict(re.findall(r'(\w+) "([^"]*)"', fields[8]))
            if biotype is None or facts.get("gene_biotype") == biotype:
                yield fields[0], int(fields[3]) - 1, int(fields[4]), facts["gene_id"], fields[6]


def promoter(start: int, end: int, strand: str, before: int, after: int) -> tuple[int, int]:
    return (end - after, end + before) if strand == "-" else (start - before, start + after)


def ucsc(contig: str) -> str:
    return {"Mito": "chrM", "MT": "chrM"}.get(contig, f"chr{contig}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("gtf", type=Path, metavar="GTF", help="Ensembl's, plain or gzip")
    parser.add_argument("-o", "--output", type=Path, metavar="BED", help="default: stdout")
    parser.add_argument("--before", type=int, default=250, metavar="BASES", help="default: 250")
    parser.add_argument("--after", type=int, default=50, metavar="BASES", help="default: 50")
    parser.add_argument("--genes", action="store_true", help="whole genes, not promoters")
    parser.add_argument("--type", metavar="BIOTYPE", help="such as protein_coding (default: all)")
    parser.add_argument(
        "--names", choices=["ensembl", "ucsc"], default="ensembl", help="of contigs"
    )
    args = parser.parse_args()
    rows, left_out = [], 0
    for contig, start, end, name, strand in genes(args.gtf, args.type):
        if not args.genes:
            start, end = promoter(start, end, strand, args.before, args.after)
        if start < 0:
            left_out += 1
            continue
        contig = ucsc(contig) if args.names == "ucsc" else contig
        rows.append(f"{contig}\t{start}\t{end}\t{name}\t0\t{strand}\n")
    if args.output:
        args.output.write_text("".join(rows), "utf-8")
    else:
        sys.stdout.writelines(rows)
    print(f"{len(rows)} regions, {left_out} left out (before their contig)", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
