# SPDX-License-Identifier: MIT
"""Where a replaced malloc is known to break: start, end, fork, limits, set-uid."""

import functools
import os
import pathlib
import shutil
import signal

import pytest

from harness import run
from test_malloc_family import DEBUG, sections

HERE = pathlib.Path(__file__).parent
WAYS = {
    "glibc": dict(),
    "preload": dict(preload=True),
    "debug": dict(preload=True, debug=DEBUG),
}
NOBODY = 65534
C_FLAGS = ("-O1", "-w")


@functools.lru_cache(maxsize=None)
def plugin(programs):
    return programs("plugin.c", name="plugin.so", flags=("-O1", "-shared", "-fPIC"))


@pytest.mark.parametrize("section", sections("hard_spots.c"))
@pytest.mark.parametrize("way", WAYS)
def test_hard_spot(programs, section, way):
    program = programs("hard_spots.c", flags=C_FLAGS)
    result = run([program, section], env={"PLUGIN": plugin(programs)}, timeout=120, **WAYS[way])
    assert result.returncode == 0 and result.stdout == f"ok {section}\n", result
    assert result.stderr == "", result


# Other layouts of the address space: no randomisation, the old bottom-up one, no end of stack.
LAYOUTS = {"fixed": ["setarch", "-R"], "old": ["setarch", "-L"],
           "endless stack": ["prlimit", "--stack=unlimited"]}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("way", WAYS)
def test_address_space_layouts(programs, way, layout):
    program = programs("hard_spots.c", flags=C_FLAGS)
    if run([*LAYOUTS[layout], "true"]).returncode != 0:
        pytest.skip(f"{' '.join(LAYOUTS[layout])} is not allowed here")
    for section in ("orphans", "deep_recursion", "thread_exit_destructors", "coroutines"):
        result = run([*LAYOUTS[layout], program, section], timeout=120, **WAYS[way])
        assert (result.returncode, result.stdout, result.stderr) == (0, f"ok {section}\n", "")


@pytest.mark.parametrize("way", WAYS)
def test_before_and_after_main(programs, way):
    result = run([programs("early.c", flags=C_FLAGS)], **WAYS[way])
    assert result.returncode == 7 and result.stderr == "", result
    assert result.stdout == "preinit first second main on_exit atexit destructor \n", result


@pytest.mark.parametrize("way", WAYS)
def test_exit_while_threads_allocate(programs, way):
    for _ in range(10):
        result = run([programs("exit_while_busy.c", flags=C_FLAGS)], **WAYS[way])
        assert (result.returncode, result.stdout, result.stderr) == (5, "leaving\n", ""), result


@pytest.mark.parametrize("way", WAYS)
def test_main_thread_ends_first(programs, way):
    result = run([programs("main_leaves.c", flags=C_FLAGS)], **WAYS[way])
    assert (result.returncode, result.stdout, result.stderr) == (0, "went on\n", ""), result


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("way", WAYS)
def test_closed_descriptors(programs, way, closed):
    command = f'exec "$0" {closed}'
    result = run(["/bin/sh", "-c", command, programs("early.c", flags=C_FLAGS)], **WAYS[way])
    assert result.returncode == 7 and result.stderr == "", result


@pytest.mark.parametrize("way", WAYS)
def test_descriptor_2_is_the_programs_own(programs, way, tmp_path):
    """A file opened as descriptor 2 holds what the program wrote, nothing more."""
    data = tmp_path / "data"
    command = 'exec 2>"$1"; "$0" && echo written >&2'
    result = run(["/bin/sh", "-c", command, programs("orderly.c", flags=C_FLAGS), data],
                 **WAYS[way])
    assert result.returncode == 0, result
    assert data.read_text() == "written\n"


# Debugging needs room for its own: tags, transactions, stacks.
@pytest.mark.parametrize("way,megabytes", [("glibc", 80), ("preload", 80), ("debug", 140)])
def test_address_space_limit(programs, way, megabytes):
    program = programs("limits.c", flags=C_FLAGS)
    result = run(["prlimit", f"--as={megabytes << 20}", program, "space"], timeout=120,
                 **WAYS[way])
    assert (result.returncode, result.stdout, result.stderr) == (0, "ok space\n", ""), result


@pytest.mark.parametrize("way,megabytes", [("glibc", 16), ("preload", 16), ("debug", 32)])
def test_small_address_space(way, megabytes):
    """A small program starts and ends under a small limit."""
    result = run(["prlimit", f"--as={megabytes << 20}", "ls", "-l", "/usr"], env={"LC_ALL": "C"},
                 **WAYS[way])
    plain = run(["ls", "-l", "/usr"], env={"LC_ALL": "C"})
    assert (result.returncode, result.stdout, result.stderr) == (0, plain.stdout, ""), result


@pytest.mark.parametrize("way", WAYS)
def test_locked_memory_limit(programs, way):
    """mlockall(MCL_FUTURE) under the usual limit: every mapping counts, reservations too."""
    how = dict(WAYS[way])
    if how.get("preload"):
        how["preload"] = programs.library()
    command = ["prlimit", f"--memlock={8 << 20}"]
    if os.geteuid() == 0:  # who may lock without limit
        command += ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    program = programs("limits.c", flags=C_FLAGS)
    result = run([*command, program, "lock"], timeout=120, **how)
    assert (result.returncode, result.stdout, result.stderr) == (0, "ok lock\n", ""), result


def make_set_uid(program):
    program.chmod(0o4755)


