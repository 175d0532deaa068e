# SPDX-License-Identifier: MIT
"""The umem command inside of gdb, loaded as gdb loads it by itself."""

import re
import shutil

import pytest

from harness import paths, run
from leak_support import build, target_of, umem, waiting

SCRIPT = "libumem.so.1.0.0-gdb.py"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return build(tmp_path_factory.mktemp("gdb"), "leak_kinds.c")


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """A folder of auto-loaded scripts with ours where an installation below / has it."""
    folder = tmp_path_factory.mktemp("auto-load")
    found = list((paths.prefix() / "share/gdb/auto-load").glob(f"**/{SCRIPT}"))
    assert len(found) == 1
    library = paths.libumem().resolve()
    # Where it is installed is where gdb looks: below its folder, by the library's path.
    assert str(library).endswith(str(found[0].relative_to(
        paths.prefix() / "share/gdb/auto-load")).removesuffix("-gdb.py"))
    place = folder / str(library.parent).lstrip("/")
    place.mkdir(parents=True)
    shutil.copy(found[0], place / SCRIPT)
    return folder


def gdb(scripts, target, *commands, umem_path=None):
    argv = ["gdb", "-batch", "-nx", "-iex", f"add-auto-load-scripts-directory {scripts}",
            "-iex", f"add-auto-load-safe-path {scripts}", *map(str, target)]
    for command in commands:
        argv += ["-ex", command]
    return run(argv, env={"UMEM": umem_path or paths.umem()}, timeout=120)


def test_core(program, scripts, tmp_path):
    with waiting(program, "lose", debug="audit=16", cwd=tmp_path) as process:
        core = target_of(process, "gcore", tmp_path)
    plain = umem("leaks", core)
    assert plain.returncode == 1
    inside = gdb(scripts, [program, core], "umem leaks")
    assert plain.stdout.strip() in inside.stdout
    address = re.search(r"0x[0-9a-f]{8,}", umem("leaks", core, "--format=json").stdout).group()
    expected = umem("whatis", core, address).stdout.strip()
    assert expected in gdb(scripts, [program, core], f"umem whatis {address}").stdout
    # An expression, and one that is none.
    assert expected in gdb(scripts, [program, core], f"umem whatis (char*){address}+0").stdout
    assert "nobody: No symbol" in gdb(scripts, [program, core], "umem whatis nobody").stderr
    assert "Usage: umem leaks" in gdb(scripts, [program, core], "umem help leaks").stdout


def test_stopped_process(program, scripts):
    with waiting(program, "lose", debug="audit=16") as process:
        result = gdb(scripts, ["-p", process.pid], "umem status", "umem leaks --max=1")
        assert "libumem" in result.stdout and "leaked buffers" in result.stdout, result
        assert process.process.poll() is None


def test_nothing_to_look_at(program, scripts):
    commands = ["set environment LD_BIND_NOW=1", "break main", "run lose", "kill", "umem leaks"]
    result = gdb(scripts, [program], *commands)
    assert "umem: nothing to look at: load a core by 'core-file', or 'run'" in result.stderr, result


def test_misuse(program, scripts, tmp_path):
    with waiting(program, "hold", cwd=tmp_path) as process:
        core = target_of(process, "gcore", tmp_path)
    result = gdb(scripts, [program, core], "umem", "umem run true")
    assert "umem: needs a verb; 'umem help' lists them" in result.stderr
    result = gdb(scripts, [program, core], "umem run true")
    assert "umem: 'umem run' is for a shell, not for a debugger" in result.stderr
    result = gdb(scripts, [program, core], "umem leaks", umem_path="/nowhere/umem")
    assert "umem: there is no umem command on the PATH" in result.stderr
