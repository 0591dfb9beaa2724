"""Every page that says so runs as printed, and gives what it shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from tutorials import blocks, check, matches

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [DOCS / "start.md", *sorted((DOCS / "tutorials").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_give_what_they_show(page, tmp_path):
    assert not (wrong := check(page, tmp_path)), wrong[0]


def test_only_what_needs_a_network_is_left_out():
    for page in PAGES:
        marks = page.read_text().split("<!-- test: skip -->")[1:]
        assert all("pip install" in mark.split("```")[1] for mark in marks), page.name


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("3 rows\n", "3 rows\n", True),
        ("3 rows\n", "4 rows\n", False),
        ("3 rows\n", "3 rows\nmore\n", False),
        ("a ... c\n", "a b b c\n", True),
        ("a ... c\n", "a b\nb c\n", False),
        ("a\n...\nz\n", "a\nb\nc\nz\n", True),
        ("a\n...\nz\n", "a\nz\n", True),
        ("a\n...\nz\n", "a\nb\nc\n", False),
        ("a\n...\n", "a\nb\n", True),
        ("5 kb in 1.5 s (3.3 kb/s)\n", "5 kb in 12.0 s (417 bp/s)\n", True),
        ("5 kb in 1.5 s (3.3 kb/s)\n", "5 kb in 1 min 05 s (812 bp/s)\n", True),
        ("5 kb in 1.5 s (3.3 kb/s)\n", "5 kb in 2 h 05 min (1 bp/s)\n", True),
        ("5 kb in 1.5 s (3.3 kb/s)\n", "6 kb in 1.5 s (3.3 kb/s)\n", False),
        ("chr1.5 s\n", "chr2.5 s\n", False),
    ],
)
def test_what_passes_for_the_output_shown(shown, printed, same):
    assert matches(shown, printed) is same


@pytest.mark.parametrize(
    ("printed", "same"),
    [
        ("mcc    0.81\n  90 rows of chr1\n", True),
        ("mcc 0.6\n90 rows of chr1\n", False),
        ("mcc 0.8\n 130 rows of chr1\n", False),
        ("mcc 0.8\n 100 rows of chr2\n", False),
        ("mcc NA\n 100 rows of chr1\n", False),
    ],
)
def test_numbers_that_may_be_about_the_same(printed, same):
    assert matches("mcc 0.88\n 100 rows of chr1\n", printed, 0.2) is same


PAGE = """# A page

```sh
mkdir new
cd new
export NAME=me
```

<!-- test: skip -->
```sh
no-such-command
```

```sh
echo "$NAME" in "${PWD##*/}"
```

```text
me in new
```

```python
import os
print(os.environ["NAME"], 1 / 3)
```

```text
me 0.33...
```

```sh
echo "dnatk: error: no" >&2; false
```

```text
dnatk: error: no
```
"""


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("", "", None),
        ("me in new", "me in old", 14),
        ("me 0.33...", "me 0.34...", 22),
        ("; false", "", 31),
        ("mkdir new", "mkdir no/such", 3),
        ("dnatk: error: no\n```\n", "it went well\n```\n", 31),
    ],
)
def test_a_page_that_is_not_so_is_found(old, new, line, tmp_path):
    page = tmp_path / "page.md"
    head, _, tail = PAGE.rpartition(old) if old else (PAGE, "", "")
    page.write_text(head + new + tail)
    wrong = check(page, tmp_path)
    assert bool(wrong) is (line is not None)
    assert not wrong or wrong[0].startswith(f"page.md:{line}:"), wrong
    assert len(blocks(page)) == 4
