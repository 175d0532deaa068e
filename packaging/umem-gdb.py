# SPDX-License-Identifier: MIT
"""The umem command inside of gdb: "umem leaks", "umem whatis $rdi", on the core
or the stopped process that is being debugged.

gdb loads this with libumem.so.1.  What is asked is answered by the umem command
itself, which reads the library's own description of its structures and needs no
debug information: of a core by its file, of a process by a core that gdb writes
and that is removed afterwards, since a process has one tracer at a time.
"""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile

import gdb

# Verbs that start a process, or that want one which runs, or two targets.
NOT_HERE = ("run", "top", "core", "snapshot", "shell", "diff")


def find_program():
    program = shutil.which(os.environ.get("UMEM", "umem"))
    if program is None:
        raise gdb.GdbError("umem: there is no umem command on the PATH; name it by "
                           "'python os.environ[\"UMEM\"] = \"/path/of/umem\"'")
    return program


def show(command):
    """Runs the command; what it prints goes through gdb, its pager and logging."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               stdin=subprocess.DEVNULL, text=True, errors="replace")
    with process.stdout:
        for line in process.stdout:
            gdb.write(line)
    process.wait()


@contextlib.contextmanager
def core_of_target():
    """The path of the core that is being debugged, or of one made of the process."""
    found = re.search(r"Local core dump file:\s+`(.*)', file type",
                      gdb.execute("info files", to_string=True))
    if found:
        yield found.group(1)
        return
    if gdb.selected_inferior().pid == 0:
        raise gdb.GdbError("umem: nothing to look at: load a core by 'core-file', or 'run'")
    with tempfile.TemporaryDirectory(prefix="umem-gdb-") as folder:
        path = os.path.join(folder, "core")
        gdb.execute(f"generate-core-file {path}", to_string=True)
        yield path


def value(word):
    """An argument that is no number: an expression, $rdi or &buffer say."""
    if re.fullmatch(r"(0x)?[0-9a-fA-F]+", word):
        return word
    try:
        return hex(int(gdb.parse_and_eval(word).cast(gdb.lookup_type("unsigned long"))))
    except gdb.error as error:
        raise gdb.GdbError(f"umem: {word}: {error}")


class Umem(gdb.Command):
    """Explain the heap of a program under libumem: umem VERB [OPTIONS] [ADDRESS].

umem leaks            memory that nothing points to
umem status           version, settings and messages of the allocator
umem whatis ADDRESS   what an address belongs to; any expression of gdb's
umem help [VERB]      the others

The target is the core, or the stopped process, that is being debugged."""

    def __init__(self):
        super().__init__("umem", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        self.dont_repeat()
        words = shlex.split(argument)
        if not words:
            raise gdb.GdbError("umem: needs a verb; 'umem help' lists them")
        program, verb, rest = find_program(), words[0], words[1:]
        if verb in ("help", "--help", "--version") or "--help" in rest:
            show([program, *words])
            return
        if verb in NOT_HERE:
            raise gdb.GdbError(f"umem: 'umem {verb}' is for a shell, not for a debugger")
        options = [word for word in rest if word.startswith("-")]
        values = [value(word) for word in rest if not word.startswith("-")]
        executable = gdb.current_progspace().filename
        if executable:
            options.append(f"--exe={executable}")
        with core_of_target() as core:
            show([program, verb, *options, core, *values])

    def complete(self, text, word):
        program = shutil.which(os.environ.get("UMEM", "umem"))
        if program is None or " " in text:
            return gdb.COMPLETE_EXPRESSION
        listed = subprocess.run([program, "--help"], capture_output=True, text=True, check=False)
        verbs = re.findall(r"^  ([a-z]+)  ", listed.stdout, re.M)
        return [verb for verb in verbs if verb.startswith(text) and verb not in NOT_HERE]


Umem()
