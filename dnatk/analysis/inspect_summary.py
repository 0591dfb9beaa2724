"""The key numbers of ``dnatk inspect``: three for the terminal, all for the page's table."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def headline(numbers: dict) -> str:
    """The three most telling numbers, on one line."""
    said = []
    if tokens := numbers["tokens"]:
        r2 = tokens["r2"]
        if r2["central"] is not None:
            said.append(
                f"central bases explain {100 * r2['central']:.0f} % of the token embeddings, "
                f"marginal ones {100 * r2['marginal']:.0f} %"
            )
    if attention := numbers["attention"]:
        received = attention["layers"]["received_effective_tokens"]
        layer = int(np.argmin(received))
        said.append(
            f"layer {layer + 1} attends to {received[layer]:.0f} of {attention['tokens']} tokens"
        )
    if bases := numbers["bases"]:
        first = str(bases["offsets"][0])
        best = int(np.argmax(bases["accuracy"][first]))
        said.append(
            f"layer {best} tells the next base in {100 * bases['accuracy'][first][best]:.0f} % "
            f"(majority {100 * bases['majority'][first]:.0f} %)"
        )
    return ", ".join(said)


def key_numbers(numbers: dict) -> Iterator[tuple[str, str, str]]:
    """(what, value, how to read it) of the key numbers."""
    if tokens := numbers["tokens"]:
        r2, chance = tokens["r2"], 100 * tokens["r2_chance"]["central"]
        yield (
            "Embedding variance explained by the two central bases",
            percent(r2["central"]),
            f"Chance is {chance:.1f} %. Liang et al. see clusters by central bases after "
            "pre-training with overlapping k-mers; well above the marginal bases is such a map.",
        )
        yield (
            "... by the two marginal bases",
            percent(r2["marginal"]),
            "Near the central share: all places of the k-mer count alike, as where k-mers are "
            "put together from bases.",
        )
        yield (
            "... by all bases as a sum",
            percent(r2["additive"]),
            "Near 100 %: a k-mer is the sum of its bases and nothing is known of k-mers as such. "
            f"Near {100 * tokens['r2_chance']['additive']:.1f} %: the table ignores the bases, "
            "or is untrained.",
        )
        yield (
            "Silhouette by central / marginal bases",
            f"{plain(tokens['silhouette']['central'])} / {plain(tokens['silhouette']['marginal'])}",
            f"1: tight clusters; 0: none; by chance {plain(tokens['silhouette']['chance'])}.",
        )
    if attention := numbers["attention"]:
        layers, total = attention["layers"], attention["tokens"]
        received = layers["received_effective_tokens"]
        at = int(np.argmin(received))
        yield (
            "Fewest tokens that receive a layer's attention",
            f"{received[at]:.0f} of {total} (layer {at + 1})",
            "A handful: the layer looks at the same few tokens wherever it stands, which Liang et "
            "al. take for a sign of too little training. Near the whole: every token is of use.",
        )
        row = layers["effective_tokens"]
        at = int(np.argmin(row))
        yield (
            "Narrowest layer: tokens that one token attends to",
            f"{row[at]:.1f} (layer {at + 1})",
            f"1: one token alone; {total}: spread evenly. Narrow is well where each token looks at "
            "another one; see which tokens receive.",
        )
        apart = layers["head_diversity"]
        at = int(np.argmin(apart))
        yield (
            "Most alike heads",
            f"{apart[at]:.2f} bits (layer {at + 1})",
            "0: all heads of the layer do the same; 1: no two heads look at one token.",
        )
    if bases := numbers["bases"]:
        for offset in bases["offsets"]:
            values = bases["accuracy"][str(offset)]
            at = int(np.argmax(values))
            far = "Next base told" if offset == 1 else f"Base {offset} beyond the token told"
            yield (
                far,
                f"{percent(values[at])} ({_layer(at)})",
                f"The most frequent base gives {percent(bases['majority'][str(offset)])}.",
            )
    if labels := numbers["labels"]:
        at = int(np.argmax(labels["mcc"]))
        yield (
            "Labels told by a linear probe, MCC",
            f"{labels['mcc'][at]:.3f} ({_layer(at)})",
            f"0: as good as guessing; 1: all right. {labels['test']} examples that were not "
            "trained on.",
        )
    if norms := numbers["norms"]:
        yield (
            "Embedding norm against k-mer frequency, Spearman",
            plain(norms["spearman"]),
            "Near 0: frequency left no trace. Strongly negative or positive: rare k-mers have "
            "other lengths than frequent ones, perhaps for want of training.",
        )
    if training := numbers["training"]:
        yield (
            "Last training loss",
            f"{training['bits']:.2f} bits a masked token",
            f"At step {training['steps']}, spans of {training['span']} tokens; of a wider span "
            "more bases are hidden, so compare losses of one width alone.",
        )


def _layer(at: int) -> str:
    return f"layer {at}" if at else "input"


def percent(value: float | None) -> str:
    """A share as text."""
    return "undefined" if value is None else f"{100 * value:.1f} %"


def plain(value: float | None) -> str:
    """A number as text."""
    return "undefined" if value is None else f"{value:.2f}"
