# SPDX-License-Identifier: MIT
"""Each misuse with each kind of block: the block is named, with who allocated and freed it.

Where nothing else is said the programs run as the manual recommends it for tests,
UMEM_DEBUG=default,verify.
"""

import re
import signal

import pytest

from harness import run
from test_misuse import (BADADDR, BADBASE, BADCACHE, CORRUPT, DUPFREE, MODIFIED, REDZONE, UNDERRUN,
                         Case, check, frames_after, program)

DEBUG = "default,verify"

# What a program may ask blocks from, and the size it asks for: see kinds.h.
KINDS = {"malloc": 48, "slack": 41, "calloc": 35, "realloc": 300, "memalign": 100, "pages": 4096,
         "wide": 5000, "large": 200001, "huge": 5000003, "umem": 75, "cache": 40,
         "constructed": 40, "arena": 40}
# Objects that must not be touched have no redzone and no fill, but their states are known.
UNTOUCHED = {"notouch": 40, "nohash": 40}
ALL_KINDS = [*KINDS, *UNTOUCHED]
CACHED = ["cache", "constructed", "arena", *UNTOUCHED]
OVERSIZE = ["wide", "large", "huge"]
UMC_NOTOUCH = 0x10000


def expect(programs, case, *args, debug=DEBUG, named=True, survives=False):
    """Runs the case's program; the first block that it prints is the one that is named."""
    result = run([program(programs, case.program), *args], debug=debug)
    address, *rest = result.stdout.splitlines()
    if named:
        case.says += (rf"^buffer={address} ",)
    if survives:  # found when its main() has returned
        assert rest == ["survived"], result
        result.stdout = ""
    check(case, result)


def out_of_bounds(programs, headline, place, kind, offset, size, value, frees):
    """Whichever of the block's neighbours is freed first, or if none is."""
    left = frees == "none"
    case = Case("out_of_bounds", headline, allocated="make_block",
                found=None if left else "drop_block", says=(rf"byte at offset {place}\b",))
    expect(programs, case, kind, offset, size, value, frees, survives=left)


@pytest.mark.parametrize("frees", ["it", "forward", "backward", "thread", "none"])
@pytest.mark.parametrize("start, size", [(0, 1), (1, 3), (0, 8), (0, 64)])
@pytest.mark.parametrize("kind", KINDS)
def test_overrun(programs, kind, start, size, frees):
    out_of_bounds(programs, REDZONE, hex(KINDS[kind] + start), kind, start, size, "flip", frees)


@pytest.mark.parametrize("value", ["00", "ff", "bb", "b1", "efbeadde", "fecaddba", "cefaedfe"])
@pytest.mark.parametrize("kind", KINDS)
def test_overrun_with_our_own_patterns(programs, kind, value):
    """What equals the byte that it overwrites is not seen, the byte behind it is."""
    out_of_bounds(programs, REDZONE, "0x[0-9a-f]+", kind, 0, 8, value, "it")


