"""Write the pages of the atlas from what ``gilcmp atlas --survey`` has kept: ``nox -s atlas`` does both.

    python docs/atlas_pages.py [FOLDER ...]

What the folders do not have is taken from the data that stand beside the pages; so without a folder the pages are
written anew after a change of the words, or of a list's notes. Written are docs/atlas.md, a page a library in
docs/atlas/, the searchable page of all rows, and the data: atlas.json and atlas.csv. What was measured on a
free-threaded build has a page and data of its own.
"""

from __future__ import annotations

import html
import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from textwrap import shorten

from attrs import evolve

from gilcmp import load
from gilcmp.base.median import middle
from gilcmp.judge.verdict import GAINS, UNDECIDED
from gilcmp.show import words
from gilcmp.surveying.atlas import Atlas, Entry, first_line
from gilcmp.surveying.lists import read_list, shipped
from gilcmp.surveying.scaling import Scaling
from gilcmp.surveying.survey import ALL_JSON, FAILED, atlases_in, failures_in, write_all

HERE = Path(__file__).parent
PAGES = HERE / "atlas"

FREE = "free-threaded"

INTRO = """\
# The atlas: what releases the GIL

{rows} statements of {libraries} libraries, measured by `nox -s atlas` on {days}, on {machines}: each library in a
virtual environment of its own, with the library's own threads off if it starts them for each call. Two threads of
native code that shares nothing got {reference} times as much done there as one (the median of the libraries' runs).
Absolute figures vary from machine to machine; a share of a call's time mostly does not.

[All rows on one page, with a filter](atlas/all.md). The data: {{download}}`atlas.csv <atlas/atlas.csv>` and
{{download}}`atlas.json <atlas/atlas.json>`.

- **held**: the share of a call's time in which the calling thread has the GIL. A call below 0.2 ms that holds it is
  `holds, briefly`: it ends before another thread gets in.
- **two threads**: how much two threads get done, each with objects of its own, times one thread. `too noisy`: the
  interval fits more than one word. The words are [those of `compare`](reference/words.md).
- **documented**: what the library's documents or its source say: `releases`, `holds`, `partly`, or `silent` where
  nothing was found.
"""

WITHOUT = """\
# Without the GIL

{rows} statements of {libraries} libraries on {pythons}, measured on {days}, on {machines}, by
`gilcmp atlas --survey FOLDER --python python3.14t`; beside them what was measured [with the GIL](../atlas.md), of some
libraries in another version. The figures tell how much two threads get done, each with objects of its own, times one
thread: of native code that shares nothing {reference} times. The import of {turned_on} other libraries turns the GIL
on. Libraries without a wheel for this build were not built. The data: {{download}}`atlas.csv
<free-threaded/atlas.csv>` and {{download}}`atlas.json <free-threaded/atlas.json>`.

Of {both} statements whose two figures are clear, two threads do more than one for {gain_with} with the GIL, and for
{gain_without} without it.
"""

NO_WHEEL = ("Could not find a version that satisfies", "No matching distribution", "Cannot install")

USING = """\
## Use the data

A row of `atlas.csv` has these fields, and keeps them: {fields}. Times are seconds, shares are of 1, and an empty field
is not known. `gilcmp.load("atlas.json")` gives a list of `gilcmp.Atlas`, one a library.

```console
$ gilcmp atlas pandas --json before.json
$ gilcmp atlas pandas --json after.json         # of another version, or with another Python
$ gilcmp diff before.json after.json            # what changed
$ gilcmp atlas --installed                      # all of these that are installed here
$ gilcmp atlas --survey folder pandas polars    # each in a virtual environment of its own; goes on where it was
$ gilcmp atlas mine.toml                        # statements of your own
```
"""

