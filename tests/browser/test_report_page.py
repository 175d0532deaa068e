# SPDX-License-Identifier: MIT
"""The page that `umem report -o` writes, in a browser, from a file."""

import re
import shutil

import pytest

from harness import Background, compile_c, paths, run, wait_for
from webdriver import Browser, available

HERE = paths.REPO / "tests" / "browser"
KNOWN_LEAKS = paths.build() / "examples" / "known_leaks"
PAGE_MAX = 5 << 20  # bytes, of a large program's report

pytestmark = [
    pytest.mark.skipif(not available(), reason="no chromium and chromedriver: "
                                               "scripts/deps browser installs them"),
    pytest.mark.skipif(
        not list((paths.prefix() / "share" / "umem").glob("report.html")) or
        (paths.prefix() / "share" / "umem" / "report.html").stat().st_size == 0,
        reason="the page is not built: npm was missing (scripts/deps npm)")]


def report(program, page, *arguments, debug="audit=64"):
    """Writes the page of a program that says "ready" and waits; returns umem's line."""
    with Background([program, *arguments], preload=True, debug=debug) as process:
        process.wait_for_line("ready")
        done = run([paths.umem(), "report", process.pid, "-o", page])
    assert done.returncode == 0, done
    return done.stdout


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Pages of known_leaks, under a name that a page must not take for its own, and of many."""
    directory = tmp_path_factory.mktemp("pages")
    odd = directory / "odd<!--<script>'&lt;"
    shutil.copy(KNOWN_LEAKS, odd)
    many = compile_c(HERE / "many_stacks.c", directory / "many_stacks",
                     flags=["-O1", "-fno-optimize-sibling-calls"])
    report(odd, directory / "known.html")
    report(KNOWN_LEAKS, directory / "plain.html", debug=None)
    line = report(many, directory / "many.html", "100000")
    assert re.search(r"\b100,00\d buffers, .* of 5,00\d places$", line.strip()), line
    return directory


@pytest.fixture(scope="module")
def shared_browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(shared_browser):
    shared_browser.resize(1300, 1000)
    yield shared_browser
    assert shared_browser.complaints() == []


def texts(browser, css):
    return browser.script("return [...document.querySelectorAll(arguments[0])]"
                          ".map((e) => e.innerText.trim())", css)


def rows(browser, table):
    """The cells' texts of the rows shown, without details and notes."""
    return browser.script(
        "return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)]"
        ".filter((r) => r.cells.length > 1).map((r) => [...r.cells].map((c) => c.textContent))",
        table)


def frames(browser):
    """Names of the frames that the flame graph draws."""
    return browser.script("return [...document.querySelectorAll('#flame g.frame')]"
                          ".map((g) => g.getAttribute('name'))")


def detail(browser):
    return texts(browser, "#frame")[0]


def test_totals_and_tables(browser, pages):
    browser.open(pages / "known.html")
    assert texts(browser, "#totals dd:last-child")[:2] == ["11,054 buffers", "1,052 buffers"]
    assert "odd<!--<script>'&lt;" in texts(browser, "#target")[0]
    by_function = {row[5]: row for row in rows(browser, "sites")}
    assert by_function["lose_large"][:4] == ["204,800", "22.6 %", "200", "204,800"]
    assert by_function["lose_large"][6:] == ["examples/known_leaks.c:50", "umem_alloc_1024"]
    assert {row[5] for row in rows(browser, "leaks")} == {
        "lose_small", "lose_medium", "lose_large", "lose_list", "lose_cycle"}
    assert ["umem_alloc_1024", "1,024", "200"] in [row[:3] for row in rows(browser, "caches")]
    assert {"all", "main", "keep", "lose_large"} <= set(frames(browser))
    assert "umem_alloc_64" in " ".join(texts(browser, "#treemap .cache"))


def test_stands_alone(browser, pages):
    browser.open(pages / "known.html")
    assert browser.script("return performance.getEntriesByType('resource').length") == 0
    text = (pages / "known.html").read_text()
    assert not re.search(r"(src|href)=", text.split("<body>")[1].split("<script")[0])
    assert "Copyright" in text and "Apache License" in text  # of what it contains


