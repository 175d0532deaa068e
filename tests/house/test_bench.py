# SPDX-License-Identifier: MIT
"""The benchmark itself: tables, plots, the document, failing children, and that
a quick run gives every table."""

import json
import subprocess
import sys
import xml.etree.ElementTree

import pytest

from harness import compile_c, paths, run

sys.path.insert(0, str(paths.REPO / "bench"))
from benchlib import document, latency, leaks, plots, runner, svg, tables, waste  # noqa: E402

PYTHON = "/usr/bin/python3"
SECTIONS = ("micro", "latency", "space", "scale", "programs", "waste", "debugging")
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


def test_table_of_multiples():
    table = a_table({"a": {"glibc": 4.0, "umem": 2.0, "ASan": 6.0},
                     "b": {"glibc": 1.0, "umem": 2.0},
                     "c": {"umem": 1.0}}, base="glibc", note="so")
    text = tables.markdown(table)
    assert text[2:] == ["so", "", "| ns | glibc | umem | ASan |", "|---|---:|---:|---:|",
                        "| a | 4.0 | 0.50 | 1.50 |", "| b | 1.0 | 2.00 | – |", "| c | – | – | – |",
                        "| **geometric mean** |  | **1.00** | **1.50** |"]


def test_json_round_trip():
    table = a_table({"a": {"glibc": 4.0, "umem": 1.0}}, note="so")
    assert tables.from_json(json.loads(json.dumps(tables.to_json(table)))) == table


def test_columns_without_decimals():
    table = a_table({"a": {"n": 1024.0, "%": 6.25}}, ratios=False, whole=["n"])
    assert tables.markdown(table)[-1] == "| a | 1,024 | 6.2 |"


# --- waste

def test_classes_and_waste():
    assert [waste.of_glibc(n) for n in (0, 24, 25, 40, 41)] == [32, 32, 48, 48, 64]
    assert waste.of_glibc(128 << 10) == (128 << 10) + 4096
    four = waste.of_list(waste.spaced(4))
    assert [four(n) for n in (0, 1, 17, 128, 129, 1025, 131072)] == \
        [16, 16, 32, 128, 160, 1280, 131072]
    assert four(131073) == 196608 and four(200000) == 262144
    # Of twelve bytes four are lost; of pages that nobody reaches, nothing.
    assert waste.percent({12: 10}, four) == pytest.approx(100 * 4 / 12)
    assert waste.wasted(17 << 10, 20 << 10) == 3 << 10
    assert waste.wasted((16 << 10) + 1, 20 << 10) == 4095
    assert waste.wasted(4097, 4352) == 255
    for count in waste.SPACINGS:
        assert len(set(waste.spaced(count))) == len(waste.spaced(count))
    assert waste.percent({}, four) == 0.0


def test_records_of_processes():
    first = "process 100 a b\n16 3 2\n100 1 0\nend\n"
    found = waste.parse(first + "process 50 c\n16 1 1\n32 2 1\nend\n")
    assert [(r.name, r.peak, r.live) for r in found] == [("a b", 100, {16: 2}),
                                                         ("c", 50, {16: 1, 32: 1})]
    both = waste.merge(found)
    assert both.requests == {16: 4, 100: 1, 32: 2} and both.live == {16: 2}
    with pytest.raises(runner.Failed):
        waste.merge([])


def test_tables_of_waste():
    records = {"p": waste.Record("p", 0, {16: 1}, {24: 1, 8: 3, 300: 1})}
    classes = {"glibc": waste.of_glibc, "umem": waste.of_list([16, 32, 384, 448])}
    assert waste.table_of_programs(records, classes, "requests").rows == {
        "p": {"glibc": 100.0, "umem": 0.0}, "**mean**": {"glibc": 100.0, "umem": 0.0}}
    bands = waste.table_of_bands(records, classes).rows
    live = 24 + 24 + 300
    assert bands["to 128"]["asked for"] == pytest.approx(100 * 48 / live)
    assert bands["to 1 KiB"]["umem"] == pytest.approx(100 * 84 / live)
    assert list(bands)[-1] == "more than 128 KiB"
    assert waste.table_of_counts(records, classes).rows == {"p": {"umem": 3}}
    slabs = waste.table_of_slabs("8 65536 8192\n14336 65536 4\n").rows
    assert slabs["14,336"]["tail, %"] == 12.5 and slabs["8"]["chunks"] == 8192


SIZES = """
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    (void)argv;
    char *big = malloc(300000), *grown = malloc(777), *zeroed = calloc(11, 101);
    void *aligned;
    grown = realloc(memset(grown, 1, 777), 888);
    if (posix_memalign(&aligned, 4096, 5555) != 0 || malloc_usable_size(grown) != 888)
        return 1;
    for (int i = 0; i < 1111; i++)
        if (zeroed[i] != 0 || (i < 777 && grown[i] != 1))
            return 1;
    memset(big, 1, 300000);
    free(big);
    for (int i = 0; i < 5; i++)
        free(malloc(999));
    if (fork() == 0)
        exit(malloc(4444) == NULL);
    wait(NULL);
    unsetenv("BENCH_SIZES");
    if (argc > 1)
        _exit(0);
    return 0;
}
"""


