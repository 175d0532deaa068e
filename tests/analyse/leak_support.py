# SPDX-License-Identifier: MIT
"""What the tests of leaks, status, stat and whatis share: the command, and
programs that wait to be looked at."""

import json
import os
import pathlib
import signal
import subprocess

from harness import Background, compile_c, gcore, paths, run
from harness.cores import is_core

HERE = pathlib.Path(__file__).resolve().parent
# DT_RPATH reaches the libraries of libraries too: libstackalloc needs libumem_core.
FLAGS = ["-O2", "-fomit-frame-pointer", "-pthread", "-Wno-unused-but-set-variable",
         "-Wl,--disable-new-dtags"]


def umem(*arguments, **options):
    """Runs the umem command."""
    return run([paths.umem(), *arguments], **options)


def umem_json(*arguments, expect=0):
    """Runs it with --format=json; the exit code must be one of expect."""
    result = umem(*arguments, "--format=json")
    codes = expect if isinstance(expect, tuple) else (expect,)
    assert result.returncode in codes, result
    return json.loads(result.stdout)


def build(directory, source="leak_kinds.c", package="umem", libs=("-lstackalloc",)):
    """Compiles a program of this folder (a name), or a text, against the library."""
    if source.endswith(".c"):
        return compile_c(HERE / source, pathlib.Path(directory) / source[:-2], package=package,
                         flags=FLAGS, libs=libs)
    return compile_c(source, pathlib.Path(directory) / "program", package=package, flags=FLAGS,
                     libs=libs)


def waiting(program, *arguments, debug=None, preload=False, cwd=None, env=None):
    """Starts a program that says "ready" and then waits; for a with block.

    cwd: where it may leave a core.
    """
    process = Background([program, *arguments], debug=debug, preload=preload, cwd=cwd,
                         core=cwd is not None, env=env)
    try:
        process.wait_for_line("ready")
    except BaseException:
        process.__exit__(None, None, None)
        raise
    return process


def target_of(process, how, directory):
    """The pid, or the path of a core: of gcore, or of the kernel, which ends the process."""
    if how == "live":
        return process.pid
    if how == "gcore":
        return gcore(process.pid, directory)
    os.kill(process.pid, signal.SIGABRT)
    process.wait()
    cores = [path for path in pathlib.Path(directory).iterdir() if is_core(path)]
    assert len(cores) == 1, cores
    return cores[0]


def refused(*arguments):
    """Runs what must be refused; returns the one line on stderr that says why."""
    result = umem(*arguments)
    assert result.returncode == 2, result
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("umem: "), result
    return lines[0]


def sleeping():
    """A process without the library."""
    return subprocess.Popen(["sleep", "100"])
