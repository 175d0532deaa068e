# SPDX-License-Identifier: MIT
"""The unwinder where it is hard, and in Debian's own programs.

There, at a sample of their allocations, its stack is by both of its walkers that of libgcc's
_Unwind_Backtrace().  Where libgcc ends at code without tables (what node and java compile at run
time) ours may go on.
"""

import dataclasses
import pathlib
import re
import signal

import pytest

import test_programs
from harness import compile_c, paths, run

# One allocation in so many: some thousands of stacks a program.
PERIOD = {"gcc": 101, "g++": 101, "clang-format": 101, "ls": 101, "perl": 101, "sqlite3": 31,
          "apt-cache": 1001}
PERIOD_ELSE = 11

CASES = [*test_programs.CASES,
         test_programs.Case("python3-callbacks", ("/usr/bin/python3",),
                            "/usr/bin/python3 -c '\n"
                            "import ctypes, sqlite3, threading\n"
                            "INTS = ctypes.POINTER(ctypes.c_int)\n"
                            "COMPARE = ctypes.CFUNCTYPE(ctypes.c_int, INTS, INTS)\n"
                            "def compare(a, b):\n"
                            "    [str(n) for n in range(20)]\n"
                            "    return a[0] - b[0]\n"
                            "def work():\n"
                            "    numbers = (ctypes.c_int * 50)(*range(50, 0, -1))\n"
                            "    ctypes.CDLL(None).qsort(numbers, 50, 4, COMPARE(compare))\n"
                            "    db = sqlite3.connect(\":memory:\")\n"
                            "    db.create_function(\"f\", 1, lambda x: str([x] * 3))\n"
                            "    print(db.execute(\"select f(1)\").fetchall())\n"
                            "threads = [threading.Thread(target=work) for _ in range(4)]\n"
                            "for t in threads: t.start(); t.join()'"),
         test_programs.Case("apt-cache", ("apt-cache",), "apt-cache search zlib | wc -l"),
         test_programs.Case("ssh-keygen", ("ssh-keygen",),
                            'ssh-keygen -q -t rsa -b 2048 -N "" -f key && wc -l < key.pub'),
         test_programs.Case("cmake", ("cmake",), "cmake --help-full | cksum"),
         test_programs.Case("man", ("man",), "man -Tutf8 ls | wc -l"),
         test_programs.Case("clang", ("clang",), "clang -O1 -c generated.c",
                            test_programs.generate_c),
         test_programs.Case("nginx", ("nginx",),
                            'printf "pid $PWD/pid; error_log stderr; events {} '
                            'http { server { listen unix:$PWD/s; } }" > nginx.conf; '
                            'nginx -p "$PWD" -c "$PWD/nginx.conf" -t 2>/dev/null')]
# The others in the slow set: these have C, C++, assembler and threads among them.
QUICK = ["python3-callbacks", "git-log", "gcc", "openssl", "sort"]


def check(case, tmp_path):
    log = tmp_path / "log"
    env = {**case.env, "UNWIND_COMPARE": PERIOD.get(case.name, PERIOD_ELSE),
           "UNWIND_COMPARE_LOG": log}
    test_programs.check(dataclasses.replace(case, env=env), case.quick,
                        dict(preload=paths.built("tests/preload/unwind_compare.so")), tmp_path)
    said = log.read_text()
    counts = re.findall(r"^stacks (\d+) differ (\d+) shorter (\d+) longer \d+ trail (\d+)$", said,
                        re.MULTILINE)
    assert sum(int(count[0]) for count in counts) > 0, said
    wrong = [count for count in counts if count[1:] != ("0", "0", "0")]
    assert not wrong, said


@pytest.mark.parametrize("case", [case for case in CASES if case.name in QUICK], ids=str)
def test_as_libgcc(case, tmp_path):
    check(case, tmp_path)


@pytest.mark.programs
@pytest.mark.parametrize("case", [case for case in CASES if case.name not in QUICK], ids=str)
def test_all_as_libgcc(case, tmp_path):
    check(case, tmp_path)


# Places that stacks are hard to take from, and who called, innermost first; None is any frame.
# The list ends where the walk does, or with main().
PLACES = {
    "fiber": ["fiber_work", None],
    "stackalloc": ["fiber_work", None],
    "signal": ["on_signal", None, "interrupted", "take_signal", "main"],
    "noreturn": ["never", "last_call", "calls_last", "main"],
    "chain": [None, "through_code", "through_chain", "main"],
    "no_chain": [None],
    "deep": ["deeper"] * 64,
    "overrun": ["overrun", None],  # and what it wrote
    "loader": [None, None, None, "lazy_chosen", "call_module", "within_loader", "main"],
    "reloaded": [None, "module_call", "call_module", "reloaded", "main"],
    "reloaded_at_once": [None, "module_quiet", "call_module", "reloaded_at_once", "main"],
}
OUTERMOST = 3  # frames of libc and the program's start behind main()


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return compile_c(pathlib.Path(__file__).parent / "unwind_places.c",
                     tmp_path_factory.mktemp("places") / "places", package="stackalloc",
                     flags=["-O2", "-fno-builtin", "-w", "-D_GNU_SOURCE", "-fomit-frame-pointer"])


def functions(report, heading):
    """Names of the frames under a heading, innermost first; None where there is none."""
    part = report.split(f"{heading} by thread", 1)[1].splitlines()[1:]
    names = []
    for line in part:
        if not line.startswith("  "):
            break
        name = re.match(r"  \S+`(\w+)\+0x", line)
        names.append(name.group(1) if name else None)
    return names


@pytest.mark.parametrize("place", PLACES)
def test_stacks_from_hard_places(places, place):
    modules = {"loader": ["unwind_lazy_plain", "unwind_lazy_checked"],
               "reloaded": ["unwind_module_400", "unwind_module_800"]}.get(
                   place.removesuffix("_at_once"), [])
    result = run([places, place, *(paths.built(f"tests/unit/os/{name}.so") for name in modules)],
                 preload=True, debug="audit=64,guard")
    assert result.signal == signal.SIGABRT and "survived" not in result.stdout, result
    assert result.stderr.startswith("umem allocator: duplicate free"), result
    for heading, inner in (("allocated", ["make", "misuse"]), ("freed", ["misuse"])):
        wanted = [*inner, *PLACES[place]][:64]
        found = functions(result.stderr, heading)
        if "main" in wanted:
            assert len(found) - len(wanted) <= OUTERMOST, result
            found = found[:len(wanted)]
        assert len(found) == len(wanted), (found, result)
        for name, want in zip(found, wanted):
            assert want in (None, name), (heading, found, result)
