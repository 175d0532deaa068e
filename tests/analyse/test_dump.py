# SPDX-License-Identifier: MIT
"""`umem core` and `umem snapshot`: files that say what the process says, for `umem` and for gdb;
whole, or not there at all."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess

import pytest

from harness import compile_c, paths
from harness.agent import OPTIONS, Agent
from harness.process import clean_env
from leak_support import build, refused, sleeping, umem, umem_json, waiting

PROGRAM = """#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
static void *volatile kept[300];
static volatile int ready;
struct fact { long number; char text[24]; };
static volatile struct fact fact = {4711, "what gdb is to find"};
__attribute__((noipa)) static void *allocate(size_t size)
{
    void *p = malloc(size);
    __asm__ volatile("" : "+r"(p)); /* no tail call */
    return p;
}
__attribute__((noipa)) static void lose(void)
{
    *(void *volatile *)allocate(200) = allocate(300);
}
__attribute__((noipa)) static void scrub(void)
{
    char room[8192];
    memset(room, 0, sizeof(room));
    __asm__ volatile("" : : "r"(room) : "memory");
}
__attribute__((noipa)) static void waits_here(long argument)
{
    ready = (int)argument;
    for (;; ready += (int)argument)
        pause();
}
static void *thread(void *arg)
{
    waits_here((long)arg);
    return arg;
}
int main(void)
{
    pthread_t t;
    lose();
    for (int i = 0; i < 300; i++)
        memset(kept[i] = allocate(1000), 'k', 1000);
    /* Pages with data on both sides of ones that cannot be read. */
    char *pages = mmap(NULL, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(pages, 'p', 64 * 4096);
    int guarded = madvise(pages + 31 * 4096, 4096, MADV_GUARD_INSTALL) == 0;
    mprotect(pages + 40 * 4096, 4096, PROT_NONE);
    char *sparse = mmap(NULL, 1 << 26, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    sparse[1 << 25] = 's';
    scrub();
    pthread_create(&t, NULL, thread, (void *)23);
    while (!ready)
        usleep(1000);
    printf("pages %p\\nguarded %d\\nsparse %p\\n", pages, guarded, sparse);
    puts("ready");
    fflush(stdout);
    return fact.number == 4711 ? pause() : 1;
}
"""
VERBS = ("leaks", "stat", "users", "verify", "threads")


@pytest.fixture(scope="module", name="program")
def fixture_program(tmp_path_factory):
    return build(tmp_path_factory.mktemp("dump"), PROGRAM, libs=())


def take(verb, process, path):
    report = umem_json(verb, process.pid, "-o", path)
    assert report["file"] == str(path) and os.path.getsize(path) == report["file_bytes"]
    assert report["stopped_ms"] > 0
    return report


def told(verb, target):
    report = umem_json(verb, target, expect=(0, 1))
    report.pop("target")
    text = re.sub(r'("(age|oldest)_s":) [0-9.]+', r"\1 0", str(report).replace("'", '"'))
    return text


@pytest.mark.parametrize("verb", ["core", "snapshot"])
@pytest.mark.parametrize("debug", [None, "audit=20,guards", "firewall=64"])
def test_says_what_the_process_says(program, tmp_path, verb, debug):
    with waiting(program, debug=debug) as process:
        path = tmp_path / "taken"
        report = take(verb, process, path)
        assert report["memory_bytes"] > 300 * 1000
        for question in VERBS:
            assert told(question, process.pid) == told(question, path), question
        leaks = umem_json("leaks", path, expect=1)
    assert leaks["complete"] is True
    assert [(group["kind"], group["count"]) for group in leaks["groups"]] == [
        ("direct", 1), ("indirect", 1)]


def test_ages_and_names(program, tmp_path):
    """The file knows when it was taken, and what mappings were called."""
    with waiting(program, debug="audit=20") as process:
        take("snapshot", process, tmp_path / "taken")
        maps = open(f"/proc/{process.pid}/maps", encoding="ascii").read()
    stack = re.search(r"([0-9a-f]+)-[0-9a-f]+ \S+ \S+ \S+ \S+ +\[stack\]", maps).group(1)
    group = umem_json("leaks", tmp_path / "taken", expect=1)["groups"][0]
    assert 0 <= group["oldest_s"] < 60
    text = umem("leaks", tmp_path / "taken").stdout
    assert "before the core was taken, by thread" in text
    assert umem_json("whatis", tmp_path / "taken", stack)["kind"] in ("stack", "mapping")


@pytest.mark.parametrize("way", [[], ["--self"]])
def test_cut_off(program, tmp_path, way):
    """What is left can be read: the headers come first."""
    with waiting(program, debug="audit=20", env=OPTIONS) as process:
        with Agent(process.pid):
            pass
        whole = tmp_path / "whole"
        umem_json("snapshot", *way, process.pid, "-o", whole)
    short = tmp_path / "short"
    answers = 0
    for part in (99, 75, 50, 25):
        shutil.copy(whole, short)
        os.truncate(short, whole.stat().st_size * part // 100)
        result = umem("leaks", "--format=json", short)
        if result.returncode == 2:  # nothing of the heap is left: said so
            assert re.search("cut|truncated|missing|no libumem", result.stderr), result
            continue
        answers += 1
        assert json.loads(result.stdout)["complete"] is False, part
    assert answers > 0


def test_gdb_opens_it(program, tmp_path):
    with waiting(program) as process:
        take("core", process, tmp_path / "core")
        at = dict(line.split() for line in process.lines if line.count(" ") == 1)
    pages = int(at["pages"], 16)
    asked = ["info threads", "thread apply all bt", "print fact", "x/s fact.text",
             "print $_siginfo", f"x/1xb {pages + 31 * 4096 - 1}", f"x/1xb {pages + 32 * 4096}",
             f"x/1xb {pages + 39 * 4096}", f"x/1xb {pages + 41 * 4096}"]
    done = subprocess.run(["gdb", "-batch", "-nx", *(f"-ex={line}" for line in asked), program,
                           tmp_path / "core"], env=clean_env(), capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.stdout.count("(LWP ") >= 4, done
    assert re.search(r"waits_here \(argument=(argument@entry=)?23\)", done.stdout), done
    assert "in main ()" in done.stdout
    assert 'number = 4711, text = "what gdb is to find' in done.stdout
    assert ".reg2" not in done.stderr
    # No neighbour of a page that cannot be read has lost anything.
    assert done.stdout.count("\t0x70\n") == 4, done


def test_what_cannot_be_read_is_left_out(program, tmp_path):
    with waiting(program) as process:
        at = dict(line.split() for line in process.lines if line.count(" ") == 1)
        report = take("core", process, tmp_path / "core")
    pages, sparse = int(at["pages"], 16), int(at["sparse"], 16)
    listed = subprocess.run(["readelf", "-lW", tmp_path / "core"], capture_output=True, text=True,
                            check=True).stdout
    held = [(int(row[2], 16), int(row[4], 16)) for row in map(str.split, listed.splitlines())
            if row and row[0] == "LOAD"]

    def holds(address):
        return any(start <= address < start + size for start, size in held)

    assert len(held) + 1 == report["segments"]
    assert holds(pages) and holds(pages + 63 * 4096 + 4095) and holds(pages + 39 * 4096)
    assert not holds(pages + 40 * 4096)
    if at["guarded"] == "1":
        assert holds(pages + 30 * 4096) and not holds(pages + 31 * 4096)
        assert holds(pages + 32 * 4096)
    # A page in 64 MiB of nothing: there, and no room taken for the rest.
    assert holds(sparse + (1 << 25))
    assert os.stat(tmp_path / "core").st_blocks * 512 < 40 << 20


def test_the_process_runs_on(program, tmp_path):
    with waiting(program) as process:
        take("core", process, tmp_path / "core")
        status = open(f"/proc/{process.pid}/status", encoding="ascii").read()
        assert "TracerPid:\t0" in status and "(tracing stop)" not in status


def test_default_name_and_text(program, tmp_path):
    with waiting(program) as process:
        result = umem("core", process.pid, cwd=tmp_path)
        again = umem("core", process.pid, cwd=tmp_path)
        other = umem("snapshot", process.pid, cwd=tmp_path)
    assert result.returncode == again.returncode == other.returncode == 0
    assert re.match(rf"core\.{process.pid}: a core of program \(pid {process.pid}\), \S+ of "
                    r"memory; it was stopped for [0-9.]+ ms\n", result.stdout)
    assert sorted(os.listdir(tmp_path)) == [f"core.{process.pid}", f"snapshot.{process.pid}"]
    assert os.stat(tmp_path / f"core.{process.pid}").st_mode & 0o777 == 0o600


def test_of_a_program_without_the_library(tmp_path):
    other = sleeping()
    try:
        assert umem("core", other.pid, "-o", tmp_path / "core").returncode == 0
        report = umem_json("leaks", tmp_path / "core", expect=(0, 1))
        assert report["allocator"] == "glibc" and report["complete"] is True
    finally:
        other.kill()
        other.wait()


def small_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))


def test_full_disk_leaves_nothing(program, tmp_path):
    with waiting(program) as process:
        done = subprocess.run([paths.umem(), "core", str(process.pid), "-o", tmp_path / "core"],
                              capture_output=True, text=True, check=False, preexec_fn=small_files)
        assert process.process.poll() is None
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "cannot be written: File too large; give a path on a disk with more room by -o FILE; " \
        "nothing was left there" in done.stderr
    assert os.listdir(tmp_path) == []


def test_killed_leaves_nothing(program, tmp_path):
    """At any moment: what has no name cannot be left behind."""
    with waiting(program) as process:
        for delay in (0.001, 0.003, 0.006, 0.01):
            started = subprocess.Popen([paths.umem(), "core", str(process.pid), "-o",
                                        tmp_path / "core"], stdout=subprocess.DEVNULL)
            try:
                started.wait(timeout=delay)
            except subprocess.TimeoutExpired:
                started.send_signal(signal.SIGKILL)
                started.wait()
            left = os.listdir(tmp_path)
            assert left in ([], ["core"])
            if left:
                assert umem("stat", tmp_path / "core").returncode == 0
                os.unlink(tmp_path / "core")


# A file system that knows no files without a name, as NFS is one.
NO_TMPFILE = """#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
int open(const char *path, int flags, ...)
{
    va_list ap;
    int (*next)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    va_start(ap, flags);
    mode_t mode = va_arg(ap, mode_t);
    va_end(ap);
    if ((flags & O_TMPFILE) != O_TMPFILE)
        return next(path, flags, mode);
    errno = EOPNOTSUPP;
    return -1;
}
"""


@pytest.fixture(scope="module", name="no_tmpfile")
def fixture_no_tmpfile(tmp_path_factory):
    return compile_c(NO_TMPFILE, tmp_path_factory.mktemp("no") / "tmpfile.so",
                     flags=["-shared", "-fPIC"])


def test_without_files_that_have_no_name(program, tmp_path, no_tmpfile):
    """It is written as FILE.part, which stays in nobody's way."""
    path = tmp_path / "core"
    env = {"LD_PRELOAD": no_tmpfile}
    with waiting(program) as process:
        for before in (None, "old", "old.part"):
            if before is not None:
                (tmp_path / before.replace("old", "core")).write_text("an older one")
            result = umem("core", process.pid, "-o", path, env=env)
            assert result.returncode == 0, result
            assert os.listdir(tmp_path) == ["core"]
            assert told("leaks", path) == told("leaks", process.pid)
        path.unlink()
        done = subprocess.run([paths.umem(), "core", str(process.pid), "-o", path],
                              env=clean_env(env=env), capture_output=True, text=True, check=False,
                              preexec_fn=small_files)
    assert done.returncode == 2 and "nothing was left there" in done.stderr
    assert os.listdir(tmp_path) == []


# 70,000 pages, each between two that cannot be read: more than e_phnum can count.
MANY_SEGMENTS = 70000
MANY = """#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
static char *volatile last;
__attribute__((noipa)) static void lose(void)
{
    void *p = malloc(77);
    __asm__ volatile("" : "+r"(p));
    memset(p, 1, 77);
}
__attribute__((noipa)) static void wipe(void)
{
    volatile char dead[65536];
    __asm__ volatile("" : : "r"(memset((char *)dead, 0, sizeof(dead))) : "memory");
}
int main(void)
{
    const size_t count = %d, page = 4096;
    char *pages = mmap(NULL, 2 * count * page, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (size_t i = 0; i < count; i++)
        if (madvise(pages + (2 * i + 1) * page, page, MADV_GUARD_INSTALL) != 0) {
            puts("none ready");
            fflush(stdout);
            return 0;
        }
    /* The only pointer to a block lies in the last of them. */
    last = pages + 2 * (count - 1) * page;
    *(void **)last = malloc(99);
    lose();
    wipe();
    printf("pages %%p\\n", pages);
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}
""" % MANY_SEGMENTS


def test_more_segments_than_the_header_can_count(tmp_path):
    program = build(tmp_path, MANY, libs=())
    with waiting(program) as process:
        if "none ready" in process.lines:
            pytest.skip("this kernel has no guard regions")
        report = take("core", process, tmp_path / "core")
        live = told("leaks", process.pid)
        pages = int(process.lines[0].split()[1], 16)
    assert report["segments"] > MANY_SEGMENTS
    header = subprocess.run(["readelf", "-hW", tmp_path / "core"], capture_output=True, text=True,
                            check=True).stdout
    assert re.search(rf"Number of program headers: +65535 \({report['segments']}\)", header)
    assert told("leaks", tmp_path / "core") == live
    assert umem_json("leaks", tmp_path / "core", expect=1)["total"]["buffers"] == 1
    at = pages + 2 * (MANY_SEGMENTS - 1) * 4096
    read = subprocess.run(["gdb", "-batch", "-nx", "-ex", f"x/1xg {at}", "-ex", f"x/1xb {at - 1}",
                           program, tmp_path / "core"], env=clean_env(), capture_output=True,
                          text=True, timeout=120, check=False)
    assert re.search(r":\t0x0000\w{12}\n", read.stdout), read
    assert "Cannot access memory" in read.stderr


@pytest.mark.parametrize("verb", ["core", "snapshot"])
def test_refused(program, tmp_path, verb):
    assert "needs PID" in refused(verb)
    assert "no such" in refused(verb, "4194305")
    with waiting(program) as process:
        assert "No such file or directory" in refused(verb, process.pid, "-o",
                                                      tmp_path / "no" / "core")
        assert "Is a directory" in refused(verb, process.pid, "-o", tmp_path)
        assert "Not a regular file; give" in refused(verb, process.pid, "-o", "/dev/full")
        take(verb, process, tmp_path / "core")
    assert "is a file already; give the number of a process" in refused(verb, tmp_path / "core")
