from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from rich.console import Console

from diagnose.record import Record
from diagnose.report import build_report, write_report
from diagnose.report.html import broad, to_html
from diagnose.report.terminal import print_summary
from diagnose.report.values import Table
from diagnose.values import Diagnosis, Finding, Outcome, Severity, Status
from tests.browser import Page, browser
from tests.report.synthetic import HOSTILE, faulty, full_record, healthy


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    hostile = full_record(HOSTILE, batches=300)
    hostile.add("config", {HOSTILE[0]: HOSTILE[3]})
    reports = {
        "faulty": build_report(full_record(), faulty(), created="2026-11-21 05:30"),
        "healthy": build_report(full_record(batches=100), healthy()),
        "hostile": build_report(hostile, faulty(), title=HOSTILE[0]),
        "empty": build_report(Record(), Diagnosis()),
    }
    return {k: write_report(r, folder / k, formats=("html",), figures=False)["html"] for k, r in reports.items()}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Page]:
    with browser() as page:
        yield page


@pytest.fixture
def page(chromium: Page) -> Iterator[Page]:
    chromium.look()
    for seen in (chromium.console, chromium.dialogs, chromium.requests):
        seen.clear()
    yield chromium
    chromium.script(enabled=True)


@pytest.mark.parametrize("name", ["faulty", "healthy", "hostile", "empty"])
def test_a_page_is_quiet_and_asks_for_nothing(page: Page, pages: dict[str, Path], name: str) -> None:
    page.open(pages[name])
    assert page.console == []
    assert page.dialogs == []
    assert {url for url in page.requests if not url.startswith("data:")} == {pages[name].resolve().as_uri()}
    assert page.evaluate("document.querySelectorAll('script').length") == 1
    assert page.evaluate("document.querySelectorAll('iframe, object, img, link, form').length") == 0
    assert pages[name].stat().st_size < 500_000


def test_that_test_can_fail(page: Page, pages: dict[str, Path], tmp_path: Path) -> None:
    planted = tmp_path / "planted.html"
    text = pages["empty"].read_text(encoding="utf-8")
    planted.write_text(text.replace("</body>", "<script>alert(1)</script><img src='https://example.org/x.png'></body>"), encoding="utf-8")
    page.open(planted)
    assert page.dialogs == []
    assert any("Content Security Policy" in line for line in page.console)


def test_hostile_names_are_shown_as_they_are(page: Page, pages: dict[str, Path]) -> None:
    page.open(pages["hostile"])
    text = page.evaluate("document.body.textContent")
    for name in (*HOSTILE[:5], HOSTILE[7], HOSTILE[9]):
        assert name in text
    assert "49" not in page.evaluate("document.title")
    assert page.evaluate("document.title").startswith(HOSTILE[0])


def test_the_first_screen_answers(page: Page, pages: dict[str, Path]) -> None:
    page.open(pages["faulty"])
    for selector in (".verdict", ".card .value", ".finding.error .message", ".finding.error .fix"):
        assert page.evaluate(f"document.querySelector('{selector}').getBoundingClientRect().bottom") < 900
    shown = page.evaluate("document.querySelector('.finding.warning').innerText")
    assert "optimizer.lr=0.0001" in shown
    assert page.evaluate("document.querySelectorAll('.finding').length") == 3
    assert "T306" in page.evaluate("document.querySelector('.finding.error').textContent")


def test_a_rule_that_did_not_run_is_not_shown_as_passed(page: Page, pages: dict[str, Path]) -> None:
    page.open(pages["faulty"])
    rows = page.evaluate("[...document.querySelectorAll('.rules tbody tr')].map(r => [...r.cells].map(c => c.textContent))")
    outcome = {row[0]: row[2:] for row in rows}
    assert outcome["D106"] == ["did not run", "the validation loader gives no inputs that can be compared"]
    assert outcome["E405"][0] == "crashed"
    assert outcome["T306"] == ["found, folded", "explained by M201: The loss has no downward trend over 900 batches."]
    assert outcome["D101"] == ["clean", ""]


def test_the_page_reads_without_javascript(page: Page, pages: dict[str, Path]) -> None:
    page.open(pages["faulty"])
    with_script = page.evaluate("document.querySelector('main').innerText.replace(/Copy\\n/g, '').length")
    page.script(enabled=False)
    page.open(pages["faulty"])
    assert abs(page.evaluate("document.querySelector('main').innerText.length") - with_script) < 20
    assert page.evaluate("document.querySelectorAll('button').length") == 0
    page.evaluate("document.querySelector('.finding details').open = true")
    assert page.evaluate("document.querySelector('.finding details dl').getBoundingClientRect().height") > 0


