"""The environment, and above all how many CPUs may really be used."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig

import pytest
from attrs import evolve

import gilcmp
from gilcmp.measure import cpus
from gilcmp.measure.cpus import Bystanders, Quota, _Reading, cgroup_cpu_time, cpu_quota
from gilcmp.measure.machine import gil_enabled


def lay_out(root, cgroup, mounts, files):
    """A made-up /proc and cgroup hierarchy below `root`."""
    proc = root / "proc/self"
    proc.mkdir(parents=True)
    (proc / "cgroup").write_text(cgroup)
    (proc / "mountinfo").write_text(mounts)
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return cpu_quota(root)


V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
V1 = "33 30 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"


def test_version_2_takes_the_tightest_on_the_way_up(tmp_path):
    files = {
        "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
        "sys/fs/cgroup/a/cpu.max": "150000 100000\n",
        "sys/fs/cgroup/cpu.max": "400000 100000\n",
    }
    assert lay_out(tmp_path, "0::/a/b\n", V2, files) == 1.5


def test_version_2_without_a_quota(tmp_path):
    assert lay_out(tmp_path, "0::/a\n", V2, {"sys/fs/cgroup/a/cpu.max": "max 100000\n"}) is None


def test_version_2_in_a_container_that_sees_its_own_group_as_the_root(tmp_path):
    files = {"sys/fs/cgroup/cpu.max": "50000 100000\n"}
    assert lay_out(tmp_path, "0::/../../outside\n", V2, files) == 0.5
    other = tmp_path / "other"
    mounts = V2.replace(" / /sys", " /docker/abc /sys")
    assert lay_out(other, "0::/docker/abc\n", mounts, files) == 0.5


def test_version_1(tmp_path):
    files = {
        "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us": "200000\n",
        "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    assert lay_out(tmp_path, "4:cpu,cpuacct:/x\n2:cpuset:/y\n", V1, files) == 2.0


def test_version_1_cpuset_is_not_cpu(tmp_path):
    mounts = "33 30 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    assert lay_out(tmp_path, "2:cpuset:/\n", mounts, {"sys/fs/cgroup/cpuset/cpu.cfs_quota_us": "1"}) is None


@pytest.mark.parametrize("text", ["", "max", "1 0", "x y", "100000 100000 3"])
def test_broken_quota_files_are_no_quota(tmp_path, text):
    assert lay_out(tmp_path, "0::/\n", V2, {"sys/fs/cgroup/cpu.max": text}) is None


def test_no_proc_is_no_quota(tmp_path):
    assert cpu_quota(tmp_path) is None


def test_usable_cpus_are_the_fewest_of_mask_and_quota():
    here = gilcmp.environment()
    assert evolve(here, cpus_allowed=8, cpu_quota=None).cpus == 8
    assert evolve(here, cpus_allowed=8, cpu_quota=2.5).cpus == 2.5
    assert evolve(here, cpus_allowed=2, cpu_quota=6.0).cpus == 2


def test_environment_tells_of_this_interpreter():
    here = gilcmp.environment()
    assert here.python == sys.version.split()[0]
    assert here.gil_enabled == gil_enabled()
    assert here.switch_interval == sys.getswitchinterval()
    assert here.cpus_logical == os.cpu_count()
    assert 1 <= here.cpus_allowed <= here.cpus_logical
    assert here.cpu
    assert here.memory > 0
    assert here.packages["gilcmp"] == gilcmp.__version__
    assert here.extension_compiler.split()[0] in ("GCC", "Clang", "MSVC")


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("Intel(R) Xeon(R) Processor", "Intel Xeon"),
        ("12th Gen Intel(R) Core(TM) i7-1260P CPU @ 2.10GHz", "12th Gen Intel Core i7-1260P @ 2.10GHz"),
        ("AMD EPYC", "AMD EPYC"),
        ("Processor", "Processor"),
    ],
)
def test_the_name_of_a_cpu_is_shown_without_the_marks_of_trade(told, name):
    assert evolve(gilcmp.environment(), cpu=told).cpu_name == name


@pytest.mark.parametrize(
    ("cpus", "steps"),
    [(1, [1, 2]), (2, [1, 2, 4]), (3, [1, 2, 3, 6]), (8, [1, 2, 4, 8, 16]), (0.5, [1, 2]), (2.5, [1, 2, 4])],
)
def test_default_workers(cpus, steps):
    assert gilcmp.default_workers(cpus) == steps


only_free_threaded = pytest.mark.skipif(
    not gilcmp.environment().free_threaded, reason="only a free-threaded build can have it off"
)


@pytest.fixture
def needs_gil(tmp_path):
    """The folder of an extension that does not say that it can do without: the interpreter turns the GIL on for it."""
    source = tmp_path / "needs_gil.c"
    source.write_text(
        "#include <Python.h>\n"
        'static struct PyModuleDef it = {PyModuleDef_HEAD_INIT, "needs_gil", NULL, 0};\n'
        "PyMODINIT_FUNC PyInit_needs_gil(void) { return PyModuleDef_Init(&it); }\n"
    )
    include, suffix = sysconfig.get_path("include"), sysconfig.get_config_var("EXT_SUFFIX")
    target = str(tmp_path / f"needs_gil{suffix}")
    subprocess.run(["cc", "-shared", "-fPIC", f"-I{include}", str(source), "-o", target], check=True)
    return tmp_path


def python(folder, *arguments):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=60, cwd=folder
    )


@only_free_threaded
@pytest.mark.parametrize("how", ["option", "module"])
def test_what_turned_the_gil_on_is_told(how, needs_gil):
    code = "import gilcmp; found = gilcmp.environment(); print(found.gil_enabled, '|', found.gil_culprit)"
    options = ["-X", "gil=1"] if how == "option" else ["-W", "ignore"]
    if how == "module":
        code = f"import sys; sys.path.insert(0, ''); import needs_gil; {code}"
    done = python(needs_gil, *options, "-c", code)
    expected = "PYTHON_GIL=1 or -X gil=1" if how == "option" else "the module needs_gil"
    assert done.stdout.strip() == f"True | {expected}"
    assert gilcmp.environment().gil_culprit is None


@only_free_threaded
def test_the_command_warns_once_when_an_import_has_turned_the_gil_on(needs_gil):
    probe = ("-m", "gilcmp", "probe", "needs_gil", "-s", "import needs_gil", "--budget", "50ms")
    warned = python(needs_gil, "-W", "ignore", *probe).stderr
    assert warned.count("the module needs_gil has turned the GIL on") == 1
    (needs_gil / "script.py").write_text("import needs_gil")
    warned = python(needs_gil, "-W", "ignore", "-m", "gilcmp", "timeline", "-q", "script.py").stderr
    assert warned.count("the module needs_gil has turned the GIL on") == 1
    asked_for = python(needs_gil, "-X", "gil=1", "-m", "gilcmp", "env")
    assert "turned the GIL on" not in asked_for.stderr


@only_free_threaded
def test_the_plugin_warns_once_when_an_import_has_turned_the_gil_on(needs_gil):
    (needs_gil / "test_it.py").write_text("import needs_gil\n\ndef test_it(): pass\n")
    done = python(needs_gil, "-W", "ignore", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("the module needs_gil has turned the GIL on") == 1


# ---- who else uses the CPUs ----


def bystanders(monkeypatch, *readings, mask=2, quota=None):
    """Bystanders that read what is given: time, idle, own CPU time, CPU time of the cgroup."""
    left = iter(readings)
    monkeypatch.setattr(Bystanders, "_read", lambda self: _Reading(*next(left)))
    monkeypatch.setattr(cpus, "find_quota", lambda: quota)
    found = Bystanders()
    found._mask = mask
    return found


def test_bystanders_are_counted_in_cpus(monkeypatch):
    found = bystanders(monkeypatch, (100.0, 10.0, 5.0, None), (101.0, 10.5, 6.0, None), (102.0, 13.0, 6.0, None))
    assert found.lap() == pytest.approx(0.5)  # 2 CPUs: half a second idle, one ours, half a second others'
    assert found.lap() == 0.0


@pytest.mark.parametrize(
    ("idle", "group", "foreign"),
    [
        (
            4.0,
            1.0,
            0.0,
        ),  # 3 of 8 CPUs are busy with others, outside: there is room for the quota of 2 beside them
        (0.5, 1.0, 0.5),  # 6.5 are: half a CPU of the quota cannot be had
        (6.0, 2.0, 1.0),  # another process of the same cgroup uses a CPU's worth of the quota
        (6.0, None, 0.0),  # what the cgroup used is not told
    ],
)
def test_a_quota_is_taken_from_by_its_own_cgroup_and_by_a_full_machine(monkeypatch, idle, group, foreign):
    quota = Quota(2.0, None)
    none = None if group is None else 0.0
    found = bystanders(monkeypatch, (0.0, 0.0, 0.0, none), (1.0, idle, 1.0, group), mask=8, quota=quota)
    assert found.lap() == pytest.approx(foreign)


def test_a_cgroup_tells_its_cpu_time(tmp_path):
    assert cgroup_cpu_time(tmp_path) is None
    (tmp_path / "cpuacct.usage").write_text("2500000000\n")
    assert cgroup_cpu_time(tmp_path) == 2.5
    (tmp_path / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    assert cgroup_cpu_time(tmp_path) == 1.5


def test_under_a_quota_of_one_cpu_the_sampler_does_not_spin(monkeypatch):
    from importlib import import_module

    probe = import_module("gilcmp.probing.probe")
    monkeypatch.setattr(cpus, "cpus_allowed", lambda: 8)
    for quota, pace in (
        (None, probe.PACE),
        (8.0, probe.PACE),
        (1.0, probe.SHARED_PACE),
        (1.5, probe.SHARED_PACE),
    ):
        monkeypatch.setattr(cpus, "cpu_quota", lambda quota=quota: quota)
        assert probe.best_pace() == pace


BUSY_ORPHAN = """
import os, sys, time
child = os.fork()
if child:
    print(child, flush=True)
    os._exit(0)
while time.process_time() < 0.3:
    pass
os.close(1)  # it is done: the reader comes to the end of what is printed
sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no orphans")
def test_a_process_that_works_for_this_one_is_no_bystander_although_it_is_no_child():
    with subprocess.Popen(
        [sys.executable, "-c", BUSY_ORPHAN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        number = int(parent.stdout.read())
        assert number not in cpus.family()
        assert os.getpid() in cpus.family()
        alone, together = Bystanders()._read().own, Bystanders({number})._read().own
        assert together - alone >= 0.25


def test_bystanders_reads_this_machine():
    found = Bystanders()
    assert found._mask >= 1
    assert found.lap() >= 0.0
