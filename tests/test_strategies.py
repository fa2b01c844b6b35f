"""Strategies open executors that are warm, end cleanly, and say what went wrong."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import weakref
from concurrent import futures
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.pool import ThreadPool

import pytest

import gilcmp
import tasks
from gilcmp.measure.executors import PoolError, SerialExecutor
from gilcmp.measure.pool import Pool
from gilcmp.measure.strategies import Strategy, resolve, strategies

START_METHODS_HERE = multiprocessing.get_all_start_methods()
METHODS = [name for name in strategies if name.startswith("processes-") and not strategies[name].unavailable]


@pytest.fixture(params=["serial", "threads", *METHODS])
def pool(request):
    pool = Pool.open(strategies[request.param], 1 if request.param == "serial" else 2)
    yield pool
    pool.close()


def test_tasks_come_back_in_order(pool):
    samples, start, end, process_cpu = pool.run(tasks.double, list(range(20)))
    assert [sample.part for sample in samples] == [2 * x for x in range(20)]
    assert start <= min(sample.start for sample in samples)
    assert max(sample.end for sample in samples) <= end
    assert process_cpu >= 0
    assert pool.startup > 0


def test_workers_are_who_they_should_be(pool):
    samples, *_ = pool.run(tasks.who, [None] * 20)
    workers = {sample.part for sample in samples}
    here = {process == os.getpid() for process, _ in workers}
    assert here == {not pool.strategy.name.startswith("processes")}
    assert len(workers) <= pool.workers
    assert all((sample.process, sample.thread) == sample.part for sample in samples)
    if pool.strategy.name == "serial":
        assert workers == {(os.getpid(), threading.get_ident())}


def test_a_task_that_raises_comes_out_as_it_is(pool):
    with pytest.raises(LookupError, match="three is not allowed"):
        pool.run(tasks.fails_on_three, list(range(10)))
    samples, *_ = pool.run(tasks.double, [1])
    assert samples[0].part == 2


def test_all_workers_are_started_when_the_pool_is_open():
    before = len(multiprocessing.active_children())
    pool = Pool.open(strategies["processes"], 3)
    assert len(multiprocessing.active_children()) == before + 3
    pool.close()
    assert len(multiprocessing.active_children()) == before


def test_closing_at_once_ends_busy_workers():
    pool = Pool.open(strategies["processes"], 2)
    children = multiprocessing.active_children()
    pool.close(at_once=True)
    for child in children:
        child.join(10)
        assert not child.is_alive()


def test_a_killed_worker_is_a_clear_error_and_no_hang():
    pool = Pool.open(strategies["processes"], 2)
    with pytest.raises(PoolError, match="the workers of processes x 2 died"):
        pool.run(tasks.dies_in_a_worker, [os.getpid()] * 4)
    pool.close(at_once=True)


@pytest.mark.parametrize(
    ("function", "task"),
    [(lambda task: task, 1), (tasks.double, threading.Lock()), (tasks.lock_in_a_worker, os.getpid())],
    ids=["function", "task", "answer"],
)
def test_what_cannot_be_pickled_is_a_clear_error(function, task):
    pool = Pool.open(strategies["processes"], 1)
    with pytest.raises(PoolError, match="cannot be sent to another process"):
        pool.run(function, [task])
    samples, *_ = pool.run(tasks.double, [1])
    assert samples[0].part == 2
    pool.close()


def test_workers_end_when_their_parent_is_killed():
    """No orphans: the workers of a process that gets SIGKILL see its end and go."""
    script = textwrap.dedent("""
        import os, multiprocessing, signal
        from gilcmp.measure.pool import Pool
        from gilcmp.measure.strategies import strategies
        if __name__ == "__main__":
            pool = Pool.open(strategies["processes"], 2)
            print(*(child.pid for child in multiprocessing.active_children()), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    import psutil

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    workers = [psutil.Process(int(pid)) for pid in done.stdout.split() if psutil.pid_exists(int(pid))]
    assert len(done.stdout.split()) == 2
    _, alive = psutil.wait_procs([worker for worker in workers if worker.status() != "zombie"], timeout=20)
    assert [worker for worker in alive if worker.status() != "zombie"] == []


def test_a_strategy_that_opens_no_executor_is_refused():
    with pytest.raises(TypeError, match=r"must open a .*Executor, got str"):
        Pool.open(Strategy("mine", "", lambda workers: "no executor"), 2)


def test_an_executor_of_the_users_own():
    found = resolve(ThreadPoolExecutor)
    pool = Pool.open(found[0], 2)
    assert pool.strategy.name == "ThreadPoolExecutor"
    assert [sample.part for sample in pool.run(tasks.double, [1, 2])[0]] == [2, 4]
    pool.close()


def test_resolve_takes_names_factories_and_mappings():
    assert [s.name for s in resolve("threads")] == ["threads"]
    assert [s.name for s in resolve(["serial", "threads"])] == ["serial", "threads"]
    assert [s.name for s in resolve({"mine": ThreadPoolExecutor})] == ["mine"]
    assert resolve([strategies["serial"], lambda n: SerialExecutor()])[1].name == "<lambda>"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("nope", "strategy must be one of serial, threads"),
        (["threads", "threads"], "'threads' twice"),
        ([7], "must be a name or a factory of executors, got 7"),
        (7, "must be names or factories of executors, got 7"),
        ({"x": 3}, r"strategies\['x'\] must be a factory of executors, or a runner, got 3"),
        ({"serial": ThreadPoolExecutor}, "must not take the name of a ready-made one, got 'serial'"),
    ],
)
def test_resolve_refuses(wanted, message):
    with pytest.raises((ValueError, TypeError), match=message):
        resolve(wanted)


