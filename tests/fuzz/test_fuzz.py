# SPDX-License-Identifier: MIT
"""Bad cores: an answer that says it is partial, or a clear error, and never a crash.

Every 4 KiB a small core is cut; and the fuzz targets run their corpus with some thousand changes
(scripts/fuzz does so for hours, under sanitizers).
"""

import json
import os
import shutil
import struct
import subprocess
import sys

import pytest

from harness import paths, run

# pylint: disable=import-error
from make_corpus import make, many_headers

STEP = 4096
# Answers, leaks found, or a clear error.
CODES = (0, 1, 2)
# Memory of its own that a look at a core of some MiB may take: some 20 MiB are used.
DATA_MAX = 256 << 20
TIMEOUT_S = 20
LAYOUT_NAME = 44  # bytes of a name in a layout block: see src/umem/layout.h
PACKERS = {"zst": ["zstd", "-q", "-c"], "lz4": ["lz4", "-q", "-B4", "-c"], "gz": ["gzip", "-c"]}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    make(directory)
    return directory


def pieces(core):
    """Lengths at which a core is cut, without those inside a hole, which are all alike."""
    with open(core, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        at = 0
        while at < size:
            yield at
            at += STEP
            try:
                data = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return
            at = max(at, data // STEP * STEP)


def ask(core, verb, *arguments):
    """The result, of so much memory and time."""
    result = run(["prlimit", f"--data={DATA_MAX}", paths.umem(), verb, core, *arguments],
                 timeout=TIMEOUT_S)
    assert result.returncode in CODES, result
    if result.returncode == 2:
        lines = result.stderr.splitlines()
        assert result.stdout == "" and len(lines) == 1 and lines[0].startswith("umem: "), result
    return result


def ask_all(core, block):
    """Looks at a core that lacks something; whether there were leaks or none, at least."""
    leaks = ask(core, "leaks", "--format=json")
    if leaks.returncode != 2:
        assert json.loads(leaks.stdout)["complete"] is False, leaks
    for verb, arguments in (("whatis", [block]), ("status", [])):
        result = ask(core, verb, *arguments)
        assert result.returncode == 2 or "incomplete: " in result.stdout, result
    return leaks.returncode != 2


def packed(core, kind, directory):
    """The core, compressed."""
    if shutil.which(PACKERS[kind][0]) is None:
        pytest.skip(f"no {PACKERS[kind][0]}")
    path = directory / f"whole.{kind}"
    path.write_bytes(subprocess.run([*PACKERS[kind], core], check=True,
                                    stdout=subprocess.PIPE).stdout)
    return path


def slow(*names):
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", ["gcore", "umem", "glibc", "umem.zst",
                                  *slow("umem.lz4", "umem.gz", "kernel", "audit", "firewall",
                                        "stacks", "gcore-umem", "i386")])
def test_cut_anywhere(corpus, tmp_path, name):
    name, _, packer = name.partition(".")
    core = corpus / "base" / name
    if not core.exists():
        pytest.skip("this core cannot be made here")
    if packer:
        core = packed(core, packer, tmp_path)
    whole = json.loads(ask(core, "leaks", "--format=json").stdout)
    assert whole["complete"] is True and whole["total"]["buffers"] > 0
    block = whole["groups"][0]["buffers"][0]
    short = tmp_path / f"short.{packer}"
    short.write_bytes(core.read_bytes())
    answers = 0
    for length in reversed(list(pieces(core))):
        os.truncate(short, length)
        answers += ask_all(short, block)
    assert answers > 0  # the tables are in front


def test_more_mappings_than_a_header_counts(corpus, tmp_path):
    """From 65,535 program headers on their number is elsewhere."""
    core = corpus / "base" / "glibc"
    many = tmp_path / "many"
    many.write_bytes(many_headers(core.read_bytes()))
    plain, other = (ask(path, "leaks", "--format=json") for path in (core, many))
    assert plain.returncode == other.returncode == 1
    assert json.loads(other.stdout)["groups"] == json.loads(plain.stdout)["groups"]


@pytest.mark.parametrize("name", ["table_slot.slot_word", "table_slot.slot_name",
                                  "TABLE_CLASS_SHIFT"])
def test_damaged_table_of_stacks(corpus, tmp_path, name):
    """A field past its structure, a shift past its word: told, not followed."""
    core = bytearray((corpus / "base" / "stacks").read_bytes())
    value_at = core.index(name.encode().ljust(LAYOUT_NAME, b"\0")) + LAYOUT_NAME + 4
    struct.pack_into("<Q", core, value_at, 1 << 40)
    path = tmp_path / "damaged"
    path.write_bytes(core)
    result = ask(path, "stacks")
    assert result.returncode == 2 and "of another release, or damaged" in result.stderr, result


def test_module_that_promises_too_much(corpus):
    """900 MB of file: of which only what is there takes memory."""
    program = paths.built("tests/fuzz/fuzz_core")
    # A child's peak begins with that of who starts it, which this process is too large for.
    measure = ("import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
               "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
    result = run([sys.executable, "-c", measure, program, corpus / "core" / "large-module"])
    assert result.returncode == 0, result
    assert int(result.stdout.split()[-1]) < DATA_MAX >> 10


def run_target(corpus, target, changes, inputs):
    """The target as a plain program, which changes its inputs at random."""
    program = paths.built(f"tests/fuzz/fuzz_{target}")
    cores = ":".join(str(path) for path in sorted((corpus / "alone").iterdir()))
    result = run([program, "-n", str(changes), "-s", "7", *inputs], env={"FUZZ_CORES": cores},
                 timeout=120)
    assert result.returncode == 0, result


def test_cores_changed_at_random(corpus):
    """Files that modules were mapped from are found for some of these, for the others not."""
    run_target(corpus, "core", 1000, sorted((corpus / "core").iterdir()))


def test_heaps_changed_at_random(corpus):
    """Every kind of question to every core."""
    run_target(corpus, "heap", 3, sorted((corpus / "heap").iterdir()))
