"""What mkdocs does for the site beyond its settings: links that leave docs/.

Pages link to files of the repository as they lie there (``../CHANGELOG.md``,
``../examples/slurm/README.md``), which is what a git host shows. Each such file joins the site at
its path from the top of the repository, pages rendered and others to be loaded down, and the
links are turned to it. A link whose text is the name of a page (``[cli.md](cli.md)``) shows that
page's title.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"\[([\w./-]+\.md)\](?=\(([^)#:\s]+\.md)(?:#[\w-]*)?\))")
LINK = re.compile(r"(?<=\]\()(?![a-z]+:)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what pages link to outside docs/, and what those files link to in turn."""
    nav = re.findall(r"[\w/.-]+\.md", str(config.nav))
    todo = {path for path in nav if not files.get_file_from_path(path) and (ROOT / path).is_file()}
    for page in files.documentation_pages():
        todo |= outside(Path(page.abs_src_path))
    while todo:
        path = todo.pop()
        if files.get_file_from_path(path) is None:
            source = ROOT / path
            files.append(File.generated(config, path, abs_src_path=str(source)))
            if source.suffix == ".md":
                todo |= outside(source)
    return files


def on_page_markdown(markdown: str, page, config: MkDocsConfig, files: Files) -> str:
    """Turn links over the border of docs/ to where the files lie in the site."""
    source = Path(page.file.abs_src_path)
    markdown = NAMED.sub(lambda found: titled(found[0], source.parent / found[2]), markdown)
    here = posixpath.dirname(page.file.src_uri)
    return links(markdown, source, lambda path: posixpath.relpath(in_site(path), here or "."))


def on_page_content(html: str, **_) -> str:
    """Leave the roles of Sphinx out, which docstrings hold."""
    return re.sub(r":(?:attr|class|data|func|meth|mod):(?=<code>)", "", html)


def outside(page: Path) -> set[str]:
    """Paths, from the top of the repository, of the files outside docs/ that a page links to."""
    found = set()
    links(page.read_text(), page, lambda path: found.add(path) or "")
    return {path for path in found if in_site(path) == path}


def links(markdown: str, page: Path, turn: Callable[[str], str]) -> str:
    """``markdown`` with ``turn(path)`` for each link that crosses the border of docs/."""

    def turned(match: re.Match) -> str:
        target = (page.parent / match[1]).resolve()
        if target.is_dir():
            target /= "README.md"
        crosses = {is_doc(page), is_doc(target)} != {True}
        if not (crosses and target.is_file() and target.is_relative_to(ROOT)):
            return match[1]
        return turn(target.relative_to(ROOT).as_posix())

    return LINK.sub(turned, markdown)


def titled(text: str, page: Path) -> str:
    """``text``, or the title of the page in brackets."""
    if page.is_file() and (title := re.match(r"# (.+)", page.read_text())):
        return f"[{title[1]}]"
    return text


def is_doc(path: Path) -> bool:
    return path.is_relative_to(ROOT / "docs")


def in_site(path: str) -> str:
    """Where a file of the repository lies in the site."""
    return {"README.md": "index.md"}.get(path, path.removeprefix("docs/"))
