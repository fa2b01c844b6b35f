"""Where a run was measured, as it is saved and shown: the interpreter, its GIL, the build, and the CPUs."""

from __future__ import annotations

import math
import re

from attrs import field, frozen, validators

from gilcmp.base.checks import between
from gilcmp.show import words
from gilcmp.show.model import Table, pairs


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
    load : tuple of float or None
        Load averages over 1, 5 and 15 minutes; None where the system does not say.
    memory : int or None
        Bytes of memory of the machine; None where the system does not say.
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
    load: tuple[float, float, float] | None
    memory: int | None
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

    @property
    def cpu_name(self) -> str:
        """The CPU's name without the marks of trade: Intel Xeon, of "Intel(R) Xeon(R) Processor"."""
        return re.sub(r"\((R|TM)\)| Processor$| CPU(?= @)", "", self.cpu, flags=re.IGNORECASE)

    @property
    def build(self) -> str:
        """Its version, with a t where it is a free-threaded build."""
        return self.python + "t" * self.free_threaded

    @property
    def python_name(self) -> str:
        """Its build, and with its GIL where that is on although it need not be."""
        return self.build + " with its GIL on" * (self.free_threaded and self.gil_enabled)

    @property
    def interpreter(self) -> str:
        """The interpreter in a few words: CPython 3.13.0, GIL on."""
        return f"{self.implementation} {self.python}, GIL {'on' if self.gil_enabled else 'off'}"


NOT_TOLD = "not told by this system"


def environment_table(environment: Environment) -> Table:
    """Return what ``gilcmp env`` shows."""
    quota = "none" if environment.cpu_quota is None else f"{environment.cpu_quota:g} CPUs"
    build = "free-threaded" if environment.free_threaded else "with GIL"
    culprit = f", turned on by {environment.gil_culprit}" if environment.gil_culprit else ""
    rows = {
        "Python": f"{environment.implementation} {environment.python} ({build}), {environment.python_compiler}",
        "build": environment.python_build,
        "GIL now": ("on" if environment.gil_enabled else "off") + culprit,
        "switch interval": words.seconds(environment.switch_interval),
        "kernels built by": f"{environment.extension_compiler} {environment.extension_flags}",
        "instruction set": f"{environment.extension_isa} (GILCMP_ISA pins it)",
        "CPU": environment.cpu,
        "CPUs": f"{environment.cpus_logical} logical, {environment.cpus_physical or '?'} cores",
        "CPUs allowed": f"{environment.cpus_allowed} by affinity, quota {quota}: {environment.cpus:g} usable",
        "load": " ".join(f"{value:.2f}" for value in environment.load or ()) or NOT_TOLD,
        "run delay": "known (schedstat)" if environment.run_delay else NOT_TOLD,
        "processes start by": environment.start_method,
        "memory": f"{environment.memory / 2**30:.1f} GiB" if environment.memory else NOT_TOLD,
        "system": f"{environment.system}, {environment.machine}",
        "packages": ", ".join(f"{name} {version}" for name, version in environment.packages.items()),
    }
    return pairs(rows.items())
