# SPDX-License-Identifier: MIT
"""`umem verify`: each damage is found where it is, and nothing where there is none."""

import pytest

from leak_support import build, refused, target_of, umem, umem_json, waiting

GUARDS = "audit=20,guards"
# Damage: kind, cache, offset in the block.
DAMAGES = {
    "overrun": ("redzone", "umem_alloc_128", 103),
    "underrun": ("underrun", "umem_alloc_128", -1),
    "object": ("redzone", "anvil_cache", 40),
    "large": ("redzone", "umem_oversize", 300001),
    "large-underrun": ("underrun", "umem_oversize", -2),
    "modified": ("modified", "umem_alloc_128", 8),
    "large-modified": ("modified", "umem_oversize", 300001 // 2 // 4 * 4),
}


@pytest.fixture(scope="module", name="program")
def fixture_program(tmp_path_factory):
    return build(tmp_path_factory.mktemp("verify"), "corrupt_kinds.c", libs=("-ldl",))


def block_of(process):
    return next(line.split()[1] for line in process.lines if line.startswith("block "))


def verify(target, *arguments, clean=False):
    report = umem_json("verify", target, *arguments, expect=0 if clean else 1)
    assert report["clean"] is clean and report["problem_count"] == len(report["problems"])
    return report


@pytest.mark.parametrize("how", ["live", "gcore", "kernel"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found(program, tmp_path, damage, how):
    if how == "gcore" and damage not in ("overrun", "modified"):
        pytest.skip("one core is like another")
    kind, cache, offset = DAMAGES[damage]
    with waiting(program, damage, debug=GUARDS,
                 cwd=tmp_path if how == "kernel" else None) as process:
        block = block_of(process)
        report = verify(target_of(process, how, tmp_path))
    [problem] = report["problems"]
    assert (problem["kind"], problem["cache"], problem["offset"]) == (kind, cache, offset)
    assert problem["address"] == block and problem["message"]
    functions = [frame["function"] for frame in problem["stack"]]
    assert ("drop_block" if kind == "modified" else
            "main" if damage == "object" else "make_block") in functions or damage == "object"
    rows = {row["name"]: row for row in report["caches"]}
    assert rows[cache]["corrupt"] == 1
    assert sum(row["corrupt"] for row in report["caches"]) == 1


@pytest.mark.parametrize("debug", [None, "guards", GUARDS, "audit", "firewall=1",
                                   "firewall=below:1,guards"])
@pytest.mark.parametrize("how", ["live", "kernel"])
def test_clean(program, tmp_path, debug, how):
    with waiting(program, "clean", debug=debug,
                 cwd=tmp_path if how == "kernel" else None) as process:
        report = verify(target_of(process, how, tmp_path), clean=True)
    depth = {row["name"]: row["depth"] for row in report["caches"]}
    if debug is not None and debug.startswith(("guards", "audit=20")):
        assert depth["umem_alloc_128"] == "guards"
    assert all(row["busy"] is False for row in report["caches"])


@pytest.mark.parametrize("debug", [None, "guards", "audit=20,guards", "firewall=2000"])
def test_busy_process_is_clean(program, debug):
    """Stopped anywhere, within the library too."""
    with waiting(program, "busy", debug=debug) as process:
        for _ in range(12):
            verify(process.pid, clean=True)


@pytest.mark.parametrize("damage,debug,kind,offset", [
    ("overrun", "firewall=1", "redzone", 103), ("underrun", "firewall=1", "underrun", -1),
    ("overrun", "firewall=below:1", "redzone", 103)])
def test_behind_a_firewall(program, damage, debug, kind, offset):
    with waiting(program, damage, debug=debug) as process:
        block = block_of(process)
        [problem] = verify(process.pid)["problems"]
    assert (problem["kind"], problem["address"], problem["offset"]) == (kind, block, offset)
    assert "make_block" in [frame["function"] for frame in problem["stack"]]


def test_duplicate_free_without_any_debugging(program):
    with waiting(program, "twice") as process:
        block = block_of(process)
        [problem] = verify(process.pid)["problems"]
    assert (problem["kind"], problem["address"]) == ("duplicate", block)


@pytest.mark.parametrize("damage,debug,kind", [
    ("slab", None, "slab"), ("slab", GUARDS, "slab"), ("bufctl", GUARDS, "bufctl")])
def test_records(program, damage, debug, kind):
    with waiting(program, damage, debug=debug) as process:
        report = verify(process.pid, "--cache=anvil_cache")
    assert {problem["kind"] for problem in report["problems"]} == {kind}
    assert {problem["cache"] for problem in report["problems"]} == {"anvil_cache"}


def test_one_cache(program):
    with waiting(program, "overrun", debug=GUARDS) as process:
        other = verify(process.pid, "--cache", "anvil_cache", clean=True)
        assert {row["name"] for row in other["caches"]} <= {"anvil_cache"}
        assert len(verify(process.pid, "--cache=umem_alloc_128")["problems"]) == 1
        assert verify(process.pid, "--cache=umem_oversize", clean=True)["caches"]
        assert "no cache 'anvil'" in refused("verify", "--cache=anvil", process.pid)


def test_text(program):
    with waiting(program, "overrun", debug=GUARDS) as process:
        block = block_of(process)
        result = umem("verify", process.pid)
        clean = umem("verify", "--cache=umem_oversize", process.pid)
    assert result.returncode == 1, result
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["cache", "buffers", "looked", "at", "integrity"]
    row = next(line.split() for line in lines if line.startswith("umem_alloc_128"))
    assert row[2:] == ["guards", "1", "corrupt", "buffer"]
    assert "redzone violation: write past end of buffer" in lines
    assert f"  buffer {block}, allocated, 128 bytes (100 requested), umem_alloc_128" in lines
    assert any(line.startswith("  byte at offset 0x67 is 0x41, should be 0xb") for line in lines)
    assert any(line.startswith("      make_block+") for line in lines)
    assert lines[-1].endswith(": 1 problem")
    assert all(len(line) <= 100 for line in lines)
    assert clean.returncode == 0 and clean.stdout.splitlines()[-1].endswith("nothing is corrupt")


def test_refused():
    refused("verify")
    refused("verify", "/dev/null")
