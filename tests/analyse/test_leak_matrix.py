# SPDX-License-Identifier: MIT
"""`umem leaks` is exact on programs of all kinds: live, as a core and as a snapshot, and in the
shell.  leak_matrix.c says what each kind has lost."""

import collections
import re

import pytest

from harness import compile_c, gcore, paths
from leak_support import FLAGS, build, umem, umem_json, waiting

KINDS = ["sizes", "threads", "fibers", "module", "child", "tags", "arenas"]
WAYS = ["live", "gcore", "core", "snapshot"]
# gcore would write gigabytes of zeroes.
CELLS = [(kind, way) for kind in KINDS for way in WAYS if (kind, way) != ("sizes", "gcore")]
MODULE = paths.REPO / "tests/preload/leaky_module.c"


@pytest.fixture(scope="module", name="program")
def fixture_program(tmp_path_factory):
    return build(tmp_path_factory.mktemp("matrix"), "leak_matrix.c")


@pytest.fixture(scope="module", name="module")
def fixture_module(tmp_path_factory):
    return compile_c(MODULE, tmp_path_factory.mktemp("module") / "leaky_module.so",
                     flags=[*FLAGS, "-shared", "-fPIC"])


def target_of(pid, way, directory):
    if way == "live":
        return pid
    if way == "gcore":
        return gcore(pid, directory)
    path = directory / way
    assert umem(way, pid, "-o", path).returncode == 0
    return path


def said(process):
    """{site: (buffers, bytes)} that the program says it has lost, and who is to be looked at."""
    lost = {words[1]: (int(words[2]), int(words[3]))
            for words in map(str.split, process.lines) if words[0] == "lost"}
    return lost, int(process.lines[-1].split()[1])


def found(report, sites):
    """The same as the report has it."""
    result = collections.defaultdict(lambda: (0, 0))
    for group in report["groups"]:
        names = [frame["function"] for frame in group["stack"]]
        site = next((name for name in names if name in sites), str(names))
        count, requested = result[site]
        result[site] = (count + group["count"], requested + group["requested_bytes"])
    return dict(result)


def check_shell(target, report):
    """::findleaks has the same numbers."""
    result = umem("shell", "-e", "::findleaks -dv", target)
    assert result.returncode == 1, result
    text = result.stdout
    for name, key in (("buffers", "buffers"), ("bytes", "bytes")):
        assert re.search(rf"leaked {name} => {report['total'][key]}\n", text), text
    totals = re.findall(r"Total +(\d+) (?:buffer|oversize leak)s?, (\d+) byte", text)
    assert sum(int(count) for count, _ in totals) == report["total"]["buffers"], text
    assert sum(int(size) for _, size in totals) == report["total"]["bytes"], text


@pytest.mark.parametrize("kind, way", CELLS)
def test_exact(program, module, tmp_path, kind, way):
    with waiting(program, kind, module, debug="audit=20") as process:
        lost, pid = said(process)
        target = target_of(pid, way, tmp_path)
        report = umem_json("leaks", target, expect=1)
        assert report["complete"] is True, report
        assert found(report, lost) == lost
        assert report["total"]["buffers"] == sum(count for count, _ in lost.values())
        assert {group["kind"] for group in report["groups"]} <= {"direct", "indirect"}
        check_shell(target, report)


@pytest.mark.parametrize("debug", [None, "audit=20,guards", "audit=20,firewall=1"])
@pytest.mark.parametrize("kind", KINDS)
def test_exact_under_other_debugging(program, module, kind, debug):
    with waiting(program, kind, module, debug=debug) as process:
        lost, pid = said(process)
        report = umem_json("leaks", pid, expect=1)
        assert report["complete"] is True, report
        assert report["total"]["buffers"] == sum(count for count, _ in lost.values())
        if debug is not None:
            assert found(report, lost) == lost
