"""The examples of docs/coordinates.md give what the page shows."""

from __future__ import annotations

import doctest

from pages import DOCS, blocks, check_block

PAGE = DOCS / "coordinates.md"


def test_the_examples_give_what_the_page_shows(run, tmp_path, monkeypatch, clean_home):
    monkeypatch.chdir(tmp_path)
    runner, parser, names = doctest.DocTestRunner(), doctest.DocTestParser(), {}
    for block in blocks(PAGE):
        if block.language == "console":
            check_block(block, run, tmp_path)
        else:
            assert block.language == "pycon", f"{block} is not tested"
            test = parser.get_doctest(block.text, names, str(block), str(PAGE), block.line)
            said: list[str] = []
            runner.run(test, out=said.append, clear_globs=False)
            names = test.globs
            assert not runner.failures, "".join(said)
