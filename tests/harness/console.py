# SPDX-License-Identifier: MIT
"""Documents that show commands with what they print.

A block of a document that is fenced by ```console has lines that begin with
"$ ", which are commands for the shell, and behind each what it prints, both of
its streams in one.  Nothing of that is written by hand: scripts/tour runs the
commands and fills the outputs in, and a test runs them again and compares, all
but what differs from run to run.
"""

import os
import pathlib
import re
import signal
import subprocess

from harness import paths
from harness.process import clean_env

BLOCK = re.compile(r"^```console\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
TIMEOUT_S = 120

# What differs: addresses, threads, times, and the bytes round a place.
VARYING = [
    (re.compile(r"^  [+-]0x[0-9a-f]+ .*$", re.MULTILINE), "  BYTES"),
    (re.compile(r"\b0x[0-9a-f]{8,}\b"), "ADDRESS"),
    (re.compile(r"\b[0-9a-f]{11,16}\b"), "ADDRESS"),  # as mdb writes it
    (re.compile(r"should be 0x[0-9a-f]+"), "should be BYTE"),
    (re.compile(r"\+0x[0-9a-f]+"), "+OFFSET"),
    (re.compile(r"\b(thread|pid) \d+"), r"\1 N"),
    (re.compile(r"\b\d+(\.\d+)? (s|ms) ago"), "T ago"),
    (re.compile(r"\(core dumped\)"), ""),
    # libc's own functions: their names are there only with its symbols.
    (re.compile(r"^ *(libc\.so\.6|ld-linux).*$", re.MULTILINE), "  LIBC"),
    (re.compile(r"^ *(__libc_start_\w+|_start|\w+`_start).*$", re.MULTILINE), "  LIBC"),
    (re.compile(r"(  LIBC\n)+"), "  LIBC\n"),  # as many frames as its symbols tell
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r" $", re.MULTILINE), ""),
]


def run_command(command, cwd):
    """What a command prints, both streams, and how the shell tells of a signal."""
    examples = paths.build() / "examples"
    env = clean_env(env={
        "PATH": f"{paths.prefix() / 'bin'}:{examples}:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": paths.library_dir()})
    # pylint: disable=subprocess-run-check
    done = subprocess.run(["/bin/sh", "-c", f"exec 2>&1; {command}"], cwd=cwd, env=env,
                          stdout=subprocess.PIPE, timeout=TIMEOUT_S)
    # Where the compiler was run is no one's business.
    text = done.stdout.decode("utf-8", "replace").replace(f"{paths.build()}/../", "")
    code = done.returncode if done.returncode >= 0 else 128 - done.returncode
    if code > 128 and code - 128 in (signal.SIGABRT, signal.SIGSEGV):
        name = {signal.SIGABRT: "Aborted", signal.SIGSEGV: "Segmentation fault"}[code - 128]
        if name not in text:
            text += f"{name}\n"
    return text


def stable(text):
    """The text without what differs from run to run."""
    for pattern, replacement in VARYING:
        text = pattern.sub(replacement, text)
    return text


def filled(text, cwd):
    """The document, with what its commands print now."""
    def fill(match):
        body = "".join(f"$ {command}\n{run_command(command, cwd)}"
                       for command in (line[2:] for line in match["body"].splitlines()
                                       if line.startswith("$ ")))
        return f"```console\n{body}```"
    return BLOCK.sub(fill, text)


def shown(text):
    """Of each block its commands with the outputs that the document shows: a list of lists."""
    result = []
    for match in BLOCK.finditer(text):
        pairs = []
        for line in match["body"].splitlines(keepends=True):
            if line.startswith("$ "):
                pairs.append([line[2:].rstrip("\n"), ""])
            else:
                pairs[-1][1] += line
        result.append(pairs)
    return result


def documents():
    """Those that have such blocks."""
    return [path for path in sorted(pathlib.Path(paths.REPO / "docs").glob("*.md"))
            if BLOCK.search(path.read_text(encoding="utf-8"))]
