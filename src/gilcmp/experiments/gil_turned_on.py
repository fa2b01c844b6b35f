"""One extension module that is not ready for free threading."""

from __future__ import annotations

from gilcmp.base.child import ChildError, ask
from gilcmp.experiments.claim import CONFIRMED, REFUTED, CannotTest, Claim, Conditions, Figure, Outcome
from gilcmp.judge.verdict import Verdict

PROGRAM = """\
import json, sys, warnings
warnings.simplefilter("ignore")
before = sys._is_gil_enabled()
import gilcmp.experiments._unready
print(json.dumps([before, sys._is_gil_enabled()]))
"""


def _run(conditions: Conditions) -> Outcome:
    conditions.need_no_gil()
    try:
        before, after = ask("-c", PROGRAM, timeout=60)
    except ChildError as error:
        raise CannotTest(str(error)) from None
    if before:
        raise CannotTest("the GIL was on before the import")
    figures = (Figure("GIL on before the import", float(before)), Figure("GIL on after it", float(after)))
    if after:
        return Outcome(Verdict(CONFIRMED, "importing one module turned the GIL on, for the whole process"), figures)
    return Outcome(Verdict(REFUTED, "the GIL stayed off: PYTHON_GIL=0 or -X gil=0 is set, perhaps"), figures)


CLAIM = Claim(
    "gil-turned-on",
    "One unready extension turns the GIL on for all.",
    "A process without a GIL imports an extension module that does not say that it is ready.",
    _run,
    seconds=0.5,
    why="Code that relies on the lock would break without it, so the interpreter takes no chance: a module says "
    "that it "
    "is ready (Py_mod_gil, or Cython's freethreading_compatible), or the lock comes back and stays.",
    unsaid="It does not follow that the module breaks without the lock: nobody has said so yet. -X gil=0 keeps "
    "it off, at "
    "one's own risk.",
    code="""import sys

ask = getattr(sys, "_is_gil_enabled", lambda: True)
print("GIL on:", ask())
for name in sys.argv[1:]:  # your extension modules
    before = ask()
    __import__(name)
    if ask() and not before:
        print(f"{name} has turned the GIL on, for every thread of this process")
print("GIL on:", ask())
""",
    free_threaded=True,
)
