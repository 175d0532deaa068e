# SPDX-License-Identifier: MIT
"""Targets that are damaged, wrong or forbidden: one clear line, or a partial
answer that says that it is partial; never a crash, never a hang."""

import atexit
import functools
import os
import pathlib
import random
import shutil
import stat
import struct
import subprocess
import tempfile

import pytest

from harness import Background, compile_c, gcore, kernel_core, paths, run

PROGRAM = """#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int bad_words[4] = {1, 2, 3, 4};
static void *wait_for_ever(void *arg) { getchar(); return arg; }
int main(int argc, char **argv)
{
    pthread_t thread;
    memset(malloc(100000), 'x', 100000);
    pthread_create(&thread, NULL, wait_for_ever, argv);
    puts("ready");
    fflush(stdout);
    if (argc > 1)
        abort();
    pthread_join(thread, NULL);
    return 0;
}
"""
QUESTIONS = ["mappings", "modules", "threads", "symbol", "bad_words", "symbol", "malloc",
             "pages", "7fff00000000", "4096", "stacks"]
# Cores whose bytes are changed at random; each is another sequence of the same generator.
FLIPPED = 30


@functools.lru_cache(maxsize=None)
def public_probe():
    """The probe where any user may run it: the build directory may lie in a closed one."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="umem-probe-"))
    atexit.register(shutil.rmtree, folder)
    folder.chmod(0o755)
    return shutil.copy(paths.built("tests/unit/analyse/target_probe"), folder)


def probe(*arguments, **options):
    built = paths.built("tests/unit/analyse/target_probe")
    program = public_probe() if "user" in options else built
    return run([program, *arguments], **options)


def refused(*arguments, **options):
    """Runs the probe on what it must refuse; returns the one line that it says."""
    result = probe(*arguments, **options)
    assert result.returncode == 2, result
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("umem: "), result
    return lines[0]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return compile_c(PROGRAM, tmp_path_factory.mktemp("bad") / "bad",
                     flags=["-rdynamic", "-pthread"])


@pytest.fixture(scope="module")
def cores(program, tmp_path_factory):
    """Bytes of a core by who wrote it."""
    folder = tmp_path_factory.mktemp("cores")
    found = {}
    with Background([program]) as process:
        process.wait_for_line("ready")
        found["gcore"] = gcore(process.pid, folder).read_bytes()
    try:
        found["kernel"] = kernel_core([program, "abort"], folder)[1].read_bytes()
    except RuntimeError:
        pass  # the kernel's core pattern sends cores elsewhere
    return found


@pytest.fixture(params=["gcore", "kernel"])
def core(request, cores):
    if request.param not in cores:
        pytest.skip("kernel.core_pattern does not write cores into the working directory")
    return cores[request.param]


def look(path):
    """Asks everything of a damaged core.  The result, which is no crash."""
    result = probe(path, *QUESTIONS, timeout=120)
    assert result.returncode in (0, 2), result
    if result.returncode == 2:
        assert len(result.stderr.splitlines()) == 1, result
    return result


@pytest.mark.parametrize("tenths", range(1, 10))
def test_truncated(core, tmp_path, tenths):
    path = tmp_path / "core"
    path.write_bytes(core[:len(core) * tenths // 10])
    result = look(path)
    assert result.returncode == 0, result
    assert "complete 0" in result.stdout.splitlines()
    assert "reason the core is truncated" in result.stdout


@pytest.mark.parametrize("size", [1, 3, 4, 5, 16, 63, 64, 100, 120, 1000, 4096])
def test_truncated_within_its_headers(core, tmp_path, size):
    path = tmp_path / "core"
    path.write_bytes(core[:size])
    look(path)


@pytest.mark.parametrize("seed", range(FLIPPED))
def test_flipped_bytes(core, tmp_path, seed):
    """Damage where it hurts: headers and notes, and some anywhere."""
    generator = random.Random(seed)
    data = bytearray(core)
    offset, = struct.unpack_from("<Q", data, 32)  # e_phoff
    notes, notes_size = struct.unpack_from("<8xQ16xQ", data, offset)
    for _ in range(20):
        data[generator.randrange(64, offset + 56 * 20)] = generator.randrange(256)
        data[notes + generator.randrange(notes_size)] = generator.randrange(256)
    for _ in range(1000):
        data[generator.randrange(4096, len(data))] = generator.randrange(256)
    path = tmp_path / "core"
    path.write_bytes(data)
    look(path)


@pytest.mark.parametrize("seed", range(5))
def test_random_bytes_behind_a_good_start(core, tmp_path, seed):
    path = tmp_path / "core"
    path.write_bytes(core[:64] + random.Random(seed).randbytes(200000))
    look(path)


def test_stack_that_gcore_lost(core, tmp_path):
    """gcore of gdb 13 writes zeros around guard regions: the answer must say so."""
    path = tmp_path / "core"
    path.write_bytes(core)
    thread = next(line.split() for line in probe(path, "threads").stdout.splitlines()
                  if line.startswith("thread "))
    sp = int(thread[3], 16)
    data = bytearray(core)
    headers, = struct.unpack_from("<Q", data, 32)
    for i in range(struct.unpack_from("<H", data, 56)[0]):
        kind, = struct.unpack_from("<I", data, headers + 56 * i)
        offset, start, _, size = struct.unpack_from("<QQQQ", data, headers + 56 * i + 8)
        if kind == 1 and start <= sp < start + size:
            data[offset:offset + size] = bytes(size)
    path.write_bytes(data)
    result = look(path)
    assert "complete 0" in result.stdout.splitlines()
    assert f"reason the stack of thread {thread[1]} is zeros in the core" in result.stdout


def test_empty(tmp_path):
    path = tmp_path / "empty"
    path.touch()
    assert "is empty" in refused(path)


def test_text(tmp_path):
    path = tmp_path / "text"
    path.write_text("This is not a core.\n" * 100)
    assert "not a core file; give a core file" in refused(path)


def test_directory(tmp_path):
    assert "is a directory" in refused(tmp_path)


def test_missing(tmp_path):
    assert "no such file" in refused(tmp_path / "missing")
    assert "no such file" in refused("12x")
    assert "'': no such file; give a core file" in refused("")


@pytest.mark.parametrize("verb", ["top", "core", "snapshot"])
def test_where_only_a_process_will_do(verb):
    for name, why in (("", "'': no such file"), ("nosuch", "no such file"),
                      ("/", "is a directory"), ("999999999", "no such process")):
        result = run([paths.umem(), verb, name])
        assert result.returncode == 2 and result.stdout == "", result
        assert why in result.stderr and "a core file" not in result.stderr, result


def test_fifo_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert "not a regular file" in refused(tmp_path / "fifo", timeout=10)


def test_program_instead_of_a_core(program):
    assert "is a program or library, not a core file" in refused(program)


@pytest.mark.parametrize("offset,value,message", [
    (4, 1, "machine type 62, 32 bits"), (5, 2, "not little-endian"), (18, 8, "machine type 8")])
def test_other_machines(core, tmp_path, offset, value, message):
    path = tmp_path / "core"
    path.write_bytes(core[:offset] + bytes([value]) + core[offset + 1:])
    assert message in refused(path)


def test_unreadable(tmp_path, needs_root):
    path = tmp_path / "core"
    path.write_bytes(b"x")
    path.chmod(0)
    for folder in [tmp_path, *tmp_path.parents][:-1]:
        folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    assert "run as its owner or as root" in refused(path, user=65534)


def test_damaged_compressed_core(tmp_path):
    path = tmp_path / "core.gz"
    path.write_bytes(b"\x1f\x8b" + b"garbage" * 100)
    assert "cannot be unpacked by gzip" in refused(path)


def test_compressed_core_that_was_cut_off(core, tmp_path):
    whole = subprocess.run(["gzip", "-c"], input=core, stdout=subprocess.PIPE, check=True).stdout
    path = tmp_path / "core.gz"
    path.write_bytes(whole[:len(whole) * 3 // 4])
    result = look(path)
    assert "reason gzip could not unpack the whole core" in result.stdout


# --- Processes ---


def test_no_such_process():
    process = subprocess.Popen(["true"])
    process.wait()
    assert "no such process" in refused(str(process.pid))
    assert "no such process" in refused("99999999999999999999")


def test_ended_process_whose_parent_has_not_noticed():
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert "has ended" in refused(str(process.pid))
    process.wait()


def test_thread_instead_of_a_process(program):
    with Background([program]) as process:
        process.wait_for_line("ready")
        thread = max(os.listdir(f"/proc/{process.pid}/task"), key=int)
        assert f"is a thread of process {process.pid}" in refused(thread)


def test_process_of_another_user(program, needs_root):
    with Background([program]) as process:
        process.wait_for_line("ready")
        line = refused(str(process.pid), user=65534)
        assert "run as that user or as root" in line


def test_process_under_a_debugger(program):
    with Background([program]) as process:
        process.wait_for_line("ready")
        other = subprocess.Popen([paths.built("tests/unit/analyse/target_probe"),
                                  str(process.pid), "wait"], stdout=subprocess.PIPE)
        other.stdout.readline()
        line = refused(str(process.pid))
        other.kill()
        other.wait()
        assert f"is being debugged by process {other.pid}" in line


VFORK = """#include <stdio.h>
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>
int main(void)
{
    puts("ready");
    fflush(stdout);
    if (vfork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        sleep(5);
        _exit(0);
    }
    puts("went on");
    return 0;
}
"""


def test_thread_that_cannot_be_stopped(tmp_path):
    """A parent in vfork does not stop; the answer is partial and says so."""
    vfork = compile_c(VFORK, tmp_path / "vfork", flags=["-Wno-deprecated-declarations"])
    with Background([vfork]) as process:
        process.wait_for_line("ready")
        result = probe(str(process.pid), "threads", "stacks")
        assert result.returncode == 0, result
        assert f"reason thread {process.pid} could not be stopped" in result.stdout
        process.wait_for_line("went on")
        assert process.wait() == 0