def test_filters_as_one_types(browser, pages):
    browser.open(pages / "known.html")
    browser.press("/")
    seen = []
    for letter in "lose_l":
        browser.press(letter)
        seen.append({row[5] for row in rows(browser, "sites")})
    assert all(later <= earlier for earlier, later in zip(seen, seen[1:]))
    assert seen[3] > seen[-1] == {"lose_large", "lose_list"}
    assert "keep" not in frames(browser) and "lose_large" in frames(browser)
    assert texts(browser, "#treemap .site")[0].startswith("lose_large")
    assert texts(browser, "#totals dd")[-2] == "2"
    browser.press(*" 1024")  # every word must fit: the cache too
    assert {row[5] for row in rows(browser, "sites")} == {"lose_large"}
    browser.press("escape")
    assert "keep" in {row[5] for row in rows(browser, "sites")}


def test_what_is_measured(browser, pages):
    browser.open(pages / "known.html")
    browser.click("input[value=leaked] + span")
    assert "keep" not in frames(browser) and "lose_small" in frames(browser)
    browser.click("input[value=buffers] + span")
    browser.script("document.getElementById('flame').focus()")
    assert detail(browser) == "all: 1,052 buffers, 100.0 %"


def test_sorts(browser, pages):
    browser.open(pages / "known.html")

    def column(number):
        return [row[number] for row in rows(browser, "sites")]

    def numbers():
        return [int(text.replace(",", "")) for text in column(2)]
    browser.click("#sites th:nth-child(3) button")
    assert numbers() == sorted(numbers(), reverse=True)
    browser.click("#sites th:nth-child(3) button")
    assert numbers() == sorted(numbers())
    browser.click("#sites th:nth-child(6) button")
    assert column(5) == sorted(column(5))
    assert browser.script("return document.querySelector('#sites th:nth-child(6)').ariaSort") == \
        "ascending"


def test_keys(browser, pages):
    """Tabs, rows and frames without a mouse."""
    browser.open(pages / "known.html")
    browser.script("document.querySelector('[aria-selected=true]').focus()")
    browser.press("right")
    assert browser.script("return document.querySelector('#panel-leaks').checkVisibility()")
    browser.script("document.querySelector('#leaks tbody tr').focus()")
    browser.press("down", "enter")
    stack = texts(browser, "#leaks .details li")
    assert stack[0].startswith("lose_medium") and stack[1].startswith("main")
    browser.press("enter")
    assert texts(browser, "#leaks .details li") == []
    browser.script("document.getElementById('flame').focus()")
    browser.press("down", "down")
    assert detail(browser).startswith("__libc_start_main: 885 KiB")
    browser.press("down", "down", "down", "right")
    assert detail(browser).startswith("lose_large: 200 KiB, 200 buffers, 22.6 %")
    browser.press("enter")
    assert "keep" not in frames(browser) and "main" in frames(browser)
    browser.press("escape")
    assert "keep" in frames(browser)


def test_many_stacks(browser, pages):
    assert (pages / "many.html").stat().st_size < PAGE_MAX
    browser.open(pages / "many.html")
    assert int(texts(browser, "#totals dd")[4].replace(",", "")) >= 5000
    assert len(rows(browser, "sites")) == 100
    browser.click("#sites .note button")
    assert len(rows(browser, "sites")) == 1100
    browser.press("/", *"look_up")
    # So many are shown when the typing pauses.
    wait_for(lambda: 0 < int(texts(browser, "#totals dd")[4].replace(",", "")) < 5000)
    assert "look_up_user" in frames(browser)


def test_without_stacks(browser, pages):
    browser.open(pages / "plain.html")
    assert "umem run --audit" in texts(browser, "#no-stacks")[0]
    assert "[no stack recorded]" in frames(browser) and "umem_alloc_1024" in frames(browser)


@pytest.mark.parametrize("width", [360, 700, 1300])
def test_fits_the_window(browser, pages, width):
    browser.resize(width, 800)
    browser.open(pages / "known.html")
    wide = browser.script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert wide[0] <= wide[1] == width


def test_light_and_dark(browser, pages):
    """The button goes round; both are readable: ink and paper differ by far."""
    browser.open(pages / "known.html")
    for scheme, dark in (("light", False), ("dark", True)):
        browser.click("#scheme")
        assert texts(browser, "#scheme") == [f"Theme: {scheme}"]
        back, ink = browser.script(
            "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]")
        lightness = [sum(map(int, re.findall(r"\d+", color)[:3])) / 3 for color in (back, ink)]
        assert lightness[0] < 60 < 180 < lightness[1] if dark else \
            lightness[1] < 60 < 180 < lightness[0]
