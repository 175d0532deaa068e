# SPDX-License-Identifier: MIT
"""`umem leaks --suppressions`: known leaks are counted by the line that knows them."""

import collections

import pytest

from harness import compile_c, paths
from leak_support import refused, umem, umem_json, waiting

EXAMPLES = paths.REPO / "examples"
SITES = {"lose_small", "lose_medium", "lose_large", "lose_list", "lose_cycle"}

# A library that loses a block, and a C++ program that loses one and holds another by it.
NOISY = """#include <stdlib.h>
void *volatile noisy_sink;
__attribute__((noipa)) void noisy(void) { noisy_sink = malloc(77); noisy_sink = NULL; }
"""
CXX = """#include <cstdio>
#include <cstring>
#include <unistd.h>
extern "C" void noisy(void);
struct Owner { char *text; };
static Owner *volatile sink;
__attribute__((noipa)) static char *make_text() { return new char[200]; }
namespace shop {
template <typename T> struct Cart {
    __attribute__((noipa)) static void lose() { sink = new Owner; sink->text = make_text(); }
};
}
__attribute__((noipa)) static void wipe()
{
    volatile char dead[65536];
    memset((char *)dead, 0, sizeof(dead));
    __asm__ volatile("" : : "r"(dead) : "memory");
}
int main()
{
    shop::Cart<int>::lose();
    sink = nullptr;
    noisy();
    wipe();
    puts("ready");
    fflush(stdout);
    pause();
}
"""


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    program = compile_c(EXAMPLES / "known_leaks.c",
                        tmp_path_factory.mktemp("known") / "known_leaks", flags=["-O2"])
    with waiting(program, preload=True, debug="audit") as process:
        yield process.pid


@pytest.fixture(scope="module")
def cart(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cart")
    library = compile_c(NOISY, folder / "libnoisy.so", flags=["-O2", "-shared", "-fPIC"])
    source = folder / "cart.cc"
    source.write_text(CXX)
    program = compile_c(source, folder / "cart", flags=["-O1"],
                        libs=[str(library), f"-Wl,-rpath,{folder}"])
    with waiting(program, preload=True, debug="audit") as process:
        yield process.pid


def left(report):
    counts = collections.Counter()
    for group in report["groups"]:
        for frame in group["stack"]:
            if frame["function"] in SITES:
                counts[frame["function"]] += group["count"]
    return dict(counts)


def lines(report):
    return [(line["pattern"], line["line"], line["buffers"])
            for line in report["suppressed"]["lines"]]


def supp(tmp_path, text, name="known.supp"):
    path = tmp_path / name
    path.write_text(text)
    return f"--suppressions={path}"


def test_some(known, tmp_path):
    option = supp(tmp_path, "# two of five\nleak:^lose_large$\n\nleak:medium\nleak:nobody\n")
    report = umem_json("leaks", known, option, expect=1)
    assert left(report) == {"lose_small": 500, "lose_list": 50, "lose_cycle": 2}
    assert report["total"]["buffers"] == 552
    assert lines(report) == [("^lose_large$", 2, 200), ("medium", 4, 300)]
    assert report["suppressed"]["buffers"] == 500
    assert report["suppressed"]["bytes"] == 200 * 1024 + 300 * 112


def test_what_hangs_on_them_and_order(known, tmp_path):
    """A list and a circle go as a whole; the first line that fits counts; several files."""
    first = supp(tmp_path, "leak:lose_list\nleak:lose_l*\n", "first")
    second = supp(tmp_path, "leak:lose_cycle\nleak:lose_s\nleak:main\n", "second")
    result = umem("leaks", known, first, second)
    assert result.returncode == 0, result
    text = result.stdout.splitlines()
    assert text[0].startswith("no leaks in ") and text[0].endswith(" but those suppressed")
    assert "Suppressed: 1,052 buffers, 257,728 bytes" in text
    assert f"  50 buffers, 3,200 bytes  leak:lose_list  ({tmp_path}/first:1)" in text
    assert f"  200 buffers, 204,800 bytes  leak:lose_l*  ({tmp_path}/first:2)" in text
    assert f"  300 buffers, 33,600 bytes  leak:main  ({tmp_path}/second:3)" in text
    report = umem_json("leaks", known, first, second)
    assert lines(report) == [("lose_list", 1, 50), ("lose_l*", 2, 200), ("lose_cycle", 1, 2),
                             ("lose_s", 2, 500), ("main", 3, 300)]
    assert report["groups"] == [] and report["total"]["buffers"] == 0


def test_by_file_module_and_demangled_name(cart, tmp_path):
    everything = umem_json("leaks", cart, expect=1)
    assert everything["total"]["buffers"] == 3
    assert everything["suppressed"] == {"buffers": 0, "bytes": 0, "lines": []}
    for pattern, count in (("shop::Cart<int>::lose", 2), ("^shop::Cart<*>::lose", 2),
                           ("make_text", 1), ("/libnoisy.so$", 1), ("*/libnoisy.c$", 1),
                           ("/cart.cc", 3), ("^libnoisy", 0), ("operator new", 2)):
        report = umem_json("leaks", cart, supp(tmp_path, f"leak:{pattern}\n"), expect=(0, 1))
        assert report["suppressed"]["buffers"] == count, pattern
        assert report["total"]["buffers"] == 3 - count, pattern


def test_possible_leaks_too(known, tmp_path):
    report = umem_json("leaks", known, "--possible", supp(tmp_path, "leak:lose_*\n"))
    assert [group["count"] for group in report["groups"]] == [1]
    report = umem_json("leaks", known, "--possible", supp(tmp_path, "leak:lose_*\nleak:keep\n"))
    assert report["groups"] == [] and report["suppressed"]["buffers"] == 1053


def test_the_example(known):
    report = umem_json("leaks", known, f"--suppressions={EXAMPLES / 'known_leaks.supp'}", expect=1)
    assert "lose_large" not in left(report)
    assert report["suppressed"]["buffers"] == 200


def test_without_stacks(tmp_path):
    """Nothing can be suppressed where nobody knows who allocated; it says so."""
    program = compile_c(EXAMPLES / "known_leaks.c", tmp_path / "known_leaks", flags=["-O2"])
    with waiting(program, preload=True) as process:
        result = umem("leaks", process.pid, supp(tmp_path, "leak:*\n"))
    assert result.returncode == 1
    assert "Suppressions go by who allocated" in result.stdout


@pytest.mark.parametrize("text, line", [("leak:a\nleak\n", 2), ("race:x\n", 1), ("leak:\n", 1),
                                        ("\n\nfoo", 3)])
def test_malformed(known, tmp_path, text, line):
    said = refused("leaks", str(known), supp(tmp_path, "leak:fine\n", "good"),
                   supp(tmp_path, text))
    assert said == (f"umem: leaks: {tmp_path}/known.supp:{line}: "
                    "a line is leak:PATTERN, or a comment after #")


def test_no_such_file(known):
    assert "/no/such/file: No such file" in refused("leaks", "--suppressions=/no/such/file",
                                                    str(known))
    assert "--suppressions needs FILE" in refused("leaks", str(known), "--suppressions")
