"""Every kernel in every implementation: the same answers, the same errors, on the same nasty inputs."""

from __future__ import annotations

import array
import math
import os
import re
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from gilcmp import _kernels, kernels
from gilcmp.compute import in_python as _kernels_py
from gilcmp.compute.kernel import IO_SOURCES, SOURCES, unavailable

IMPLEMENTATIONS = list(SOURCES)
COMPUTING = [name for name, kernel in kernels.items() if kernel.reference == "python"]
OTHERS = [name for name in IMPLEMENTATIONS if name != "python"]


@pytest.fixture(params=IMPLEMENTATIONS)
def implementation(request):
    return request.param


def function(kernel, implementation):
    return kernels[kernel].implementations[implementation]


def test_every_implementation_is_there():
    assert [unavailable(name) for name in IMPLEMENTATIONS] == [None] * 4


# ---- answers that are known from elsewhere ----


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_count_gives_n(implementation, n):
    assert function("count", implementation)(n) == n


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (5, 5), (0, 1), (3, 1000), (2**32 - 3, 2**32)])
def test_range_sum_is_the_closed_form(implementation, start, stop):
    assert function("range_sum", implementation)(start, stop) == (start + stop - 1) * (stop - start) // 2


# OEIS A006880, and small ranges by hand
@pytest.mark.parametrize(
    ("start", "stop", "known"),
    [(0, 0, 0), (0, 2, 0), (0, 3, 1), (2, 3, 1), (3, 3, 0), (3, 4, 1), (0, 10, 4), (0, 10**5, 9592), (9, 10, 0),
     (7, 12, 2), (8, 30, 6), (10**9, 10**9 + 100, 7), (4, 5, 0), (25, 26, 0), (24, 30, 1)],
)  # fmt: skip
def test_primes_agrees_with_known_counts(implementation, start, stop, known):
    assert function("primes", implementation)(start, stop) == known


def test_primes_of_every_small_range(implementation):
    is_prime = [n >= 2 and all(n % d for d in range(2, n)) for n in range(60)]
    for start in range(60):
        for stop in range(start, 60):
            assert function("primes", implementation)(start, stop) == sum(is_prime[start:stop]), (start, stop)


def test_primes_across_many_blocks_adds_up():
    pieces = [function("primes", "cython_nogil")(a, a + 99_991) for a in range(0, 999_910, 99_991)]
    assert sum(pieces) == function("primes", "numpy")(0, 999_910)


def test_pi_is_near_pi_and_any_split_gives_the_same(implementation):
    pi = function("pi", implementation)
    inside = pi(0, 40_000, 7)
    assert abs(4 * inside / 40_000 - math.pi) < 0.05
    assert pi(0, 12_345, 7) + pi(12_345, 40_000, 7) == inside
    assert pi(0, 40_000, 8) != inside


def test_pi_uses_splitmix64():
    # the first outputs for seed 1234567, as published with the generator's reference code
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    inside = [(z >> 33) ** 2 + ((z >> 2) & 0x7FFFFFFF) ** 2 < 2**62 for z in known]
    assert [_kernels_py.pi(i, i + 1, 1234567) for i in range(4)] == inside


@pytest.mark.parametrize(
    ("a", "b", "known"),
    [(b"", b"", 0), (b"", b"abc", 3), (b"abc", b"", 3), (b"kitten", b"sitting", 3), (b"flaw", b"lawn", 2),
     (b"intention", b"execution", 5), (b"same", b"same", 0), (b"ab", b"ba", 2)],
)  # fmt: skip
def test_levenshtein_agrees_with_known_distances(implementation, a, b, known):
    assert function("levenshtein", implementation)(a, b) == known


def test_mandelbrot_knows_points(implementation):
    # one pixel a picture: its centre is (-0.75, 0), which is inside the set
    out = np.full((1, 1), -7, dtype=np.int32)
    assert function("mandelbrot", implementation)(out, 0, 1, 50) == 50
    assert out[0, 0] == 50
    # top left corner of a large picture: |c| > 2, left after the first step
    corner = np.zeros((1, 4096), dtype=np.int32)
    function("mandelbrot", implementation)(corner, 0, 4096, 50)
    assert corner[0, 0] == 1


