"""RapidFuzz, the C++ library that people take for edit distances."""

from __future__ import annotations

from rapidfuzz.distance import Levenshtein


def levenshtein(a, b):
    return Levenshtein.distance(a, b)
