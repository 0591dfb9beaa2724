"""examples/data: what is fetched is whole and right, or it is not there. The server is here."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import random_bases

ROOT = Path(__file__).parents[1]
DATA = ROOT / "examples" / "data"
FASTA = f">chr1\n{random_bases(200_000, 1)}\n".encode()
PACKED = gzip.compress(FASTA, mtime=0)


def load(script: str):
    spec = importlib.util.spec_from_file_location(script, DATA / f"{script}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[script] = module  # dataclasses and named tuples look themselves up
    spec.loader.exec_module(module)
    return module


fetch = load("fetch")


class Server(ThreadingHTTPServer):
    """Gives ``files``; of those in ``cut`` only so many bytes, once. ``asked``: the ranges."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cut: dict[str, int] = {}
        self.ranges = True
        self.asked: list[str | None] = []

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name, wanted = self.path[1:], self.headers["Range"]
        self.server.asked.append(wanted)
        if name not in self.server.files:
            return self.send_error(404)
        body, start = self.server.files[name], 0
        if wanted and self.server.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(body):
                return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start : self.server.cut.pop(name, None)])

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def server():
    with Server() as it:
        thread = threading.Thread(target=it.serve_forever, args=(0.05,))
        thread.start()
        yield it
        it.shutdown()
        thread.join()


@pytest.fixture
def go(server, tmp_path, monkeypatch, capsys):
    """``go(name=(bytes, sha256))`` fetches them; (code, stderr). DIR is tmp_path/data."""

    def call(*options: str, **files: tuple[bytes | None, str]):
        lines = []
        for name, (body, digest) in files.items():
            name = name.replace("_", ".")
            if body is not None:
                server.files[name] = body
            lines.append(f"{name}\t{server.url(name)}\t{digest}\ta note\n")
        sources = tmp_path / "sources.tsv"
        sources.write_text("# a comment\n" + "".join(lines))
        arguments = ["--sources", str(sources), "-o", str(tmp_path / "data"), *options]
        monkeypatch.setattr("sys.argv", ["fetch.py", *arguments])
        code = fetch.main()
        return code, capsys.readouterr().err

    return call


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def listing(path: Path) -> list[str]:
    return sorted(p.name for p in path.iterdir()) if path.exists() else []


def test_a_file_is_fetched_checked_and_then_left(go, server, tmp_path):
    files = {"a_fa_gz": (PACKED, sha(PACKED))}
    code, err = go(**files)
    assert (code, err) == (0, f"{tmp_path}/data/a.fa.gz: fetched\n")
    assert (tmp_path / "data/a.fa.gz").read_bytes() == PACKED
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=tmp_path / "data", check=True)
    assert go(**files) == (0, f"{tmp_path}/data/a.fa.gz: is there\n")
    assert server.asked == [None]
    (tmp_path / "data/a.fa.gz").write_bytes(PACKED[:-1])
    code, err = go(**files)
    assert code == 1
    assert err.endswith("has changed since it was fetched; remove it to fetch it again\n")


def test_a_wrong_sum_leaves_nothing(go, tmp_path):
    code, err = go(a_fa_gz=(PACKED, "0" * 64))
    assert code == 1
    assert f"its SHA-256 is {sha(PACKED)}, not {'0' * 64}; nothing was kept" in err
    assert err.count("\n") == 1
    assert listing(tmp_path / "data") == []


@pytest.mark.parametrize("ranges", [True, False])
def test_a_transfer_that_was_cut_off_goes_on(go, server, tmp_path, ranges):
    server.cut["a.fa.gz"], server.ranges = 10_000, ranges
    files = {"a_fa_gz": (PACKED, sha(PACKED))}
    code, err = go(**files)
    assert code == 1
    assert "too early; 10,000 bytes are kept, run it again to go on" in err
    assert listing(tmp_path / "data") == ["a.fa.gz.download"]
    assert go(**files)[0] == 0
    assert server.asked == [None, "bytes=10000-"]
    assert (tmp_path / "data/a.fa.gz").read_bytes() == PACKED


