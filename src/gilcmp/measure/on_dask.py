"""The strategy `dask`: tasks on the workers of a Dask cluster, one of its own on this machine or one that is named."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import Any

from gilcmp.measure.executors import PoolError, this_machine

START_TIMEOUT = 60.0  # seconds that a cluster has to answer
PATIENCE = 10.0  # seconds for a scheduler that does not answer any more


def no_dask() -> str | None:
    """Say why there is no Dask here; None where there is."""
    if importlib.util.find_spec("distributed") is None:
        return "needs what the extra gilcmp[dask] brings: pip install 'dask[distributed]'"
    return None


class DaskExecutor(Executor):
    """Runs tasks on a cluster; what the cluster itself does wrong breaks it, as workers that die break a pool.

    Parameters
    ----------
    client : distributed.Client
        Connected to the cluster.
    cluster : distributed.LocalCluster or None
        What is to be closed with it.
    addresses : list of str or None
        The workers that are used; None: all.
    helpers : frozenset of int
        The ID of the scheduler's process, where that is on this machine.
    """

    def __init__(
        self,
        client: Any,
        cluster: Any = None,
        addresses: list[str] | None = None,
        helpers: frozenset[int] = frozenset(),
    ) -> None:
        self._client, self._cluster, self.helpers = client, cluster, helpers
        self._where = {} if addresses is None else {"workers": addresses, "allow_other_workers": False}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run ``fn(*args, **kwargs)`` on some worker."""
        outer: Future[Any] = Future()
        outer.set_running_or_notify_cancel()
        # equal tasks would be done once; one whose worker dies would be done again elsewhere
        inner = self._client.submit(fn, *args, pure=False, retries=0, **self._where, **kwargs)
        inner.add_done_callback(lambda done: _settle(outer, done))
        return outer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let go of the cluster; one of our own ends."""
        for each in (self._client, self._cluster):
            if each is not None:
                with contextlib.suppress(Exception):  # it may be gone already
                    each.close(timeout=PATIENCE if wait else 1)


def _settle(outer: Future[Any], inner: Any) -> None:
    """Pass on how a task ended."""
    try:
        if inner.status == "finished":
            outer.set_result(inner.result(timeout=START_TIMEOUT))
            return
        if inner.status == "error":
            error: BaseException = inner.exception(timeout=START_TIMEOUT)
        else:  # cancelled, lost
            error = BrokenExecutor(f"Dask has {inner.status} a task: its scheduler or workers are gone")
    except BaseException as problem:  # the connection is gone
        error = BrokenExecutor(f"Dask does not answer: {type(problem).__name__}: {problem}")
    if type(error).__module__.partition(".")[0] == "distributed":
        error = BrokenExecutor(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    outer.set_exception(error)


def opener(address: Any = None) -> Callable[[int], Executor]:
    """Return what opens the executor: on a cluster of its own, of processes with a thread each, or on the one named.

    `address`: a scheduler's address, or a client.
    """

    def open_dask(workers: int) -> Executor:
        distributed: Any = importlib.import_module("distributed")
        if address is None:
            return _own_cluster(distributed, workers)
        try:
            client: Any = (
                distributed.Client(address, timeout=PATIENCE) if isinstance(address, str) else _Borrowed(address)
            )
        except OSError as error:
            raise PoolError(f"no Dask cluster answers at {address}: {error}") from error
        try:
            client.get_versions(check=True)
            client.wait_for_workers(1, timeout=PATIENCE)
            return DaskExecutor(client, None, _chosen(client, workers), _scheduler_here(client))
        except (ValueError, TimeoutError, ImportError) as error:
            client.close()
            raise PoolError(f"{' '.join(str(error).split())[:300]}") from error
        except BaseException:
            client.close()
            raise

    return open_dask


def _own_cluster(distributed: Any, workers: int) -> Executor:
    """Start a cluster on this machine: what a worker that dies was doing fails at once, and is not done elsewhere."""
    dask: Any = importlib.import_module("dask")
    try:
        with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
            cluster = distributed.LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0"
            )
        return DaskExecutor(distributed.Client(cluster, timeout=START_TIMEOUT), cluster)
    except (OSError, RuntimeError) as error:
        raise PoolError(f"no Dask cluster could be started here: {error}") from error


def _chosen(client: Any, workers: int) -> list[str]:
    """Return the addresses of so many workers of a cluster; PoolError where it has none that can be accounted for."""
    import psutil

    here = {each.address for addresses in psutil.net_if_addrs().values() for each in addresses}
    found = client.scheduler_info(n_workers=-1)["workers"]
    away = sorted({worker["host"] for worker in found.values()} - here - {"localhost"})
    away = [host for host in away if not host.startswith("127.")]
    if away:
        raise PoolError(
            f"its workers are on other hosts ({', '.join(away[:3])}), whose clocks are not this one's: gilcmp fleet "
            "measures on each of them"
        )
    if any(worker["nthreads"] != 1 for worker in found.values()):
        raise PoolError("its workers must have one thread each (--nthreads 1): threads share a GIL")
    if len(found) < workers:
        raise PoolError(f"it has {len(found)} workers, not {workers}")
    return list(found)[:workers]


def _who() -> tuple[str, int]:
    return this_machine(), os.getpid()


def _scheduler_here(client: Any) -> frozenset[int]:
    """Return the ID of the scheduler's process, where that is on this machine: what it does is part of the strategy."""
    with contextlib.suppress(Exception):  # it may not have gilcmp
        machine, process = client.run_on_scheduler(_who)
        if machine == this_machine():
            return frozenset({process})
    return frozenset()


class _Borrowed:
    """A client of the user's: it is used, and not closed."""

    def __init__(self, client: Any) -> None:
        self.submit, self.scheduler_info = client.submit, client.scheduler_info
        self.get_versions, self.wait_for_workers = client.get_versions, client.wait_for_workers
        self.run_on_scheduler = client.run_on_scheduler

    def close(self, timeout: Any = None) -> None:
        """Leave it as it is."""
