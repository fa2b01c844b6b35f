"""Real libraries, as people use gilcmp with them: `nox -s libraries` installs them, and elsewhere this is skipped.

What is asserted holds whatever the machine does: that nothing fails, is lost, or is said falsely.
"""

from __future__ import annotations

import io
import os
import textwrap

import pytest

import gilcmp
from gilcmp.probing.probe_result import OPEN

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
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        runners = {
            "dask": lambda workers: client.get_executor(pure=False),
            "sharing": lambda workers: client.get_executor(pure=True),
        }
        found = gilcmp.compare(shorter, tasks=["a", "a", "b", "b"], strategies=runners, workers=2, budget="2s")
        assert found["dask"].error is None
        assert found["dask"].rounds
        assert not found["dask"].record.shares_gil
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
