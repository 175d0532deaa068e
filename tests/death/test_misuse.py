# SPDX-License-Identifier: MIT
"""One tiny program a misuse: dies by SIGABRT, says exactly what was wrong, and where.

Each is run as the project's origin runs every program: UMEM_DEBUG=audit=64,guard.
The programs are named for what they do; their allocations are made and freed
by functions whose names the report has to give.
"""

import dataclasses
import pathlib
import re
import signal

import pytest

from harness import run

HERE = pathlib.Path(__file__).parent
DEBUG = "audit=64,guard"

REDZONE = "redzone violation: write past end of buffer"
UNDERRUN = "redzone violation: write before start of buffer"
MODIFIED = "buffer modified after being freed"
DUPFREE = "duplicate free: buffer freed twice"
BADADDR = "invalid free: buffer not in cache"
BADBASE = r"bad free: free address \(0x[0-9a-f]+\) != alloc address \(0x[0-9a-f]+\)"
BADCACHE = "buffer freed to wrong cache"
BADBUFTAG = "boundary tag corrupted"
BADBUFCTL = "bufctl corrupted"
CORRUPT = "umem: heap corruption detected"


@dataclasses.dataclass
class Case:
    program: str
    headline: str  # after "umem allocator: ", a regular expression
    allocated: str = None  # function in the stack of the allocation
    freed: str = None  # function in the stack of the free
    found: str = "drop_buffer"  # function in the stack of the finder; None: libc's, at exit
    says: tuple = ()  # further regular expressions, anywhere in the report

    def __str__(self):
        return self.program


def overrun(program, offset, allocated="make_buffer", **more):
    return Case(program, REDZONE, allocated=allocated,
                says=(rf"\boffset 0x{offset:x}\b",), **more)


def underrun(program, offset, allocated="make_buffer", **more):
    return Case(program, UNDERRUN, allocated=allocated,
                says=(rf"\boffset -0x{offset:x}\b",), **more)


def double_free(program, allocated="make_buffer", freed="drop_buffer", **more):
    return Case(program, DUPFREE, allocated=allocated, freed=freed, **more)


def write_after_free(program, offset, allocated="make_buffer", freed="drop_buffer", **more):
    # The byte 0x41 in words that held 0xdeadbeef.
    says = (rf"modification occurred at offset 0x{offset:x} \(0x[0-9a-f]*deadbeef replaced by "
            r"0x[0-9a-f]*41[0-9a-f]*\)",)
    return Case(program, MODIFIED, allocated=allocated, freed=freed, says=says, **more)


MALLOC_CASES = [
    overrun("overrun_by_1", 32),
    overrun("overrun_into_slack", 20),
    overrun("overrun_skips_end_byte", 23),
    overrun("overrun_by_8", 64),
    overrun("overrun_by_64", 64),
    overrun("overrun_string", 16),
    overrun("overrun_calloc", 35, allocated="make_zeroed"),
    overrun("overrun_realloc_grown", 300, allocated="resize_buffer"),
    overrun("overrun_realloc_shrunk", 97, allocated="resize_buffer|make_buffer"),
    overrun("overrun_realloc_found", 100, found="resize_buffer"),
    overrun("overrun_memalign", 100, allocated="make_aligned"),
    overrun("overrun_large", 200001),
    overrun("overrun_large_pages", 50 * 4096),
    overrun("overrun_other_thread", 48, found="clumsy"),
    double_free("double_free_at_once"),
    double_free("double_free_later"),
    double_free("double_free_after_20000"),
    double_free("double_free_other_thread", found="drop_again"),
    double_free("double_free_large"),
    double_free("double_free_memalign", allocated="make_aligned"),
    double_free("double_free_after_realloc", freed="main"),
    double_free("realloc_of_freed", found="main"),
    write_after_free("write_after_free", 8, found="reuse_all"),
    write_after_free("write_after_free_last", 44, found="reuse_all"),
    write_after_free("write_after_free_calloc", 16, found="main"),
    write_after_free("write_after_free_large", 123456, found="reuse_all"),
    Case("free_inner", BADBASE, allocated="make_buffer"),
    Case("free_inner_odd", BADBASE, allocated="make_buffer"),
    Case("free_inner_large", BADBASE, allocated="make_buffer"),
    Case("free_stack", BADADDR, says=("^the address is in the stack of this thread$",)),
    Case("free_stack_of_main", BADADDR, says=(r"^the address is in \[stack\]$",)),
    Case("free_static", BADADDR, says=("^the address is in static data: .*`table",)),
    Case("free_wild", BADADDR,
         says=(r"buffer=0x123456789a0\b", "^nothing is mapped at that address$")),
    Case("free_wild_small", BADADDR, says=(r"buffer=0x20\b",)),
    Case("free_noncanonical", BADADDR, says=(r"buffer=0xdeadbeefdeadbee0\b",)),
    Case("free_mapping", BADADDR, says=("^the address is in memory that is not umem's",)),
    Case("free_unused", BADADDR, says=("^it was never handed out$",)),
    Case("free_code", BADADDR, says=("^the address is in code: .*`main",)),
    Case("realloc_of_stack", BADADDR, found="main"),
    underrun("underrun", 1),
    underrun("underrun_by_8", 8),
    overrun("at_exit", 32),
    overrun("small_stack", 32),
    overrun("stderr_locked", 32),
]

