# SPDX-License-Identifier: MIT
"""Programs of all kinds as targets: static ones, ones whose file was replaced while they ran,
ones in a mount namespace or root of their own, 32-bit ones; and signals in recorded stacks."""

import os
import pathlib
import platform
import shutil
import subprocess

import pytest

from harness import Background, compile_c, core_pattern_is_usable, gcore, paths, run
from leak_support import FLAGS, build, refused, target_of, umem, umem_json, waiting

HERE = pathlib.Path(__file__).resolve().parent
BLOCKS, SIZE = 7, 100
PROGRAM = """#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void *volatile kept[300];
__attribute__((noipa)) static void *allocate(size_t size)
{
    void *p = malloc(size);
    __asm__ volatile("" : "+r"(p)); /* no tail call */
    return p;
}
__attribute__((noipa)) static void lose(void)
{
    for (int i = 0; i < %d; i++)
        memset(allocate(%d), 1, %d);
}
__attribute__((noipa)) static void wipe(void)
{
    volatile char dead[65536];
    __asm__ volatile("" : : "r"(memset((char *)dead, 0, sizeof(dead))) : "memory");
}
int main(void)
{
    for (int i = 0; i < 300; i++)
        kept[i] = memset(allocate(1000), 'k', 1000);
    lose();
    wipe();
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}
""" % (BLOCKS, SIZE, SIZE)
OTHER = "int main(void) { return 3; }\nint other(int x) { return x * 3; }\n"


@pytest.fixture(scope="module", name="program")
def fixture_program(tmp_path_factory):
    return compile_c(PROGRAM, tmp_path_factory.mktemp("kinds") / "program", flags=FLAGS)


@pytest.fixture(scope="module", name="static")
def fixture_static(tmp_path_factory):
    return compile_c(PROGRAM, tmp_path_factory.mktemp("static") / "static",
                     flags=[*FLAGS, "-static"])


def the_leak(target, **options):
    """The one group of leaks that there is to be."""
    report = umem_json("leaks", target, expect=1, **options)
    assert report["complete"] is True and report["total"]["buffers"] == BLOCKS, report
    [group] = report["groups"]
    assert group["kind"] == "direct"
    return group


def functions(group):
    return [frame["function"] for frame in group["stack"]]


# --- Static programs: their own malloc, of glibc, linked in ---


@pytest.mark.parametrize("stripped", [False, True])
@pytest.mark.parametrize("how", ["live", "gcore", "core"])
def test_static(static, tmp_path, how, stripped):
    program = static
    if stripped:
        program = tmp_path / "stripped"
        subprocess.run(["strip", "-o", program, static], check=True)
    with waiting(program) as process:
        if how == "core":
            target = tmp_path / "core"
            assert umem("core", process.pid, "-o", target).returncode == 0
        else:
            target = target_of(process, how, tmp_path)
        assert the_leak(target)["cache"] == "malloc_104"
        text = umem("leaks", target).stdout
    assert "glibc's own heap, without libumem" in text


# --- Files that were replaced, as a package manager does it: under the same name, another file ---


def replace(path):
    other = compile_c(OTHER, path.with_suffix(".other"))
    os.rename(other, path)


@pytest.mark.parametrize("way", ["deleted", "replaced"])
def test_replaced_program_and_library(program, tmp_path, way):
    copy, library = tmp_path / "copy", tmp_path / "libumem.so.1"
    shutil.copy(program, copy)
    shutil.copy(paths.libumem(), library)
    with waiting(copy, debug="audit=10", preload=library) as process:
        for path in (copy, library):
            path.unlink() if way == "deleted" else replace(path)
        live = the_leak(process.pid)
        assert umem("leaks", process.pid).stderr == ""
        assert umem("core", process.pid, "-o", tmp_path / "core").returncode == 0
    assert functions(live)[:3] == ["allocate", "lose", "main"]
    # Of what the core alone has: all but the names of functions, unless --exe brings them.
    result = umem("leaks", tmp_path / "core")
    assert ("build id differs" in result.stderr) == (way == "replaced")
    frames = the_leak(tmp_path / "core")["stack"]
    assert [frame["function"] for frame in frames[:3]] == [None] * 3
    assert {frame["module"] for frame in frames[:3]} == {"copy"}
    report = umem_json("leaks", tmp_path / "core", f"--exe={program}", expect=1)
    assert functions(report["groups"][0])[:3] == ["allocate", "lose", "main"]