FILTER = """\
<input id="filter" type="search" placeholder="Filter: numpy, holds, compress …" aria-label="Filter the rows">
<p id="shown" aria-live="polite"></p>
<script>
addEventListener("DOMContentLoaded", () => {
  const field = document.getElementById("filter"), rows = [...document.querySelectorAll("#rows tbody tr")];
  const words = rows.map(row => row.textContent.toLowerCase());
  const show = () => {
    const wanted = field.value.toLowerCase().split(/\\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, i) => {
      row.hidden = !wanted.every(word => words[i].includes(word));
      shown += !row.hidden;
    });
    document.getElementById("shown").textContent = `${shown} of ${rows.length} rows`;
    history.replaceState(null, "", field.value ? "#" + encodeURIComponent(field.value) : location.pathname);
  };
  field.value = decodeURIComponent(location.hash.slice(1));
  field.addEventListener("input", show);
  show();
});
</script>
"""


def code(text: str) -> str:
    """Return code as Markdown shows it in a table."""
    text = first_line(text).replace("|", "\\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def held(entry: Entry) -> str:
    """Return the share held."""
    return words.percent(entry.probe.held.value) if entry.probe else ""


def scaled(entry: Entry | None) -> str:
    """Return what two threads get done; of nothing, a dash."""
    if entry is None:
        return "-"
    if entry.scaling is None:
        return entry.error or "-"
    figure, word = entry.scaling.figure, entry.scaling.verdict.word
    return word if figure == word else f"{figure} {word}"


def table(titles: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table; titles that begin with > are of numbers."""
    rules = ["--:" if title.startswith(">") else "---" for title in titles]
    cells = [[cell if cell.startswith("`") else cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [[title.lstrip(">") for title in titles], rules, *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def about(atlases: dict[str, Atlas]) -> dict[str, object]:
    """Return how much was measured, when, and where."""
    places = [atlas.environment for atlas in atlases.values()]
    where = dict.fromkeys(f"{words.counted(place.cpus_allowed, 'CPU')} of {place.cpu_name}" for place in places)
    references = [atlas.reference.value for atlas in atlases.values() if atlas.reference.n]
    return {
        "rows": sum(map(len, atlases.values())),
        "libraries": len(atlases),
        "days": ", ".join(sorted({atlas.measured for atlas in atlases.values()})),
        "machines": " and on ".join(where),
        "reference": f"{middle(references):.2f}" if references else "an unknown number of",
    }


def decided(entry: Entry | None) -> Scaling | None:
    """Return what two threads get done, where the figures decide it."""
    scaling = entry.scaling if entry else None
    return scaling if scaling and scaling.verdict not in UNDECIDED else None


def unmeasured(failures: dict[str, str]) -> list[str]:
    """Return which libraries have no rows, and why."""
    none = [f"`{name}`" for name, reason in failures.items() if any(words in reason for words in NO_WHEEL)]
    parts = [f"There was no wheel for this interpreter of {', '.join(none)}.\n"] if none else []
    others = {name: reason for name, reason in failures.items() if f"`{name}`" not in none}
    return [*parts, *(f"`{name}` could not be measured: {shorten(reason, 120)}\n" for name, reason in others.items())]


def stuck_table(rows: Iterable[tuple[str, Entry, Entry | None, Scaling]]) -> str:
    """Return a table of statements of which two threads do no more without the GIL."""
    return table(
        ["library", "statement", "input", ">with the GIL", ">without", ">CPUs of one"],
        [
            [name, code(entry.statement), entry.size, scaled(before), scaled(entry), f"{found.cpus:.1f}"]
            for name, entry, before, found in rows
        ],
    )


def spelled(n: int) -> str:
    """Return a small number as a word."""
    return ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")[n] if n < 10 else str(n)


def without_gil(free: dict[str, Atlas], atlases: dict[str, Atlas], failures: dict[str, str]) -> str:
    """Return the page of what was measured on a free-threaded build, beside the same with the GIL."""
    off = {name: atlas for name, atlas in free.items() if not atlas.environment.gil_enabled}
    pairs: list[tuple[str, Entry, Entry | None]] = []
    for name, atlas in off.items():
        with_gil = {(each.statement, each.setup): each for each in atlases[name]} if name in atlases else {}
        pairs += [(name, entry, with_gil.get((entry.statement, entry.setup))) for entry in atlas]
    clear = [(one, other) for _, entry, before in pairs if (one := decided(before)) and (other := decided(entry))]
    parts = [
        WITHOUT.format(
            **about(off),
            turned_on=spelled(len(free) - len(off)),
            pythons=", ".join(dict.fromkeys(f"CPython {atlas.environment.build}" for atlas in free.values())),
            both=len(clear),
            gain_with=sum(one.verdict in GAINS for one, _ in clear),
            gain_without=sum(other.verdict in GAINS for _, other in clear),
        ),
        "## The libraries\n",
    ]
    rows = []
    for name, atlas in free.items():
        mine = [(decided(before), decided(entry)) for each, entry, before in pairs if each == name]
        both = [(one, other) for one, other in mine if one and other]
        gains = [str(sum(each.verdict in GAINS for each in side)) for side in zip(*both, strict=True)] or ["-", "-"]
        culprit = atlas.environment.gil_culprit
        rows.append(
            [
                f"{atlas.title} {atlas.version}", f"yes: {culprit}" if culprit else "no", str(len(atlas)),
                str(len(both) or "-"), *gains,
            ]
        )  # fmt: skip
    titles = [
        "library", "its import turns the GIL on", ">statements", ">clear in both", ">two threads do more, with the GIL",
        ">without",
    ]  # fmt: skip
    parts.append(table(titles, rows))
    parts += unmeasured(failures)
    stuck = [
        (name, entry, before, found)
        for name, entry, before in pairs
        if (found := decided(entry)) and found.verdict not in GAINS
    ]
    stuck.sort(key=lambda each: each[3].speedup.value)
    parts.append("## Two threads do more with the GIL than without it\n")
    parts.append(stuck_table([each for each in stuck if (one := decided(each[2])) and one.verdict in GAINS]))
    parts.append("## Two threads do no more without the GIL either\n")
    parts.append(stuck_table([each for each in stuck if not ((one := decided(each[2])) and one.verdict in GAINS)]))
    parts.append(
        "What is in their way is not measured here. It may be a lock of the library's own, references or a pool of\n"
        "threads that all share, memory that is too slow for two, or memory that the system maps anew for each call;\n"
        "[`gilcmp contention`](../contention.md) tells of locks. The last column: how many CPUs one thread's calls\n"
        "keep busy.\n"
    )
    parts.append("## All rows\n")
    rows = [[name, code(entry.statement), entry.size, scaled(before), scaled(entry)] for name, entry, before in pairs]
    parts.append(table(["library", "statement", "input", ">with the GIL", ">without"], rows))
    return "\n".join(parts)


def index(atlases: dict[str, Atlas], failures: dict[str, str], *, free: bool) -> str:
    """Return the first page: what was found, and the libraries."""
    pairs = [(name, entry) for name, atlas in atlases.items() for entry in atlas]
    parts = [INTRO.format(**about(atlases))]
    if free:
        parts.append(
            f"[The same without the GIL](atlas/{FREE}.md): which imports turn it on, and what two threads get done.\n"
        )
    parts.append("## Where documents and measurements disagree\n")
    rows = []
    for name, entry in pairs:
        if entry.disagrees and entry.probe:
            documented = f"{entry.documented.says}: {entry.documented.where}"
            measured = f"{entry.probe.verdict}, held {held(entry)}"
            link = f"[{name}](atlas/{name}.md)"
            rows.append([link, code(entry.statement), entry.size, documented, measured, entry.documented.note])
    parts.append(table(["library", "statement", "input", "documented", "measured", "what the source shows"], rows))
    parts.append("## Lets go of the GIL, and two threads do no more\n")
    rows = [
        [
            f"[{name}](atlas/{name}.md)", code(entry.statement), entry.size, held(entry), scaled(entry),
            f"{entry.scaling.cpus:.1f}",
        ]
        for name, entry in pairs if entry.blocked_otherwise and entry.scaling
    ]  # fmt: skip
    parts.append(
        "The cause may be a lock of the library's own, a pool of threads that all callers share, memory that is too\n"
        "slow for two, or a call of some microseconds that must get the GIL back from the other thread each time. The\n"
        "last column shows how many CPUs one thread's calls keep busy.\n"
    )
    parts.append(table(["library", "statement", "input", ">held", ">two threads", ">CPUs of one"], rows))
    parts.append("## The libraries\n")
    rows = []
    for name, atlas in atlases.items():
        said = [entry.measured for entry in atlas]
        gains = sum(1 for entry in atlas if entry.scaling and entry.scaling.verdict in GAINS)
        rows.append(
            [
                f"[{atlas.title}](atlas/{name}.md) {atlas.version}",
                str(len(atlas)),
                *(str(said.count(word) or "-") for word in ("releases", "partly", "holds", None)),
                str(gains or "-"),
                atlas.environment.interpreter,
            ]
        )
    titles = ["library", ">statements", ">releases", ">partly", ">holds", ">open", ">two threads do more", "Python"]
    parts.append(table(titles, rows))
    parts += unmeasured(failures)
    names = [name for atlas in atlases.values() for record in atlas.records() for name in record]
    fields = ", ".join(f"`{field}`" for field in dict.fromkeys(names))
    parts.append(USING.format(fields=fields))
    parts.append(
        "```{toctree}\n:hidden:\n\natlas/all\n"
        + f"atlas/{FREE}\n" * free
        + "\n".join(f"atlas/{name}" for name in atlases)
        + "\n```\n"
    )
    return "\n".join(parts)


def row(entry: Entry) -> list[str]:
    """Return an entry's row on its library's page."""
    said = entry.documented
    documented = f"{said.says}: {said.where}" if said.where else said.says
    probed = entry.probe
    if probed is None:
        return [code(entry.statement), entry.size, "", "", entry.error or "", "", "", "", "", documented]
    figures = [words.seconds(probed.longest_hold), words.seconds(probed.stall.p99), f"{probed.hand_overs:.3g}"]
    time = words.seconds(probed.time)
    return [
        code(entry.statement), entry.size, time, held(entry), str(probed.verdict), *figures, scaled(entry), documented,
    ]  # fmt: skip


def page(atlas: Atlas) -> str:
    """Return a library's page."""
    parts = [f"# {atlas.title} {atlas.version}\n", f"{atlas.environment.interpreter}, {atlas.environment.system}.\n"]
    parts += [f"- {text}\n" for text in atlas.findings]
    for group in dict.fromkeys(entry.group for entry in atlas):
        entries = [entry for entry in atlas if entry.group == group]
        titles = [
            "statement", "input", ">time", ">held", "verdict", ">longest hold", ">others wait (p99)",
            ">hand-overs a call", ">two threads", "documented",
        ]  # fmt: skip
        rows = [row(entry) for entry in entries]
        parts += [f"## {group[0].upper()}{group[1:]}\n", table(titles, rows), "Set-up:\n"]
        parts.append(f"```python\n{entries[0].setup.strip()}\n```\n")
    return "\n".join(parts)


def all_rows(atlases: dict[str, Atlas]) -> str:
    """Return the page of all rows, with a field that filters them."""
    head = ["library", "statement", "input", "held", "verdict", "two threads", "documented"]
    cells = "".join(f"<th>{title}</th>" for title in head)
    rows = []
    for name, atlas in atlases.items():
        for entry in atlas:
            link = f'<a href="{name}.html">{html.escape(atlas.title)}</a>'
            verdict = str(entry.probe.verdict) if entry.probe else entry.error or ""
            texts = [entry.size, held(entry), verdict, scaled(entry), entry.documented.says]
            statement = f"<code>{html.escape(first_line(entry.statement))}</code>"
            inner = "".join(f"<td>{text}</td>" for text in [link, statement, *map(html.escape, texts)])
            rows.append(f"<tr>{inner}</tr>")
    body = "\n".join(rows)
    listing = f'<table id="rows" class="docutils"><thead><tr>{cells}</tr></thead><tbody>\n{body}\n</tbody></table>'
    return f"# All rows of the atlas\n\n```{{raw}} html\n{FILTER}{listing}\n```\n"


def with_latest_words(name: str, atlas: Atlas) -> Atlas:
    """Return an atlas with what its list says today: notes are written when the figures are there."""
    listed = {(each.statement, each.setup): each for each in read_list(name).statements}
    entries = []
    for entry in atlas:
        today = listed.get((entry.statement, entry.setup))  # another set-up is another measurement
        entries.append(evolve(entry, documented=today.documented, size=today.size) if today else entry)
    return evolve(atlas, entries=tuple(entries))


def write_data(folder: Path, atlases: dict[str, Atlas], failures: dict[str, str]) -> None:
    """Write what the pages are made of beside them, for others and for the next time."""
    write_all(folder, list(atlases.values()))
    if failures:
        (folder / FAILED).write_text(json.dumps(failures, indent=1) + "\n", encoding="utf-8")


def written_before(folder: Path) -> Iterator[tuple[str, Atlas]]:
    """Read the libraries of the data that stand beside the pages."""
    names = {read_list(name).title: name for name in shipped()}
    if (folder / ALL_JSON).exists():
        yield from ((names[atlas.title], atlas) for atlas in load(folder / ALL_JSON))


def main(folders: list[str]) -> None:
    """Write all pages, of the data that stand beside them and of what the folders have besides or anew."""
    # with a GIL, and of free-threaded builds
    found: dict[bool, dict[str, Atlas]] = {False: {}, True: {}}
    failed: dict[bool, dict[str, str]] = {False: {}, True: {}}
    before = ((PAGES, dict(written_before(PAGES))), (PAGES / FREE, dict(written_before(PAGES / FREE))))
    for folder, here in (*before, *((Path(folder), dict(atlases_in(folder))) for folder in folders)):
        for name, atlas in here.items():
            found[atlas.environment.free_threaded][name] = with_latest_words(name, atlas)
        failed[any(atlas.environment.free_threaded for atlas in here.values())] |= failures_in(folder)
    atlases, free = ({name: each[name] for name in shipped() if name in each} for each in found.values())
    failures, failures_free = (
        {name: reason for name, reason in failed[side].items() if name not in found[side]} for side in found
    )
    if not atlases:
        sys.exit(f"no library's file in {', '.join(folders) or 'no folder'}")
    pages = {name: page(atlas) for name, atlas in atlases.items()} | {"all": all_rows(atlases)}
    if free:
        pages[FREE] = without_gil(free, atlases, failures_free)
    first = index(atlases, failures, free=bool(free))
    shutil.rmtree(PAGES, ignore_errors=True)
    PAGES.mkdir()
    (HERE / "atlas.md").write_text(first, encoding="utf-8")
    for name, text in pages.items():
        (PAGES / f"{name}.md").write_text(text, encoding="utf-8")
    write_data(PAGES, atlases, failures)
    if free:
        (PAGES / FREE).mkdir()
        write_data(PAGES / FREE, free, failures_free)
    entries = [entry for atlas in atlases.values() for entry in atlas]
    disagree = sum(entry.disagrees for entry in entries)
    print(f"{len(atlases)} libraries, {len(entries)} rows, {disagree} disagree; {len(failures)} could not be measured")
    if free:
        print(f"{len(free)} libraries on a free-threaded build; {len(failures_free)} could not be measured")


if __name__ == "__main__":
    main(sys.argv[1:])