OBJECT = dict(allocated="make_object", found="drop_object")
SIZED = dict(allocated="make_sized", found="drop_sized")
UMEM_CASES = [
    Case("umem_free_wrong_size", r"bad free: free size \(90\) != alloc size \(100\)", **SIZED),
    Case("umem_free_wrong_size_large", r"bad free: free size \(400000\) != alloc size \(500000\)",
         **SIZED),
    double_free("umem_double_free", allocated="make_sized", freed="drop_sized",
                found="drop_sized"),
    overrun("umem_overrun", 75, **SIZED),
    overrun("cache_overrun", 40, **OBJECT),
    overrun("cache_overrun_round_up", 43, **OBJECT),
    double_free("cache_double_free", allocated="make_object", freed="drop_object",
                found="drop_object"),
    write_after_free("cache_write_after_free", 24, allocated="make_object", freed="drop_object",
                     found="make_object|drop_object"),
    write_after_free("cache_destroyed_after_write", 24, allocated="make_object",
                     freed="drop_object", found="drop_cache"),
    Case("cache_wrong_cache", BADCACHE, says=("anvil_cache", "rocket_cache"), **OBJECT),
    Case("cache_gets_malloc", BADCACHE, says=("anvil_cache", "umem_alloc_"),
         allocated="make_buffer", found="drop_object"),
    Case("cache_object_to_free", BADCACHE, says=("anvil_cache",), allocated="make_object"),
    Case("cache_gets_stack", BADADDR, says=("anvil_cache",), found="drop_object"),
    Case("cache_inner_address", BADBASE, says=("anvil_cache",), **OBJECT),
]

# Misuse of an arena is a message and an abort, with or without debugging.
ARENA = r"umem: {}\(arena 'coyote', 0x[0-9a-f]+, {}\): "
VMEM_CASES = {
    "double_free": ARENA.format("vmem_free", 160) + "not allocated here: free already",
    "wrong_size": ARENA.format("vmem_free", 192) + "allocated with size 160",
    "free_inside": ARENA.format("vmem_free", 144)
    + "not allocated here: inside the segment at 0x10000 of 160",
    "free_elsewhere": ARENA.format("vmem_free", 160) + "not allocated here: in no span of it",
    "add_misaligned": ARENA.format("vmem_add", 65536) + "not a multiple of the quantum 16",
    "add_twice": ARENA.format("vmem_add", 65536) + "overlaps the span at 0x10000 of 65536",
    "import_misaligned": r"umem: vmem arena 'coyote': imported 0x10008, \d+: "
    "not a multiple of the quantum 16",
    "import_twice": r"umem: vmem arena 'coyote': imported 0x10000, \d+, which it has already",
    "destroy_heap": r"umem: vmem_destroy\(arena 'umem_heap'\): the heap cannot be destroyed",
}

# What the page map alone shows: caught in normal mode too.
FOREIGN_CASES = ["free_stack", "free_static", "free_wild", "free_wild_small", "free_noncanonical",
                 "free_mapping", "free_code", "realloc_of_stack"]


def program(programs, name):
    source = (HERE / f"{name}.c").read_text()
    package = "umem" if '"object.h"' in source or '"kinds.h"' in source else None
    if name in ("vmem_misuse", "nofail_again"):
        package = "umem"
    return programs(f"{name}.c", flags=("-O1", "-fno-builtin", "-w"), package=package)


def frames_after(report, heading):
    """Functions of the stack under the first line that matches heading."""
    lines = report.splitlines()
    for number, line in enumerate(lines):
        if re.match(heading, line):
            functions = []
            for frame in lines[number + 1:]:
                match = re.match(r"\s+\S+[`'](\S+?)\+0x[0-9a-f]+", frame)
                if not match:
                    break
                functions.append(match.group(1))
            return functions
    return []