@pytest.mark.parametrize("arguments", [[], ["by _exit"]])
def test_recorder(tmp_path, arguments):
    program = compile_c(SIZES, tmp_path / "asks", flags=["-fno-builtin"])
    file = tmp_path / "sizes"
    done = run([program, *arguments], preload=paths.built("bench/sizes.so"),
               env={"BENCH_SIZES": file})
    assert done.returncode == 0, done
    (record,) = waste.parse(file.read_text())
    assert record.name == "asks" and 300000 <= record.peak < 330000
    asked = {size: record.requests.get(size, 0) for size in (777, 888, 999, 1111, 5555, 4444)}
    assert asked == {777: 1, 888: 1, 999: 5, 1111: 1, 5555: 1, 4444: 0}
    # 300,000 is in a bin that ends within 1/256 of it, and was live at the peak.
    (large,) = [size for size in record.live if size >= 300000]
    assert large <= 300000 * 257 / 256 and record.live[large] == 1
    assert 999 not in record.live


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


def test_quick_run_of_debugging(tmp_path):
    text = check_run(tmp_path, ["latency", "debugging"])
    assert "| s | glibc | umem | guards | audit=64 | audit=64,guards |" in text
    for row in ("words", "25 frames"):
        assert f"\n| {row} |" in text


@pytest.mark.parametrize("mode,size", [("build", 32 << 10), ("alone", 2048 << 10)])
def test_stacks_built_under_sched_fifo(mode, size):
    """By threads that may not take stacks apart."""
    program = [paths.built("bench/stacks"), mode, "umem", size, 1]
    result = run(["chrt", "-f", 1, "true"])
    if result.returncode != 0:
        pytest.skip("SCHED_FIFO is not permitted")
    result = run(["chrt", "-f", 1, *program])
    assert result.returncode == 0 and result.stdout.startswith("ns "), result


def test_quick_run_of_stacks(tmp_path):
    copy = tmp_path / "stacks.md"
    copy.write_text((paths.REPO / "docs" / "stacks.md").read_text())
    text = bench_run("--quick", "--only", "stacks", "--docs", copy, paths.build())
    for row in ("taken and given back, 32 KiB", "built, 2 MiB", "thread that touches 192 KiB"):
        lines = [line for line in text.splitlines() if line.startswith(f"| {row} |")]
        assert lines and all(line in copy.read_text() for line in lines), row
    # No page fault in a thread of ours.
    assert lines[-1].rstrip(" |").endswith(" 0.0"), lines
    assert "### Targets\n\n|  | at most |" in text
    creates = text.partition("all memory locked: normal scheduling, wall time\n")[2]
    assert "|  | one stack, reused | no call, spinning | glibc | umem |" in creates
    for row in ("median, ns", "slowest of a run of 16, in its medians", "slowest, in medians",
                "of these, lost the processor",
                "libstackalloc's own part, median, ns"):
        assert f"\n| {row} |" in creates, row


def test_quick_run_of_leaks(tmp_path):
    copy = tmp_path / "leaks.md"
    copy.write_text((paths.REPO / "docs" / "leaks.md").read_text())
    text = bench_run("--quick", "--only", "leaks", "--docs", copy, paths.build())
    for blocks in ("100,000", "200,000"):
        for way in ("umem, stacks recorded", "umem, no stacks", "umem, of glibc's heap"):
            lines = [line for line in text.splitlines() if line.startswith(f"| {blocks}, {way} |")]
            assert len(lines) == 3 and all(line in copy.read_text() for line in lines), way
            assert lines[0].count("–") == (2 if "glibc" in way else 1), lines[0]


def test_targets_of_leaks():
    """By the worst of the ways."""
    found = {f"{blocks:,}": {way: {"core": seconds * blocks / 1e6, "pid_pause": 0.001 * seconds,
                                   "core_memory": 0.05}
                             for way, seconds in zip(leaks.WAYS, (1, 3, 2))}
             for blocks in leaks.BLOCKS}
    assert [(cells["at most"], cells["umem"])
            for cells in leaks.table_of_targets(found).rows.values()] == [
        (2, 3), (20, pytest.approx(3)), (5, 4), (15, pytest.approx(5))]


@pytest.mark.slow
def test_quick_run_of_all(tmp_path):
    text = check_run(tmp_path, SECTIONS)
    for row in ("lifo-32, 1 thread", "server, 1000 threads", "large, 2 threads", "peak of 64 MiB",
                "a thread's share, at once", "python3", "to 128", "131,072"):
        assert f"\n| {row} |" in text
    assert text.count("**geometric mean**") >= 12