AS_USER = """cp program copy
UMEM_DEBUG=audit=10 LD_PRELOAD=$PWD/libumem.so.1 ./copy &
while ! grep -q ready out; do sleep 0.01; done
rm copy
./umem leaks $! > report 2>&1
kill $!
"""


def test_replaced_program_of_an_ordinary_user(program, tmp_path, needs_root):
    """Who is not root does not get at /proc/PID/map_files."""
    folder = tmp_path / "open"
    folder.mkdir()
    for path in (program, paths.umem(), paths.libumem()):
        shutil.copy(path, folder / path.name).chmod(0o755)
    for parent in [folder, *folder.parents][:-1]:
        parent.chmod(parent.stat().st_mode | 0o001)
    folder.chmod(0o777)
    result = run(["sh", "-c", f"cd {folder} && ({AS_USER}) > out"], user=65534)
    report = (folder / "report").read_text()
    assert " lose+0x" in report and " main+0x" in report, (result, report)


# --- Other mount namespaces and roots ---


def test_other_mount_namespace(program, tmp_path, needs_root):
    """At the program's path as it sees it, we see another file."""
    place, inside = tmp_path / "place", tmp_path / "inside"
    for folder in (place, inside):
        folder.mkdir()
    compile_c(OTHER, place / "program")
    compile_c(OTHER, place / "libumem.so.1")
    shutil.copy(program, inside / "program")
    shutil.copy(paths.libumem(), inside / "libumem.so.1")
    script = (f"mount --bind {inside} {place} && LD_PRELOAD={place}/libumem.so.1 "
              f"UMEM_DEBUG=audit=10 exec {place}/program")
    try:
        process = waiting("unshare", "-m", "sh", "-c", script)
    except RuntimeError as error:
        pytest.skip(f"no mount namespace can be made here: {error}")
    with process:
        assert functions(the_leak(process.pid))[:3] == ["allocate", "lose", "main"]
        assert umem("leaks", process.pid).stderr == ""
        assert umem("core", process.pid, "-o", tmp_path / "core").returncode == 0
    assert the_leak(tmp_path / "core")["stack"][0]["module"] == "program"


def test_other_root(static, tmp_path, needs_root):
    shutil.copy(static, tmp_path / "program")
    with waiting("chroot", tmp_path, "/program") as process:
        the_leak(process.pid)
        asked = run([paths.built("tests/unit/analyse/target_probe"), process.pid, "stacks"])
        assert "symbol main|program|" in asked.stdout, asked


# --- 32-bit programs ---

WITHOUT_LIBC = """
static int call(int number, int a, const void *b, int c)
{
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
    return result;
}
void _start(void);
void _start(void)
{
    call(4, 1, "ready\\n", 6); /* write */
    for (;;)
        call(29, 0, 0, 0); /* pause */
}
"""
# What glibc_kinds.c loses, by the sizes that chunks have there, and each of its threads.
LOST_OF_32_BITS = {("direct", "malloc_108"): 7, ("direct", "malloc_to_8k"): 3,
                   ("direct", "malloc_to_1m"): 2, ("direct", "malloc_44"): 1,
                   ("indirect", "malloc_44"): 4}
LOST_BY_THREAD = ("direct", "malloc_204"), 4


