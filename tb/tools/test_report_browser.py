"""The page of `lpu report` in a browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lpu.tb.quick_commands import Lpu
from lpu.tb.reports import data_of

pytest.importorskip("plotly")
CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """headless Chromium"""
    if CHROMIUM is None:
        pytest.skip("there is no chromium to open the page in")
    driver = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    with driver.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


def until(tab: Any, condition: str) -> None:
    """waits for it, at most 30 s; the page forbids scripts from text, with which playwright would wait"""
    for _ in range(600):
        if tab.evaluate(condition):
            return
        tab.wait_for_timeout(50)
    raise AssertionError(f"not within 30 s: {condition}")


def point_at(tab: Any, mark: Any) -> None:
    """until the page tells of it, at most 30 s: as long as figures are still drawn, it moves away under the mouse"""
    for _ in range(30):
        mark.hover(force=True)
        for _ in range(20):
            if tab.evaluate("document.getElementById('tip').style.visibility === 'visible'"):
                return
            tab.wait_for_timeout(50)
        tab.mouse.move(1, 1)
    raise AssertionError("pointing at a mark tells nothing")


FOUND = """() => [...document.querySelectorAll("figure")].map((figure) => {
  const plot = figure.querySelector(".plot .main-svg").getBoundingClientRect();
  const marks = [...figure.querySelectorAll(".points path, .point path")].map((m) => m.getBoundingClientRect());
  const texts = [...figure.querySelectorAll(".plot text")].filter((t) => t.textContent)
    .map((t) => [t.textContent, parseFloat(getComputedStyle(t).fontSize), t.getBoundingClientRect().left,
                 t.getBoundingClientRect().right]);
  return { name: figure.id, left: plot.left, right: plot.right, height: plot.height, texts,
           marks: marks.filter((m) => m.width > 0 && m.height > 0).length,
           sources: figure.querySelector("figcaption").textContent };
})"""


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_in_a_browser(browser: Any, lpu: Lpu, results: list[Path], tmp_path: Path, width: int, scheme: str) -> None:
    """every figure is there, within the window, legible, and tells; nothing is asked of a network and nothing fails"""
    out = tmp_path / "report.html"
    assert lpu("report", *results, "--out", out)[0] == 0
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    tab = context.new_page()
    problems: list[str] = []
    requests: list[str] = []
    tab.on("console", lambda message: problems.append(f"{message.type}: {message.text}"))
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(out.as_uri())
    until(tab, "document.querySelectorAll('.plot .main-svg').length >= 7")
    data = json.loads(data_of(out.read_text()))
    found = tab.evaluate(FOUND)
    assert [f["name"] for f in found] == [f["name"] for f in data["figures"]]
    checks = 0
    for figure, given in zip(found, data["figures"], strict=True):
        assert figure["left"] >= 0, figure["name"]
        assert figure["right"] <= width, figure["name"]
        assert figure["height"] > 100, figure["name"]
        points = sum(len(t.get("customdata", [])) for t in given["traces"])
        assert figure["marks"] >= 0.9 * points > 0, "but for bars thinner than can be drawn"
        for text, size, left, right in figure["texts"]:
            assert size >= 11, text
            assert left >= -1, text
            assert right <= width + 1, text
            checks += 1
        assert "ource" in figure["sources"] or "ycles from" in figure["sources"]
    assert checks > 60
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == {
        "light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 28)"}[scheme]

    # pointing at a mark tells all of its configuration and the command; a click keeps it open
    for name, target in (("pareto", ".scatterlayer .trace:nth-child(2) .points path >> nth=0"),
                         ("cycles", ".bars .point path >> nth=0")):
        mark = tab.locator(f"#{name} {target}")
        mark.scroll_into_view_if_needed()
        point_at(tab, mark)
        told = tab.locator("#tip").inner_text()
        assert any(r["title"] in told and r["command"] in told and len(r["facts"]) >= 8
                   and all(value in told for _, value in r["facts"]) for r in data["records"]), told
        box = tab.locator("#tip").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 800
        mark.click(force=True)
        until(tab, "document.getElementById('tip').className === 'held'")
        assert tab.locator("#tip.held button").count() == 2
        tab.keyboard.press("Escape")
        assert not tab.locator("#tip").is_visible()

    # the legend hides and shows, and the points are there as a table too
    button = tab.locator("#pareto .legend button").first
    shown = "document.getElementById('pareto').querySelectorAll('.scatterlayer .points path').length"
    before = tab.evaluate(shown)
    button.click()
    until(tab, f"{shown} < {before}")
    button.click()
    until(tab, f"{shown} === {before}")
    tab.locator("#pareto summary").click()
    until(tab, "document.querySelectorAll('#pareto tbody tr').length === 59")
    assert "lpu sweep distilgpt2" in tab.locator("#pareto tbody tr").first.inner_text()

    # another width and other colours while it is open
    tab.set_viewport_size({"width": 700, "height": 800})
    tab.emulate_media(color_scheme="dark" if scheme == "light" else "light")
    until(tab, "[...document.querySelectorAll('.plot')].every((p) => "
                          "Math.abs(p.querySelector('.main-svg').getBoundingClientRect().width - p.clientWidth) < 1)")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 700
    assert problems == []
    assert requests == [out.as_uri()]
    context.close()