def test_blur_keeps_a_flat_picture_and_spreads_a_point(implementation):
    flat = np.full((7, 9), 100.0, dtype=np.float32)
    out = np.empty_like(flat)
    assert function("blur", implementation)(flat, out, 0) == 6300.0
    assert (out == 100.0).all()
    point = np.zeros((5, 5), dtype=np.float32)
    point[2, 2] = 256.0
    out = np.empty_like(point)
    function("blur", implementation)(point, out, 0)
    weights = np.array([1, 4, 6, 4, 1])
    np.testing.assert_array_equal(out, np.outer(weights, weights))


# ---- the same answers from all, on nasty inputs ----


@pytest.mark.parametrize("implementation", OTHERS)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", COMPUTING)
def test_same_answer_as_python(name, implementation, seed):
    kernel = kernels[name]
    answer, reference = kernel.run(implementation, "small", seed), kernel.run("python", "small", seed)
    assert answer == reference, "the registry's inputs are chosen so that no implementation rounds"
    assert type(answer) is type(reference)


@pytest.mark.parametrize("name", COMPUTING)
@pytest.mark.parametrize("n", [1, 2, 3, 7, 64, 1000])
def test_any_split_gives_the_same_answer(name, n):
    kernel = kernels[name]
    size = kernel.sizes["small"]
    parts = [kernel.run_task("cython_nogil", size, 0, task) for task in kernel.split(size, n)]
    assert kernel.combine(parts, size) == kernel.run("numpy", "small")


def nasty_vectors():
    rng = np.random.default_rng(5)
    yield "empty", np.empty(0), np.empty(0)
    yield "one", np.array([3.0]), np.array([-2.0])
    yield "odd length", rng.normal(size=37), rng.normal(size=37)
    yield "huge and tiny", np.array([1e200, 1e-200, 1.0]), np.array([1e-200, 1e200, 1.0])
    yield "inf", np.array([np.inf, 1.0]), np.array([1.0, 1.0])
    yield "nan", np.array([np.nan, 1.0]), np.array([1.0, 1.0])
    yield "inf - inf", np.array([np.inf, -np.inf]), np.array([1.0, 1.0])
    yield "read-only", *(np.frombuffer(bytes(24), dtype=float) for _ in range(2))


@pytest.mark.parametrize(("label", "a", "b"), [pytest.param(*case, id=case[0]) for case in nasty_vectors()])
def test_dot_on_nasty_vectors(implementation, label, a, b):
    with np.errstate(invalid="ignore", over="ignore"):
        expected = float((a * b).sum()) if a.size else 0.0
        found = function("dot", implementation)(a, b)
    assert found == pytest.approx(expected, rel=1e-12, nan_ok=True), f"{a!r}, {b!r}"


def nasty_images():
    rng = np.random.default_rng(6)
    for shape in [(1, 1), (1, 5), (5, 1), (2, 2), (3, 4), (6, 8), (17, 33)]:
        yield rng.normal(size=shape).astype(np.float32)
    yield np.zeros((0, 5), dtype=np.float32)
    yield np.zeros((5, 0), dtype=np.float32)
    yield np.array([[np.inf, 1, 1], [1, 1, 1]], dtype=np.float32)
    yield np.array([[np.nan, 1, 1], [1, 1, 1]], dtype=np.float32)


@pytest.mark.parametrize("image", list(nasty_images()), ids=lambda image: "x".join(map(str, image.shape)))
@pytest.mark.parametrize("implementation", OTHERS)
def test_blur_on_nasty_images(implementation, image):
    expected, found = np.full_like(image, 9), np.full_like(image, 7)
    total = function("blur", "python")(image, expected, 0)
    with np.errstate(invalid="ignore"):
        other = function("blur", implementation)(image, found, 0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5, err_msg=repr(image))
    assert other == pytest.approx(total, rel=1e-5, abs=1e-4, nan_ok=True)