def compile_32_bit(source, out, flags):
    try:
        program = compile_c(source, out, flags=["-m32", *flags])
        subprocess.run([program, "--help"], stdin=subprocess.DEVNULL, timeout=0.2, check=False,
                       stdout=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:  # it runs
        pass
    except (RuntimeError, OSError) as error:
        pytest.skip(f"32-bit programs cannot be made or run here: {error}")
    return program


@pytest.mark.skipif(platform.machine() != "x86_64", reason="its 32-bit programs are i386's")
def test_32_bit_program_without_libc(tmp_path):
    program = compile_32_bit(WITHOUT_LIBC, tmp_path / "small",
                             ["-nostdlib", "-static", "-ffreestanding", "-fno-pic",
                              "-fno-stack-protector"])
    with waiting(program) as process:
        assert "no libumem in it, and no heap of glibc's" in refused("leaks", process.pid)
        core = gcore(process.pid, tmp_path)
        assert "is a 32-bit program, of which this umem writes no cores" in \
            refused("core", process.pid, "-o", tmp_path / "core")
    assert "no libumem in it, and no heap of glibc's" in refused("leaks", core)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="its 32-bit programs are i386's")
@pytest.mark.parametrize("how", ["live", "gcore", pytest.param("kernel", marks=pytest.mark.skipif(
    not core_pattern_is_usable(), reason="the kernel's core pattern pipes or is a directory's"))])
@pytest.mark.parametrize("threads", [0, 2])
def test_32_bit_program(tmp_path, threads, how):
    """Leaks are found exactly; stacks, symbols and the heap's soundness are told."""
    program = compile_32_bit(HERE / "glibc_kinds.c", tmp_path / "kinds", ["-O1", "-pthread"])
    expected = dict(LOST_OF_32_BITS)
    if threads:
        expected[LOST_BY_THREAD[0]] = LOST_BY_THREAD[1] * threads
    with waiting(program, "lose", str(threads), cwd=tmp_path) as process:
        target = target_of(process, how, tmp_path)
        report = umem_json("leaks", target, expect=1)
        sound = umem("verify", target)
        where = umem_json("threads", target)["threads"]
    assert report["complete"] is True, report["incomplete"]
    assert {(group["kind"], group["cache"]): group["count"]
            for group in report["groups"]} == expected
    assert sound.returncode == 0, sound
    assert len(where) == 1 + threads
    assert sum("main" in [frame["function"] for frame in thread["stack"]] for thread in where) == 1


# --- A block that a signal handler allocated ---

STRUCK = """#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>
void struck(void);
/* Its first instruction is what the signal strikes: the byte before it is another function's. */
__asm__(".text\\n.globl before_it, struck\\n.type before_it, @function\\n.type struck, @function\\n"
        "before_it: nop\\n.size before_it, . - before_it\\n"
        "struck: .cfi_startproc\\nud2\\nret\\n.cfi_endproc\\n.size struck, . - struck\\n");
__attribute__((noipa)) static void lose(void)
{
    void *p = malloc(123);
    __asm__ volatile("" : "+r"(p));
    memset(p, 1, 123);
}
static void on_signal(int number, siginfo_t *info, void *context)
{
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
    lose();
    __asm__ volatile("");
}
__attribute__((noipa)) static void wipe(void)
{
    volatile char dead[65536];
    __asm__ volatile("" : : "r"(memset((char *)dead, 0, sizeof(dead))) : "memory");
}
int main(void)
{
    const struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &action, NULL);
    struck();
    wipe();
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="in x86-64 code")
@pytest.mark.parametrize("how", ["live", "gcore"])
def test_function_that_a_signal_struck(tmp_path, how):
    program = compile_c(STRUCK, tmp_path / "struck", package="umem",
                        flags=[*FLAGS, "-Wno-unused-parameter"])
    with waiting(program, debug="audit=20") as process:
        target = target_of(process, how, tmp_path)
        [group] = umem_json("leaks", target, expect=1)["groups"]
        names = functions(group)
        at = names.index("on_signal")
        assert names[at - 1] == "lose" and names[at + 2:at + 4] == ["struck", "main"], names
        shell = umem("shell", "-e", "::findleaks -dv", target).stdout
        assert "struck" in shell and "before_it" not in shell
        (tmp_path / "supp").write_text("leak:struck\n")
        hidden = umem("leaks", target, f"--suppressions={tmp_path / 'supp'}")
        assert hidden.returncode == 0, hidden
