"""The arms of the comparison, and the scales at which they can be run.

An arm is what `dnatk pretrain` is told about masking and tokens; a scale is all the rest, the same
for every arm: architecture, data, tokens, optimizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# What stands in the tables, and the options of `dnatk pretrain`. {longest} is the widest window
# of the k-mers that do not overlap: as many tokens as the others have.
ARMS = {
    "untrained": ("no pre-training: the weights it starts from", ("--max-steps", "1")),
    "token": ("independent tokens (BERT)", ("--masking", "token")),
    "dnabert": ("DNABERT masking, m = 6", ("--masking", "dnabert")),
    "rm-fixed": ("RandomMask, m = 6..14", ()),
    "rm-uniform": ("RandomMask, widths drawn up to m", ("--span", "uniform")),
    "wide": ("m = 14 from the start", ("--order", "fixed")),
    "contracting": ("m = 14..6", ("--order", "contracting")),
    "ratio": ("RandomMask, 15 % masked throughout", ("--mask-ratio", "0.15")),
    "stride": (
        "non-overlapping 6-mers, independent tokens",
        ("--masking", "token", "--kmer-stride", "k", "--window", "{longest}"),
    ),
}
# The suffix of an arm that starts from BERT's normal weights (`--start normal`).
NORMAL = "-normal"


@dataclass(frozen=True)
class Scale:
    """Everything but the arm.

    Attributes:
        inputs: below the data directory.
        options: of `dnatk pretrain`, for all arms.
        longest: bases of a window of non-overlapping k-mers.
    """

    inputs: tuple[str, ...]
    options: tuple[str, ...]
    longest: int


SCALES = {
    # 4 layers x 128, 20M tokens: an arm takes about half an hour on one core.
    "laptop": Scale(
        inputs=(
            "yeast/sacCer3.fa.gz",
            "pombe/Schizosaccharomyces_pombe.ASM294v2.dna.toplevel.fa.gz",
            *(
                f"slices/{name}.fa.gz"
                for name in ("E.coli_K12", "A.thaliana", "C.elegans", "D.melanogaster")
            ),
            "human/chr22_part.fa.gz",
            "human/GRCh37_chr20_1to2Mb.fa.gz",
            *(f"gue/{name}/train.csv.gz" for name in ("prom/prom_core_all", "prom/prom_300_tata")),
            *(f"gue/{name}/train.csv.gz" for name in ("tf/0", "tf/1", "tf/2")),
            *(f"gue/{name}/train.csv.gz" for name in ("mouse/0", "mouse/2")),
        ),
        options=(
            *("--weights", "35,10,5,4,4,4,14,4,6,4,2,2,2,2,2"),
            *("--holdout", "sacCer3.fa.gz:chrXIV", "--holdout", "sacCer3.fa.gz:chrXVI"),
            *("--holdout", "Schizosaccharomyces_pombe.ASM294v2.dna.toplevel.fa.gz:III"),
            *("--holdout", "C.elegans.fa.gz:V", "--holdout", "D.melanogaster.fa.gz:3R"),
            *("--preset", "mini", "--window", "515", "--batch-tokens", "8192"),
            *("--max-steps", "2441", "--lr", "1e-3", "--warmup", "0.05"),
            *("--save-steps", "244", "--keep", "0", "--log-steps", "20"),
        ),
        longest=3060,
    ),
    # The paper's: DNABERT's architecture and recipe, 480k steps on the human genome.
    "paper": Scale(
        inputs=("hg38.fa",),
        options=(
            *("--holdout", "chr21", "--preset", "dnabert-base", "--start", "normal"),
            *("--window", "515", "--batch-tokens", "1048576", "--accumulate", "4"),
            *("--max-steps", "480000", "--lr", "4e-4", "--warmup", "0.0208"),
            *("--save-steps", "5000", "--log-steps", "100"),
        ),
        longest=3060,
    ),
}


def directory(runs: str | Path, arm: str, seed: int) -> Path:
    """Where an arm's model lies."""
    return Path(runs, f"{arm}-s{seed}")


def title(arm: str) -> str:
    """What an arm is called in a table."""
    base = arm.removesuffix(NORMAL)
    return ARMS[base][0] + (", normal start" if base != arm else "")


def overlap(arm: str) -> bool:
    """Whether the 6-mers that an arm is pre-trained on overlap."""
    return "--kmer-stride" not in ARMS[arm.removesuffix(NORMAL)][1]


def names() -> list[str]:
    """All arms, also from a normal start."""
    return [*ARMS, *(f"{name}{NORMAL}" for name in ARMS)]


def command(
    launcher: Sequence[str], scale: Scale, arm: str, seed: int, data: str | Path, runs: str | Path
) -> list[str]:
    """The command that trains an arm, or goes on with it.

    Where an option stands twice, the last one counts.
    """
    base = arm.removesuffix(NORMAL)
    own = [option.replace("{longest}", str(scale.longest)) for option in ARMS[base][1]]
    start = ["--start", "normal"] if base != arm else []
    return [
        *launcher,
        "pretrain",
        *(str(Path(data, name)) for name in scale.inputs),
        *("-o", str(directory(runs, arm, seed)), "--resume", "--seed", str(seed)),
        *scale.options,
        *start,
        *own,
    ]
