"""The pictures in README and docs, from real runs: `python benchmarks/pictures.py`.

    gilcmp compare mandelbrot --workers 1,2 -o run.json   -> docs/speedup.svg
    gilcmp timeline --pace 50us -o timeline.svg PROGRAM   -> docs/timeline.svg
    gilcmp report run.json claims.json ... -o report.html -> docs/report-*.png, as Chromium shows it

Needs gilcmp[report]; the last ones also selenium, chromium and chromium-driver, and are left out without them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import gilcmp
from gilcmp import kernels
from gilcmp.show.figure import save

DOCS = Path(__file__).parent.parent / "docs"
PROBES = ("zlib.compress(data)", "sorted(items)", "json.dumps(items)", "hashlib.sha256(data).digest()")
SETUP = "import zlib, json, hashlib; data = bytes(10**6); items = list(range(10**5))"


def gilcmp_command(*arguments: str) -> None:
    """Run gilcmp, and say what is run."""
    print("$ gilcmp", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "gilcmp", *arguments], check=True)


def turns() -> None:
    """The program of the timeline: two threads in bytecode and one in native code that releases the GIL."""
    call = kernels["pi"].prepared("cython_nogil", 500_000_000)
    over = threading.Event()

    def native() -> None:
        while not over.is_set():
            call()

    def bytecode() -> None:
        n = 8_000_000
        while n:
            n -= 1

    threads = [threading.Thread(target=bytecode, name=f"bytecode {number}") for number in (1, 2)]
    beside = threading.Thread(target=native, name="native, nogil")
    for thread in (*threads, beside):
        thread.start()
    for thread in threads:
        thread.join()
    over.set()
    beside.join()


def speedup(folder: Path) -> None:
    """Draw speed-up against workers."""
    run = folder / "run.json"
    gilcmp_command("compare", "mandelbrot", "--workers", "1,2", "--budget", "40s", "-q", "-o", str(run))
    save(gilcmp.load(run).plot(), DOCS / "speedup.svg")


def timeline() -> None:
    """Draw who held the GIL when."""
    with gilcmp.timeline(pace=50e-6) as recorded:
        turns()
    print(recorded)
    save(recorded.plot(0.1, 0.2), DOCS / "timeline.svg")


def report(folder: Path) -> None:
    """Make a report of everything, and take pictures of it."""
    run, claims = folder / "run.json", folder / "claims.json"
    probes, threshold = folder / "probes.json", folder / "threshold.json"
    gilcmp_command("compare", "-q", "-o", str(run))
    gilcmp_command("claims", "-q", "-o", str(claims))
    gilcmp_command("probe", *PROBES, "-s", SETUP, "--json", str(probes))
    gilcmp_command("threshold", "dot", "--json", str(threshold))
    page = folder / "report.html"
    gilcmp_command("report", *map(str, (run, claims, probes, threshold)), "-o", str(page))
    if shutil.which("chromedriver"):
        screenshots(page)


def screenshots(page: Path) -> None:
    """Take pictures of a report: at desktop and phone width, light and dark."""
    import base64

    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for switch in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--disable-background-networking",
    ):
        options.add_argument(switch)
    with tempfile.TemporaryDirectory() as profile:
        options.add_argument(f"--user-data-dir={profile}")
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            for name, width, scheme in (
                ("desktop", 1280, "light"),
                ("dark", 1280, "dark"),
                ("phone", 390, "light"),
            ):
                media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
                browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
                metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
                browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
                browser.get(page.as_uri())
                height = browser.execute_script("return document.documentElement.scrollHeight")
                cut = {"x": 0, "y": 0, "width": width, "height": min(height, 2400), "scale": 1}
                shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": cut, "captureBeyondViewport": True})
                (DOCS / f"report-{name}.png").write_bytes(base64.b64decode(shot["data"]))
                print(json.dumps({"picture": f"docs/report-{name}.png", "height": height}))
        finally:
            browser.quit()


def main() -> None:
    """Make the pictures that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", metavar="PICTURE", help="speedup, timeline, report; default: all")
    which = parser.parse_args().which or ["speedup", "timeline", "report"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "speedup" in which:
            speedup(folder)
        if "timeline" in which:
            timeline()
        if "report" in which:
            report(folder)


if __name__ == "__main__":
    main()