def test_an_unavailable_strategy_says_why():
    with pytest.raises(ValueError, match="'x' is not available: no such thing"):
        resolve(Strategy("x", "", ThreadPoolExecutor, "no such thing"))


def test_strategies_is_a_read_only_mapping():
    assert list(gilcmp.strategies)[:3] == ["serial", "threads", "processes"]
    with pytest.raises(TypeError):
        gilcmp.strategies["x"] = None


def test_serial_executor_runs_at_once():
    with SerialExecutor() as executor:
        assert executor.submit(tasks.double, 4).result() == 8
        assert list(executor.map(tasks.double, [1, 2])) == [2, 4]
        with pytest.raises(LookupError):
            executor.submit(tasks.fails_on_three, 3)


def test_an_exception_of_a_thread_that_speaks_of_pickles_is_its_own():
    def work(task):
        raise TypeError("cannot pickle cucumber")

    pool = Pool.open(strategies["threads"], 1)
    with pytest.raises(TypeError, match="cucumber"):
        pool.run(work, [1])
    pool.close()


async def twice(x):
    return 2 * x


def test_asyncio_runs_coroutine_functions():
    found = gilcmp.compare(twice, tasks=range(8), strategies=["asyncio", "threads"], workers=[1, 3], budget=0.3)
    for cell in found:
        assert cell.error is None
        assert cell.rounds
        assert not (cell.strategy == "asyncio" and cell.record.shares_gil)
    pool = Pool.open(strategies["asyncio"], 2)
    try:
        samples, *_ = pool.run(twice, [1, 2, 3])
        assert [sample.part for sample in samples] == [2, 4, 6]
    finally:
        pool.close()
        pool.close()  # a second time is fine
    assert not [thread for thread in threading.enumerate() if thread.name == "gilcmp asyncio"]


def test_asyncio_keeps_to_its_workers():
    import asyncio

    running, most = 0, 0
    together = asyncio.Barrier(3)  # nobody goes on before all three workers have a task

    async def watch(task):
        nonlocal running, most
        running += 1
        most = max(most, running)
        async with asyncio.timeout(60):
            await together.wait()
        running -= 1

    pool = Pool.open(strategies["asyncio"], 3)
    try:
        pool.run(watch, range(21))
    finally:
        pool.close()
    assert most == 3


