# SPDX-License-Identifier: MIT
"""The benchmark itself: tables, plots, the document, failing children, and that
a quick run gives every table."""

import json
import subprocess
import sys
import xml.etree.ElementTree

import pytest

from harness import paths

sys.path.insert(0, str(paths.REPO / "bench"))
from benchlib import document, latency, plots, runner, svg, tables  # noqa: E402

PYTHON = "/usr/bin/python3"
SECTIONS = ("micro", "latency", "space", "scale", "programs")
PLOT_BYTES = 60 << 10  # what a plot in the repository may take
SVG = "{http://www.w3.org/2000/svg}"


def a_table(rows, name="pairs", **more):
    return tables.Table("micro", name, "A title", "ns", rows, **more)


# --- tables

def test_ratios_and_means():
    table = a_table({"a": {"glibc": 4.0, "jemalloc": 2.0, "umem": 1.0},
                     "b": {"glibc": 1.0, "jemalloc": 1.0, "umem": 2.0}})
    text = tables.markdown(table)
    assert text[2] == "| ns | glibc | jemalloc | umem | umem / best peer | umem / glibc |"
    assert text[4] == "| a | 4.0 | 2.0 | 1.0 | 0.50 | 0.25 |"
    assert text[5] == "| b | 1.0 | 1.0 | 2.0 | 2.00 | 2.00 |"
    assert text[6].endswith("| *0.71* | *1.00* |  | **1.00** | **0.71** |")


def test_cells_that_are_missing():
    table = a_table({"a": {"glibc": 4.0, "umem": 1.0}, "b": {"jemalloc": 1.0},
                     "c": {"jemalloc": 2.0, "umem": 1.0, "umem_cache_*": 0.5}, "d": {}})
    text = tables.markdown(table)
    assert text[2].startswith("| ns | glibc | jemalloc | umem | umem_cache_* |")
    assert text[4] == "| a | 4.0 | – | 1.0 | – | 0.25 | 0.25 |"
    assert text[5] == "| b | – | 1.0 | – | – | – | – |"
    assert text[6] == "| c | – | 2.0 | 1.0 | 0.5 | 0.50 | – |"
    assert text[7] == "| d | – | – | – | – | – | – |"
    assert text[8].endswith("| *0.25* | *0.50* |  | *2.00* | **0.35** | **0.25** |")


def test_table_without_ratios_and_scale():
    table = a_table({"a": {"glibc": 4096.0, "umem": 1024.0}}, scale=1024, digits=0, ratios=False)
    assert tables.markdown(table)[-1] == "| a | 4 | 1 |"


def test_json_round_trip():
    table = a_table({"a": {"glibc": 4.0, "umem": 1.0}}, note="so")
    assert tables.from_json(json.loads(json.dumps(tables.to_json(table)))) == table


# --- plots

def parse(text):
    root = xml.etree.ElementTree.fromstring(text)
    assert root.tag == SVG + "svg" and len(text) < PLOT_BYTES
    return root


def texts(root):
    return [element.text for element in root.iter(SVG + "text")]


def test_dots():
    rows = {f"row {i} <&>": {"glibc": 0.1 * (i + 1), "umem": 1.0} for i in range(40)}
    rows["empty"] = {"glibc": None, "umem": 1.0}
    root = parse(svg.dots("A & B", "axis", rows, ["glibc", "umem"]))
    assert {"A & B", "axis", "row 0 <&>", "glibc", "1"} <= set(texts(root))
    circles = list(root.iter(SVG + "circle"))[2:]  # the legend has two
    assert len(circles) == 81
    assert all(svg.LABEL_MIN <= float(c.get("cx")) <= svg.WIDTH for c in circles)
    # Larger is further to the right.
    glibc = [float(c.get("cx")) for c in circles if c.get("fill") == svg.colour("glibc")]
    assert glibc == sorted(glibc)


def test_long_names_have_room():
    name = "a name of a row that is as long as any will be, I suppose"
    root = parse(svg.dots("t", "axis", {name: {"umem": 1.0}}, ["umem"]))
    label = next(t for t in root.iter(SVG + "text") if t.text == name)
    assert float(label.get("x")) >= 6 * len(name) and label.get("text-anchor") == "end"


def test_dots_of_equal_values():
    parse(svg.dots("t", "axis", {"a": {"umem": 1.0}}, ["umem"]))
    parse(svg.dots("t", "axis", {}, []))


def test_lines():
    panels = {"one": {"glibc": [1, 10, 1000], "umem": [1, 2, 0]}, "two": {"nothing": [1, 1, 1]}}
    root = parse(svg.lines("t", "ns", panels, ["p50", "p99", "max"]))
    lines = [[tuple(map(float, point.split(","))) for point in line.get("points").split()]
             for line in root.iter(SVG + "polyline")]
    assert [len(line) for line in lines] == [3, 3, 3]
    ys = [y for _, y in lines[0]]
    assert ys == sorted(ys, reverse=True), "more is higher up"
    assert all(0 < x < svg.WIDTH for line in lines for x, _ in line)


@pytest.mark.parametrize("low, high", [(0.9, 1.1), (0.01, 90), (20, 2e6), (1, 1.5)])
def test_ticks(low, high):
    ticks = svg.log_ticks(*svg.bounds([low, high], 1.1))
    assert 2 <= len(ticks) <= 14 and ticks == sorted(ticks)


