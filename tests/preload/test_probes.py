# SPDX-License-Identifier: MIT
"""The static probes otel_memory:alloc and otel_memory:free, as tracers see them."""

import re
import shutil
import subprocess

import pytest

from harness import paths, run

LIBRARIES = ["libumem.so.1", "libumem_core.so.1"]
SIZES = [24, 1000, 300000]
PAGE = 4096
# Where each processor's calling convention has the arguments of alloc and of free.
PROCESSORS = {
    "x86_64-linux-gnu": ("8@%rdi 8@%rsi 8@%rdx", "8@%rdi"),
    "aarch64-linux-gnu": ("8@x0 8@x1 8@x2", "8@x0"),
    "i686-linux-gnu": (r"4@%eax 4@%edx 8@-?\d*\(%e[sb]p\)", "4@%eax"),
}

PROGRAM = r"""
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
static void *volatile block;
int main(void)
{
    static const size_t sizes[] = {%s};
    setvbuf(stdout, NULL, _IONBF, 0); /* no block of stdio's */
    for (int turn = 0; turn < 20; turn++)
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            block = malloc(sizes[i]);
            printf("block %%#lx %%zu\n", (unsigned long)(uintptr_t)block, sizes[i]);
            free(block);
        }
    return 0;
}
""" % ", ".join(map(str, SIZES))


def notes(path):
    """{probe: (location, semaphore, arguments)} of the provider otel_memory."""
    text = run(["readelf", "-nW", path]).stdout
    found = re.findall(r"Provider: otel_memory\n\s+Name: (\w+)\n\s+Location: (0x\w+), "
                       r"Base: 0x\w+, Semaphore: (0x\w+)\n\s+Arguments: (.*)", text)
    assert len(found) == len(set(name for name, *_ in found)), text
    return {name: (int(where, 16), int(semaphore, 16), arguments.strip())
            for name, where, semaphore, arguments in found}


def sections(path):
    """{name: (address, end, flags)} of what is loaded."""
    text = run(["readelf", "-SW", path]).stdout
    rows = re.findall(r"\] (\S+)\s+\w+\s+(\w{16}) \w+ (\w+) \w+ +([A-Z]*)", text)
    return {name: (int(start, 16), int(start, 16) + int(size, 16), flags)
            for name, start, size, flags in rows}


@pytest.mark.parametrize("name", LIBRARIES)
def test_notes(name):
    library = paths.library(name)
    found = notes(library)
    assert sorted(found) == ["alloc", "free"]
    loaded = sections(library)
    start, end, flags = loaded[".probes"]
    assert "W" in flags  # tracers count it up
    for where, semaphore, _ in found.values():
        assert start <= semaphore <= end - 2
        assert any(low <= where < high and "X" in flags for low, high, flags in loaded.values())
    # The sampled path alone has them: it lies apart from what every program runs.
    low, high, _ = loaded[".text.usual"]
    assert not any(low <= where < high for where, _, _ in found.values())


@pytest.mark.parametrize("target", PROCESSORS)
def test_processors(target, tmp_path):
    if shutil.which("clang") is None:
        pytest.skip("needs clang, which assembles for all of them")
    source = tmp_path / "probe.c"
    source.write_text("""
        #include "base/probe.h"
        UMEM_PROBE_SEMAPHORE(otel_memory_alloc);
        UMEM_PROBE_SEMAPHORE(otel_memory_free);
        void on(void *p, __SIZE_TYPE__ n, uint64_t w);
        void on(void *p, __SIZE_TYPE__ n, uint64_t w)
        {
            if (UMEM_PROBE_ON(otel_memory_alloc))
                UMEM_PROBE3(otel_memory, alloc, p, n, w);
            if (UMEM_PROBE_ON(otel_memory_free))
                UMEM_PROBE1(otel_memory, free, p);
        }
    """)
    output = tmp_path / "probe.o"
    done = subprocess.run(
        ["clang", "-Wall", "-Wextra", "-Werror", "-O2", "-ffreestanding", "-fPIC",
         f"--target={target}", f"-I{paths.REPO}/src/umem", "-c", source, "-o", output],
        capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = notes(output)
    for name, expected in zip(("alloc", "free"), PROCESSORS[target]):
        assert re.fullmatch(expected, found[name][2]), found


@pytest.fixture(scope="module")
def program(programs, tmp_path_factory):
    source = tmp_path_factory.mktemp("probes") / "probes.c"
    source.write_text(PROGRAM)
    return programs(source)


def is_sampled(address, size):
    """Whether a block of the program lies before a guard: ends with a page."""
    return (address + (size + 15) // 16 * 16) % PAGE == 0


def blocks(text, word="block"):
    return [tuple(int(number, 0) for number in line.split()[1:])
            for line in text.splitlines() if line.startswith(word + " ")]


def gdb(program, script, directory, debug):
    commands = directory / "script.gdb"
    commands.write_text(f"""
        set startup-with-shell off
        set debuginfod enabled off
        set environment LD_PRELOAD = {paths.libumem().resolve()}
        set environment UMEM_DEBUG = {debug}
        break main
        run
    """ + script + "\ncontinue\n")
    result = run(["gdb", "-batch", "-nx", "-x", commands, program], timeout=120)
    assert "exited normally" in result.stdout, result
    return result.stdout


STOPS = """
    info probes stap otel_memory
    break -probe-stap otel_memory:alloc
    commands
    silent
    printf "alloc %#lx %lu %lu\\n", $_probe_arg0, $_probe_arg1, $_probe_arg2
    continue
    end
    break -probe-stap otel_memory:free
    commands
    silent
    printf "free %#lx\\n", $_probe_arg0
    continue
    end
"""


@pytest.mark.parametrize("every", [1, 7])
def test_debugger(program, tmp_path, every):
    """gdb lists the probes, counts the semaphores up, and has their arguments."""
    text = gdb(program, STOPS, tmp_path, f"sample={every}")
    assert len(re.findall(r"^stap otel_memory (?:alloc|free ) 0x", text, re.M)) == 2, text
    sampled = [(address, size) for address, size in blocks(text) if is_sampled(address, size)]
    allocs = blocks(text, "alloc")
    assert len(sampled) >= len(SIZES)
    assert [event[:2] for event in allocs] == sampled
    assert all(weight == size * every for _, size, weight in allocs)
    assert blocks(text, "free") == [(address,) for address, _ in sampled]


def test_nobody_looks(program, tmp_path):
    """With the semaphore at 0 the probe's place is not even come by."""
    text = gdb(program, "info probes stap otel_memory", tmp_path, "sample=1")
    places = re.findall(r"^stap otel_memory \w+ +(0x\w+)", text, re.M)
    stops = "".join(f"break *{place}\ncommands\nsilent\necho stopped\\n\ncontinue\nend\n"
                    for place in places)
    text = gdb(program, stops, tmp_path, "sample=1")
    assert len(places) == 2 and any(is_sampled(*block) for block in blocks(text))
    assert "stopped" not in text


@pytest.mark.parametrize("debug", ["audit", "firewall=24"])
def test_only_sampled_blocks(program, tmp_path, debug):
    text = gdb(program, STOPS, tmp_path, debug)
    assert len(blocks(text)) == 20 * len(SIZES)
    assert blocks(text, "alloc") == [] and blocks(text, "free") == []