def test_asyncio_refuses_what_is_no_coroutine_function():
    found = gilcmp.compare(tasks.double, tasks=range(4), strategies="asyncio", workers=2, budget=0.2)
    assert "asyncio runs coroutine functions, and double is none" in found["asyncio"].error


def test_asyncio_passes_errors_on():
    async def fails(task):
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        gilcmp.compare(fails, tasks=[1], strategies="asyncio", workers=2, budget=0.2)


def test_fetch_waits_side_by_side():
    found = gilcmp.compare("fetch", size="small", strategies=["threads", "asyncio", "processes"], workers=2, budget=0.5)
    keys = {(cell.implementation, cell.strategy) for cell in found if cell.rounds}
    assert {
        ("blocking", "threads"),
        ("blocking", "processes"),
        ("coroutine", "threads"),
        ("coroutine", "asyncio"),
    } <= keys
    assert ("blocking", "asyncio") not in keys
    fetch = gilcmp.kernels["fetch"]
    assert fetch.run("blocking", 3) == fetch.run("coroutine", 3) == 3 * 1024


def test_interpreters_run_where_they_exist():
    strategy = strategies["interpreters"]
    if sys.version_info < (3, 14):
        assert "needs Python 3.14" in strategy.unavailable
        with pytest.raises(ValueError, match=r"'interpreters' is not available: needs Python 3\.14"):
            gilcmp.compare("count", strategies="interpreters", budget=0.2)
        return
    found = gilcmp.compare(
        "count",
        strategies="interpreters",
        workers=2,
        size="small",
        budget=0.5,
        implementations=["python", "cython_gil"],
    )
    for name in ("python", "cython_gil"):
        cell = found[name, "interpreters"]
        assert cell.error is None
        assert cell.rounds
        assert not cell.record.shares_gil


def test_a_server_on_the_loopback_ends_with_its_owner():
    import psutil

    from gilcmp.compute.loopback import LoopbackServer

    before = set(psutil.Process().children())
    with LoopbackServer(0.0) as server:
        assert server.url.startswith("http://127.0.0.1:")
        (process,) = set(psutil.Process().children()) - before
    assert not process.is_running()


def test_a_process_pool_of_the_users_that_cannot_send_an_answer_is_that_cells_error():
    found = gilcmp.compare(
        tasks.lock_in_a_worker,
        tasks=[os.getpid()] * 2,
        strategies={"mine": ProcessPoolExecutor},
        workers=2,
        budget=0.2,
    )
    assert "cannot be sent to another process" in found["mine"].error


@pytest.mark.parametrize("at_once", [True, False])
def test_a_coroutine_that_blocks_its_loop_holds_up_no_one_who_leaves_at_once(at_once):
    release, began = threading.Event(), threading.Event()

    async def blocks(task):
        began.set()
        release.wait(60)

    executor = strategies["asyncio"].open(1)
    future = executor.submit(blocks, None)
    began.wait(60)
    if not at_once:
        release.set()
    executor.shutdown(wait=not at_once)
    assert at_once != future.done()
    release.set()
    executor._thread.join(60)
    assert not executor._thread.is_alive()
    assert executor._loop.is_closed()


def test_what_a_coroutine_still_waits_for_is_cancelled():
    async def for_ever(task):
        await asyncio.Event().wait()

    executor = strategies["asyncio"].open(2)
    futures = [executor.submit(for_ever, None) for _ in range(3)]
    executor.shutdown()
    assert all(future.cancelled() for future in futures)


