# SPDX-License-Identifier: MIT
"""What the tests of `umem shell` share: a core to look at, and commands on it."""

import re

from harness import Background, gcore
from leak_support import build, umem

LOGGING = {"UMEM_LOGGING": "transaction,fail,slab"}
DEBUG = "audit=20,guards"


def start(directory):
    """The fixture program, waiting; for a with block."""
    # Bound at once: how deep the dynamic linker goes on a stack depends on the processor.
    program = build(directory, "shell_fixture.c", libs=("-lstackalloc", "-Wl,-z,now"))
    process = Background([program], debug=DEBUG, env=LOGGING)
    try:
        process.wait_for_line("ready")
    except BaseException:
        process.__exit__(None, None, None)
        raise
    return process


class Core:
    """A core of the fixture program, and what it said before."""

    def __init__(self, directory):
        with start(directory) as process:
            self.path = gcore(process.pid, directory)
            self.pid = process.pid
            words = [line.split() for line in process.lines]
            self.at = {word[0]: int(word[1], 16) for word in words if len(word) == 2}

    def shell(self, *commands, expect=0):
        """Runs commands; what they print.  There is nothing on stderr unless 2 is expected."""
        options = [word for command in commands for word in ("-e", command)]
        result = umem("shell", *options, self.path)
        assert result.returncode == expect, result
        assert (result.stderr == "") == (expect != 2), result
        return result.stdout if expect != 2 else result.stdout + result.stderr

    def lines(self, *commands, expect=0):
        return self.shell(*commands, expect=expect).splitlines()

    def walk(self, text):
        """The addresses that a pipeline ends in."""
        return [int(line, 16) for line in self.lines(text)]


def commands_of(core):
    """Names of all commands."""
    return [line.split()[0] for line in core.lines("::dcmds")]


def walkers_of(core):
    return [line.split()[0] for line in core.lines("::walkers") if "NAME of a cache" not in line]


def helps_of(core):
    """Of each command what ::help says."""
    names = commands_of(core)
    words = [word for name in names for word in ("::echo =====", f"::help {name}")]
    return dict(zip(names, core.shell(*words).split("=====\n")[1:]))


def examples_of(text):
    """The command lines in what ::help says."""
    return re.findall(r"^  > (.*)$", text.split("EXAMPLES\n")[1], re.MULTILINE)
