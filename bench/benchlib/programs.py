# SPDX-License-Identifier: MIT
"""Section "programs": real programs under each allocator, wall time and peak
resident memory of the largest process (bench/measure.c).

A server (redis) runs under the allocator while its client, which does not, is
timed.  A program that is not installed is told on stderr and left out.
"""

import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

from benchlib import inputs
from benchlib.runner import Failed, child, find_library, kill_group, say, start
from benchlib.tables import Table, of_field

MIB = 1 << 20
START_S = 20  # of a server, at most
STOP_S = 5
QUICK = 20    # a quick run does so many times less
REDIS = "redis"
REDIS_TESTS = "set,get,incr,lpush,lpop,sadd,hset,zadd"


def programs_to_run(scratch, scale):
    """Name -> (argv, cwd); inputs, so many times smaller, are made in scratch."""

    def script(name, text, size=1):
        path = scratch / name
        path.write_text(text.replace("SIZE", str(max(1, size // scale))))
        return path

    inputs.make_json(scratch / "big.json", 40000 // scale)
    inputs.make_lines(scratch / "big.txt", 500000 // scale)
    (scratch / "big.c").write_text(inputs.c_source(60 // scale))
    sql = script("work.sql", inputs.SQL_SCRIPT, 200000)
    work = {
        "python3": ["/usr/bin/python3", script("work.py", inputs.PYTHON_SCRIPT, 60000)],
        "perl": ["perl", script("work.pl", inputs.PERL_SCRIPT, 250000)],
        "lua": ["lua5.4", script("work.lua", inputs.LUA_SCRIPT, 250000)],
        "node": ["node", script("work.js", inputs.NODE_SCRIPT, 80)],
        "sqlite3": ["sqlite3", ":memory:", f".read {sql}"],
        "jq": ["jq", inputs.JQ_SCRIPT, "big.json"],
        "gawk": ["gawk", "-f", script("work.awk", inputs.AWK_SCRIPT), "big.txt"],
        "sort": ["sort", "-n", "--parallel=2", "big.txt"],
        "gcc -O2": ["gcc", "-O2", "-c", "big.c", "-o", "big.o"],
        "xz -T2": ["xz", "-1", "-T2", "-kfc", "big.txt"],
    }
    work = {name: (argv, scratch) for name, argv in work.items() if have(name, argv[0])}
    if have("git", "git"):
        inputs.make_git_repository(scratch / "repo", 1000 // scale)
        work["git log -p"] = (["git", "log", "-p", "--stat"], scratch / "repo")
        work["git repack"] = (["git", "repack", "-adfq", "--threads=2"], scratch / "repo")
    return work


def have(name, program):
    found = shutil.which(program) is not None
    if not found:
        say(f"{name}: {program} is not installed: left out")
    return found


def measure_program(bench, argv, cwd, preload, output, env=None):
    command = [bench.programs / "measure", output, preload or "-", *argv]
    child(command, cwd=cwd, env=env, stdout=subprocess.DEVNULL)
    seconds, kib = output.read_text().split()
    return {"s": float(seconds), "rss": int(kib) * 1024}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, process):
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise Failed("the server does not answer")


def peak_of(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise Failed("no VmHWM")


def have_redis():
    return have(REDIS, "redis-server") and have(REDIS, "redis-benchmark")


def stop(server):
    """In good order, if it will: what is to be done at its exit is."""
    server.terminate()
    try:
        server.wait(STOP_S)
    except subprocess.TimeoutExpired:
        kill_group(server)
        server.wait()


def measure_redis(scratch, quick, preload, before=()):
    """Debian's redis-server is linked with jemalloc: glibc's column preloads libc.

    before: a command that starts the server by exec.
    """
    port = free_port()
    server = start([*before, "redis-server", "--port", port, "--bind", "127.0.0.1",
                    "--dir", scratch, "--save", "", "--daemonize", "no"],
                   preload or find_library("libc.so.6"),
                   cwd=scratch, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port, server)
        started = time.monotonic()
        child(["redis-benchmark", "-p", port, "-q", "-n", 4000 if quick else 50000, "-c", 20,
               "-P", 16, "-d", 300, "-r", 50000, "-t", REDIS_TESTS], stdout=subprocess.DEVNULL)
        return {"s": time.monotonic() - started, "rss": peak_of(server.pid)}
    finally:
        stop(server)


def about(bench):
    return f"Medians of {bench.rounds} rounds."


def run(bench):
    with tempfile.TemporaryDirectory(prefix="umem-bench-") as name:
        scratch = pathlib.Path(name)
        work = programs_to_run(scratch, QUICK if bench.quick else 1)
        rows = list(work)
        if have_redis():
            rows.append(REDIS)

        def measure(row, column):
            preload = bench.allocators[column]
            if row == REDIS:
                return measure_redis(scratch, bench.quick, preload)
            return measure_program(bench, *work[row], preload, scratch / "measured")

        found = bench.interleaved("programs", rows, measure)
    return [
        Table("programs", "programs", "Programs, wall time", "s", of_field(found, "s"), digits=3),
        Table("programs", "memory", "Programs, peak resident memory", "MiB",
              of_field(found, "rss"), scale=MIB),
    ]