@pytest.mark.parametrize("implementation", OTHERS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (0, 4), (4, 0), (8, 8)])
@pytest.mark.parametrize("limit", [0, 1, 60])
def test_mandelbrot_pixels(implementation, shape, limit):
    expected, found = np.full(shape, -1, np.int32), np.full(shape, -2, np.int32)
    total = function("mandelbrot", "python")(expected, 0, 8, limit)
    assert function("mandelbrot", implementation)(found, 0, 8, limit) == total == expected.sum()
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["mandelbrot", "blur"])
def test_a_block_is_the_same_rows_of_the_whole(implementation, name):
    if name == "mandelbrot":
        whole, block = np.zeros((10, 12), np.int32), np.zeros((4, 12), np.int32)
        function(name, implementation)(whole, 0, 10, 40)
        function(name, implementation)(block, 5, 10, 40)
    else:
        image = kernels["blur"].inputs(16).view()
        whole, block = np.zeros((16, 16), np.float32), np.zeros((4, 16), np.float32)
        function(name, implementation)(image, whole, 0)
        function(name, implementation)(image, block, 5)
    np.testing.assert_array_equal(block, whole[5:9])


def test_levenshtein_on_random_strings(implementation):
    rng = np.random.default_rng(8)
    for _ in range(30):
        a, b = (rng.integers(0, 3, size=rng.integers(0, 40)).astype(np.uint8) for _ in range(2))
        assert function("levenshtein", implementation)(a, b) == _kernels_py.levenshtein(b, a)


@pytest.mark.parametrize("policy", ["cython_gil", "cython_nogil"])
def test_levenshtein_around_the_words_of_its_table(policy):
    rng = np.random.default_rng(9)
    for n in (1, 63, 64, 65, 127, 128, 129, 191, 192, 193, 256, 300):
        for m in (1, 2, 64, n):
            a, b = (rng.integers(0, 4, size=size).astype(np.uint8) for size in (n, m))
            near = np.delete(a, rng.integers(0, n))
            for other in (b, a, near):
                known = function("levenshtein", "numpy")(a, other)
                assert function("levenshtein", policy)(a, other) == known, (n, m)
                assert function("levenshtein", policy)(other, a) == known, (n, m)
    every = bytes(range(256))
    assert function("levenshtein", policy)(every, every[::-1]) == function("levenshtein", "numpy")(every, every[::-1])


def test_primes_of_ranges_anywhere():
    rng = np.random.default_rng(10)
    ranges = [(30 * k + a, 30 * k + b) for k in (1, 5, 33, 1001) for a in range(0, 31, 3) for b in range(31, 62, 3)]
    for bits in range(4, 34):
        start = int(rng.integers(2 ** (bits - 1), 2**bits))
        ranges.append((start, start + int(rng.integers(1, 5000))))
    ranges += [(0, p * p + 1) for p in (7, 11, 13, 17, 19, 23, 29, 31, 37)]
    ranges += [(10**6, 10**6 + 30 * 2**15 * 2 + 17), (2**40 - 3000, 2**40)]
    for start, stop in ranges:
        assert function("primes", "cython_nogil")(start, stop) == function("primes", "numpy")(start, stop), (
            start,
            stop,
        )


# ---- instruction sets ----


@pytest.fixture(params=_kernels.isas)
def isa(request):
    before = _kernels.isa
    _kernels.use_isa(request.param)
    yield request.param
    _kernels.use_isa(before)


@pytest.mark.parametrize("name", COMPUTING)
def test_every_instruction_set_gives_the_same_answer(isa, name):
    kernel = kernels[name]
    for size in (1, 2, 15, 16, 17, 33, 100, 127, kernel.sizes["small"]):
        assert kernel.run("cython_nogil", size) == kernel.run("numpy", size), (isa, size)


def test_dot_of_every_length_and_offset(isa):
    values = np.arange(200.0)
    for start in range(9):
        for stop in range(start, 120):
            part = values[start:stop]
            assert function("dot", "cython_nogil")(part, values[: stop - start]) == part @ values[: stop - start]


def test_an_instruction_set_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"GILCMP_ISA must be one of baseline.* on this machine, got 'mmx'"):
        _kernels.use_isa("mmx")
    assert _kernels.isa in _kernels.isas


