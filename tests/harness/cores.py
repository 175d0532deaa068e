# SPDX-License-Identifier: MIT
"""Core files: gcore of a live process, and the kernel's own."""

import pathlib
import subprocess

from harness.process import clean_env, run

GCORE_TIMEOUT_S = 120


def gcore(pid, directory):
    """Takes a core of a process with gdb's gcore and returns its path.

    Never with LD_PRELOAD: gdb hangs under a preloaded malloc.
    """
    stem = pathlib.Path(directory) / "gcore"
    done = subprocess.run(["gcore", "-o", str(stem), str(pid)], env=clean_env(),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=GCORE_TIMEOUT_S, check=False)
    core = pathlib.Path(f"{stem}.{pid}")
    if not core.exists():
        raise RuntimeError(f"gcore {pid}: {done.stdout}{done.stderr}")
    return core


def core_pattern_is_usable():
    """Whether the kernel writes cores as files into the working directory."""
    pattern = pathlib.Path("/proc/sys/kernel/core_pattern").read_text().strip()
    return not pattern.startswith("|") and "/" not in pattern


def kernel_core(argv, directory, **options):
    """Runs a program that is to die with a core in directory.

    Returns (Result, path of the core).  Ask core_pattern_is_usable() first:
    a pattern that pipes or names another directory is the machine's choice.
    """
    directory = pathlib.Path(directory)
    before = set(directory.iterdir())
    result = run(argv, cwd=directory, core=True, **options)
    new = [path for path in directory.iterdir() if path not in before and is_core(path)]
    if not new:
        raise RuntimeError(f"no core file in {directory}: {result}")
    return result, new[0]


def is_core(path):
    """Whether a file is an ELF core: type 4 in the header's e_type."""
    with open(path, "rb") as file:
        head = file.read(18)
    return head[:4] == b"\x7fELF" and int.from_bytes(head[16:18], "little") == 4
