"""What was measured on: the interpreter, its GIL, the build, and the CPUs this process may really use."""

from __future__ import annotations

import importlib
import math
import os
import platform
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path, PurePosixPath

from attrs import field, frozen, validators

from gilcmp._checks import between

PACKAGES = ("gilcmp", "numpy", "cython", "psutil")


@frozen
class Environment:
    """Where a run was measured.

    Attributes
    ----------
    python, implementation, python_build, python_compiler : str
        The interpreter: its version, whose it is, and how it was built.
    free_threaded : bool
        Whether the build can run without a GIL (PEP 703).
    gil_enabled : bool
        Whether the GIL was on when this was asked, after all imports.
    switch_interval : float
        `sys.getswitchinterval()`, seconds.
    extension_compiler, extension_flags : str
        What built gilcmp's compiled kernels.
    extension_isa : str
        The instruction set that their inner loops use: chosen when they are loaded, or pinned by ``GILCMP_ISA``.
    cpu : str
        The CPU's model.
    cpus_logical, cpus_allowed : int
        CPUs of the machine, and of this process's affinity mask.
    cpus_physical : int or None
        Cores of the machine; None where the system does not say.
    cpu_quota : float or None
        CPUs that the cgroup's quota is worth; None without one.
    load : tuple of float
        Load averages over 1, 5 and 15 minutes.
    memory : int
        Bytes of memory of the machine.
    system, machine : str
        Operating system and its release; architecture.
    run_delay : bool
        Whether the system tells how long a thread waited for a core.
    start_method : str
        How this interpreter starts processes by default.
    packages : dict of str to str
        Versions of the packages that matter.
    gil_culprit : str or None
        On a free-threaded build whose GIL is on: the module or the setting that turned it on.
    """

    python: str
    implementation: str
    python_build: str
    python_compiler: str
    free_threaded: bool
    gil_enabled: bool
    switch_interval: float = field(validator=between(1e-9, 1e6))
    extension_compiler: str
    extension_flags: str
    cpu: str
    cpus_logical: int = field(validator=between(1, 1e6))
    cpus_allowed: int = field(validator=between(1, 1e6))
    cpus_physical: int | None
    cpu_quota: float | None = field(validator=validators.optional(between(1e-6, 1e6)))
    load: tuple[float, float, float]
    memory: int
    system: str
    machine: str
    run_delay: bool
    start_method: str
    packages: dict[str, str]
    gil_culprit: str | None = None
    extension_isa: str = "unknown"  # in runs saved before there was a choice

    @property
    def cpus(self) -> float:
        """CPUs this process may really use: the affinity mask's, or fewer if the cgroup's quota says so."""
        return float(min(self.cpus_allowed, self.cpu_quota or math.inf))


def environment() -> Environment:
    """Describe the interpreter and the machine, now."""
    import multiprocessing

    import psutil

    from gilcmp.accounting import has_run_delay

    try:
        built = importlib.import_module("gilcmp._kernels")
        compiler, flags, isa = built.compiler, built.flags, built.isa
    except ImportError as error:
        compiler, flags, isa = f"none: {error}", "", "none"
    load = tuple(psutil.getloadavg())
    return Environment(
        python=platform.python_version(),
        implementation=platform.python_implementation(),
        python_build=" ".join(platform.python_build()),
        python_compiler=platform.python_compiler(),
        free_threaded=bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        gil_enabled=gil_enabled(),
        switch_interval=sys.getswitchinterval(),
        extension_compiler=compiler,
        extension_flags=flags,
        extension_isa=isa,
        cpu=_cpu_model(),
        cpus_logical=os.cpu_count() or 1,
        cpus_allowed=cpus_allowed(),
        cpus_physical=psutil.cpu_count(logical=False),
        cpu_quota=cpu_quota(),
        load=(load[0], load[1], load[2]),
        memory=psutil.virtual_memory().total,
        system=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        run_delay=has_run_delay(),
        start_method=multiprocessing.get_context().get_start_method(),
        packages={name: version for name in PACKAGES if (version := _version(name))},
        gil_culprit=_gil_culprit() if sysconfig.get_config_var("Py_GIL_DISABLED") and gil_enabled() else None,
    )


def gil_enabled() -> bool:
    """Tell whether the GIL is on right now; before 3.13 it always is."""
    ask = getattr(sys, "_is_gil_enabled", None)
    return True if ask is None else bool(ask())


@lru_cache
def _gil_culprit() -> str:
    """Say what turned the GIL of a free-threaded build on.

    Once it is on the interpreter does not tell why; a fresh one that imports the same extension modules one after
    the other shows after which of them it is.
    """
    import json
    import subprocess

    if sys._xoptions.get("gil") == "1" or os.environ.get("PYTHON_GIL") == "1":
        return "PYTHON_GIL=1 or -X gil=1"
    loaded = [
        name
        for name, module in list(sys.modules.items())
        if str(getattr(module, "__file__", "")).endswith((".so", ".pyd"))
    ]
    code = (
        "import importlib, json, sys, warnings; warnings.simplefilter('ignore')\n"
        "sys.path[:], names = json.loads(sys.argv[1])\n"
        "for name in names:\n"
        "    try: importlib.import_module(name)\n"
        "    except Exception: continue\n"
        "    if sys._is_gil_enabled(): print(name); break\n"
    )
    try:
        done = subprocess.run(  # noqa: S603  # ourselves
            [sys.executable, "-c", code, json.dumps([sys.path, loaded])],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "an unknown module"
    return f"the module {done.stdout.strip()}" if done.stdout.strip() else "an unknown module"


def _version(package: str) -> str | None:
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    import subprocess

    try:
        if sys.platform == "linux":
            for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
                key, _, value = line.partition(":")
                if key.strip() in ("model name", "Model", "cpu model"):
                    return value.strip()
        elif sys.platform == "darwin":
            command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.check_output(command, text=True, timeout=5).strip()  # noqa: S603  # nothing from outside
    except (OSError, subprocess.SubprocessError):
        pass
    return platform.processor() or platform.machine() or "unknown"


def cpus_allowed() -> int:
    """CPUs that this process may run on by its affinity mask."""
    # from 3.13 on PYTHON_CPU_COUNT sets what Python says: it may lower the count, not raise it above the mask
    told = getattr(os, "process_cpu_count", os.cpu_count)() or 1
    affinity = getattr(os, "sched_getaffinity", None)
    return min(told, len(affinity(0))) if affinity else told


def cpu_quota(root: Path = Path("/")) -> float | None:
    """CPUs that the cgroup quota of this process is worth; None where there is no quota.

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
                quotas += [read(folder) for folder in _folders(where, mounted, PurePosixPath(path))]
    return min((quota for quota in quotas if quota), default=None)


def _folders(where: Path, mounted: PurePosixPath, group: PurePosixPath) -> list[Path]:
    """Folders of the group and its parents below a mount that shows the hierarchy from `mounted` on."""
    # in a container the path may be told from outside: then the mount itself is all that can be seen
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