def check(case, result):
    report = result.stderr
    assert result.signal == signal.SIGABRT, result
    assert "survived" not in result.stdout, result
    assert re.match(f"umem allocator: {case.headline}$", report.splitlines()[0]), result
    assert CORRUPT in report, result
    before, after = report.split(CORRUPT, 1)
    for heading, wanted in (("allocated by", case.allocated), ("freed by", case.freed)):
        if wanted is not None:
            functions = frames_after(before, heading)
            assert any(re.fullmatch(wanted, name) for name in functions), (heading, result)
            assert len(functions) >= 2 or wanted == "main", result  # its caller too
    finder = frames_after(after, r"\s*stack of")
    assert case.found is None or any(re.fullmatch(case.found, name) for name in finder), result
    for text in case.says:
        assert re.search(text, report, re.MULTILINE), (text, result)


@pytest.mark.parametrize("case", MALLOC_CASES, ids=str)
def test_malloc(programs, case):
    check(case, run([program(programs, case.program)], preload=True, debug=DEBUG))


@pytest.mark.parametrize("case", [case for case in MALLOC_CASES if case.headline == MODIFIED
                                  and "large" not in case.program], ids=str)
def test_without_quarantine(programs, case):
    """Found when the block is handed out again."""
    check(case, run([program(programs, case.program)], preload=True,
                    debug=f"{DEBUG},quarantine=0"))


def test_who_had_the_block_before(programs):
    """The transaction before the last one: whoever wrote there may have had it from then."""
    case = overrun("overrun_reused", 40, found="main")
    result = run([program(programs, case.program)], preload=True, debug=f"{DEBUG},quarantine=0")
    check(case, result)
    freed = frames_after(result.stderr, "before that, freed by")
    assert freed[:2] == ["drop_buffer", "main"], result


@pytest.mark.parametrize("case", UMEM_CASES, ids=str)
def test_umem(programs, case):
    check(case, run([program(programs, case.program)], debug=DEBUG))


@pytest.mark.parametrize("debug", [None, DEBUG])
@pytest.mark.parametrize("how", VMEM_CASES)
def test_vmem(programs, how, debug):
    result = run([program(programs, "vmem_misuse"), how], debug=debug)
    assert result.signal == signal.SIGABRT and "survived" not in result.stdout, result
    assert re.fullmatch(VMEM_CASES[how] + "\n", result.stderr), result


def test_arena_in_use_is_destroyed(programs):
    """A message, and life goes on."""
    result = run([program(programs, "vmem_misuse"), "destroy_in_use"], debug=DEBUG)
    assert (result.returncode, result.stdout) == (0, "survived\n"), result
    assert result.stderr == ("umem: vmem_destroy(arena 'coyote'): 1 segments of 160 units still "
                             "allocated\n"), result


WILD_CASES = {
    "tag": (BADBUFTAG, "^the buffer's end is intact: a wild write$"),
    "freed_tag": (BADBUFTAG, r"^byte at offset 0x[0-9a-f]+ is 0x41, should be 0xce$"),
    "state": (BADBUFCTL, "^last used by thread"),
    "size": (BADBUFCTL, "^allocated by thread"),
}


@pytest.mark.parametrize("where", WILD_CASES)
def test_wild_write(programs, where):
    """What the library keeps beside a block is damaged by itself."""
    headline, says = WILD_CASES[where]
    result = run([program(programs, "wild_write"), where], preload=True, debug=DEBUG)
    check(Case("wild_write", headline, says=(says,),
               found="reuse_all" if where == "freed_tag" else "drop_buffer"), result)


def test_misuse_within_a_report(programs):
    """By a signal handler: it says what it found, in a line, and that is the end."""
    result = run([program(programs, "nested_report")], preload=True, debug=DEBUG)
    assert result.stdout == "child: signal 6\n", result
    assert f"umem allocator: {DUPFREE}, within a report of this thread\n" in result.stderr, result


def test_nofail_fails_again(programs):
    result = run([program(programs, "nofail_again")], debug=DEBUG)
    assert result.signal == signal.SIGABRT and "survived" not in result.stdout, result
    assert "UMEM_NOFAIL allocation failed again during exit\n" in result.stderr, result


@pytest.mark.parametrize("name", FOREIGN_CASES)
def test_foreign_addresses_without_debugging(programs, name):
    result = run([program(programs, name)], preload=True)
    assert result.signal == signal.SIGABRT, result
    assert f"umem allocator: {BADADDR}\n" in result.stderr, result


@pytest.mark.parametrize("how", ["handler", "longjmp", "ignored", "blocked"])
def test_sigabrt_cannot_be_outlived(programs, how):
    result = run([program(programs, "hostile_abort"), how], preload=True, debug=DEBUG)
    assert result.signal == signal.SIGABRT and "survived" not in result.stdout, result
    assert result.stderr.startswith(f"umem allocator: {REDZONE}\n"), result


