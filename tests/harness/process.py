# SPDX-License-Identifier: MIT
"""Running programs with and without the library, always under a time limit.

A program gets a process group of its own, so that a hang takes its children
along.  LD_PRELOAD and UMEM_* of the caller never leak into a test.
"""

import dataclasses
import os
import pathlib
import resource
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time

from harness import paths

DEFAULT_TIMEOUT_S = 60


@dataclasses.dataclass
class Result:
    argv: list
    returncode: int  # as the shell has it, but -N where signal N ended the program
    stdout: str
    stderr: str
    seconds: float

    @property
    def signal(self):
        """The signal that ended it, or None."""
        return signal.Signals(-self.returncode) if self.returncode < 0 else None

    def __str__(self):
        how = self.signal.name if self.signal else f"exit code {self.returncode}"
        return (f"{' '.join(map(str, self.argv))}: {how} after {self.seconds:.1f} s\n"
                f"--- stdout\n{self.stdout[-4000:]}\n--- stderr\n{self.stderr[-8000:]}")


def clean_env(preload=False, debug=None, env=None):
    """The environment for a program.

    preload: True for libumem.so.1, or a path, or a list of paths, False for
    none.  debug: the value of UMEM_DEBUG.  env: further variables; a value of
    None takes one away.
    """
    result = {name: value for name, value in os.environ.items()
              if name not in ("LD_PRELOAD", "LD_LIBRARY_PATH") and not name.startswith("UMEM_")}
    if preload:
        libraries = [paths.libumem()] if preload is True else preload
        if isinstance(libraries, (str, os.PathLike)):
            libraries = [libraries]
        result["LD_PRELOAD"] = ":".join(str(library) for library in libraries)
    if debug is not None:
        result["UMEM_DEBUG"] = debug
    for name, value in (env or {}).items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = str(value)
    return result


def _prepare(core_limit, user):
    """What the child does before exec: limit of core files, another user."""
    def prepare():
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard if core_limit else 0, hard))
        if user is not None:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
    return prepare


def _out_of_reach(path):
    """Whether only this user gets to a file, as below /root."""
    return any(not folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)


def _within_reach(program, scratch):
    """The program, or a copy that any user may execute."""
    path = pathlib.Path(program)
    if not path.is_absolute() or not _out_of_reach(path):
        return program
    os.chmod(scratch, 0o755)
    copy = pathlib.Path(scratch) / path.name
    shutil.copy(path, copy)
    copy.chmod(0o755)
    return str(copy)


def run(argv, *, user=None, **options):
    """Runs a program to its end and returns a Result.

    user: numeric user and group to become, for root; the program is brought
    within that user's reach.  Other options are those of _run().
    """
    if user is None:
        return _run(argv, **options)
    with tempfile.TemporaryDirectory(prefix="umem-user-") as scratch:
        return _run([_within_reach(str(argv[0]), scratch), *argv[1:]], user=user, **options)


def _run(argv, *, preload=False, debug=None, env=None, cwd=None, stdin=None,
         timeout=DEFAULT_TIMEOUT_S, core=False, user=None):
    """As run().

    TimeoutError, with what it said so far, where it does not end in time.
    core: allow core files (into cwd, where the kernel's pattern is relative).
    stdin: text for it.
    """
    argv = [str(part) for part in argv]
    started = time.monotonic()
    process = subprocess.Popen(argv, env=clean_env(preload, debug, env), cwd=cwd,
                               stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               errors="replace", start_new_session=True,
                               preexec_fn=_prepare(core, user))
    try:
        out, err = process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired:
        kill_group(process)
        out, err = process.communicate()
        raise TimeoutError(f"still running after {timeout} s: {' '.join(argv)}\n"
                           f"--- stdout\n{out[-4000:]}\n--- stderr\n{err[-4000:]}") from None
    return Result(argv, process.returncode, out, err, time.monotonic() - started)


def kill_group(process):
    """Ends a process and what it started in its group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def wait_for(condition, timeout=DEFAULT_TIMEOUT_S, what="condition"):
    """Polls until condition() is true and returns its value; TimeoutError."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"no {what} after {timeout} s")
        time.sleep(0.01)


class Background:
    """A program that runs beside the test; ended when the block is left.

    user: numeric user and group to become, for root; he must get to the program.

        with Background([program], preload=True) as p:
            p.wait_for_line("ready")
            ... p.pid ...
    """

    def __init__(self, argv, *, preload=False, debug=None, env=None, cwd=None, core=False,
                 user=None):
        self.argv = [str(part) for part in argv]
        self.lines, self.errors = [], []
        self.process = subprocess.Popen(
            self.argv, env=clean_env(preload, debug, env), cwd=cwd, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
            start_new_session=True, preexec_fn=_prepare(core, user))
        self._readers = [self._reader(self.process.stdout, self.lines),
                         self._reader(self.process.stderr, self.errors)]

    @staticmethod
    def _reader(stream, lines):
        def read():
            for line in stream:
                lines.append(line.rstrip("\n"))
        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return thread

    @property
    def pid(self):
        return self.process.pid

    def wait_for_line(self, text, timeout=DEFAULT_TIMEOUT_S):
        """Waits for a line on stdout that contains text, and returns it."""
        def found():
            # Asked first: what it says last comes before its end.
            ended = self.process.poll() is not None and not self._readers[0].is_alive()
            for line in list(self.lines):
                if text in line:
                    return line
            if ended:
                raise RuntimeError(f"{self.argv[0]} ended ({self.process.returncode}) before "
                                   f"it said {text!r}: {self.lines} {self.errors}")
            return None
        return wait_for(found, timeout, f"line with {text!r} from {self.argv[0]}")

    def say(self, text):
        """Writes a line to its stdin."""
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def wait(self, timeout=DEFAULT_TIMEOUT_S):
        """Waits for its end and returns the exit code."""
        code = self.process.wait(timeout)
        for reader in self._readers:
            reader.join(timeout)
        return code

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.process.poll() is None:
            kill_group(self.process)
        self.process.wait()
        for reader in self._readers:
            reader.join(5)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            try:
                stream.close()
            except BrokenPipeError:
                pass
