# SPDX-License-Identifier: MIT
"""Audit that is switched on and off while threads are busy, together with what UMEM_DEBUG has
on: nothing is corrupt, exactly what was lost is leaked, and each block is what it is."""

import pytest

from leak_support import build, umem_json, waiting

SWITCHES, KINDS = 30, 8
# Each with audit off and on at the end, by turns.
SETTINGS = [None, "audit=8", "guards,quarantine=256k", "default,quarantine=0", "sample=20",
            "sample=20,default", "firewall=64", "firewall=100000", "firewall=below:300",
            "firewall=200,default,quarantine=64k", "random=7"]
CASES = [(debug, ["on", "off"][i % 2]) for i, debug in enumerate([*SETTINGS, *SETTINGS])]


@pytest.fixture(scope="module", name="program")
def fixture_program(tmp_path_factory):
    return build(tmp_path_factory.mktemp("twins"), "twins_busy.c", libs=())


@pytest.mark.parametrize("debug,end", CASES)
def test_busy(program, debug, end):
    with waiting(program, SWITCHES, end, debug=debug) as process:
        said = [line.split() for line in process.lines if " " in line]
        kept = [value for word, value in said if word == "kept"]
        freed = [value for word, value in said if word == "freed" and value not in kept]
        lost = next(int(value) for word, value in said if word == "lost")
        leaks = umem_json("leaks", process.pid, expect=1)
        what = umem_json("whatis", process.pid, *kept, *freed)
        assert process.errors == []
    assert len(kept) == KINDS and freed and lost >= 4 * KINDS
    # A stray word may hold one of them: seen in one of 180 runs.
    assert leaks["complete"] is True and lost - 1 <= leaks["total"]["buffers"] <= lost, leaks
    kinds = [each["kind"] for each in what]
    assert kinds[:KINDS] == ["buffer"] * KINDS and "buffer" not in kinds[KINDS:], what
    if end == "on":  # audited, whatever of it
        stacks = [[frame["function"] for frame in each["stack"]] for each in what[:KINDS]]
        assert all(stack[:2] == ["make", "settle"] for stack in stacks), what
