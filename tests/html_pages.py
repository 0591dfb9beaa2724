"""Pages of HTML as tests see them: alone, whole, escaped; and in a browser where there is one."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


class Page(HTMLParser):
    """A page that must stand alone; its text, figures and headings.

    Raises AssertionError for a script, a request, or a tag that is not closed.
    """

    VOID = ("meta", "img", "br")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open, self.figures, self.text = [], [], ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert not self.open, "a tag is not closed"
        style = re.search(r"<style>(.*?)</style>", self.source, re.DOTALL)[1]
        assert "url(" not in style
        assert "@import" not in style

    def handle_starttag(self, tag, attrs):
        assert tag not in ("script", "iframe", "object", "embed", "link", "base", "form")
        if tag not in self.VOID:
            self.open.append(tag)
        found = dict(attrs)
        assert not [name for name in found if name.startswith("on")], "an event handler"
        for name in ("href", "srcset", "data", "poster", "action", "background"):
            assert name not in found
        if tag == "img":
            head, data = found["src"].split(",", 1)
            assert head == "data:image/svg+xml;base64"
            root = ET.fromstring(base64.b64decode(data))
            links = [v for e in root.iter() for k, v in e.attrib.items() if k.endswith("href")]
            assert all(link.startswith(("#", "data:")) for link in links)
            self.figures.append(found["alt"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def browsed(path: Path, tmp_path: Path) -> str:
    """What a browser says while it shows a page: errors of the page, and requests but its own."""
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
         f"--user-data-dir={tmp_path / 'browser'}", "--window-size=400,3000",
         f"--screenshot={tmp_path / 'page.png'}", path.resolve().as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (tmp_path / "page.png").stat().st_size > 1000, done.stderr
    return "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
