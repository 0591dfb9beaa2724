"""The documentation builds into a site without a warning, and the site needs nothing else."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEEDED = ("mkdocs", "material", "mkdocstrings_handlers.python")


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


missing = [name for name in NEEDED if not _is_installed(name)]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def build(config: Path, site: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", config, "-d", site]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("site") / "site"
    done = build(ROOT / "mkdocs.yml", path)
    wrong = [line for line in done.stderr.splitlines() if re.search("WARN|ERROR|Abort", line)]
    assert done.returncode == 0, done.stderr
    assert not wrong
    return path


def test_every_page_is_in_the_site(site):
    pages = [p.relative_to(ROOT / "docs").with_suffix(".html") for p in ROOT.glob("docs/**/*.md")]
    assert len(pages) > 20
    assert [str(page) for page in pages if not (site / page).exists()] == []


def test_links_out_of_docs_stay_in_the_site(site):
    """Files of the repository that pages link to lie in the site, pages among them as pages."""
    assert "0.3.0" in (site / "CHANGELOG.html").read_text()
    assert (site / "examples/slurm/index.html").exists()
    assert 'href="examples/slurm/index.html"' in (site / "pretraining.html").read_text()
    for page in set(site.rglob("*.html")) - {site / "404.html"}:  # that may be shown anywhere
        for target in re.findall(r'<a [^>]*href="(?!\w+:)([^"#?]+)', page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(site)}: {target}"


def test_the_site_holds_no_makers_of_pages(site):
    assert [path.name for path in site.glob("**/make_*.py") if "examples" not in path.parts] == []
    assert not (site / "hooks.py").exists()


def test_nothing_is_fetched_from_elsewhere(site):
    fetched = r'<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)="((?:https?:)?//[^"]+)'
    for page in site.rglob("*.html"):
        assert re.findall(fetched, page.read_text()) == [], page.name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(?:https?:)?//", sheet.read_text()), sheet.name


@pytest.mark.parametrize(
    "page",
    [
        "[gone](gone.md)",
        "[gone](../examples/gone.sh)",
        "[none](index.md#there)",
        "![](gone.png)",
    ],
)
def test_a_link_to_nothing_stops_the_build(page, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# A page\n\n{page}\n")
    settings = (ROOT / "mkdocs.yml").read_text()
    settings = settings[: settings.index("\nnav:")].replace("docs/hooks.py", "hooks.py")
    (tmp_path / "mkdocs.yml").write_text(settings.replace("extra_css:", "extra_javascript: []\n#"))
    (tmp_path / "hooks.py").write_text((ROOT / "docs/hooks.py").read_text())
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0
    assert "index.md" in done.stderr