@pytest.mark.parametrize("frees", ["it", "forward", "backward", "thread", "none"])
@pytest.mark.parametrize("size", [1, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_underrun(programs, kind, size, frees):
    out_of_bounds(programs, UNDERRUN, f"-{hex(size)}", kind, -size, size, "flip", frees)


@pytest.mark.parametrize("how", ["at_once", "later", "thread", "other_first"])
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_double_free(programs, kind, how):
    """Memory that others use by then tells of them: it is kept from them where that happens."""
    case = Case("freed_twice", DUPFREE, allocated="make_block", freed="drop_block",
                found="drop_block")
    wanted = how == "later" and kind in ["pages", *OVERSIZE]
    expect(programs, case, kind, how, debug=f"{DEBUG},quarantine=64m" if wanted else DEBUG)


def without_audit(programs, headline, *args, debug="guards"):
    """What is wrong, and with which block, is said as well where nobody recorded who had it."""
    result = run([programs, *args], debug=debug)
    address = result.stdout.splitlines()[0]
    assert result.signal == signal.SIGABRT and "survived" not in result.stdout, result
    assert result.stderr.startswith(f"umem allocator: {headline}\nbuffer={address} "), result
    assert CORRUPT in result.stderr and "allocated by" not in result.stderr, result


@pytest.mark.parametrize("debug", ["guards", "lite", "guards,quarantine=0"])
@pytest.mark.parametrize("how", ["at_once", "later", "thread", "other_first"])
@pytest.mark.parametrize("kind", [kind for kind in ALL_KINDS if kind not in OVERSIZE])
def test_double_free_without_audit(programs, kind, how, debug):
    if how in ("later", "thread") and debug != "guards" and kind not in CACHED:
        pytest.skip("it may have been handed out again")
    without_audit(program(programs, "freed_twice"), DUPFREE, kind, how, debug=debug)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_wrong_cache_without_audit(programs, kind):
    without_audit(program(programs, "given_to_cache"), BADCACHE, kind, 0, UMC_NOTOUCH)


@pytest.mark.parametrize("debug", [DEBUG, "default,quarantine=0", "audit"])
@pytest.mark.parametrize("how", ["grow", "same"])
@pytest.mark.parametrize("kind", [kind for kind in ALL_KINDS if kind not in CACHED])
def test_double_free_by_realloc(programs, kind, how, debug):
    """Before the block is handed out again, be it to that realloc() itself."""
    case = Case("freed_twice", DUPFREE, allocated="make_block", freed="drop_block",
                found="resize_block")
    expect(programs, case, kind, how, debug=debug)


@pytest.mark.parametrize("how", ["grow", "same"])
@pytest.mark.parametrize("kind", OVERSIZE)
def test_realloc_of_a_freed_oversize_block_without_debugging(programs, kind, how):
    result = run([program(programs, "freed_twice"), kind, how], preload=True)
    assert result.signal == signal.SIGABRT, result
    assert result.stderr.startswith(f"umem allocator: {BADADDR}\n"), result


@pytest.mark.parametrize("how", ["taken", "left", "thread"])
@pytest.mark.parametrize("place", ["first", "middle", "last"])
@pytest.mark.parametrize("kind", KINDS)
def test_write_after_free(programs, kind, place, how):
    """Found when the block has waited and others are taken, at the latest at exit."""
    at = {"first": 0, "middle": KINDS[kind] // 2, "last": KINDS[kind] - 1}[place] // 4 * 4
    case = Case("used_after_free", MODIFIED, allocated="make_block", freed="drop_block",
                found="take_again" if how == "taken" else None,
                says=(rf"modification occurred at offset 0x{at:x} \(0xdeadbeef replaced by "
                      r"0x[0-9a-f]*41[0-9a-f]*\)",))
    debug = f"{DEBUG},quarantine=8m" if kind == "huge" else DEBUG
    expect(programs, case, kind, place, how, debug=debug, survives=how != "taken")


@pytest.mark.parametrize("kind", KINDS)
def test_write_after_free_without_quarantine(programs, kind):
    """Found when the block is taken again; pages of an oversize block are gone at once."""
    if kind in OVERSIZE:
        pytest.skip("not kept")
    case = Case("used_after_free", MODIFIED, allocated="make_block", freed="drop_block",
                found="take_again")
    expect(programs, case, kind, "middle", "taken", debug=f"{DEBUG},quarantine=0")


@pytest.mark.parametrize("debug", [DEBUG, "audit", "guards"])
@pytest.mark.parametrize("thread", ["main", "thread"])
@pytest.mark.parametrize("access", ["read", "write"])
def test_access_to_a_freed_block_that_is_unmapped(programs, access, thread, debug):
    """It was too large to wait: the processor stops the access, the report tells of what."""
    result = run([program(programs, "use_unmapped"), access, thread], preload=True, debug=debug)
    address, *rest = result.stdout.splitlines()
    lines = result.stderr.splitlines()
    assert (result.signal, rest) == (signal.SIGSEGV, []), result
    assert lines[0] == f"umem allocator: {access} after free of buffer", result
    assert lines[1].startswith(f"buffer={address} "), result
    assert lines[1].endswith("cache: none (oversize)  requested: 5000003 bytes"), result
    assert lines[2] == f"address {int(address, 16) + 5000003 // 2:#x}, offset 0x2625a1", result
    for heading, wanted in (("freed by", "drop_buffer"), ("allocated by", "make_buffer")):
        assert (wanted in frames_after(result.stderr, heading)) == (debug != "guards"), result
    accessor = frames_after(result.stderr, "stack of the thread that made it")
    assert accessor[0] == "touch" and len(accessor) >= 2, result


@pytest.mark.parametrize("debug", [None, f"{DEBUG},nohandler"])
def test_access_to_an_unmapped_block_without_a_handler(programs, debug):
    result = run([program(programs, "use_unmapped"), "write", "main"], preload=True, debug=debug)
    assert (result.signal, result.stderr) == (signal.SIGSEGV, ""), result


def into_nowhere(programs, *args, debug):
    """Runs the program; what it printed, and the report that it left when it died."""
    result = run([program(programs, "into_nowhere"), *args], preload=True, debug=debug)
    assert result.signal == signal.SIGSEGV and "survived" not in result.stdout, result
    accessor = result.stderr.split("stack of the thread that made it", 1)[1]
    assert re.search(r"`(touch|copy)\+", accessor), result  # of copy() below one of libc's
    return [int(line, 16) for line in result.stdout.splitlines()], result


@pytest.mark.parametrize("debug", [DEBUG, "audit", "guards"])
@pytest.mark.parametrize("thread", ["main", "thread"])
@pytest.mark.parametrize("access", ["read", "write"])
@pytest.mark.parametrize("place", ["up", "copy", "down", "near", "protected"])
def test_off_a_block_into_nowhere(programs, place, access, thread, debug):
    """An oversize block beside which nothing is mapped, or what is not to be touched."""
    (block, *target), result = into_nowhere(programs, place, access, thread, debug=debug)
    lines = result.stderr.splitlines()
    where = "before start" if place == "down" else "past end"
    assert lines[0] == f"umem allocator: {access} {where} of buffer", result
    assert lines[1].startswith(f"buffer={block:#x} "), result
    assert lines[1].endswith("cache: none (oversize)  requested: 5000003 bytes"), result
    said = re.fullmatch(r"address (0x[0-9a-f]+), byte (\d+) (past its end|before its start).*",
                        lines[2])
    assert said, result
    address, missed = int(said.group(1), 16), int(said.group(2))
    assert missed == (block - address if place == "down" else address - block - 5000002), result
    assert not target or target == [address], result
    assert lines[3] == ("the address is in memory that is not umem's" if place == "protected"
                        else "nothing is mapped at that address"), result
    assert ("make_buffer" in frames_after(result.stderr, "allocated by")) == (debug != "guards")


@pytest.mark.parametrize("access", ["read", "write"])
def test_far_from_every_block(programs, access):
    """The block may be meant or not: it is said where it ends."""
    (block, target), result = into_nowhere(programs, "far", access, "main", debug=DEBUG)
    lines = result.stderr.splitlines()
    assert lines[0] == f"umem allocator: {access} near no known buffer", result
    assert lines[1] == (f"address {target:#x}: if a buffer was there, nothing is known of it any "
                        "more"), result
    distance = target - block - 5000003
    assert lines[2] == f"the nearest buffer below ends {distance} bytes before it:", result
    assert lines[3].startswith(f"buffer={block:#x} "), result
    assert "make_buffer" in frames_after(result.stderr, "allocated by"), result


@pytest.mark.parametrize("access", ["read", "write"])
def test_block_that_the_firewall_has_forgotten(programs, access):
    """Its addresses have been given up, for the sake of 1 GiB of others freed since."""
    (block, target), result = into_nowhere(programs, "forgotten", access, "main", 5000003,
                                           debug="firewall=5000003")
    lines = result.stderr.splitlines()
    assert target == block and lines[0] == f"umem allocator: {access} near no known buffer"
    assert re.match("the nearest buffer (below ends|above begins) [0-9]+ bytes ", lines[2]), result
    neighbour = result.stderr.split("\nbuffer=", 1)[1]
    assert "drop_buffer" in frames_after(neighbour, "freed by"), result


@pytest.mark.parametrize("place", ["up", "far"])
def test_into_nowhere_without_a_handler(programs, place):
    for debug in (None, f"{DEBUG},nohandler"):
        result = run([program(programs, "into_nowhere"), place, "write", "main"], preload=True,
                     debug=debug)
        assert (result.signal, result.stderr) == (signal.SIGSEGV, ""), result


@pytest.mark.parametrize("debug", [DEBUG, "default,firewall=30"])
@pytest.mark.parametrize("flags", [0, UMC_NOTOUCH])
@pytest.mark.parametrize("offset", [0, 16])
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_wrong_cache(programs, kind, offset, flags, debug):
    """Whatever it is that a cache is given, what it is and whose is told."""
    guarded = "firewall" in debug and kind not in [*UNTOUCHED, "arena"]
    case = Case("given_to_cache", BADBASE if guarded and offset != 0 else BADCACHE,
                allocated="make_block", found="drop_object")
    if case.headline == BADCACHE:
        case.says += ("freed to rocket_cache$",)
    expect(programs, case, kind, offset, flags, debug=debug)


@pytest.mark.parametrize("debug", [DEBUG, "audit", "default,firewall=30"])
@pytest.mark.parametrize("more", [1, -1, 100000])
@pytest.mark.parametrize("kind", ["malloc", "calloc", "realloc", "memalign", "large", "huge",
                                  "umem"])
def test_free_of_another_size(programs, kind, more, debug):
    sizes = rf"\({KINDS[kind] + more}\) != alloc size \({KINDS[kind]}\)"
    case = Case("free_of_size", f"bad free: free size {sizes}", allocated="make_block",
                found="drop_of_size")
    expect(programs, case, kind, more, debug=debug)


@pytest.mark.parametrize("offset", [0, 16])
@pytest.mark.parametrize("kind", CACHED)
def test_object_given_to_free(programs, kind, offset):
    case = Case("given_to_cache", BADCACHE, allocated="make_block",
                says=("allocated from anvil_cache, freed by free",))
    expect(programs, case, kind, offset, "free")


@pytest.mark.parametrize("debug", [DEBUG, "guards", "audit"])
@pytest.mark.parametrize("offset", [1, 8, 16, -1])
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_inner_address(programs, kind, offset, debug):
    result = run([program(programs, "inner_address"), kind, offset], debug=debug)
    address = result.stdout.splitlines()[0]
    assert result.signal == signal.SIGABRT and "survived" not in result.stdout, result
    freed = int(address, 16) + offset + (0 if offset > 0 else {**KINDS, **UNTOUCHED}[kind])
    assert result.stderr.startswith(
        f"umem allocator: bad free: free address ({freed:#x}) != alloc address ({address})\n"
        f"buffer={address} "), result
    assert CORRUPT in result.stderr, result
    assert debug == "guards" or "make_block" in frames_after(result.stderr, "allocated by"), result


@pytest.mark.parametrize("kind", ["large", "huge"])
def test_deep_inside_of_an_oversize_block(programs, kind):
    case = Case("given_to_cache", BADCACHE, allocated="make_block", found="drop_object",
                says=(r"allocated from none \(oversize\), freed to rocket_cache$",))
    expect(programs, case, kind, 150000, 0)


def test_between_the_buffers(programs):
    """An address of a slab that is in none of its buffers is not said to be one's."""
    case = Case("free_between", BADADDR,
                says=("^the address is in umem's heap, but in no buffer$",))
    check(case, run([program(programs, "free_between")], preload=True, debug=DEBUG))
