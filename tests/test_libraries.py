"""Real libraries, as people use gilcmp with them: `nox -s libraries` installs them, and elsewhere this is skipped.

What is asserted holds whatever the machine does: that nothing fails, is lost, or is said falsely.
"""

from __future__ import annotations

import io
import math
import multiprocessing
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import gilcmp
from gilcmp.measure.pool import Pool
from gilcmp.measure.strategies import resolve
from gilcmp.probing.probe_result import OPEN
from gilcmp.watch import _gil

GIL = gilcmp.environment().gil_enabled


def shorter(frame):
    return len(frame)


def parsed(document):
    from lxml import etree

    return len(etree.fromstring(document))


def thumbnail(data):
    from PIL import Image

    return Image.open(io.BytesIO(data)).resize((64, 64)).size


def grouped(frame):
    import polars

    return frame.group_by("key").agg(polars.col("value").sum()).height


def with_answer(*arguments, **options):
    """Probe until there is an answer; None where the machine never gives one."""
    for _ in range(5):
        found = gilcmp.probe(*arguments, **options)
        if found.verdict.word not in OPEN:
            return found
    return None


def test_pandas_frames_are_sent_and_what_that_costs_is_told():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x": range(500_000)})
    found = gilcmp.compare(shorter, tasks=[frame] * 4, workers=1, budget="1s", check=lambda a: a == [500_000] * 4)
    processes = found["processes"]
    assert processes.error is None
    assert processes.record.bytes_out > 4_000_000
    assert processes.record.sending > 10 * found["serial"].rounds[0].wall / found["serial"].record.work
    assert found.run.notes == []


def test_polars_has_threads_of_its_own():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"key": [number % 1000 for number in range(300_000)], "value": range(300_000)})
    found = gilcmp.compare(grouped, tasks=[frame] * 4, strategies="threads", workers=2, budget="3s")
    cell = found["threads", 2]
    assert cell.error is None
    assert cell.verdict != "GIL-bound"
    if GIL:
        probed = with_answer(grouped, frame)
        assert probed is None or probed.held.low < 0.9


def test_pillow_releases_while_it_resizes():
    image = pytest.importorskip("PIL.Image")
    picture = image.new("RGB", (1500, 1500))
    probed = with_answer(picture.resize, (1000, 1000))
    assert probed is None or probed.name == "PIL.Image.Image.resize"
    assert probed is None or not GIL or probed.held.low < 0.5
    file = io.BytesIO()
    picture.save(file, "PNG")
    found = gilcmp.compare(
        thumbnail, tasks=[file.getvalue()] * 4, workers=2, budget="2s", check=lambda a: (64, 64) in a
    )
    assert [cell.error for cell in found] == [None] * 3


def test_lxml_is_compared_under_all_strategies():
    pytest.importorskip("lxml")
    document = b"<a>" + b"<b>text</b>" * 20_000 + b"</a>"
    found = gilcmp.compare(parsed, tasks=[document] * 4, workers=2, budget="2s", check=lambda a: set(a) == {20_000})
    assert [cell.error for cell in found] == [None] * 3


def test_dask_is_a_strategy_and_answers_that_it_shares_are_told():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        runners = {
            "mine": lambda workers: client.get_executor(pure=False),
            "sharing": lambda workers: client.get_executor(pure=True),
        }
        found = gilcmp.compare(shorter, tasks=["a", "a", "b", "b"], strategies=runners, workers=2, budget="2s")
        assert found["mine"].error is None
        assert found["mine"].rounds
        assert not found["mine"].record.shares_gil
        assert "shared their answers with equal ones" in found["sharing"].error
        assert found["sharing"].verdict.word not in ("scales", "partial", "faster")
        assert client.submit(os.getpid).result() != os.getpid()  # closing took nothing of the user's away


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_notebook_is_executed(tmp_path):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    sources = [
        "import asyncio\nimport gilcmp\nfactor = 3",
        """
        def times(x):
            return factor * x
        found = gilcmp.compare(times, tasks=[1, 2], workers=2, budget="500ms", check=lambda a: a == [3, 6])
        assert [cell.error for cell in found] == [None] * 3, [cell.error for cell in found]
        found
        """,
        """
        async def pause(x):
            await asyncio.sleep(x)
        found = gilcmp.compare(pause, tasks=[0.001] * 4, strategies=["asyncio", "threads"], workers=2, budget="500ms")
        assert [cell.error for cell in found] == [None] * 3
        gilcmp.probe(times, 2, budget="50ms")
        """,
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(textwrap.dedent(source)) for source in sources])
    nbclient.NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for number, word in ((1, "speed-up"), (2, "calls")):
        (output,) = [each for each in book.cells[number].outputs if each.output_type == "execute_result"]
        assert word in output.data["text/html"]