def test_kept_bytes_that_are_wrong_are_thrown_away(go, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.fa.gz.download").write_bytes(b"x" * 100)
    files = {"a_fa_gz": (PACKED, sha(PACKED))}
    assert go(**files)[0] == 1
    assert listing(tmp_path / "data") == []
    assert go(**files)[0] == 0


def test_all_bytes_kept_and_nothing_left_to_fetch(go, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.fa.gz.download").write_bytes(PACKED)
    assert go(a_fa_gz=(PACKED, sha(PACKED)))[0] == 0


def test_one_that_is_not_there_does_not_stop_the_others(go, server, tmp_path):
    code, err = go(gone_fa=(None, "-"), b_fa=(FASTA, sha(FASTA)))
    assert code == 1
    assert f"fetch.py: error: {server.url('gone.fa')}: HTTP 404 Not Found\n" in err
    assert listing(tmp_path / "data") == ["SHA256SUMS", "b.fa"]


def test_offline_is_one_line(tmp_path, monkeypatch, capsys):
    source = fetch.Source("a.fa", "http://127.0.0.1:9/a.fa", "-", "")
    assert fetch.fetch_all([source], tmp_path / "data") == 1
    assert capsys.readouterr().err == (
        "fetch.py: error: http://127.0.0.1:9/a.fa: [Errno 111] Connection refused\n"
    )
    assert not (tmp_path / "data").exists()


def test_without_a_sum_the_first_one_is_noted_and_holds(go, server, tmp_path):
    code, err = go(a_fa_gz=(PACKED, "-"))
    assert code == 0
    assert err.endswith("fetched, its SHA-256 noted in " + f"{tmp_path}/data/SHA256SUMS\n")
    (tmp_path / "data/a.fa.gz").unlink()
    other = gzip.compress(FASTA[:-1], mtime=0)
    code, err = go(a_fa_gz=(other, "-"))
    assert code == 1
    assert f"its SHA-256 is {sha(other)}, not {sha(PACKED)}" in err
    assert go(a_fa_gz=(PACKED, "-"))[0] == 0


def test_without_a_sum_a_gzip_file_must_be_whole(go, tmp_path):
    code, err = go(a_fa_gz=(PACKED[:-20], "-"))
    assert code == 1
    assert "gives no whole gzip file" in err
    assert listing(tmp_path / "data") == []


def test_a_plain_file_may_be_packed(go, server, tmp_path):
    server.files["plain.csv"] = b"sequence,label\nACGT,1\n"
    source = fetch.Source("x.csv.gz", server.url("plain.csv"), sha(server.files["plain.csv"]), "")
    for there in (False, True):
        assert fetch.fetch(source, tmp_path) == ("is there" if there else "fetched")
    assert gzip.decompress((tmp_path / "x.csv.gz").read_bytes()) == server.files["plain.csv"]


def test_only_takes_files_and_directories(go, tmp_path):
    files = {"a_fa": (FASTA, sha(FASTA)), "b_fa": (FASTA, sha(FASTA))}
    assert go("--only", "b.fa", **files)[0] == 0
    assert listing(tmp_path / "data") == ["SHA256SUMS", "b.fa"]
    assert go("--only", "b", **files) == (1, "fetch.py: error: no data named 'b': see --list\n")
    sources = fetch.read_catalogue(DATA / "sources.tsv")
    names = {source.name for source in fetch.chosen(sources, ["gue/tf", "yeast/sacCer3.fa.gz"])}
    assert len(names) == 10
    assert all(name.startswith(("gue/tf/", "yeast/sacCer3")) for name in names)


def test_the_list_is_in_order_and_agrees_with_the_data(data_dir):
    sources = fetch.read_catalogue(DATA / "sources.tsv")
    assert len({source.name for source in sources}) == len(sources)
    for source in sources:
        assert source.url.startswith("https://")
        assert re.fullmatch(r"-|[0-9a-f]{64}", source.sha256)
        if source.sha256 != "-":
            body = (data_dir / source.name).read_bytes()
            assert sha(gzip.decompress(body) if source.packed else body) == source.sha256


# promoters.py


GTF = """#!genome-build R64-1-1
I\tx\tgene\t1001\t2000\t.\t+\t.\tgene_id "up"; gene_biotype "protein_coding";
I\tx\texon\t1001\t2000\t.\t+\t.\tgene_id "up"; gene_biotype "protein_coding";
Mito\tx\tgene\t1001\t2000\t.\t-\t.\tgene_id "down"; gene_biotype "protein_coding";
I\tx\tgene\t1001\t1100\t.\t+\t.\tgene_id "rna"; gene_biotype "tRNA";
I\tx\tgene\t101\t1100\t.\t+\t.\tgene_id "edge"; gene_biotype "protein_coding";
"""


def test_promoters_of_a_gtf(tmp_path, monkeypatch, capsys):
    (tmp_path / "x.gtf").write_text(GTF)
    arguments = [str(tmp_path / "x.gtf"), "--type", "protein_coding", "--names", "ucsc"]
    monkeypatch.setattr("sys.argv", ["promoters.py", *arguments])
    assert load("promoters").main() == 0
    captured = capsys.readouterr()
    assert captured.out == "chrI\t750\t1050\tup\t0\t+\nchrM\t1950\t2250\tdown\t0\t-\n"
    assert captured.err == "2 regions, 1 left out (before their contig)\n"


def test_promoters_are_those_of_the_data(data_dir, tmp_path, monkeypatch):
    gtf = data_dir / "yeast/Saccharomyces_cerevisiae.R64-1-1.109.gtf.gz"
    options = ["--type", "protein_coding", "--names", "ucsc", "-o", str(tmp_path / "p.bed")]
    monkeypatch.setattr("sys.argv", ["promoters.py", str(gtf), *options])
    assert load("promoters").main() == 0
    known = (data_dir / "yeast/promoters_geneStart_m250_p50.bed").read_text()
    assert sorted((tmp_path / "p.bed").read_text().split("\n")) == sorted(known.split("\n"))
