# SPDX-License-Identifier: MIT
"""Memory that is mapped and hardly used: what does not exist is neither read nor made to exist."""

import os
import re
import subprocess

import pytest

from harness import paths
from harness.process import clean_env
from leak_support import build, umem, umem_json, waiting

# To read so much would take minutes.
SPARSE = 64 << 30
# MiB that umem may use: its own, and the pages that exist.
MEMORY_MAX = 300

PROGRAM = """#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static char *volatile mapped, *volatile large, *volatile last;
__attribute__((noipa)) static void *allocate(size_t size)
{
    void *p = malloc(size);
    __asm__ volatile("" : "+r"(p)); /* no tail call */
    return p;
}
__attribute__((noipa)) static void lose(void)
{
    memset(allocate(77), 1, 77);
}
__attribute__((noipa)) static void wipe(void)
{
    volatile char dead[65536];
    __asm__ volatile("" : : "r"(memset((char *)dead, 0, sizeof(dead))) : "memory");
}
int main(void)
{
    const size_t size = %dUL, half = size / 2;
    mapped = mmap(NULL, size, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    large = allocate((size_t)8 << 30);
    /* Blocks that one word in the middle of nothing holds, and one at an end. */
    void **words[] = {(void **)(mapped + half + 4088), (void **)(mapped + size - 8),
                      (void **)(large + (1UL << 31)), (void **)mapped};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        *words[i] = allocate(500 + 100 * i);
        printf("held %%p by %%p\\n", *words[i], (void *)words[i]);
    }
    lose();
    last = allocate(78); /* its address is now in the registers that had the lost one's */
    wipe();
    memset(words, 0, sizeof(words));
    __asm__ volatile("" : : "r"(words) : "memory");
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}
""" % SPARSE


def check(target, held):
    """Exactly the lost block, and who holds the others; and what memory that took, in MiB."""
    process = subprocess.Popen([paths.umem(), "leaks", str(target)], env=clean_env(),
                               stdout=subprocess.PIPE, text=True)
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 1 and "\n1 leaked buffer " in "\n" + text, text
    for block, holder in held:
        path = umem("whatis", "--path", target, block)
        assert path.returncode == 0 and holder in path.stdout, path
        found = umem_json("grep", target, block)
        assert holder in str(found), found
    return usage.ru_maxrss >> 10


@pytest.fixture(scope="module", name="process")
def fixture_process(tmp_path_factory):
    program = build(tmp_path_factory.mktemp("sparse"), PROGRAM, libs=())
    # Under audit the slow path leaves the lost address in no register.
    with waiting(program, debug="audit=8") as process:
        yield process


def held_by(process):
    lines = [re.fullmatch(r"held (0x\w+) by (0x\w+)", line) for line in process.lines]
    return [(line[1], line[2]) for line in lines if line]


def resident(process):
    """MiB of the process that exist."""
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) >> 10


def test_live(process):
    before = resident(process)
    assert check(process.pid, held_by(process)) < MEMORY_MAX
    assert resident(process) <= before + 1


def test_core(process, tmp_path):
    assert umem("core", process.pid, "-o", tmp_path / "core").returncode == 0
    assert os.stat(tmp_path / "core").st_blocks * 512 < 64 << 20
    assert check(tmp_path / "core", held_by(process)) < MEMORY_MAX


SHARED = """#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
int main(void)
{
    const size_t size = %dUL;
    int fd = memfd_create("shared", 0);
    void **map = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, (off_t)size) == 0)
        map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (map == MAP_FAILED)
        return 1;
    void **words[] = {map, map + size / 16 + 511, map + size / 8 - 1};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        *words[i] = memset(malloc(500 + 100 * i), 1, 500);
        printf("held %%p by %%p\\n", *words[i], (void *)words[i]);
    }
    *words[1] = memset(malloc(77), 1, 77); /* what it held is lost */
    puts("ready");
    fflush(stdout);
    return pause();
}
""" % SPARSE


@pytest.mark.parametrize("core", [False, True])
def test_shared(tmp_path, core):
    """Shared memory has pages for what is used, and no more for being looked at."""
    program = build(tmp_path, SHARED, libs=())
    with waiting(program, debug="audit=8") as process:
        held = held_by(process)
        assert len(held) == 3
        target = process.pid
        if core:
            target = tmp_path / "core"
            assert umem("core", process.pid, "-o", target).returncode == 0
            assert os.stat(target).st_blocks * 512 < 64 << 20
        assert check(target, [held[0], held[2]]) < MEMORY_MAX
        (descriptor,) = [path for path in os.scandir(f"/proc/{process.pid}/fd")
                         if os.readlink(path).startswith("/memfd:shared")]
        # Three pages are used; a word is read with what is near it, 16 KiB.
        assert os.stat(descriptor.path).st_blocks * 512 <= 3 * (16 << 10)