def test_plots_of_tables(tmp_path):
    cells = {f"{call}.{point}": 10.0 * (i + 1) for call in ("empty", "malloc", "local", "remote")
             for i, point in enumerate(latency.POINTS)}
    found = [a_table({"a": {"glibc": 4.0, "umem": 1.0}, "b": {"glibc": 1.0}}),
             *latency.tables_of("as it comes", {"glibc": cells, "umem": cells}),
             tables.Table("space", "freed", "t", "MiB", {"x, y, 0 s": {"umem": 9.0},
                                                         "x, y, 5 s": {"umem": 3.0}}),
             a_table({"a": {"umem": 1.0}}, name="not drawn")]
    drawn = plots.write(found, tmp_path)
    assert {name for names in drawn.values() for name in names} == \
        {"pairs.svg", "latency.svg", "freed.svg"} == {path.name for path in tmp_path.iterdir()}
    for path in tmp_path.iterdir():
        parse(path.read_text())


# --- the document

def test_document(tmp_path):
    path = tmp_path / "doc.md"
    path.write_text("a\n<!-- bench:micro -->\nold\n<!-- /bench -->\nb\n"
                    "<!-- bench:space -->\nkept\n<!-- /bench -->\n")
    new = r"new \1 text"
    for _ in range(2):
        document.update(path, tmp_path / "plots", {"micro": lambda prefix: prefix + new})
    assert path.read_text() == (f"a\n<!-- bench:micro -->\n\nplots/{new}\n\n<!-- /bench -->\nb\n"
                                "<!-- bench:space -->\nkept\n<!-- /bench -->\n")
    with pytest.raises(ValueError):
        document.fill(path.read_text(), "latency", "")


def test_document_has_all_markers():
    text = (paths.REPO / "docs" / "performance.md").read_text()
    for section in ("machine", *SECTIONS):
        document.fill(text, section, "")


# --- children

def test_child():
    assert runner.values(runner.child(["printf", "a 1\nb.9 2.5\n"])) == {"a": 1.0, "b.9": 2.5}
    for argv in (["false"], ["sleep", "60"], ["sh", "-c", "kill -SEGV $$"]):
        with pytest.raises(runner.Failed):
            runner.child(argv, timeout=0.5)
    with pytest.raises(runner.NotPermitted):
        runner.child(["sh", "-c", f"exit {runner.NOT_PERMITTED}"])


def test_failures_are_left_out(tmp_path, capsys):
    bench = runner.Bench(tmp_path, 3, 1, True, allocators={"good": None, "bad": None})
    asked = []

    def measure(row, column):
        asked.append((row, column))
        if row == "forbidden":
            raise runner.NotPermitted("no")
        if column == "bad" and asked.count((row, column)) > 1:
            raise runner.Failed("broken")
        return {"x": float(len(asked))}

    for way in (lambda: bench.interleaved("s", ["row", "forbidden"], measure),
                lambda: bench.side_by_side("s", ["row", "forbidden"], measure, 1 << 40)):
        asked.clear()
        found = way()
        assert found["forbidden"] == {} and "good" in found["row"]
    assert "forbidden: left out, not permitted here: no" in capsys.readouterr().err
    asked.clear()
    assert list(bench.interleaved("s", ["row"], measure)["row"]) == ["good"]
    # Asked again after the failure?  No.
    assert asked.count(("row", "good")) == 3 and asked.count(("row", "bad")) == 2
    assert "row, bad failed and is left out: broken" in capsys.readouterr().err


# --- the whole

def bench_run(*arguments):
    done = subprocess.run([PYTHON, paths.REPO / "bench" / "run.py", *map(str, arguments)],
                          capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stderr, done.stderr
    return done.stdout


def check_run(tmp_path, sections):
    """Measures, shows again from what was kept, fills in a copy of the document."""
    copy = tmp_path / "performance.md"
    copy.write_text((paths.REPO / "docs" / "performance.md").read_text())
    only = [word for section in sections for word in ("--only", section)]
    first = bench_run("--quick", *only, "--json", tmp_path / "all.json", paths.build())
    again = bench_run("--from", tmp_path / "all.json", "--docs", copy)
    assert again == first
    text = copy.read_text()
    for section in sections:
        assert f"\n## {section.capitalize()}\n" in first
    for line in first.splitlines():
        assert not line.startswith("| ") or line in text, line
    drawn = list((tmp_path / "plots").iterdir())
    assert drawn
    for path in drawn:
        parse(path.read_text())
        assert f"(plots/{path.name})" in text
    return first


def test_quick_run_of_some_sections(tmp_path):
    text = check_run(tmp_path, ["latency", "scale"])
    assert "| malloc, p99.999 |" in text and "10,000 live blocks" in text


@pytest.mark.slow
def test_quick_run_of_all(tmp_path):
    text = check_run(tmp_path, SECTIONS)
    for row in ("lifo-32, 1 thread", "server, 1000 threads", "large, 2 threads", "peak of 64 MiB",
                "a thread's share, at once", "python3"):
        assert f"\n| {row} |" in text
    assert text.count("**geometric mean**") >= 12
