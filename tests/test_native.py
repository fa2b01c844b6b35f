"""What holds for the compiled module itself: GIL policy, subinterpreters, stubs."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import sysconfig
import textwrap
import threading
from pathlib import Path

import pytest

import gilcmp
from gilcmp import _kernels

ROOT = Path(__file__).parent.parent


def test_each_body_stands_once_and_the_twins_share_it():
    source = "".join(path.read_text() for path in (ROOT / "src/gilcmp").glob("_kernels*.pxi"))
    source += (ROOT / "src/gilcmp/_kernels.pyx").read_text()
    loops = (ROOT / "src/gilcmp/_kernels_loops.h").read_text()
    for name, kernel in gilcmp.kernels.items():
        if kernel.reference != "python":
            continue  # one that waits
        bodies = len(re.findall(rf"^cdef \w+ {name}_body\(", source, re.MULTILINE))
        if bodies:
            assert bodies == 1, name
            assert source.count(f"{name}_body(") == 3, f"{name}: the body, and one call for each policy"
        else:
            assert loops.count(f" LOOP({name})(") == 1, name
            assert source.count(f"= loops.{name}(") + source.count(f"return loops.{name}(") == 2, name
    policies = re.findall(r"^cdef [^\n]*_body\((?:[^)]|\n)*\)([^\n]*)", source, re.MULTILINE)
    assert len(policies) == 5
    assert all("noexcept nogil" in policy for policy in policies), policies


def test_stub_has_every_public_name_with_its_parameters():
    tree = ast.parse((ROOT / "src/gilcmp/_kernels.pyi").read_text())
    stubbed = {node.name: [a.arg for a in node.args.args] for node in tree.body if isinstance(node, ast.FunctionDef)}
    real = {
        name: list(inspect.signature(thing).parameters)
        for name, thing in vars(_kernels).items()
        if callable(thing) and re.search("_(gil|nogil)$|^use_isa$", name)
    }
    assert stubbed == real


def ran_during_call(policy, steps):
    """Tell whether another thread, which waits for the GIL, got in while count(steps) ran."""
    went, seen, state = threading.Event(), [], {"calling": False}

    def look():
        went.wait()
        seen.append(state["calling"])

    thread = threading.Thread(target=look)
    thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # nobody is asked to hand the GIL over: only a release lets the other in
    try:
        went.set()
        state["calling"] = True
        getattr(_kernels, f"count_{policy}")(steps)
        state["calling"] = False
    finally:
        sys.setswitchinterval(interval)
        thread.join()
    return seen == [True]


@pytest.mark.skipif(not gilcmp.environment().gil_enabled, reason="without a GIL there is nothing to hold")
def test_gil_holds_for_the_whole_call():
    assert not ran_during_call("gil", 20_000_000)


def test_nogil_lets_another_thread_run():
    steps = 20_000_000
    while not ran_during_call("nogil", steps):  # long enough for the other's turn, whatever the machine does
        assert steps < 20_000_000_000, "the other thread never ran during the call"
        steps *= 4


SUBINTERPRETER = """
from gilcmp import _kernels
import array
assert _kernels.count_gil(1000) == _kernels.count_nogil(1000) == 1000
a = array.array("d", [1.0, 2.0])
assert _kernels.dot_gil(a, a) == _kernels.dot_nogil(a, a) == 5.0
assert _kernels.levenshtein_nogil(b"kitten", b"sitting") == 3
try:
    _kernels.dot_gil(a, b"x")
except TypeError as error:
    assert "b must hold float64" in str(error), error
else:
    raise AssertionError("no error")
"""


def test_loads_in_a_subinterpreter_with_its_own_gil():
    """Two of them at once, beside the main interpreter's; in a process of its own, lest a crash take all down."""
    script = f"""
import sys, threading
code = {SUBINTERPRETER!r}
if sys.version_info >= (3, 13):
    import _interpreters as interpreters
    make = lambda: interpreters.create("isolated")
    def run(number):
        failure = interpreters.exec(number, code)
        assert failure is None, failure.formatted
else:
    import _xxsubinterpreters as interpreters
    make = lambda: interpreters.create(isolated=True)
    def run(number):
        interpreters.run_string(number, code)
failures = []
def whole():
    try:
        number = make()
        for _ in range(3):
            run(number)
        interpreters.destroy(number)
    except BaseException as error:
        failures.append(error)
threads = [threading.Thread(target=whole) for _ in range(2 if sys.version_info >= (3, 12) else 1)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not failures, failures
exec(code)
print("fine")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "fine", done.stderr


def test_import_is_quiet_and_leaves_a_free_threaded_build_alone():
    script = textwrap.dedent("""
        import sys, gilcmp
        from gilcmp import _kernels
        enabled = getattr(sys, "_is_gil_enabled", lambda: True)()
        print(enabled)
    """)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    assert done.stdout.strip() == str(not sysconfig.get_config_var("Py_GIL_DISABLED"))


def test_build_is_told():
    assert re.match(r"(GCC|Clang|MSVC) ", _kernels.compiler)
    assert "/" not in _kernels.flags.replace("/O2", "").replace("/std:c11", "")


def test_another_interpreter_leaves_the_chosen_instruction_set_alone():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent("""
                import sys
                from gilcmp import _kernels
                _kernels.use_isa("baseline")
                code = "from gilcmp import _kernels; assert _kernels.isa == 'baseline', _kernels.isa"
                if sys.version_info >= (3, 13):
                    import _interpreters as interpreters
                    failure = interpreters.exec(interpreters.create("isolated"), code)
                    assert failure is None, failure.formatted
                else:
                    import _xxsubinterpreters as interpreters
                    interpreters.run_string(interpreters.create(isolated=True), code)
                print("fine")
            """),
        ],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == "fine\n", done.stderr
