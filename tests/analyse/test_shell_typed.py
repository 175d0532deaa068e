# SPDX-License-Identifier: MIT
"""`umem shell` on a terminal: prompt, history, completion, interrupts, the end."""

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time

import pytest

from harness import clean_env, paths, wait_for
from shell_support import Core, start

TIMEOUT_S = 30
TAB, UP, CONTROL_C, CONTROL_D = "\t", "\x1b[A", "\x03", "\x04"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\x1b[=>]|\x07")


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    return Core(tmp_path_factory.mktemp("typed"))


class Terminal:
    """A shell that is typed to; for a with block."""

    def __init__(self, target):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [str(paths.umem()), "shell", str(target)], stdin=slave, stdout=slave, stderr=slave,
            env=clean_env(env={"TERM": "vt100", "HOME": "/nonexistent"}), close_fds=True,
            start_new_session=True, preexec_fn=self._take_terminal)
        os.close(slave)
        self.raw = ""

    @staticmethod
    def _take_terminal():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def text(self):
        return ESCAPES.sub("", self.raw)

    def read_until(self, pattern, start=0):
        """Reads until what came from start on has the pattern; returns that part."""
        end = time.monotonic() + TIMEOUT_S
        while not re.search(pattern, self.text()[start:], re.DOTALL):
            if time.monotonic() > end:
                raise TimeoutError(f"no {pattern!r} in {self.text()[start:]!r}")
            self.read()
        return self.text()[start:]

    def read(self):
        """Takes what has come; False: the other side is gone."""
        if select.select([self.master], [], [], 0.05)[0]:
            try:
                self.raw += os.read(self.master, 65536).decode("utf-8", "replace")
            except OSError:
                return False
        return True

    def type(self, keys, pattern):
        """Types keys; what came after them, up to the pattern."""
        start = len(self.text())
        os.write(self.master, keys.encode())
        return self.read_until(pattern, start)

    def programs(self):
        """Names of what runs on the terminal: /bin/sh may not have come to its command yet."""
        done = subprocess.run(["ps", "-o", "comm=", "--sid", str(self.process.pid)],
                              capture_output=True, text=True, check=False)
        return done.stdout.split()

    def type_last(self, keys):
        """Types what ends the shell; its exit code."""
        os.write(self.master, keys.encode())
        # A terminal's settings are put back when all output has been read.
        wait_for(lambda: not self.read(), TIMEOUT_S, "end of the shell")
        return self.process.wait(TIMEOUT_S)

    def __enter__(self):
        self.read_until(r"::help tells how to begin\n> $")
        return self

    def __exit__(self, *exception):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self.master)


def test_commands_and_the_end(core):
    with Terminal(core.path) as terminal:
        assert "rocket" in terminal.type("::umem_cache -n rocket\n", r"BUFTOTL.*\n> $")
        assert "umem: nothing: no such command" in terminal.type("::nothing\n", r"umem: .*\n> $")
        assert terminal.type_last("::quit\n") == 0
    with Terminal(core.path) as terminal:
        assert terminal.type_last(CONTROL_D) == 0


needs_libedit = pytest.mark.skipif(
    "libedit" not in subprocess.run(["ldd", str(paths.umem())], capture_output=True, text=True,
                                    check=False).stdout, reason="built without libedit")


@needs_libedit
def test_history(core):
    with Terminal(core.path) as terminal:
        terminal.type("::echo first\n", r"\nfirst\n> $")
        terminal.type("::echo second\n", r"\nsecond\n> $")
        terminal.type(UP + UP + "\n", r"\nfirst\n> $")
        terminal.type(UP + "\n", r"\nfirst\n> $")


@needs_libedit
def test_completion(core):
    with Terminal(core.path) as terminal:
        terminal.type("::findl" + TAB, r"::findleaks $")  # the only one: with a blank
        terminal.type("\n", r"Total.*\n> $")
        several = terminal.type("::bufctl" + TAB, r"bufctl  bufctl_audit.*::bufctl$")
        assert "bufctl  bufctl_audit\n" in several
        terminal.type("_" + TAB, r"_audit $")
        terminal.type("\x15::walk roc" + TAB, r"::walk rocket $")  # a cache
        terminal.type("\n", r"0x[0-9a-f]+\n> $")
        terminal.type("::walk umem_slab_p" + TAB, r"umem_slab_partial $")
        terminal.type("\x15::help findst" + TAB, r"findstack $")
        terminal.type("\n", r"NAME.*EXAMPLES.*\n> $")
        terminal.type("10>sixteen\n", r"\n> $")
        terminal.type("<sixt" + TAB, r"<sixteen $")
        terminal.type("=D\n", r"16 *\n> $")


def test_interrupt(core):
    """It ends what runs, and the line that is typed, and not the shell."""
    with Terminal(core.path) as terminal:
        terminal.type("::echo half a li", r"half a li$")
        terminal.type(CONTROL_C, r"\n> $")
        terminal.type("::echo whole\n", r"\nwhole\n> $")
        terminal.type("! sleep 1000\n", r"sleep 1000\n")
        wait_for(lambda: "sleep" in terminal.programs(), TIMEOUT_S, "sleep")
        terminal.type(CONTROL_C, r"\n> $")
        terminal.type("10,0t16000000=X\n", r"X\n.{1000}")
        terminal.type(CONTROL_C, r"umem: interrupted\n> $")
        assert "libc" in terminal.type("$c\n", r"\n> $")  # the helper that knows names lives on


def test_live_target_runs_on(core, tmp_path):
    with start(tmp_path) as process:
        with Terminal(process.pid) as terminal:
            terminal.type("::status\n", r"as they were.*\n> $")
            assert terminal.type_last("$q\n") == 0
        with open(f"/proc/{process.pid}/stat", encoding="ascii") as file:
            assert file.read().rsplit(")", 1)[1].split()[0] in "SR"
