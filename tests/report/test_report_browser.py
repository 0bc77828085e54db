"""The page in a real browser: nothing fetched, nothing thrown, tables and pictures that work, on a desk and a phone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


@pytest.fixture
def tab(browser, page: Path) -> Iterator[object]:
    """Open the page; fail afterwards if it asked for anything or complained."""
    opened = browser.new_page(viewport={"width": 1440, "height": 900})
    asked, said = [], []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(page.as_uri())
    yield opened
    opened.close()
    assert [url for url in asked if not url.startswith(("data:", page.as_uri()))] == []
    assert said == []


def column(tab, table: str, index: int) -> list[str]:
    return tab.eval_on_selector_all(
        f"#{table} tbody tr:not([hidden])", "(rows, i) => rows.map(r => r.cells[i].textContent)", index
    )


def test_every_picture_is_drawn(tab) -> None:
    widths = tab.eval_on_selector_all("figure img", "images => images.map(i => i.naturalWidth * i.complete)")
    assert len(widths) == 11
    assert min(widths) > 100


@pytest.mark.parametrize("width", [360, 1440])
def test_nothing_sticks_out_of_the_page(tab, width: int) -> None:
    tab.set_viewport_size({"width": width, "height": 800})
    tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    cut = tab.evaluate(
        """() => [...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll') && !e.closest('dialog')
             && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + ' ' + e.className)"""
    )
    assert cut == []


def test_a_heading_sorts_its_table_up_and_down_with_gaps_last(tab) -> None:
    heads = tab.eval_on_selector_all("#table-contrasts-primary th", "hs => hs.map(h => h.textContent)")
    ratio = heads.index("ratio")
    button = tab.locator("#table-contrasts-primary th button").nth(ratio)
    button.click()
    up = [float(v) for v in column(tab, "table-contrasts-primary", ratio) if v]
    assert up == sorted(up)
    assert len(up) > 15
    button.click()
    down = [float(v) for v in column(tab, "table-contrasts-primary", ratio) if v]
    assert down == sorted(up, reverse=True)
    head = tab.locator("#table-contrasts-primary th").nth(ratio)
    assert head.get_attribute("aria-sort") == "descending"


def test_the_keyboard_sorts_too(tab) -> None:
    button = tab.locator("#table-contrasts-primary th button").first
    button.focus()
    tab.keyboard.press("Enter")
    names = column(tab, "table-contrasts-primary", 0)
    assert names == sorted(names, key=str.casefold)


def test_words_filter_a_table_and_the_count_follows(tab) -> None:
    tab.fill("#table-contrasts-primary input[type=search]", "korean between")
    shown = column(tab, "table-contrasts-primary", 0)
    assert shown
    assert all("Korean" in name for name in shown)
    said = tab.inner_text("#table-contrasts-primary [data-shown]")
    total = int(re.search(r"of (\d+) rows", said)[1])
    assert said == f"{len(shown)} of {total} rows"
    assert len(shown) < total
    tab.fill("#table-contrasts-primary input[type=search]", "no such word")
    assert column(tab, "table-contrasts-primary", 0) == []
    tab.fill("#table-contrasts-primary input[type=search]", "")
    assert len(column(tab, "table-contrasts-primary", 0)) == total


def test_a_hostile_name_stays_text(tab) -> None:
    tab.evaluate("document.getElementById('table-samples').open = true")
    assert "<script>alert('donor')</script>" in tab.inner_text("#table-samples")
    assert tab.evaluate("document.scripts.length") == 1


def test_a_figure_is_enlarged_and_closed_by_keyboard(tab) -> None:
    tab.locator("[data-zoom]").first.focus()
    tab.keyboard.press("Enter")
    assert tab.locator("#large").is_visible()
    assert tab.eval_on_selector("#large img", "i => i.alt") == tab.eval_on_selector("figure img", "i => i.alt")
    # The enlarged figure uses the window, not a strip of it.
    assert tab.eval_on_selector("#large .scroll", "e => e.clientHeight / innerHeight") > 0.8
    tab.keyboard.press("Escape")
    assert not tab.locator("#large").is_visible()


def test_the_outline_serves_a_screen_reader(tab) -> None:
    levels = tab.eval_on_selector_all("h1, h2, h3, h4", "hs => hs.map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert tab.locator("main, header, nav[aria-label], footer").count() == 4
    assert tab.eval_on_selector("html", "h => h.lang") == "en"
    nameless = tab.evaluate(
        """() => [...document.querySelectorAll('button, input, a, [role=region], img[src]')].filter(
             e => !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length || e.alt)).length"""
    )
    assert nameless == 0


def test_text_has_contrast_enough(tab) -> None:
    """WCAG 2.1 AA: 4.5 to 1 for every text, against the nearest background that is not transparent."""
    tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    worst = tab.evaluate(
        """() => {
          const linear = c => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
          const lum = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
          const parse = text => text.match(/[\\d.]+/g).map(Number);
          let worst = [99, ''];
          for (const e of document.querySelectorAll('body *')) {
            const words = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
            if (!words || !e.checkVisibility()) continue;
            let back = e;
            while (back && (parse(getComputedStyle(back).backgroundColor)[3] ?? 1) === 0) back = back.parentElement;
            const behind = back ? parse(getComputedStyle(back).backgroundColor) : [255, 255, 255];
            const [a, b] = [parse(getComputedStyle(e).color), behind].map(lum).sort((x, y) => y - x);
            const ratio = (a + .05) / (b + .05);
            if (ratio < worst[0]) worst = [ratio, e.tagName + '.' + e.className];
          }
          return worst;
        }"""
    )
    assert worst[0] >= 4.5, worst


def test_paper_gets_all_but_the_long_tables(tab) -> None:
    tab.set_viewport_size({"width": 700, "height": 1000})
    tab.emulate_media(media="print")
    tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    folded = tab.eval_on_selector_all("details:not([open])", "ds => ds.map(d => d.querySelectorAll('tbody tr').length)")
    assert folded
    assert min(folded) > 60
    assert tab.evaluate("document.documentElement.scrollWidth") <= 700
    assert tab.evaluate("document.documentElement.scrollHeight") < 30_000
    assert not tab.locator("nav").is_visible()
    assert not tab.locator("#table-contrasts-primary .tools").is_visible()


def test_the_page_is_complete_without_javascript(browser, page: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page.as_uri())
    assert "cannot be told apart" in tab.inner_text("#answer")
    assert not tab.locator("#table-contrasts-primary .tools").is_visible()
    assert tab.locator("#table-contrasts-primary tbody tr").count() > 15
    context.close()