@pytest.mark.parametrize("name", [*_kernels.isas, "", "mmx"])
def test_the_environment_variable_pins_the_instruction_set(name):
    done = subprocess.run(
        [sys.executable, "-m", "gilcmp", "env"],
        env={**os.environ, "GILCMP_ISA": name},
        capture_output=True,
        text=True,
        check=False,
    )
    if name == "mmx":
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("gilcmp: GILCMP_ISA must be one of baseline")
        assert done.stderr.count("\n") == 1
    else:
        assert done.returncode == 0, done.stderr
        assert f"{name or _kernels.isas[-1]} (GILCMP_ISA pins it)" in done.stdout


# ---- what is accepted: anything with the right buffer ----


@pytest.mark.parametrize("make", [bytes, bytearray, lambda b: array.array("B", b), memoryview, np.frombuffer])
def test_bytes_of_every_kind(implementation, make):
    def made(text):
        return make(text, dtype=np.uint8) if make is np.frombuffer else make(text)

    assert function("levenshtein", implementation)(made(b"kitten"), made(b"sitting")) == 3


def test_arrays_of_every_kind(implementation):
    dot = function("dot", implementation)
    values = array.array("d", [1.0, 2.0, 3.0])
    for a in (values, memoryview(values), np.array(values), np.array(values)[:]):
        assert dot(a, values) == 14.0
    block = memoryview(bytearray(4 * 6)).cast("i", (2, 3))
    assert function("mandelbrot", implementation)(block, 0, 2, 5) == sum(map(sum, block.tolist()))


# ---- what is refused, with the same words by all ----

F8, F4, I4 = np.float64, np.float32, np.int32
REFUSED = [
    ("count", (-1,)),
    ("count", (2**62 + 1,)),
    ("count", (2**80,)),
    ("count", (1.5,)),
    ("count", ("7",)),
    ("range_sum", (5, 4)),
    ("range_sum", (-1, 4)),
    ("range_sum", (0, 2**32 + 1)),
    ("range_sum", (0, None)),
    ("primes", (3, 2)),
    ("primes", (0, 2**40 + 1)),
    ("pi", (0, 10, -1)),
    ("pi", (0, 10, 2**64)),
    ("pi", (11, 10, 0)),
    ("dot", (np.zeros(3), np.zeros(4))),
    ("dot", (np.zeros(3, F4), np.zeros(3))),
    ("dot", (np.zeros(3), np.zeros(3, ">f8"))),
    ("dot", (np.zeros(3, complex), np.zeros(3))),
    ("dot", (np.zeros((3, 1)), np.zeros(3))),
    ("dot", (np.zeros(6)[::2], np.zeros(3))),
    ("dot", (np.float64(1.0), np.zeros(1))),
    ("dot", (np.array(1.0), np.zeros(1))),
    ("dot", ([1.0, 2.0], np.zeros(2))),
    ("dot", (np.zeros(2), None)),
    ("dot", (np.array([1, "x"], dtype=object), np.zeros(2))),
    ("dot", (b"12345678", np.zeros(1))),
    ("levenshtein", ("text", b"text")),
    ("levenshtein", (b"a", np.zeros(2, np.int8))),
    ("levenshtein", (b"a", np.zeros((2, 2), np.uint8))),
    ("levenshtein", (memoryview(b"abcdef")[::2], b"a")),
    ("mandelbrot", (np.zeros((2, 2), np.int64), 0, 2, 5)),
    ("mandelbrot", (np.zeros(4, I4), 0, 2, 5)),
    ("mandelbrot", (np.zeros((2, 2), I4), 1, 2, 5)),
    ("mandelbrot", (np.zeros((2, 2), I4), -1, 4, 5)),
    ("mandelbrot", (np.zeros((2, 2), I4), 0, 1, 5)),
    ("mandelbrot", (np.zeros((2, 2), I4), 0, 0, 5)),
    ("mandelbrot", (np.zeros((2, 2), I4), 0, 2, -5)),
    ("mandelbrot", (np.zeros((2, 2), I4), 0, 2, 2**30)),
    ("mandelbrot", (np.zeros((2, 2), I4), 0.0, 2, 5)),
    ("mandelbrot", (np.zeros((4, 4), I4)[::2, ::2], 0, 2, 5)),
    ("mandelbrot", (np.zeros((3, 2), I4).T, 0, 3, 5)),
    ("mandelbrot", (memoryview(bytes(16)).cast("i", (2, 2)), 0, 2, 5)),
    ("blur", (np.zeros((4, 4), F4), np.zeros((2, 3), F4), 0)),
    ("blur", (np.zeros((4, 4), F4), np.zeros((5, 4), F4), 0)),
    ("blur", (np.zeros((4, 4), F4), np.zeros((2, 4), F4), 3)),
    ("blur", (np.zeros((4, 4), F4), np.zeros((2, 4), F8), 0)),
    ("blur", (np.zeros((4, 4), F8), np.zeros((2, 4), F4), 0)),
    ("blur", (np.zeros((4, 4, 1), F4), np.zeros((2, 4), F4), 0)),
    ("blur", (np.zeros((4, 4), F4), memoryview(bytes(64)).cast("f", (4, 4)), 0)),
]


