# SPDX-License-Identifier: MIT
"""The mistake from the weblog that the project comes from: malloc(sizeof(pointer)).

The program is compiled as a newcomer would, with -g and nothing else.
"""

import pathlib
import signal

import pytest

from harness import run
from harness.cores import is_core
from test_misuse import CORRUPT, DEBUG, REDZONE, frames_after

NOBODY = 65534


@pytest.fixture(params=["caller", "nobody"])
def user(request):
    if request.param == "caller":
        return None
    request.getfixturevalue("needs_root")
    return NOBODY


@pytest.fixture
def directory(programs, user):
    """A working directory that the user may write to."""
    path = programs.directory / f"weblog-{user}"
    path.mkdir(exist_ok=True)
    path.chmod(0o777)
    for old in path.iterdir():
        old.unlink()
    return path


@pytest.fixture
def weblog(programs):
    return programs("weblog.c", flags=())


def test_dies_with_report(programs, weblog, user, directory):
    result = run([weblog], preload=programs.library(), debug=DEBUG, user=user, cwd=directory)
    assert result.signal == signal.SIGABRT, result
    assert result.stdout == "both set\n", result
    lines = result.stderr.splitlines()
    assert lines[0] == f"umem allocator: {REDZONE}", result
    assert frames_after(result.stderr.split(CORRUPT)[0], "allocated by")[:2] in (
        ["make_pair", "main"], ["malloc", "make_pair"]), result
    assert "main" in frames_after(result.stderr.split(CORRUPT)[1], r"\s*stack of"), result


def test_leaves_a_core(programs, weblog, user, directory, needs_core_files):
    result = run([weblog], preload=programs.library(), debug=DEBUG, user=user, core=True,
                 cwd=directory)
    assert result.signal == signal.SIGABRT, result
    cores = [path for path in pathlib.Path(directory).iterdir() if is_core(path)]
    assert len(cores) == 1, list(directory.iterdir())
    if user is not None:
        assert cores[0].stat().st_uid == user


def test_linked_dies_too(programs, directory, user):
    library = programs.library()
    linked = programs("weblog.c", name="weblog-linked", flags=(),
                      libs=(f"-L{library.parent}", f"-Wl,-rpath,{library.parent}",
                            "-Wl,--no-as-needed", "-l:libumem.so.1"))
    result = run([linked], debug=DEBUG, user=user, cwd=directory)
    assert result.signal == signal.SIGABRT, result
    assert result.stderr.startswith(f"umem allocator: {REDZONE}\n"), result


@pytest.mark.parametrize("preload", [False, True])
def test_runs_as_before_without_debugging(programs, weblog, user, directory, preload):
    library = programs.library() if preload else False
    result = run([weblog], preload=library, user=user, cwd=directory)
    assert (result.returncode, result.stdout, result.stderr) == (0, "both set\nfreed\n", "")
