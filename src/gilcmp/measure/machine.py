"""The interpreter, its GIL, the build, and the machine, as they are now."""

from __future__ import annotations

import importlib
import os
import platform
import sys
import sysconfig
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from gilcmp.base.child import ChildError, ask
from gilcmp.measure.cpus import cpu_quota, cpus_allowed
from gilcmp.saved.environment import Environment

PACKAGES = ("gilcmp", "numpy", "cython", "psutil")


ASKED_FOR = "PYTHON_GIL=1 or -X gil=1"  # what keeps the GIL of a free-threaded build on by the user's will


def environment() -> Environment:
    """Describe the interpreter and the machine, now."""
    import multiprocessing

    import psutil

    from gilcmp.measure.clocks import has_run_delay

    try:
        built = importlib.import_module("gilcmp._kernels")
        compiler, flags, isa = built.compiler, built.flags, built.isa
    except ImportError as error:
        compiler, flags, isa = f"none: {error}", "", "none"
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
        cpus_physical=_told(lambda: psutil.cpu_count(logical=False)),
        cpu_quota=cpu_quota(),
        load=_told(psutil.getloadavg),
        memory=_told(lambda: psutil.virtual_memory().total),
        system=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        run_delay=has_run_delay(),
        start_method=multiprocessing.get_context().get_start_method(),
        packages={name: version for name in PACKAGES if (version := _version(name))},
        gil_culprit=_gil_culprit() if sysconfig.get_config_var("Py_GIL_DISABLED") and gil_enabled() else None,
    )


def _told(ask: Callable[[], Any]) -> Any:
    """Return what the system reports; None where it cannot, such as without /proc or a free file descriptor."""
    import psutil

    try:
        return ask()
    except (OSError, psutil.Error):
        return None


def gil_enabled() -> bool:
    """Tell whether the GIL is on right now; before 3.13 it always is."""
    ask = getattr(sys, "_is_gil_enabled", None)
    return True if ask is None else bool(ask())


def gil_warning() -> str | None:
    """Say that an import has turned the GIL of a free-threaded build on; None where none has, or it was asked for."""
    if not sysconfig.get_config_var("Py_GIL_DISABLED") or not gil_enabled():
        return None
    culprit = _gil_culprit()
    if culprit == ASKED_FOR:
        return None
    return f"{culprit} has turned the GIL on: what was measured since then was measured with it (-X gil=0 keeps it off)"


@lru_cache
def _gil_culprit() -> str:
    """Say what turned the GIL of a free-threaded build on.

    Once the GIL is on, the interpreter does not say why. A fresh one imports the same extension modules one by one,
    and shows which of them turned it on.
    """
    import json

    if sys._xoptions.get("gil") == "1" or os.environ.get("PYTHON_GIL") == "1":
        return ASKED_FOR
    loaded = [
        name
        for name, module in list(sys.modules.items())
        if str(getattr(module, "__file__", "")).endswith((".so", ".pyd"))
    ]
    code = (
        "import importlib, json, sys, warnings; warnings.simplefilter('ignore')\n"
        "sys.path[:], names = json.loads(sys.argv[1])\n"
        "found = None\n"
        "for name in names:\n"
        "    try: importlib.import_module(name)\n"
        "    except Exception: continue\n"
        "    if sys._is_gil_enabled(): found = name; break\n"
        "print(json.dumps(found))"
    )
    try:
        name = ask("-c", code, json.dumps([sys.path, loaded]), timeout=60)
    except ChildError:
        name = None
    return f"the module {name}" if name else "an unknown module"


def _version(package: str) -> str | None:
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except (importlib.metadata.PackageNotFoundError, OSError):
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
