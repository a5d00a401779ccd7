"""Measures of generated texts: where they lie, how much is copied, how varied they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

NEAR = 0.9  # Jaccard similarity of the words of near-copies
COLLAPSED = 0.25  # times the distinct-2 of the texts that anchors were made from, below which a generator has collapsed
COMPARED = 1000  # anchors that are looked through for near-copies

Words = tuple[int, ...]


def words(x: np.ndarray, pad: int) -> list[Words]:
    """Token ids (n, L) without padding."""
    return [tuple(row[row != pad].tolist()) for row in x]


def distinct_n(texts: Iterable[Words], n: int) -> float:
    """distinct-n (Li et al., 2016): different n-grams over all n-grams; 0 where there are none."""
    grams = [text[i : i + n] for text in texts for i in range(len(text) - n + 1)]
    return len(set(grams)) / max(len(grams), 1)


def near_copies(made: Sequence[Words], given: Sequence[Words]) -> float:
    """Share of made texts whose set of words has a Jaccard similarity of ``NEAR`` or more with that of a given one."""
    from scipy.sparse import csr_matrix

    size = 1 + max(max(text, default=0) for text in (*made, *given))

    def sets(texts: Sequence[Words]) -> csr_matrix:
        columns = [sorted(set(text)) for text in texts]
        ends = np.cumsum([0, *map(len, columns)])
        return csr_matrix(
            (np.ones(ends[-1], np.float32), np.concatenate(columns).astype(int), ends), (len(texts), size)
        )

    of_made, of_given = sets(made), sets(given)
    widths, near = np.asarray(of_given.sum(1)).ravel(), 0
    by_word = of_given.T.tocsr()  # of which a text looks at its own words only
    for row in of_made:
        both = (row @ by_word).toarray().ravel()
        near += bool((both >= NEAR * (widths + row.nnz - both) - 1e-6).any())
    return near / len(made)


def anchor_facts(anchors: np.ndarray, sources: np.ndarray, given: np.ndarray, pad: int) -> dict[str, Any]:
    """Facts of anchors (t, L), of the texts that they were made from, one each (t, L), and of all training texts."""
    made, of, known = (words(x, pad) for x in (anchors, sources, given))
    few = made[:: -(-len(made) // COMPARED)]
    return {
        "anchors": len(made),
        "different": len(set(made)) / len(made),
        "copies": float(np.isin([hash(m) for m in made], [hash(k) for k in known]).mean()),
        "near_copies": near_copies(few, known),
        "distinct_1": distinct_n(made, 1),
        "distinct_2": distinct_n(made, 2),
        "sources_distinct_2": distinct_n(of, 2),
        "words_mean": float(np.mean([len(m) for m in made])),
        "sources_words_mean": float(np.mean([len(o) for o in of])),
    }


def warnings_of(facts: dict[str, Any]) -> list[str]:
    """Warnings for the record."""
    if facts["distinct_2"] >= COLLAPSED * facts["sources_distinct_2"]:
        return []
    return [
        f"the generator has collapsed: distinct-2 of its {facts['anchors']} anchors is {facts['distinct_2']:.4f}, that "
        f"of the texts they were made from {facts['sources_distinct_2']:.4f}"
    ]
