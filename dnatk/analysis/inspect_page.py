"""index.html of ``dnatk inspect``: figures with what they say, in one file without a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from dnatk.analysis.inspect_summary import key_numbers, percent
from dnatk.output import page as html
from dnatk.output.page import code, escape


def page(numbers: dict, figures: Mapping[str, str]) -> str:
    """The page: numbers as in inspect.json, figures as name -> SVG."""
    model = Path(numbers["model"]["name"]).name or numbers["model"]["name"]
    header = ("Number", "Value", "How to read it")
    body = [
        html.paragraph(_facts(numbers), "lead"),
        *map(html.note, _notes(numbers)),
        html.table(header, key_numbers(numbers), ".v.", prose=True),
        *_sections(numbers, figures),
    ]
    title = f"What {model} has learnt"
    return html.page(title, body, kind="dnatk inspect", footer=_footer(numbers))


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


def _sections(numbers: dict, figures: Mapping[str, str]) -> Iterator[str]:
    if numbers["tokens"]:
        yield html.heading("Token embeddings")
        yield from _tokens(numbers["tokens"], figures)
    if numbers["attention"]:
        yield html.heading("Attention, layer by layer")
        yield from _attention(numbers["attention"], figures)
    if numbers["bases"] or numbers["labels"]:
        yield html.heading("What can be read from each layer")
    if numbers["bases"]:
        yield html.paragraph(
            "A linear probe reads a base that the token does not cover from the token's hidden "
            "state: it can only have come there by attention. The input knows nothing of it but "
            "what k-mers say of their neighbours. Tokens that train the probe and tokens that "
            "test it come from different windows."
        )
        yield html.reading(
            "Far above the dashed lines: the layer gathers its neighbourhood. A curve that falls "
            "in the upper layers: these turn to predicting the token itself. Flat at the dashed "
            "line from the first layer to the last: attention carries nothing."
        )
        yield _figure(figures, "probe_bases", "Accuracy of the probe of bases by layer")
    if numbers["labels"]:
        labels = numbers["labels"]
        yield html.paragraph(
            f"The mean over a sequence's tokens, and a linear probe trained on {labels['train']} "
            f"labelled sequences and measured on {labels['test']} others."
        )
        yield html.reading(
            "A layer above the input: context adds to what counting k-mers tells. The layer that "
            "is best here is the one for <code>dnatk embed --layer</code>. Differences of a few "
            "points between layers are noise."
        )
        yield _figure(figures, "probe_labels", "Accuracy and MCC of the probe of labels by layer")
    if numbers["norms"]:
        yield html.heading("Frequency")
        yield html.paragraph(
            "The length of each k-mer's embedding against how often it stands in the FASTA "
            "(forward strand)."
        )
        yield html.reading(
            "A flat cloud is well. A slope says that rare k-mers were seen too seldom to move "
            "from where training began, or that frequency itself was learnt."
        )
        yield _figure(figures, "norms", "Norm of each k-mer's embedding against its count")
    if numbers["training"]:
        yield html.heading("Training")
        yield html.paragraph(
            "Bits per masked token over the steps; bands are the phases of growing spans. At each "
            "step up the loss jumps and then falls again."
        )
        yield html.reading(
            "A loss that falls quickly to almost nothing with narrow spans means little: there "
            "the visible neighbours give the answer away."
        )
        yield _figure(figures, "loss", "Loss over the training steps")


def _tokens(tokens: dict, figures: Mapping[str, str]) -> Iterator[str]:
    k, shown = tokens["k"], tokens["mapped"]
    drawn = f"all {shown}" if shown == tokens["tokens"] else f"{shown} of {tokens['tokens']}"
    yield html.paragraph(
        f"Each point is a {k}-mer ({drawn}), placed by its row of the embedding table alone. Left "
        "and right show the same points, coloured by the two central and by the two marginal "
        "bases. Colour and marker are the first base of the pair, lightness the second."
    )
    yield html.reading(
        "Crisp clusters in one colour on the left, mixed colours on the right: the central bases "
        "choose the cluster, as Liang et al. find. Clusters in one colour on the right: the "
        "marginal bases do. A cloud without order: nothing of the bases was learnt."
    )
    if "tokens_tsne" in figures:
        yield _figure(figures, "tokens_tsne", "t-SNE of the token embeddings")
    yield _figure(figures, "tokens_pca", "First two principal components of the token embeddings")
    explained = sum(each or 0 for each in tokens["pca_explained"])
    yield html.paragraph(
        f"The two principal components hold {100 * explained:.0f} % of the variance. A map can "
        "mislead, so below is the share of the variance in all "
        f"{tokens['dimensions']} dimensions that the bases explain."
    )
    yield _figure(figures, "tokens_variance", "Variance of the embeddings explained by bases")
    if decoder := tokens["decoder"]:
        yield html.paragraph(
            "The output of the masked-LM head has a table of its own; there the central bases "
            f"explain {percent(decoder['r2']['central'])}, the marginal ones "
            f"{percent(decoder['r2']['marginal'])}."
        )


def _attention(attention: dict, figures: Mapping[str, str]) -> Iterator[str]:
    reach = attention["reach"]
    yield html.paragraph(
        "Means over heads, windows and tokens. The effective number is 2 to the entropy: of a row "
        "of attention, how many tokens one token looks at; of attention received, how many "
        "different tokens are looked at by all. Dashed lines: attention spread evenly."
        + (f" Overlapping neighbours are the {reach} k-mers on either side." if reach else "")
    )
    yield html.reading(
        "Middle layers that fall to a few receiving tokens, or to [CLS] and [SEP], do little "
        "(Liang et al. see this after plain pre-training with overlapping k-mers). Attention on "
        "overlapping neighbours copies bases that k-mers share. Long reach and heads that differ "
        "are what context is made of."
    )
    yield _figure(figures, "attention_layers", "Statistics of attention by layer")
    yield html.paragraph(
        "The same by head: bright rows or columns are layers or heads of one kind."
    )
    yield _figure(figures, "attention_heads", "Statistics of attention by layer and head")
    yield html.paragraph(
        "One window, mean over heads: rows look at columns. A diagonal is attention on near "
        "tokens, a vertical line a token that all look at. The colour scale is logarithmic."
    )
    yield _figure(figures, "attention_maps", "Attention maps of one window at three layers")


def _footer(numbers: dict) -> str:
    model, given = numbers["model"], numbers["input"]
    said = [
        f"dnatk {escape(numbers['dnatk_version'])}",
        f"model {code(model['name'])}, sha256 {code(model['sha256'][:16])}",
    ]
    for name in ("fasta", "labelled", "labelled_dev"):
        if given[name]:
            digest = given[f"{name}_sha256"][:16]
            said.append(f"{code(given[name])}, sha256 {code(digest)}")
    return (
        "; ".join(said) + ". All numbers are in <code>inspect.json</code>, the figures as PNG and "
        "SVG beside this page. After Liang et al., arXiv 2310.07644."
    )


def _figure(figures: Mapping[str, str], name: str, says: str) -> str:
    return html.figure(figures[name], says)
