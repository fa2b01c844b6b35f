"""The CPUs that this process may really use, and how many of them everything else keeps busy."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from attrs import frozen


@frozen
class Quota:
    """How many CPUs a cgroup's quota is worth, and the folder of the cgroup that has it."""

    cpus: float
    folder: Path


def cpus_allowed() -> int:
    """CPUs that this process may run on by its affinity mask."""
    # from 3.13 on PYTHON_CPU_COUNT sets what Python says: it may lower the count, not raise it above the mask
    count = getattr(os, "process_cpu_count", os.cpu_count)() or 1
    affinity = getattr(os, "sched_getaffinity", None)
    return min(count, len(affinity(0))) if affinity else count


def usable_cpus() -> float:
    """CPUs that this process may really use: the affinity mask's, or fewer where a cgroup's quota says so."""
    return float(min(cpus_allowed(), cpu_quota() or math.inf))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """CPUs that the tightest cgroup quota of this process is worth; None where there is no quota."""
    quota = find_quota(root)
    return None if quota is None else quota.cpus


def find_quota(root: Path = Path("/")) -> Quota | None:
    """Find the tightest cgroup quota of this process.

    Both versions of the hierarchy are read, from the process's own group up to the mount: the tightest
    quota on the way holds.

    Parameters
    ----------
    root : Path
        Where ``/proc`` and the mounts are looked up (tests lay them out elsewhere).

    Notes
    -----
    Linux: Documentation/admin-guide/cgroup-v2.rst (``cpu.max``), Documentation/scheduler/sched-bwc.rst
    (``cpu.cfs_quota_us``).
    """
    quotas = []
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
        mounts = (root / "proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return None
    for mount in mounts:
        # "36 35 0:31 /in/the/hierarchy /where/mounted rw - cgroup2 cgroup2 rw"; options of v1 name controllers
        left, _, right = mount.partition(" - ")
        left_words, right_words = left.split(), right.split()
        if len(left_words) < 5 or not right_words or right_words[0] not in ("cgroup", "cgroup2"):
            continue
        mounted, where = PurePosixPath(left_words[3]), root / left_words[4].lstrip("/")
        for group in groups:
            _, controllers, path = group.split(":", 2)
            if right_words[0] == "cgroup2":
                fits, read = controllers == "", _quota_v2
            else:
                fits = "cpu" in controllers.split(",") and "cpu" in right_words[-1].split(",")
                read = _quota_v1
            if fits:
                folders = _folders(where, mounted, PurePosixPath(path))
                quotas += [Quota(cpus, folder) for folder in folders if (cpus := read(folder))]
    return min(quotas, key=lambda quota: quota.cpus, default=None)


def _folders(where: Path, mounted: PurePosixPath, group: PurePosixPath) -> list[Path]:
    """Folders of the group and its parents below a mount that shows the hierarchy from `mounted` on."""
    # in a container the path may be the host's: then only the mount itself is visible
    inside = group.relative_to(mounted) if group.is_relative_to(mounted) else PurePosixPath()
    if ".." in inside.parts:
        inside = PurePosixPath()
    return [where / parent for parent in (inside, *inside.parents)]


def _quota_v2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _quota_v1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        return None if quota <= 0 else quota / int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError, ZeroDivisionError):
        return None


def cgroup_cpu_time(folder: Path) -> float | None:
    """Seconds of CPU time that all processes of a cgroup have used; None where it does not tell."""
    with contextlib.suppress(OSError, ValueError):
        for line in (folder / "cpu.stat").read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == "usage_usec":
                return int(value) / 1e6
    with contextlib.suppress(OSError, ValueError):  # version 1, where both controllers share a mount
        return int((folder / "cpuacct.usage").read_text()) / 1e9
    return None


def family() -> set[int]:
    """Return the IDs of this process and of its children, and theirs."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        this = psutil.Process()
        return {process.pid for process in (this, *this.children(recursive=True))}
    return {os.getpid()}


@frozen
class _Reading:
    """Counters of the machine, this process with its children, and the cgroup that has the quota; in seconds."""

    time: float
    idle: float
    own: float
    group: float | None


UNTOLD = _Reading(math.nan, math.nan, math.nan, None)


class Bystanders:
    """How many CPUs everything else keeps busy, of those that this process may really use.

    Parameters
    ----------
    outside : iterable of int
        IDs of processes that are no others, although they are no children of this one.

    Notes
    -----
    Where a quota allows fewer CPUs than the affinity mask, others on the machine take CPUs away only when they use more
    than the quota leaves them; others in the same cgroup use up the quota itself.
    """

    def __init__(self, outside: Iterable[int] = ()) -> None:
        self._outside = tuple(outside)
        self._quota = find_quota()
        self._mask = 1
        self._last = self._read()

    def lap(self) -> float:
        """CPUs that other processes took away since the last lap; good to 0.01 over a second."""
        now, then = self._read(), self._last
        self._last = now
        if UNTOLD in (now, then):  # nothing is known of others
            return 0.0
        seconds = max(now.time - then.time, 1e-9)
        ours = (now.own - then.own) / seconds
        outside = self._mask - (now.idle - then.idle) / seconds - ours
        usable = min(self._mask, self._quota.cpus if self._quota else math.inf)
        inside = 0.0
        if now.group is not None and then.group is not None:
            inside = (now.group - then.group) / seconds - ours
        return max(0.0, outside - (self._mask - usable), inside)

    def _read(self) -> _Reading:
        import psutil

        # Idle time is exact where busy time may be sampled; whatever is neither idle nor ours is others',
        # the hypervisor's other guests included.
        try:
            each = psutil.cpu_times(percpu=True)
        except (OSError, psutil.Error):  # there is no /proc, or no file left to read it
            return UNTOLD
        affinity = getattr(os, "sched_getaffinity", None)
        mine = affinity(0) if affinity else range(len(each))
        allowed = [times for number, times in enumerate(each) if number in mine] or each
        self._mask = len(allowed)
        own = 0.0
        for process in (*family(), *self._outside):
            with contextlib.suppress(psutil.Error, OSError):
                own += sum(psutil.Process(process).cpu_times()[:4])  # with the children that have ended
        return _Reading(
            time=time.perf_counter(),
            idle=sum(times.idle + getattr(times, "iowait", 0.0) for times in allowed),
            own=own,
            group=cgroup_cpu_time(self._quota.folder) if self._quota else None,
        )
