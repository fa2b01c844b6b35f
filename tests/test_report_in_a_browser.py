"""The report as a person sees it: in headless Chromium, from disk."""

import shutil
from pathlib import Path

import pytest

import gilcmp
from gilcmp.reporting.report import read_report

pytest.importorskip("selenium")
pytest.importorskip("matplotlib")
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs Debian's chromium and chromium-driver"),
    pytest.mark.filterwarnings("default"),  # selenium's own
]
DESKTOP, PHONE = (1280, 900), (390, 844)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("profile")
    for switch in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
        "--disable-dev-shm-usage", f"--user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def report(files, tmp_path_factory):
    """A report of results of every kind."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    gilcmp.report(*files, output=path)
    return path


@pytest.fixture
def page(browser, report):
    """The report, open from disk on a desktop,"""
    show(browser, report)
    return browser


def show(browser, path, size=DESKTOP, scheme="light"):
    browser.get_log("browser")
    browser.get_log("performance")
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(Path(path).as_uri())


def requests(browser):
    """Return the addresses that the page asked for."""
    import json

    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def drawn(browser):
    """Return, for each chart, how many different colours its shapes have that can be seen: an empty one has none."""
    return browser.execute_script(
        """
        return [...document.querySelectorAll(".chart svg")].map(chart => {
          const colours = new Set();
          for (const shape of chart.querySelectorAll("path, use, rect")) {
            const box = shape.getBoundingClientRect(), style = getComputedStyle(shape);
            if (box.width + box.height > 0) { colours.add(style.fill); colours.add(style.stroke); }
          }
          colours.delete("none");
          return colours.size;
        });
        """
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_opens_from_disk_without_errors_requests_or_overflow(browser, report, size, scheme):
    page = browser
    show(page, report, size, scheme)
    assert [e for e in page.get_log("browser") if e["level"] in ("SEVERE", "WARNING")] == []
    assert [url for url in requests(page) if not url.startswith(("file:", "data:", "blob:"))] == []
    assert min(drawn(page)) > 2
    wide = page.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1], "the page scrolls sideways"
    ground = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(21, 24, 29)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_contrast(browser, report, scheme):
    show(browser, report, DESKTOP, scheme)
    low = browser.execute_script(
        """
        const number = c => c.match(/[\\d.]+/g).map(Number);
        const light = ([r, g, b]) => { const f = v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; };
          return .2126 * f(r) + .7152 * f(g) + .0722 * f(b); };
        const found = [];
        for (const one of document.querySelectorAll("h1,h2,h3,p,li,th,td,a,summary,caption,span,footer")) {
          if (!one.textContent.trim()) continue;
          let ground = one; while (ground && /, 0\\)$|transparent/.test(getComputedStyle(ground).backgroundColor)) ground = ground.parentElement;
          const a = light(number(getComputedStyle(one).color)), b = light(number(getComputedStyle(ground || document.body).backgroundColor));
          const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
          if (ratio < 4.5) found.push([one.tagName, one.textContent.slice(0, 40), ratio]);
        }
        return found;
        """
    )
    assert low == []


def test_every_section_shows_its_figures(page, files):
    text = page.execute_script(
        "for (const d of document.querySelectorAll('details')) d.open = true; return document.body.innerText"
    )
    run = read_report(files).runs[0][1]
    for words in (
        f"{run['cython_nogil', 'threads', 2].speedup.value:.2f}", "GIL-bound", "scales", "confirmed", "from size 120",
        "others wait", run.environment.cpu,
    ):  # fmt: skip
        assert words in text
    sections = page.find_elements(By.CSS_SELECTOR, "main section")
    assert len(sections) == 10
    assert all(len(section.text) > 60 for section in sections)


def test_pointing_at_a_value_finds_what_it_says(page):
    """The hint of a mark is its SVG title, which browsers show when the mark is pointed at: it must be on top there."""
    told = page.execute_script(
        """
        const wanted = "cython_nogil, threads x 2";
        const mark = [...document.querySelectorAll(".chart .mark")].find(
          mark => mark.querySelector("title").textContent.startsWith(wanted));
        mark.scrollIntoView({block: "center", behavior: "instant"});
        const box = mark.getBoundingClientRect();
        const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
        return top.closest(".mark").querySelector("title").textContent;
        """
    )
    assert "1.96" in told
    assert "scales" in told


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_of_charts_have_the_page_s_colour(browser, report, scheme):
    show(browser, report, DESKTOP, scheme)
    colours = browser.execute_script(
        "return [...new Set([...document.querySelectorAll('.chart text')].map(text => getComputedStyle(text).fill))]"
    )
    assert colours == ["rgb(29, 33, 41)" if scheme == "light" else "rgb(230, 232, 236)"]
    white = browser.execute_script(
        "return [...document.querySelectorAll('.chart path')].filter(path => "
        "getComputedStyle(path).fill == 'rgb(255, 255, 255)' && getComputedStyle(path).fillOpacity > 0).length"
    )
    assert white == 0, "a chart has a ground of its own"


def test_the_keyboard_reaches_the_figures(page):
    page.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
    seen = []
    for _ in range(60):
        ActionChains(page).send_keys(Keys.TAB).perform()
        tag, opened = page.execute_script("const a = document.activeElement; return [a.tagName, a.parentElement.open]")
        seen.append(tag)
        if tag == "SUMMARY" and not opened:
            ActionChains(page).send_keys(Keys.ENTER).perform()
            ActionChains(page).send_keys(Keys.TAB).perform()
            table = page.execute_script("return document.activeElement.innerText")
            assert "implementation" in table
            assert any(character.isdigit() for character in table)
            break
    assert seen[0] == "A", "the first stop is the way past the header"
    assert seen[-1] == "SUMMARY"


def test_it_prints_with_its_tables_open_on_white(browser, report):
    page = browser
    show(page, report, DESKTOP, "dark")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    heights = page.execute_script(
        "return [...document.querySelectorAll('details .scroll')].map(table => table.getBoundingClientRect().height)"
    )
    assert min(heights) > 20
    assert page.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    pdf = page.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})
    assert len(pdf["data"]) > 50_000
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_hostile_texts_run_no_script(browser, run, claims, tmp_path):
    from attrs import evolve

    from gilcmp.judge.comparison import Comparison
    from test_report import HOSTILE

    cells = [evolve(c, kernel=HOSTILE, implementation=HOSTILE + c.implementation, unit=HOSTILE) for c in run.cells]
    bad = evolve(run, cells=cells, environment=evolve(run.environment, cpu=HOSTILE))
    gilcmp.report(Comparison(bad), Comparison(bad), output=tmp_path / "report.html")
    show(browser, tmp_path / "report.html")
    assert [e for e in browser.get_log("browser") if e["level"] in ("SEVERE", "WARNING")] == []
    assert [url for url in requests(browser) if not url.startswith(("file:", "data:", "blob:"))] == []
    assert browser.find_elements(By.TAG_NAME, "img") == []
    assert min(drawn(browser)) > 2