@pytest.mark.parametrize(
    ("kernel", "arguments"),
    REFUSED,
    ids=lambda value: re.sub(r" at 0x\w+", "", str(value))[:40].replace("\n", " "),
)
def test_refused_alike_by_all(kernel, arguments):
    said = set()
    for implementation in IMPLEMENTATIONS:
        with pytest.raises((TypeError, ValueError)) as error:
            function(kernel, implementation)(*arguments)
        said.add((error.type, str(error.value)))
    assert len(said) == 1, said
    message = said.pop()[1]
    assert any(word in message for word in ("must be", "must hold", "must have", "must support")), message
    assert "got" in message, message


def test_a_refused_buffer_is_not_kept_locked(implementation):
    out = bytearray(16)
    with pytest.raises(ValueError, match="out must have 2 dimensions, got 1"):
        function("mandelbrot", implementation)(memoryview(out).cast("i"), 0, 2, 5)
    with pytest.raises(ValueError, match="first_row must be from 0 to 0, got 9"):
        function("mandelbrot", implementation)(memoryview(out).cast("B").cast("i", (2, 2)), 9, 2, 5)
    out.append(1)  # a buffer that is still exported cannot be resized


def test_wrong_arguments_are_type_errors(implementation):
    with pytest.raises(TypeError):
        function("count", implementation)()
    with pytest.raises(TypeError):
        function("dot", implementation)(np.zeros(2))


# ---- the registry ----


def test_registry_is_read_only_and_complete():
    computing = ["count", "range_sum", "mandelbrot", "primes", "dot", "blur", "pi", "levenshtein"]
    assert computing == COMPUTING
    assert list(kernels) == [*computing, "fetch"]
    with pytest.raises(TypeError):
        kernels["new"] = kernels["pi"]
    for kernel in kernels.values():
        assert kernel.summary
        assert kernel.shows
        assert list(kernel.sizes) == ["small", "medium", "large"]
        assert list(kernel.implementations) == list(IO_SOURCES if kernel.name == "fetch" else SOURCES)


@pytest.mark.parametrize("name", list(kernels))
def test_split_covers_everything_once(name):
    kernel = kernels[name]
    for n in (1, 3, 16, 1000):
        tasks = kernel.split(64, n)
        assert len(tasks) <= n
        assert tasks[0][0] == 0
        assert all(start < stop for start, stop in tasks)
        assert all(before[1] == after[0] for before, after in pairwise(tasks))


@pytest.mark.parametrize("size", ["tiny", "", "-1", "1e3", "\uff19", "9" * 30, 0, -5, 2**40, 1.5, None])
def test_bad_sizes_are_refused(size):
    with pytest.raises((ValueError, TypeError), match="size must be"):
        kernels["pi"].size(size)


def test_sizes_by_name_and_number():
    assert kernels["pi"].size("small") == 10_000
    assert kernels["pi"].size("123") == kernels["pi"].size(123) == 123


def test_inputs_are_made_once_and_depend_on_the_seed():
    blur = kernels["blur"]
    assert blur.inputs(16, 1) is blur.inputs(16, 1)
    assert blur.inputs(16, 1).data != blur.inputs(16, 2).data


def test_tolerance():
    assert kernels["dot"].same(1.0, 1.0 + 1e-14)
    assert not kernels["dot"].same(1.0, 1.0 + 1e-9)
    assert not kernels["count"].same(1, 2)