@pytest.mark.skipif("forkserver" not in START_METHODS_HERE, reason="this system has no forkserver")
def test_the_programs_forkserver_blocks_no_signal():
    """All later children of the program inherit what it blocks."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import multiprocessing, signal, gilcmp\n"
            "if __name__ == '__main__':\n"
            "    c = gilcmp.compare(int, tasks=2, strategies='processes-forkserver', workers=1, budget=0.1)\n"
            "    assert not c['processes-forkserver', 1].error, c['processes-forkserver', 1].error\n"
            "    with multiprocessing.get_context('forkserver').Pool(1) as pool:\n"
            "        print(pool.apply(signal.pthread_sigmask, (signal.SIG_BLOCK, [])))\n",
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout == "set()\n", done.stderr


# ---- what a system refuses, and workers that are stopped ----


def test_where_no_thread_can_be_started_those_cells_say_so(monkeypatch):
    original, left = threading.Thread.start, [2]

    def start(thread):
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        original(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(PoolError, match="cannot start 4 threads: can't start new thread"):
        Pool.open(strategies["threads"], 4)
    left[0] = 1
    found = gilcmp.compare(tasks.bare, tasks=2, strategies="threads", workers=[1, 2], budget=0.1)
    assert not found["threads", 1].error
    assert found["threads", 2].error == "threads x 2: cannot start 2 threads: can't start new thread"


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits")
@pytest.mark.parametrize("method", [name for name in METHODS if name != "processes-forkserver"])
def test_a_strategy_without_files_left_is_an_error_of_its_cells_alone(method):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(f"""
                import os, resource, gilcmp
                from gilcmp import compare
                if __name__ == "__main__":
                    gilcmp.compare(int, tasks=2, strategies="threads", workers=1, budget=0.1) # all is imported
                    used = max(map(int, os.listdir("/dev/fd"))) + 1
                    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 6, used + 6))
                    c = gilcmp.compare(int, tasks=2, strategies=["threads", {method!r}], workers=2, budget=0.1)
                    assert not c["threads", 2].error and c["threads", 2].rounds, c["threads", 2].error
                    print(c[{method!r}, 2].error)
            """),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{method} x 2: cannot start"), done.stdout
    assert "Too many open files" in done.stdout


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a mount of its own")
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_without_shared_memory_the_rest_is_measured():
    code = textwrap.dedent("""
        import gilcmp
        if __name__ == "__main__":
            c = gilcmp.compare(int, tasks=2, strategies=["threads", "processes-spawn"], workers=2, budget=0.1)
            assert c["threads", 2].rounds
            print(c["processes-spawn", 2].error)
    """)
    command = 'umount -l /dev/shm; mount -t tmpfs -o ro none /dev/shm 2>/dev/null || exit 77; exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", command, "sh", sys.executable, "-c", code],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode in (1, 77) and "unshare" in done.stderr + "unshare" * (done.returncode == 77):
        pytest.skip("no mounts of one's own here")
    assert done.stdout.startswith("processes-spawn x 2: cannot start"), done.stdout + done.stderr


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs SIGSTOP")
@pytest.mark.parametrize("method", METHODS)
def test_a_worker_that_is_stopped_is_ended_after_a_while(method, monkeypatch, no_child_is_left):
    monkeypatch.setattr(sys.modules["gilcmp.measure.pool"], "LOOK_AT_WORKERS", 0.05)
    monkeypatch.setattr(sys.modules["gilcmp.measure.pool"], "STOPPED_TIMEOUT", 0.2)
    pool = Pool.open(strategies[method], 2)
    with pytest.raises(PoolError, match="died"):
        pool.run(tasks.stops_in_a_worker, [os.getpid()] * 2)
    pool.close(at_once=True)


@pytest.mark.parametrize(
    ("method", "task"),
    [(method, tasks.fails_on_three) for method in ("serial", "threads", *METHODS)]
    + [(method, tasks.dies_in_a_worker) for method in METHODS],
)
# CPython 3.11 may set the exception of a future that was cancelled, when the workers of its pool die at that moment
@pytest.mark.filterwarnings("ignore:.*:pytest.PytestUnhandledThreadExceptionWarning")
def test_a_run_that_failed_keeps_no_executor_alive(method, task):
    """A cycle would free its semaphores whenever the collector runs: CPython 3.12 may then be told of them twice."""
    pool = Pool.open(strategies[method], 1)
    gone = threading.Event()
    weakref.finalize(pool._executor, gone.set)
    gc.disable()  # only a cycle would need it
    try:
        with pytest.raises((LookupError, PoolError)):
            pool.run(task, list(range(10)))
        pool.close(at_once=True)
        del pool
        # its threads let go of it when they end; and what a free-threaded build counts in another thread is added up
        # when this one runs bytecode
        assert any(gone.wait(0.1) for _ in range(100))
    finally:
        gc.enable()


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs SIGSTOP")
@pytest.mark.parametrize("at_once", [True, False])
def test_a_pool_with_a_stopped_worker_can_be_closed(at_once, monkeypatch, no_child_is_left):
    monkeypatch.setattr(sys.modules["gilcmp.measure.pool"], "STOPPED_TIMEOUT", 0.2)
    pool = Pool.open(strategies[METHODS[0]], 2)
    for child in pool._children:
        os.kill(child.pid, signal.SIGSTOP)
    pool.close(at_once=at_once)


# ---- a folder that holds modules with the names of Python's own ----


@pytest.fixture
def hostile(tmp_path):
    """A folder whose modules leave a trace when they are imported."""
    for name in (
        "types",
        "json",
        "asyncio",
        "socket",
        "runpy",
        "threading",
        "signal",
        "platform",
        "tempfile",
    ):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})")
    return tmp_path


def test_no_child_runs_code_from_the_current_folder(hostile):
    count = ("compare", "count", "--impl", "cython_nogil", "--workers", "1", "--budget", "500ms", "-q")
    commands = [
        ("compare", "fetch", "--strategy", "threads", "--workers", "2", "--budget", "500ms", "-q"),
        (*count, "--strategy", ",".join(METHODS)),
        (*count, "--strategy", "processes"),
        ("claims", "convoy", "--budget", "1s", "-q"),
        (*count, "--strategy", "threads", "--python", sys.executable),
    ]

    def run(arguments):
        return subprocess.run(
            [sys.executable, "-P", "-m", "gilcmp", *arguments],
            capture_output=True, text=True, timeout=120, cwd=hostile, check=False,
        )  # fmt: skip

    with ThreadPoolExecutor(len(commands)) as threads:
        for arguments, done in zip(commands, threads.map(run, commands), strict=True):
            assert done.returncode in (0, 3), (arguments, done.stderr)
    ran = hostile / "ran"
    assert not ran.exists(), ran.read_text()


def test_children_are_started_as_their_parent_was():
    code = "from gilcmp.base.child import python_command; print(*python_command('x')[1:])"
    for options, expected in (
        ([], "-P x"),
        (["-I"], "-I x"),
        (["-E", "-s"], "-P -E -s x"),
        (["-X", "utf8", "-X", "importtime=0"], "-P -X utf8 -X importtime=0 x"),
    ):
        done = subprocess.run(
            [sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout.strip() == expected


class NoSecondArgument(ThreadPoolExecutor):
    """Loky's and Dask's know `wait` alone."""

    closed = 0

    def shutdown(self, wait=True):
        type(self).closed += 1
        super().shutdown(wait)


class CannotBeClosed(ThreadPoolExecutor):
    def shutdown(self, wait=True, *, cancel_futures=False):
        super().shutdown(wait, cancel_futures=cancel_futures)
        raise OSError("the cluster is gone")


def test_an_executor_that_knows_wait_alone_is_closed():
    found = gilcmp.compare(tasks.double, tasks=range(4), strategies=NoSecondArgument, workers=2, budget=0.1)
    assert found["NoSecondArgument"].rounds
    assert NoSecondArgument.closed == 1


def test_closing_costs_no_result():
    with pytest.warns(UserWarning, match=r"closing CannotBeClosed x 2 failed: OSError\('the cluster is gone'\)"):
        found = gilcmp.compare(tasks.double, tasks=range(4), strategies=CannotBeClosed, workers=2, budget=0.1)
    assert found["CannotBeClosed"].rounds


@pytest.fixture
def no_worker_is_kept():
    """End the workers that loky keeps for later, also for joblib."""
    yield
    for library in ("loky", "joblib.externals.loky"):
        if library in sys.modules:
            sys.modules[library].get_reusable_executor().shutdown(wait=True, kill_workers=True)


def joblib(**options):
    library = pytest.importorskip("joblib")
    return lambda workers: library.Parallel(workers, **options)


def interpreters():
    pool = getattr(futures, "InterpreterPoolExecutor", None)
    return pool or pytest.skip("needs Python 3.14")


def loky(name):
    return getattr(pytest.importorskip("loky"), name)


@pytest.mark.parametrize(
    "make",
    [
        lambda: multiprocessing.Pool,
        lambda: multiprocessing.get_context("spawn").Pool,
        lambda: ThreadPool,
        lambda: joblib(prefer="threads"),
        joblib,
        lambda: loky("ProcessPoolExecutor"),
        lambda: loky("get_reusable_executor"),
        lambda: ProcessPoolExecutor,
        interpreters,
        lambda: tasks.Mapper,
        lambda: tasks.runner,
    ],
)
@pytest.mark.usefixtures("no_worker_is_kept")
def test_what_people_run_their_tasks_with_is_a_strategy(make):
    found = gilcmp.compare(
        tasks.double,
        tasks=[1, 2, 3],
        strategies={"mine": make()},
        workers=2,
        budget=0.3,
        check=lambda a: a == [2, 4, 6],
    )
    cell = found["mine", 2]
    assert cell.error is None
    assert cell.rounds
    assert cell.startup > 0
    if cell.record.sending is not None:
        assert not cell.record.shares_gil


def test_a_hiccup_is_not_what_sending_costs(monkeypatch):
    """The machine, or a runner's first run, takes 0.1 s for a task that has no bytes."""
    pool = Pool.open(strategies["threads"], 1)
    plain, delays = Pool.run, [0.1, 0.1]

    def slow(self, function, listed, **settings):
        samples, start, end, cpu = plain(self, function, listed, **settings)
        return samples, start, end + round((delays.pop(0) if delays else 0.0) * 1e9), cpu

    monkeypatch.setattr(Pool, "run", slow)
    for light, few in ((True, True), (False, False)):
        delays[:] = [0.1, 0.1]
        seconds, sample = pool.send(tasks.double, 4, [4, 5], light=light)
        assert (seconds < 0.1) is few
        assert sample.part == 8
    pool.close()


