"""What a type checker must find in a user's code, and what it must not; mypy runs over this in CI, pytest does not.

Each line with an ignore is a mistake: mypy says so where it does not find it.
"""

import gilcmp

found = gilcmp.compare("pi", strategies="threads", budget="2s")
gilcmp.compare("pi", strategies=["threads", "processes"], budget=2)
gilcmp.compare("pi", strategies="thread")  # type: ignore[arg-type]
gilcmp.compare("pi", strategies=["threads", "proceses"])  # type: ignore[list-item]
if found["threads", 2].verdict.word == "GIL-bound":
    print(found)
if found["threads", 2].verdict.word == "GIL bound":  # type: ignore[comparison-overlap]
    print(found)
probed = gilcmp.probe(len, "", budget="100ms", calls=1, raises=ValueError)
if probed.verdict.word in ("holds", "releases"):
    print(probed.held.value)
if probed.verdict.word == "release":  # type: ignore[comparison-overlap]
    print(probed)