def test_tables_sort_by_keyboard_or_mouse_and_keep_their_averages(page: Page, pages: dict[str, Path]) -> None:
    page.open(pages["faulty"])
    table = "[...document.querySelectorAll('table')].find(t => t.tHead.textContent.includes('recall'))"
    page.evaluate(f"{table}.querySelectorAll('thead button')[2].click()")
    recalls = page.evaluate(f"[...{table}.tBodies[0].rows].map(r => Number(r.cells[2].dataset.v))")
    assert recalls == sorted(recalls)
    page.evaluate(f"{table}.querySelectorAll('thead button')[2].click()")
    recalls = page.evaluate(f"[...{table}.tBodies[0].rows].map(r => Number(r.cells[2].dataset.v))")
    assert recalls == sorted(recalls, reverse=True)
    assert page.evaluate(f"{table}.tHead.rows[0].cells[2].getAttribute('aria-sort')") == "descending"
    assert page.evaluate(f"{table}.tFoot.rows.length") == 3


def test_the_override_can_be_copied(page: Page, pages: dict[str, Path]) -> None:
    page.open(pages["faulty"])
    page.send("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    label = page.evaluate(
        "new Promise(done => { const button = document.querySelector('.copier');"
        " new MutationObserver(() => done(button.textContent)).observe(button, {childList: true, characterData: true, subtree: true});"
        " button.click(); })"
    )
    assert label in ("Copied", "Press Ctrl+C")


def move(page: Page, x: float, y: float) -> str:
    """Move the pointer and read what the page says about what lies there."""
    page.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    return str(page.evaluate("document.querySelector('.tip').hidden ? '' : document.querySelector('.tip').innerText"))


def place(page: Page, selector: str) -> dict[str, float]:
    """Where an element stands in the window, after scrolling to it."""
    page.evaluate(f"document.querySelector('{selector}').scrollIntoView({{block: 'center', behavior: 'instant'}})")
    page.evaluate("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(() => r(0))))")  # until the page has scrolled
    box: dict[str, float] = page.evaluate(f"document.querySelector('{selector}').getBoundingClientRect().toJSON()")
    return box


@pytest.mark.parametrize("name", ["faulty", "hostile"])
def test_a_cell_of_the_matrix_says_what_it_counts_and_shows_its_samples(page: Page, pages: dict[str, Path], name: str) -> None:
    page.open(pages[name])
    svg = place(page, "[data-matrix] svg")
    box = page.evaluate("document.querySelector('[data-matrix]').dataset.box.split(' ').map(Number)")
    scale = svg["width"] / page.evaluate("document.querySelector('[data-matrix] svg').viewBox.baseVal.width")
    x, y = svg["x"] + scale * (box[0] + 3.5 * box[2] / 10), svg["y"] + scale * (box[1] + 3.5 * box[3] / 10)
    names = page.evaluate("JSON.parse(document.querySelector('[data-matrix]').dataset.matrix).names")
    count = page.evaluate("JSON.parse(document.querySelector('[data-matrix]').dataset.matrix).cells.find(c => c[0] == 3 && c[1] == 3)[2]")
    assert " ".join(move(page, x, y).split()).startswith(" ".join(f"true {names[3]}, predicted {names[3]}: {count} samples (".split()))
    for kind in ("mousePressed", "mouseReleased"):
        page.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    assert page.evaluate("document.querySelectorAll('.behind li').length") == 8
    assert page.evaluate("document.querySelector('.behind h3').textContent").startswith(f"true {names[3]}, predicted")
    assert page.dialogs == page.console == []


def test_the_matrix_is_read_by_keyboard(page: Page, pages: dict[str, Path]) -> None:
    page.open(pages["faulty"])
    place(page, "[data-matrix] svg")
    page.evaluate("document.querySelector('[data-matrix] svg').focus({preventScroll: true})")
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "Enter"):
        page.send("Input.dispatchKeyEvent", type="keyDown", key=key)
    assert page.evaluate("document.querySelector('.tip').innerText").startswith("true 2, predicted 2: ")
    assert page.evaluate("document.querySelectorAll('.behind li').length") > 0
    page.send("Input.dispatchKeyEvent", type="keyDown", key="Escape")
    assert page.evaluate("document.querySelector('.tip').hidden")


@pytest.mark.parametrize("name", ["faulty", "hostile"])
def test_a_point_of_a_map_names_its_sample_and_the_map_zooms(page: Page, pages: dict[str, Path], name: str) -> None:
    page.open(pages[name])
    svg = place(page, "[data-points] svg")
    data = page.evaluate("JSON.parse(document.querySelector('[data-points]').dataset.points)")
    left, top, width, height = page.evaluate("document.querySelector('[data-points]').dataset.box.split(' ').map(Number)")
    scale = svg["width"] / page.evaluate("document.querySelector('[data-points] svg').viewBox.baseVal.width")
    x0, x1, y0, y1 = data["limits"]
    lowest = min(range(len(data["x"])), key=lambda i: data["y"][i])  # stands apart, at the lower edge
    x = svg["x"] + scale * (left + (data["x"][lowest] - x0) / (x1 - x0) * width)
    y = svg["y"] + scale * (top + (y1 - data["y"][lowest]) / (y1 - y0) * height)
    said = move(page, x, y)
    assert said.startswith(f"sample {data['rows'][lowest]}\n")
    assert f"true {' '.join(data['names'][data['true'][lowest]].split())}" in " ".join(said.split())
    marked = "[...document.querySelectorAll('[data-points] .cursor')].filter(e => e.getAttribute('visibility') === 'visible').length"
    assert page.evaluate(marked) == 3  # the same sample in every map
    before = page.evaluate("document.querySelector('[data-points] svg svg').getAttribute('viewBox')")
    assert page.evaluate("document.querySelectorAll('[data-points] svg svg path').length") > 0
    page.evaluate("document.querySelector('.zoom button').click()")
    zoomed = page.evaluate("document.querySelector('[data-points] svg svg').viewBox.baseVal.width")
    assert zoomed == pytest.approx(width / 1.5, rel=1e-3)
    page.evaluate("document.querySelector('[data-points] svg').focus({preventScroll: true})")
    page.send("Input.dispatchKeyEvent", type="keyDown", key="0", text="0")
    assert page.evaluate("document.querySelector('[data-points] svg svg').getAttribute('viewBox')") == before
    assert page.dialogs == page.console == []


