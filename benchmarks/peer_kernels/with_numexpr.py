"""In numexpr, where an expression over whole arrays says it: `dot` and `blur`."""

from __future__ import annotations

import numexpr
import numpy as np


def dot(a, b):
    return float(numexpr.evaluate("sum(a * b)", {"a": np.asarray(a), "b": np.asarray(b)}))


_BINOMIAL = "a + four * b + six * c + four * d + e"
_WEIGHTS = {"four": np.float32(4.0), "six": np.float32(6.0)}


def blur(image, out, first_row):
    pixels, blurred = np.asarray(image), np.asarray(out)
    n = blurred.shape[0]
    tall = pixels[np.arange(first_row - 2, first_row + n + 2).clip(0, len(pixels) - 1)]
    down = numexpr.evaluate(_BINOMIAL, {name: tall[i : i + n] for i, name in enumerate("abcde")} | _WEIGHTS)
    wide = np.pad(down, ((0, 0), (2, 2)), mode="edge")
    width = blurred.shape[1]
    columns = {name: wide[:, i : i + width] for i, name in enumerate("abcde")}
    share = {"share": np.float32(1 / 256)}
    numexpr.evaluate(f"share * ({_BINOMIAL})", columns | _WEIGHTS | share, out=blurred)
    return float(blurred.sum(dtype=np.float64))