def test_a_runner_is_closed():
    tasks.Mapper.closed = False
    gilcmp.compare(tasks.double, tasks=[1], strategies={"mine": tasks.Mapper}, workers=1, budget=0.1)
    assert tasks.Mapper.closed


@pytest.mark.parametrize(
    ("runner", "listed", "reason"),
    [
        (tasks.sharing_runner, [1, 1, 2, 2], "its runner did 2 of 4 tasks, and shared their answers with equal ones"),
        (tasks.careless_runner, [1, 2], "it gave 0 answers to 1 task"),
        (lambda function, listed, workers: listed, [1, 2], "must return what the function returns, task by task"),
    ],
)
def test_a_runner_that_did_not_do_each_task_is_told(runner, listed, reason):
    found = gilcmp.compare(
        tasks.double, tasks=listed, strategies={"mine": runner, "other": tasks.runner}, workers=1, budget=0.3
    )
    assert reason in found["mine"].error
    assert found["mine"].verdict == "not measured"
    assert found["other"].rounds


def test_what_runs_nothing_is_refused():
    with pytest.raises(
        TypeError, match=r"strategy 'mine' must open .* something else with map\(function, tasks\), got int"
    ):
        gilcmp.compare(tasks.double, tasks=[1], strategies={"mine": lambda workers: 7}, budget=0.1)


@pytest.mark.skipif(os.name != "posix", reason="a process that kills itself")
def test_a_killed_worker_of_a_pool_of_multiprocessing_is_no_hang(no_child_is_left):
    found = gilcmp.compare(
        tasks.dies_in_a_worker,
        tasks=[os.getpid()] * 4,
        strategies={"mine": multiprocessing.Pool},
        workers=2,
        budget=0.3,
    )
    assert "died (a worker was killed)" in found["mine"].error
    assert found["serial"].rounds