@pytest.mark.parametrize("name", ["faulty", "hostile", "empty"])
def test_a_phone_needs_no_sideways_scrolling(page: Page, pages: dict[str, Path], name: str) -> None:
    page.look(width=390, height=844)
    page.open(pages[name])
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("name", ["faulty", "healthy"])
def test_no_table_is_cut_on_a_desktop(page: Page, pages: dict[str, Path], name: str) -> None:
    page.look(width=1280)
    page.open(pages[name])
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    tables = "[...document.querySelectorAll('.block .scroll')]"
    assert page.evaluate(f"{tables}.length") > 5
    assert page.evaluate(f"{tables}.filter(t => t.scrollWidth > t.clientWidth + 1).map(t => t.getAttribute('aria-label'))") == []


CONTRAST = """
(() => {
  const channels = c => c.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255);
  const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = c => { const [r, g, b] = channels(c).map(linear); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (!/, 0\\)$/.test(c)) return c;
    }
  };
  const ratio = e => {
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  const words = [...document.querySelectorAll("p, td, th, li, summary, h1, h2, h3, .badge, .state, a")];
  return Math.min(...words.filter(e => e.textContent.trim()).map(ratio));
})()
"""


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_contrast_in_light_and_dark(page: Page, pages: dict[str, Path], dark: bool) -> None:
    page.look(dark=dark)
    page.open(pages["faulty"])
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(20, 22, 26)" if dark else "rgb(255, 255, 255)")
    assert page.evaluate(CONTRAST) >= 4.5


def test_it_prints(page: Page, pages: dict[str, Path]) -> None:
    page.look(width=760, dark=True)
    page.open(pages["faulty"])
    assert page.pdf().startswith(b"%PDF")
    page.send("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert page.evaluate("document.querySelector('.finding dl').getBoundingClientRect().height") > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 760
    page.send("Emulation.setEmulatedMedia", media="")


def test_pictures_have_words_and_ids_are_unique(page: Page, pages: dict[str, Path]) -> None:
    page.open(pages["faulty"])
    assert page.evaluate("[...document.querySelectorAll('svg[role=img]')].every(s => s.getAttribute('aria-label').length > 3)")
    assert page.evaluate(
        "[...document.querySelectorAll('svg')].every(s => s.getAttribute('role') === 'img' || s.getAttribute('aria-hidden'))"
    )
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    levels = page.evaluate("[...document.querySelectorAll('main h2, main h3')].map(h => h.tagName)")
    assert levels[0] == "H2"
    assert page.evaluate(
        "[...document.querySelectorAll('nav a')].every(a => document.querySelector(CSS.escape ? a.getAttribute('href') : ''))"
    )


def test_findings_of_one_kind_stand_together_and_say_their_fix_once() -> None:
    slices = [
        Finding(code="E407", rule="weak-slice", severity=Severity.INFO, message=f"slice {k} is weak", where=f"site = {k}", fix=fix)
        for k, fix in enumerate(("look at its samples", "look at its samples", "ask who labelled it"))
    ]
    outcome = Outcome(code="E407", rule="weak-slice", status=Status.FOUND, findings=tuple(slices))
    report = build_report(Record(), Diagnosis(outcomes=(outcome,)))
    page = to_html(report)
    assert page.count("<article") == 1
    assert "2 more of this kind" in page
    assert page.count("Look at its samples.") == 1
    assert page.count("Ask who labelled it.") == 1
    console = Console(file=io.StringIO(), width=100)
    print_summary(report, console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert printed.count("Look at its samples.") == 1
    assert all(f"Slice {k} is weak." in printed for k in range(3))


def test_a_long_name_takes_a_table_across_the_page() -> None:
    columns = ("true", "predicted", "samples", "share of true", "such as")
    formats: tuple[Literal["text", "number", "share", "count"], ...] = ("text", "text", "count", "share", "text")
    names = ("cat", "a class with a name that is long")
    tables = [Table(name="t", title="T", columns=columns, formats=formats, rows=((name, name, 3, 0.5, "1, 2, 3"),)) for name in names]
    assert [broad(table) for table in tables] == [False, True]
    assert not broad(Table(name="t", title="T", columns=("key", "value"), formats=("text", "text"), rows=(("k" * 90, "v" * 90),)))
