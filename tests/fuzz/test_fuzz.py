# SPDX-License-Identifier: MIT
"""Bad cores: an answer that says it is partial, or a clear error, and never a crash.

Every 4 KiB a small core is cut; and the fuzz targets run their corpus with some thousand changes
(scripts/fuzz does so for hours, under sanitizers).
"""

import json
import os

import pytest

from harness import paths, run

# pylint: disable=import-error
from make_corpus import make

STEP = 4096
# Answers, leaks found, or a clear error.
CODES = (0, 1, 2)


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
    result = run([paths.umem(), verb, core, *arguments], timeout=20)
    assert result.returncode in CODES, result
    if result.returncode == 2:
        lines = result.stderr.splitlines()
        assert result.stdout == "" and lines and lines[-1].startswith("umem: "), result
    return result


@pytest.mark.parametrize("name", ["gcore", "umem",
                                  pytest.param("gcore-umem", marks=pytest.mark.slow)])
def test_cut_anywhere(corpus, tmp_path, name):
    core = corpus / "base" / name
    whole = json.loads(ask(core, "leaks", "--format=json").stdout)
    assert whole["complete"] is True and whole["total"]["buffers"] > 0
    block = whole["groups"][0]["buffers"][0]
    short = tmp_path / "short"
    short.write_bytes(core.read_bytes())
    answers = 0
    for length in reversed(list(pieces(core))):
        os.truncate(short, length)
        result = ask(short, "leaks", "--format=json")
        if result.returncode != 2:
            answers += 1
            assert json.loads(result.stdout)["complete"] is False, length
        for verb, arguments in (("whatis", [block]), ("status", [])):
            ask(short, verb, *arguments)
    assert answers > 0  # the tables are in front


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