# ---- figures of a monitor elsewhere ----


@pytest.fixture
def held():
    """A monitor that has seen a hold of 0.3 s."""
    monitor = gilcmp.monitor(pace="1ms").start()
    for _ in range(10):
        _gil.hold_gil(0.3)
        _gil.release_gil(0.05)
        if monitor.read().holds.n or not GIL:
            break
    yield monitor
    monitor.stop()


def test_prometheus_scrapes_what_the_monitor_counts(held):
    client = pytest.importorskip("prometheus_client")
    from prometheus_client.parser import text_string_to_metric_families

    from gilcmp.monitoring.prometheus import GILCollector

    registry = client.CollectorRegistry()
    registry.register(GILCollector(held))
    before = held.read()
    text = client.generate_latest(registry).decode()
    samples = {
        (sample.name, sample.labels.get("le")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    after = held.read()
    for name in ("held", "waited", "watched"):
        value = samples[f"cpython_gil_{name}_seconds_total", None]
        assert getattr(before, name) <= value <= getattr(after, name)
    assert ("cpython_gil_hand_overs_total", None) in samples or not GIL
    assert ("cpython_gil_stopped_seconds_total", None) in samples or GIL
    buckets = [samples["cpython_gil_long_hold_seconds_bucket", f"{bound:g}"] for bound in held.read().holds.bounds
               if ("cpython_gil_long_hold_seconds_bucket", f"{bound:g}") in samples]  # fmt: skip
    assert buckets == sorted(buckets)
    assert (
        samples["cpython_gil_long_hold_seconds_count", None] == samples["cpython_gil_long_hold_seconds_bucket", "+Inf"]
    )
    if GIL:
        assert samples["cpython_gil_long_hold_seconds_count", None] >= 1
        assert samples["cpython_gil_longest_hold_seconds", None] > 0.02


def test_opentelemetry_reads_what_the_monitor_counts(held):
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    from gilcmp.monitoring.opentelemetry import instrument

    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    instrument(held, provider)
    before = held.read()
    (resource,) = reader.get_metrics_data().resource_metrics
    (scope,) = resource.scope_metrics
    found = {metric.name: (metric.unit, metric.data.data_points[0].value) for metric in scope.metrics}
    provider.shutdown()
    unit, value = found["cpython.gil.held"]
    assert unit == "s"
    assert before.held <= value <= held.read().held
    assert "cpython.gil.longest_hold" in found
    assert ("cpython.gil.hand_overs" in found) == bool(GIL)


def test_dask_workers_tell_what_their_monitors_count():
    distributed = pytest.importorskip("distributed")
    from gilcmp.monitoring.dask import GILMonitor

    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0")
    with cluster, distributed.Client(cluster) as client:
        client.register_plugin(GILMonitor(pace="1ms"))
        for _ in range(20):
            client.submit(_gil.hold_gil, 0.3, pure=False).result()
            client.submit(_gil.release_gil, 0.3, pure=False).result()  # a heartbeat comes in between
            (worker,) = client.scheduler_info()["workers"].values()
            told = worker["metrics"].get("gil", {})
            if told.get("held", 0) > 0.05:
                break
        assert told["held"] > 0.05
        assert 0 < told["held_share"] <= 1 or not GIL
        assert told["line"]


def test_the_metric_is_read_as_gilknockers_is(held):
    gilknocker = pytest.importorskip("gilknocker")
    from gilcmp.monitoring.knocker import KnockKnock

    theirs = {name for name in dir(gilknocker.KnockKnock) if not name.startswith("_")}
    assert theirs <= set(dir(KnockKnock))


# ---- the strategy dask ----


def counted(n):
    total = 0
    for i in range(n):
        total += i
    return total


unclosed = pytest.mark.filterwarnings(  # a socket of Dask's own, found when it is collected
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@unclosed
def test_dask_is_a_strategy_beside_threads_and_processes():
    pytest.importorskip("distributed")
    found = gilcmp.compare(
        counted, tasks=[20_000] * 4, workers=2, strategies=["threads", "processes", "dask"], budget="4s"
    )
    cell = found["dask"]
    assert cell.error is None
    assert cell.rounds
    assert cell.startup > 0
    assert cell.hand_over > 0
    assert cell.record.sending > 0
    assert cell.record.bytes_out > 0
    assert cell.memory is None or cell.memory > 10**6
    assert not cell.record.shares_gil
    assert {"threads", "processes", "dask"} <= {each.strategy for each in found}
    assert "dask" in str(found)


@unclosed
def test_a_cluster_may_be_named_by_its_address_and_goes_on():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        address = cluster.scheduler_address
        found = gilcmp.compare(counted, tasks=[5_000] * 4, workers=2, strategies=f"dask:{address}", budget="1s")
        assert found[f"dask:{address}"].error is None
        assert found[f"dask:{address}"].rounds
        with distributed.Client(cluster) as client:
            assert client.submit(counted, 10).result() == 45


STARTS_A_CLUSTER = """
import os, sys, time
import distributed
if __name__ == "__main__":
    if os.fork():
        os._exit(0)  # what is left is no child of anybody's
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


@unclosed
def test_the_processes_of_a_named_cluster_are_no_others_work(tmp_path):
    """They are no children of this one, so that what they computed was taken for the work of others: `starved`."""
    distributed = pytest.importorskip("distributed")
    script = tmp_path / "cluster.py"
    script.write_text(STARTS_A_CLUSTER)
    with subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as started:
        address = started.stdout.readline().strip()
        with distributed.Client(address, timeout=60) as client:
            workers = set(client.run(os.getpid).values())
            scheduler = client.run_on_scheduler(os.getpid)
            (strategy,) = resolve(f"dask:{address}")
            pool = Pool.open(strategy, 2)
            try:
                pool.run(math.factorial, [5_000] * 20)
                assert pool.outside == {*workers, scheduler}
                assert pool.memory() > 10**6
            finally:
                pool.close()


@unclosed
def test_a_cluster_that_does_not_answer_is_the_error_of_its_cells_alone():
    pytest.importorskip("distributed")
    found = gilcmp.compare(
        counted, tasks=[5_000] * 4, workers=2, strategies=["threads", "dask:tcp://127.0.0.1:1"], budget="1s"
    )
    assert "no Dask cluster answers at tcp://127.0.0.1:1" in found["dask:tcp://127.0.0.1:1"].error
    assert found["threads"].error is None
    assert found["threads"].rounds


@unclosed
def test_dask_workers_that_die_are_the_error_of_their_cells_alone():
    pytest.importorskip("distributed")
    found = gilcmp.compare(in_a_worker_only, tasks=[3] * 4, workers=2, strategies=["threads", "dask"], budget="2s")
    assert "died" in found["dask"].error
    assert found["threads"].rounds


def in_a_worker_only(n):
    """End the process, unless it is that of the tests."""
    if multiprocessing.parent_process() is not None:
        os._exit(n)
    return n


@unclosed
def test_advise_tries_dask_on_a_cluster_of_its_own_and_on_a_named_one():
    distributed = pytest.importorskip("distributed")
    told = gilcmp.advise(counted, tasks=[20_000] * 8, dask="local", budget="2s", workers=2)
    assert {"threads", "processes", "dask"} <= {option.strategy for option in told.options}
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        address = cluster.scheduler_address
        told = gilcmp.advise(counted, tasks=[20_000] * 8, dask=address, budget="2s", workers=2)
    (option,) = (option for option in told.options if option.strategy == "dask")
    assert option.sending
    assert "more than one machine: Dask takes" in " ".join(told.changes)


# ---- the ranks of an MPI program ---------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("mpiexec") is None, reason="needs an MPI, such as Debian's openmpi-bin")
def test_the_ranks_of_an_mpi_program_are_workers():
    """One rank hands out and measures, two work; what they do is checked, and counted as work of other processes."""
    pytest.importorskip("mpi4py")
    script = Path(__file__).parents[1] / "docs" / "examples" / "ranks.py"
    root = ["--allow-run-as-root"] if os.geteuid() == 0 else []  # which Open MPI refuses otherwise
    done = subprocess.run(
        ["mpiexec", *root, "--oversubscribe", "-n", "3", sys.executable, "-m", "mpi4py.futures", str(script)],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "MPIPoolExecutor: sending a task and its answer takes" in said
    assert "MPIPoolExecutor x 2" in said
    assert "not measured" not in said