def make_capable(program):
    if shutil.which("setcap") is None:
        pytest.skip("setcap is not installed")
    if run(["setcap", "cap_net_raw+ep", program]).returncode != 0:
        pytest.skip("the file system of temporary files has no capabilities")


PLAIN = "threads 1, SEGV default, USR1 default, 10 MiB ok\n"
# What a caller may set, and what shows of it in a program that listens to him.
SETTINGS = {
    "audit=64,guard": "fresh memory baddcafe",
    "default": "fresh memory baddcafe",
    "guards,quarantine=1g,maxverify=0,noabort": "fresh memory baddcafe",
    "fail=1": 1,
    "mtbf=1": 1,
    "checknull,fail=1": -signal.SIGABRT,
    "verify=USR1": "USR1 taken",
    "firewall=1": "SEGV taken",
    "sample=1": "SEGV taken",
    "UMEM_OPTIONS=agent": "threads 2",
    "UMEM_OPTIONS=reap_thread": "threads 2",
    "UMEM_OPTIONS=limit=1m": "10 MiB refused",
}


def setting_env(setting):
    name, _, value = setting.partition("=")
    return {name: value} if name.startswith("UMEM_") else {"UMEM_DEBUG": setting}


def shows(result, effect):
    return result.returncode == effect if isinstance(effect, int) else effect in result.stdout


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("privilege", [make_set_uid, make_capable])
def test_privileged_program_ignores_settings(programs, needs_root, privilege, setting):
    """What an unprivileged caller sets does not reach a program that is more than he is."""
    library = programs.library()
    ordinary = programs("secure.c", libs=(f"-L{library.parent}", f"-Wl,-rpath,{library.parent}",
                                          "-l:libumem.so.1"))
    env, effect = setting_env(setting), SETTINGS[setting]
    result = run([ordinary], user=NOBODY)
    assert result.stdout.startswith(f"secure 0, euid {NOBODY}, "), result
    assert result.stdout.endswith(PLAIN), result
    assert shows(run([ordinary], env=env, user=NOBODY), effect)
    assert shows(run([ordinary], env=env), effect), "root is not a set-uid program"

    privileged = ordinary.with_name(privilege.__name__)
    shutil.copyfile(ordinary, privileged)
    os.chown(privileged, 0, 0)
    privileged.chmod(0o755)
    privilege(privileged)
    result = run([privileged], env=env, user=NOBODY)
    if "secure 0" in run([privileged], user=NOBODY).stdout:
        pytest.skip("the file system of temporary files ignores set-uid")
    assert result.returncode == 0 and result.stderr == "", result
    assert result.stdout.startswith("secure 1, ") and result.stdout.endswith(PLAIN), result
    assert "baddcafe" not in result.stdout, result


def test_both_libraries_in_one_process(programs):
    """libumem_core alone leaves malloc to libc; with libumem preloaded, that one serves all."""
    program = programs("both.c", flags=C_FLAGS, package="umem-core")
    alone = run([program])
    assert (alone.returncode, alone.stderr) == (0, ""), alone
    assert alone.stdout == "umem_alloc libumem_core.so.1\nmalloc libc.so.6\n", alone
    for how in (WAYS["preload"], WAYS["debug"]):
        both = run([program], **how)
        assert (both.returncode, both.stderr) == (0, ""), both
        assert both.stdout == "umem_alloc libumem.so.1\nmalloc libumem.so.1\n", both


@pytest.mark.parametrize("first", ["wrapper", "libumem"])
@pytest.mark.parametrize("debug", [None, DEBUG])
def test_beside_another_preload(programs, libumem, tmp_path, first, debug):
    """A profiler's wrapper in front of malloc or behind it."""
    wrapper = programs("wrapper.c", name="wrapper.so",
                       flags=("-O1", "-w", "-fno-builtin", "-shared", "-fPIC"))
    order = [wrapper, libumem] if first == "wrapper" else [libumem, wrapper]
    program = programs("hard_spots.c", flags=C_FLAGS)
    report = tmp_path / "calls"
    for section in ("orphans", "plugin_in_threads", "fork_in_threads"):
        result = run([program, section], preload=order, debug=debug, timeout=120,
                     env={"PLUGIN": plugin(programs), "WRAPPER_REPORT": report})
        assert (result.returncode, result.stdout, result.stderr) == (0, f"ok {section}\n", "")
    calls = max(map(int, report.read_text().split()))
    assert calls > 1000 if first == "wrapper" else calls == 0, calls


@pytest.mark.parametrize("handlers", [1, 120])
@pytest.mark.parametrize("way", WAYS)
def test_handlers_of_fork_allocate(programs, way, handlers):
    """Registered before the first allocation, which 120 of them bring about."""
    result = run([programs("atfork.c", flags=C_FLAGS), handlers], timeout=30, **WAYS[way])
    assert (result.returncode, result.stderr) == (0, ""), result
    assert result.stdout == f"prepare {handlers * 20}, parent {handlers * 20}, child 0\n", result


@pytest.mark.parametrize("way", WAYS)
def test_fork_while_streams_are_flushed(programs, way):
    """libc's lock of its streams comes before ours, whoever takes which."""
    result = run([programs("streams.c", flags=("-O1", "-w", "-pthread"))], timeout=90, **WAYS[way])
    assert (result.returncode, result.stdout, result.stderr) == (0, "200 children of 200\n", "")


def test_unloaded_library(programs, libumem):
    """It stays as long as threads have its exit handler and fork its handlers."""
    program = programs("unload.c", flags=("-O1", "-w", "-pthread"))
    result = run([program, libumem.with_name("libumem_core.so.1")])
    assert (result.returncode, result.stdout) == (0, "ok\n"), result
