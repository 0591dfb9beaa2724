"""index.html of ``dnatk inspect``: figures with what they say, in one file without a network."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

from dnatk.analysis.inspect_summary import key_numbers, percent

_STYLE = """
:root { --ink: #1c2430; --soft: #5b6776; --line: #dde3ea; --tint: #f5f8fb; --mark: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff;
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 3rem 0 .4rem; padding-top: 1.2rem;
  border-top: 1px solid var(--line); }
p { max-width: 46rem; margin: .5rem 0; }
.facts { color: var(--soft); font-size: .92rem; }
.note { background: #fff6e0; border-left: 4px solid #e69f00; padding: .5rem .9rem; }
.read { background: var(--tint); border-left: 4px solid var(--mark); padding: .5rem .9rem; }
.table { overflow-x: auto; margin: 1.2rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .95rem; }
th, td { text-align: left; vertical-align: top; padding: .5rem .7rem;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; }
td:nth-child(2) { font-variant-numeric: tabular-nums; white-space: nowrap; font-weight: 600; }
figure { margin: 1.2rem 0; }
figure img { max-width: 100%; height: auto; display: block; }
code { font-size: .9em; overflow-wrap: anywhere; }
footer { margin-top: 3rem; color: var(--soft); font-size: .88rem; }
"""


def page(numbers: dict, figures: Mapping[str, Path]) -> str:
    """The page: numbers as in inspect.json, figures as name -> SVG file."""
    model = escape(Path(numbers["model"]["name"]).name or numbers["model"]["name"])
    body = [
        f"<h1>What {model} has learnt</h1>",
        f'<p class="facts">{_facts(numbers)}</p>',
        *(f'<p class="note">{escape(note)}</p>' for note in _notes(numbers)),
        _table(list(key_numbers(numbers))),
        *_sections(numbers, figures),
        f"<footer>{_footer(numbers)}</footer>",
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{model}: dnatk inspect</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _facts(numbers: dict) -> str:
    model, options = numbers["model"], numbers["options"]
    stride = model["kmer_stride"]
    kind = "its own tokens"
    if model["k"]:
        step = "overlapping" if stride == 1 else f"every {stride} bases"
        kind = f"{model['k']}-mers, {step}"
    source = numbers["input"]["fasta"]
    where = f"drawn from {escape(Path(source).name)}" if source else "of random bases"
    return (
        f"{model['layers']} layers of {model['heads']} heads, {model['hidden']} units, {kind}. "
        f"{options['windows']} windows of {options['window']} bases {where}, "
        f"seed {options['seed']}."
    )


def _notes(numbers: dict) -> list[str]:
    notes = list(numbers["notes"])
    if not numbers["input"]["fasta"]:
        notes.insert(
            0,
            "No FASTA was given: attention and the probe of bases were measured on random bases, "
            "which no genome looks like. Name a FASTA to see the model at its own work.",
        )
    return notes


def _sections(numbers: dict, figures: Mapping[str, Path]) -> Iterator[str]:
    if numbers["tokens"]:
        yield "<h2>Token embeddings</h2>"
        yield from _tokens(numbers["tokens"], figures)
    if numbers["attention"]:
        yield "<h2>Attention, layer by layer</h2>"
        yield from _attention(numbers["attention"], figures)
    if numbers["bases"] or numbers["labels"]:
        yield "<h2>What can be read from each layer</h2>"
    if numbers["bases"]:
        yield _text(
            "A linear probe reads a base that the token does not cover from the token's hidden "
            "state: it can only have come there by attention. The input knows nothing of it but "
            "what k-mers say of their neighbours. Tokens that train the probe and tokens that "
            "test it come from different windows."
        )
        yield _read(
            "Far above the dashed lines: the layer gathers its neighbourhood. A curve that falls "
            "in the upper layers: these turn to predicting the token itself. Flat at the dashed "
            "line from the first layer to the last: attention carries nothing."
        )
        yield _figure(figures, "probe_bases", "Accuracy of the probe of bases by layer")
    if numbers["labels"]:
        labels = numbers["labels"]
        yield _text(
            f"The mean over a sequence's tokens, and a linear probe trained on {labels['train']} "
            f"labelled sequences and measured on {labels['test']} others."
        )
        yield _read(
            "A layer above the input: context adds to what counting k-mers tells. The layer that "
            "is best here is the one for <code>dnatk embed --layer</code>. Differences of a few "
            "points between layers are noise."
        )
        yield _figure(figures, "probe_labels", "Accuracy and MCC of the probe of labels by layer")
    if numbers["norms"]:
        yield "<h2>Frequency</h2>"
        yield _text(
            "The length of each k-mer's embedding against how often it stands in the FASTA "
            "(forward strand)."
        )
        yield _read(
            "A flat cloud is well. A slope says that rare k-mers were seen too seldom to move "
            "from where training began, or that frequency itself was learnt."
        )
        yield _figure(figures, "norms", "Norm of each k-mer's embedding against its count")
    if numbers["training"]:
        yield "<h2>Training</h2>"
        yield _text(
            "Bits per masked token over the steps; bands are the phases of growing spans. At each "
            "step up the loss jumps and then falls again."
        )
        yield _read(
            "A loss that falls quickly to almost nothing with narrow spans means little: there "
            "the visible neighbours give the answer away."
        )
        yield _figure(figures, "loss", "Loss over the training steps")


def _tokens(tokens: dict, figures: Mapping[str, Path]) -> Iterator[str]:
    k, shown = tokens["k"], tokens["mapped"]
    drawn = f"all {shown}" if shown == tokens["tokens"] else f"{shown} of {tokens['tokens']}"
    yield _text(
        f"Each point is a {k}-mer ({drawn}), placed by its row of the embedding table alone. Left "
        "and right show the same points, coloured by the two central and by the two marginal "
        "bases. Colour and marker are the first base of the pair, lightness the second."
    )
    yield _read(
        "Crisp clusters in one colour on the left, mixed colours on the right: the central bases "
        "choose the cluster, as Liang et al. find. Clusters in one colour on the right: the "
        "marginal bases do. A cloud without order: nothing of the bases was learnt."
    )
    if "tokens_tsne" in figures:
        yield _figure(figures, "tokens_tsne", "t-SNE of the token embeddings")
    yield _figure(figures, "tokens_pca", "First two principal components of the token embeddings")
    explained = sum(each or 0 for each in tokens["pca_explained"])
    yield _text(
        f"The two principal components hold {100 * explained:.0f} % of the variance. A map can "
        "mislead, so below is the share of the variance in all "
        f"{tokens['dimensions']} dimensions that the bases explain."
    )
    yield _figure(figures, "tokens_variance", "Variance of the embeddings explained by bases")
    if decoder := tokens["decoder"]:
        yield _text(
            "The output of the masked-LM head has a table of its own; there the central bases "
            f"explain {percent(decoder['r2']['central'])}, the marginal ones "
            f"{percent(decoder['r2']['marginal'])}."
        )


def _attention(attention: dict, figures: Mapping[str, Path]) -> Iterator[str]:
    reach = attention["reach"]
    yield _text(
        "Means over heads, windows and tokens. The effective number is 2 to the entropy: of a row "
        "of attention, how many tokens one token looks at; of attention received, how many "
        "different tokens are looked at by all. Dashed lines: attention spread evenly."
        + (f" Overlapping neighbours are the {reach} k-mers on either side." if reach else "")
    )
    yield _read(
        "Middle layers that fall to a few receiving tokens, or to [CLS] and [SEP], do little "
        "(Liang et al. see this after plain pre-training with overlapping k-mers). Attention on "
        "overlapping neighbours copies bases that k-mers share. Long reach and heads that differ "
        "are what context is made of."
    )
    yield _figure(figures, "attention_layers", "Statistics of attention by layer")
    yield _text("The same by head: bright rows or columns are layers or heads of one kind.")
    yield _figure(figures, "attention_heads", "Statistics of attention by layer and head")
    yield _text(
        "One window, mean over heads: rows look at columns. A diagonal is attention on near "
        "tokens, a vertical line a token that all look at. The colour scale is logarithmic."
    )
    yield _figure(figures, "attention_maps", "Attention maps of one window at three layers")


def _footer(numbers: dict) -> str:
    model, given = numbers["model"], numbers["input"]
    said = [
        f"dnatk {escape(numbers['dnatk_version'])}",
        f"model <code>{escape(model['name'])}</code>, sha256 <code>{model['sha256'][:16]}</code>",
    ]
    for name in ("fasta", "labelled", "labelled_dev"):
        if given[name]:
            digest = given[f"{name}_sha256"][:16]
            said.append(f"<code>{escape(given[name])}</code>, sha256 <code>{digest}</code>")
    return (
        "; ".join(said) + ". All numbers are in <code>inspect.json</code>, the figures as PNG and "
        "SVG beside this page. After Liang et al., arXiv 2310.07644."
    )


def _table(rows: list[tuple[str, str, str]]) -> str:
    lines = "\n".join(
        f"<tr><td>{escape(what)}</td><td>{escape(value)}</td><td>{escape(read)}</td></tr>"
        for what, value, read in rows
    )
    return (
        '<div class="table"><table>\n<thead><tr><th>Number</th><th>Value</th>'
        f"<th>How to read it</th></tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>"
    )


def _figure(figures: Mapping[str, Path], name: str, says: str) -> str:
    data = base64.b64encode(figures[name].read_bytes()).decode()
    return f'<figure><img alt="{escape(says)}" src="data:image/svg+xml;base64,{data}"></figure>'


def _text(text: str) -> str:
    return f"<p>{text}</p>"


def _read(text: str) -> str:
    return f'<p class="read"><b>How to read it.</b> {text}</p>'
