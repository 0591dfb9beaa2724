#!/usr/bin/env python3
"""Run the tutorials and keep the pictures that they draw: docs/tutorials/make_figures.py

Needs what the tests need, and a minute.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))

from tutorials import Session, blocks  # noqa: E402

FIGURES = {"embed-a-genome": "regions.png", "pretrain": "model/loss.png"}
WIDTH = 900


def make(page: str, figure: str) -> None:
    """Run a page until the figure is there, and keep that in few colours."""
    with tempfile.TemporaryDirectory() as directory:
        session = Session(Path(directory))
        made = session.directory / "example" / figure
        for block in blocks(HERE / f"{page}.md"):
            session.run(block)
            if made.exists():
                break
        with Image.open(made) as image:
            size = (WIDTH, round(WIDTH * image.height / image.width))
            small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        target = HERE / made.name
        small.quantize(64).save(target, optimize=True)
        print(f"{target}: {target.stat().st_size / 1000:.0f} kB")


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    for page, figure in FIGURES.items():
        make(page, figure)


if __name__ == "__main__":
    main()
