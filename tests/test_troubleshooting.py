"""docs/troubleshooting.md: every message comes, or stands in the source."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest
from pages import DOCS, ROOT, Block, blocks, check_block, commands

PAGE = DOCS / "troubleshooting.md"
# A word or two of each question of users, and of its answer: named, or answered.
ASKED = {
    "triton": "torch's own", "without a GPU": "--device cpu", "offline": "howto/offline.md",
    "predict after": "dnatk predict --task", "own genome": "dnatk pretrain",
    "collapse": "tried again", "every time": "--seed", "random embeddings": "an error",
    "long sequences": "--window|windows", "which layer": "--layer", "which pooling": "--pool",
    "padding": "packed", "each base": "--pool none", "format": "CSV", "regression": "--kind",
    "leakage": "--drop-leaks", "both strands": "--rc average", "read": "h5 export",
}  # fmt: skip


def test_the_commands_say_what_the_page_shows(run, tmp_path, monkeypatch, clean_home):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for block in blocks(PAGE, "console"):
        check_block(block, run, tmp_path)


@pytest.mark.parametrize("block", blocks(PAGE, "text"), ids=str)
def test_messages_that_are_not_provoked_stand_in_the_source(block: Block):
    for line in block.text.splitlines():
        said = re.sub(r"^dnatk: (error: )?([\w.]+:\d+: )?", "", line)
        assert any(pattern.search(said) for pattern in messages()), line


@cache
def messages() -> list[re.Pattern]:
    """Every text of the source of some length, what it fills in standing for anything."""
    found = []
    for path in (ROOT / "dnatk").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            parts = _parts(node)
            if sum(map(len, parts)) > 20:
                found.append(re.compile(".+".join(map(re.escape, parts))))
    return found


def _parts(node: ast.AST) -> list[str]:
    """A text between what is filled in; none for other nodes."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.split(r"%[sd]", node.value)
    if isinstance(node, ast.JoinedStr):
        texts = [v.value if isinstance(v, ast.Constant) else "\0" for v in node.values]
        return "".join(texts).split("\0")
    return []


def test_text_blocks_are_found_in_full():
    """The check above would not let another wording through."""
    (line,) = [b.text for b in blocks(PAGE, "text") if "device 'cuda'" in b.text]
    said = line.removeprefix("dnatk: error: ").strip()
    assert any(p.search(said) for p in messages())
    assert not any(p.search(said.replace("not here", "absent").split("(")[0]) for p in messages())


def test_every_block_is_looked_at():
    assert len(blocks(PAGE)) == len(blocks(PAGE, "console", "text"))
    shown = [lines for block in blocks(PAGE, "console") for _, lines in commands(block)]
    assert sum(any("rror: " in line for line in lines) for lines in shown) > 20


@pytest.mark.parametrize(("question", "answer"), ASKED.items())
def test_each_question_has_an_answer(question: str, answer: str):
    text = PAGE.read_text().split("## Questions that people ask")[1]
    rows = [line for line in text.splitlines() if line.startswith("|")]
    rows = [line for line in rows if re.search(question, line.split("|")[1], re.I)]
    assert any(re.search(answer, line) for line in rows), question


def test_what_is_not_covered_is_named():
    text = PAGE.read_text().split("### Variants")[1]
    assert "**Not covered.**" in text
    for what in ("VCF", "REF", "indels"):
        assert what in text
