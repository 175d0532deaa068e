# SPDX-License-Identifier: MIT
"""What the pages of the umem command show in their examples is what it prints: the commands are
run on a program as those tell of (server.c), and lines are compared without their numbers and
names."""

import pathlib
import re
import sys

import pytest

from harness import Background, compile_c, paths, run, wait_for

sys.path.insert(0, str(paths.REPO / "scripts"))
import house_rules  # noqa: E402
import man_examples  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
PAGES = {verb: man_examples.commands((paths.REPO / "man" / f"umem-{verb}.1").read_text())
         for verb in house_rules.verbs()}
SHOWN = [verb for verb, pairs in PAGES.items() if any(lines for _, lines in pairs)]
# Of other verbs a page shows what to type alone.
TYPED_ONLY = {"leaks", "report", "run"}
ELIDED = "..."
PID, ADDRESS = "22186", "0x7f9569e90000"  # as the pages have them
# Freed buffers are there again at once where they are not in quarantine.
DEBUG = dict.fromkeys(("history", "log"), "audit=64")

SHAPES = [
    (re.compile(r" \(inlined\)"), ""),
    (re.compile(r"\w+( < \w+)+"), "NAME"),                    # functions, from within
    (re.compile(r"\b(known_leaks|server|serve)\b(?!\.c)"), "NAME"),
    (re.compile(r"\b[A-Za-z]\w*\+0x[0-9a-f]+"), "NAME"),      # function+offset
    (re.compile(r"[\w./+-]*\.(c|so)\b[\w.:]*"), "NAME"),       # file:line, library
    (re.compile(r"\b[A-Za-z_]\w*_\w*"), "NAME"),              # caches, functions
    (re.compile(r"\b0x[0-9a-f]+|\b[0-9a-f]{16}\b"), "ADDRESS"),
    (re.compile(r" #+ "), " "),                                # bars
    (re.compile(r"[+-]?\b\d[\d,.]*([KMGT]\b)?"), "N"),
    (re.compile(r" \.(?=[ ,]|$)"), " N"),                        # no change
    (re.compile(r"\bN (s|ms|min|h)\b"), "TIME"),
    (re.compile(r"\bTIME to TIME\b"), "TIME"),                   # of buffers a while apart
    (re.compile(r"\b(buffer|byte|fault|place|record|span|stack)s\b"), r"\1"),
    (re.compile(r"\b(core|snapshot)\.N\b"), "NAME"),
    (re.compile(r"\bmain\b"), "NAME"),
    (re.compile(r"\s+"), " "),
]


def shape(line):
    for pattern, replacement in SHAPES:
        line = pattern.sub(replacement, line)
    return line.strip()


@pytest.fixture(scope="module", name="program")
def fixture_program(tmp_path_factory):
    return compile_c(HERE / "server.c", tmp_path_factory.mktemp("server") / "server",
                     package="umem", flags=["-O1", "-fno-builtin", "-pthread",
                                              "-Wl,--disable-new-dtags"],
                     libs=["-lstackalloc"])


class Session:
    """A shell with that program, in which the commands of a page are typed."""

    def __init__(self, process, cwd):
        self.process, self.cwd = process, cwd
        self.entry = process.lines[0].split()[1]

    def more(self):
        before = len(self.process.lines)
        self.process.say("more")
        wait_for(lambda: len(self.process.lines) > before)

    def type(self, command):
        """What it prints; None where it is not run."""
        if command.startswith("sleep"):
            self.more()
        if not command.startswith("umem ") or command.startswith("umem run"):
            return None
        words = command.replace("$!", PID).split()[1:]
        words = [str(self.process.pid) if word == PID else self.entry if word == ADDRESS else word
                 for word in words]
        if words[0] == "top":
            words += ["--delay=1s", "--pictures=3"]
        if words[-1] == "core":
            run([paths.umem(), "core", self.process.pid, "-o", "core"], cwd=self.cwd)
        done = run([paths.umem(), *words], cwd=self.cwd)
        assert done.returncode in (0, 1), done
        return done.stdout.replace(str(self.process.pid), PID)


def test_pages_that_show_no_output():
    assert set(PAGES) - set(SHOWN) == TYPED_ONLY


@pytest.mark.parametrize("verb", SHOWN)
def test_examples_of_verb(verb, program, tmp_path):
    debug = DEBUG.get(verb, "audit=64,guards")
    with Background([program], debug=debug, env={"UMEM_LOGGING": "transaction"}) as process:
        process.wait_for_line("ready")
        session = Session(process, tmp_path)
        for command, lines in PAGES[verb]:
            printed = session.type(command)
            if printed is None:
                continue
            there = {shape(line) for line in printed.splitlines()}
            for line in lines:
                assert line == ELIDED or shape(line) in there, f"{line!r} is not in\n{printed}"
