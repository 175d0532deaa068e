# SPDX-License-Identifier: MIT
"""`umem top`: pictures of a process that grows, on a pipe and on a terminal."""

import json
import os
import re
import select
import signal
import subprocess
import termios

import pytest

from harness import paths
from harness.process import clean_env
from leak_support import build, gcore, refused, umem, umem_json, waiting

PROGRAM = """#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static void *volatile kept[100000];
__attribute__((noipa)) static void *grows(void)
{
    void *p = malloc(1000);
    __asm__ volatile("" : "+r"(p)); /* no tail call */
    return p;
}
int main(void)
{
    int n = 0;
    for (; n < 500; n++)
        kept[n] = grows();
    puts("ready");
    fflush(stdout);
    for (; n < 100000; n++) {
        usleep(1000);
        kept[n] = grows();
    }
    return 0;
}
"""


@pytest.fixture(scope="module", name="program")
def fixture_program(tmp_path_factory):
    return build(tmp_path_factory.mktemp("top"), PROGRAM, libs=())


def site_of(picture):
    """Both places that call it as one."""
    sites = [site for site in picture["sites"]
             if "grows" in [frame["function"] for frame in site["stack"]]]
    return {key: sum(site[key] for site in sites)
            for key in ("buffers", "bytes", "more_buffers", "more_bytes")}


def test_once(program, tmp_path):
    with waiting(program, debug="audit=20") as process:
        report = umem_json("top", "--once", process.pid)
        core = umem_json("top", "--once", gcore(process.pid, tmp_path))
        text = umem("top", "-1", "-n", 3, process.pid)
    for picture in (report, core):
        assert site_of(picture)["buffers"] >= 500 and picture["seconds"] == 0
        assert site_of(picture)["bytes"] == site_of(picture)["buffers"] * 1024
        cache = next(row for row in picture["caches"] if row["name"] == "umem_alloc_1024")
        assert cache["buffers"] >= 500 and cache["more_buffers"] == 0
        assert picture["total"]["buffers"] == sum(row["buffers"] for row in picture["caches"])
    lines = text.stdout.splitlines()
    assert text.returncode == 0 and re.match(
        r"program \(pid \d+\): [\d,]+ live buffers, \S+ of \S+; stopped for [\d.]+ ms$", lines[0])
    assert "\033" not in text.stdout and all(len(line) <= 100 for line in lines)
    assert any(line.startswith("grows < main < ") for line in lines)
    assert len(lines) <= 1 + 2 + 3 + 2 + 3


def pictures(arguments):
    """The JSON objects that are printed one after the other."""
    done = umem("top", "--format=json", *arguments)
    assert done.returncode == 0, done
    decoder, at, found = json.JSONDecoder(), 0, []
    while at < len(done.stdout.rstrip()):
        one, at = decoder.raw_decode(done.stdout, at)
        at += 1  # the newline
        found.append(one)
    return found


def test_changes(program):
    with waiting(program, debug="audit=20") as process:
        found = pictures(["--pictures=3", "--delay=1s", process.pid])
    assert len(found) == 3 and found[0]["seconds"] == 0 and found[1]["seconds"] > 0
    for before, after in zip(found, found[1:]):
        one, two = site_of(before), site_of(after)
        assert two["more_buffers"] == two["buffers"] - one["buffers"] > 0
        assert two["more_bytes"] == 1024 * two["more_buffers"]
        assert after["total"]["more_buffers"] == (after["total"]["buffers"] -
                                                  before["total"]["buffers"])


def test_text_on_a_pipe_until_the_process_ends(program):
    with waiting(program) as process:
        started = subprocess.Popen([paths.umem(), "top", "-d", "1", str(process.pid)],
                                   env=clean_env(), stdout=subprocess.PIPE, text=True)
        first = started.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        rest = started.stdout.read()
        started.wait(timeout=30)
    assert started.returncode == 0
    assert first.startswith("program (pid ")
    assert rest.endswith(f"process {process.pid} has ended\n")
    assert "who allocates is known of programs under audit" in rest and "\033" not in rest


def test_on_a_terminal(program):
    """Cleared before each picture; Ctrl-C ends it and the process goes on."""
    with waiting(program, debug="audit=20") as process:
        master, slave = os.openpty()
        started = subprocess.Popen([paths.umem(), "top", str(process.pid)],
                                   env=clean_env() | {"TERM": "xterm"}, stdout=slave)
        os.close(slave)
        text = b""
        while b"allocated by" not in text:
            text += os.read(master, 4096)
        started.send_signal(signal.SIGINT)
        started.wait(timeout=30)
        os.close(master)
        assert process.process.poll() is None
        status = open(f"/proc/{process.pid}/status", encoding="ascii").read()
    assert text.startswith(b"\033[H\033[J") and started.returncode == -signal.SIGINT
    assert "TracerPid:\t0" in status


def read_until_it_ends(master, started):
    """What a program has written to a terminal."""
    text = b""
    while started.poll() is None or select.select([master], [], [], 0.2)[0]:
        if not select.select([master], [], [], 0.2)[0]:
            continue
        try:
            text += os.read(master, 65536)
        except OSError:
            break  # the other side is closed, and all is read
    return text.decode().replace("\r", "")


@pytest.mark.parametrize("columns, lines", [(70, 14), (80, 24), (120, 40)])
def test_fits_the_terminal(program, columns, lines):
    with waiting(program, debug="audit=20") as process:
        master, slave = os.openpty()
        termios.tcsetwinsize(slave, (lines, columns))
        with subprocess.Popen([paths.umem(), "top", "-p", "2", "-d", "1", str(process.pid)],
                              env=clean_env() | {"TERM": "xterm"}, stdout=slave) as started:
            os.close(slave)
            text = read_until_it_ends(master, started)
        os.close(master)
    shown = text.split("\033[H\033[J")[1:]
    assert len(shown) == 2
    for picture in shown:
        rows = re.sub("\033\\[[0-9;]*m", "", picture).splitlines()
        assert all(len(row) <= columns for row in rows[2:]), picture
        assert len(rows) + sum(len(row) > columns for row in rows[:2]) < lines, picture
        assert any(row.startswith("grows < ") for row in rows), picture
        assert any(row.startswith("umem_alloc_1024") for row in rows), picture
        assert ("memory" in picture) == (columns == 120)


def test_refused(program, tmp_path):
    assert "needs PID" in refused("top")
    assert "no such" in refused("top", "4194305")
    assert "not an age" in refused("top", "--delay=soon", "1")
    with waiting(program) as process:
        core = gcore(process.pid, tmp_path)
    assert "is a file: give the number of a process, or --once" in refused("top", core)