def test_reports_of_threads_do_not_mix(programs):
    """Of eight that are due at once, the first one is whole."""
    for _ in range(10):
        result = run([program(programs, "eight_at_once")], preload=True, debug=DEBUG)
        assert result.signal == signal.SIGABRT, result
        assert result.stderr.count("umem allocator: ") == 1, result
        check(overrun("eight_at_once", 32), result)


def test_constructor_of_a_module(programs):
    """The loader's lock is held, and the module is not on every list yet."""
    flags = ("-O1", "-fno-builtin", "-w")
    module = programs("constructor.c", name="constructor.so",
                      flags=(*flags, "-DMODULE", "-shared", "-fPIC"))
    result = run([programs("constructor.c", flags=flags), module], preload=True, debug=DEBUG)
    check(overrun("constructor", 32), result)


def test_deep_stacks_are_whole(programs):
    """64 frames of long names, twice, and nothing cut off."""
    result = run([program(programs, "deep")], preload=True, debug=DEBUG)
    check(overrun("deep", 32), result)
    before, after = result.stderr.split(CORRUPT)
    assert len(frames_after(before, "allocated by")) == 64, result
    assert len(frames_after(after, r"\s*stack of")) >= 32, result


def test_child_of_fork(programs):
    result = run([program(programs, "child")], preload=True, debug=DEBUG)
    assert (result.returncode, result.stdout) == (0, "child: signal 6\n"), result
    assert result.stderr.startswith(f"umem allocator: {REDZONE}\n"), result


@pytest.mark.parametrize("where", ["closed", "full"])
def test_report_without_a_place_to_go(programs, where):
    """Nobody can read the report, and the program dies all the same."""
    redirect = {"closed": "2>&-", "full": "2>/dev/full"}[where]
    script = f'"$0" {redirect}; echo "exit code $?" >&1'
    result = run(["/bin/sh", "-c", script, program(programs, "overrun_by_1")], preload=True,
                 debug=DEBUG)
    assert "exit code 134\n" in result.stdout and "survived" not in result.stdout, result


def test_without_proc(programs, needs_root):
    """In a chroot without /proc: names of the program may be missing, the report is not."""
    command = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$0"']
    if run([*command, "/bin/true"]).returncode != 0:
        pytest.skip("no mount namespaces here")
    result = run([*command, program(programs, "overrun_by_1")], preload=True, debug=DEBUG)
    assert result.signal == signal.SIGABRT and CORRUPT in result.stderr, result
    assert result.stderr.startswith(f"umem allocator: {REDZONE}\n"), result
    assert "libc.so.6" in result.stderr, result


def test_cache_not_empty(programs):
    """A message with the object's stack, and life goes on."""
    result = run([program(programs, "cache_not_empty")], debug=DEBUG)
    assert result.returncode == 0 and result.stdout == "survived\n", result
    assert "not empty" in result.stderr and "anvil_cache" in result.stderr, result
    assert "make_object" in frames_after(result.stderr, "allocated by"), result


def test_fills(programs):
    """What fresh and freed memory look like under guards."""
    result = run([program(programs, "fills")], preload=True, debug=DEBUG)
    assert result.returncode == 0 and result.stderr == "", result
    assert result.stdout == ("fresh baddcafe all\nfreed deadbeef all\nzeroed 00000000 all\n"
                             "large baddcafe all\n"), result


@pytest.mark.parametrize("debug", ["guards", "guard", "default", "contents", "audit",
                                   "audit=3", "verbose", " audit = 64 , guard "])
def test_spellings(programs, debug):
    """Every spelling of UMEM_DEBUG that guards finds an overrun; the others find none."""
    result = run([program(programs, "overrun_by_1")], preload=True, debug=debug)
    if re.search("guard|default", debug):
        assert result.signal == signal.SIGABRT, result
        assert result.stderr.startswith(f"umem allocator: {REDZONE}\n"), result
        if "audit" not in debug and debug != "default":
            assert "make_buffer" not in result.stderr.split(CORRUPT)[0], result
    else:
        assert result.returncode == 0 and result.stdout == "survived\n", result


def test_unknown_item_is_a_message(programs):
    result = run([program(programs, "fills")], preload=True, debug="audit=64,gaurd")
    assert result.returncode == 0, result
    assert "gaurd" in result.stderr, result


def test_frames_are_limited_to_what_was_asked(programs):
    result = run([program(programs, "overrun_by_1")], preload=True, debug="audit=2,guard")
    functions = frames_after(result.stderr, "allocated by")
    assert 1 <= len(functions) <= 2, result
