# SPDX-License-Identifier: MIT
"""The heap's structures, damaged or huge: an answer or one clear line, in time."""

import json
import random
import struct
import time

import pytest

from harness import gcore
from leak_support import build, umem, umem_json, waiting

VERBS = ["leaks", "stat", "status"]
DAMAGED = 15    # cores whose structures are overwritten; each another random sequence
LIMIT_S = 60    # for one look at a damaged core on a busy machine
WORD = struct.Struct("<Q")
MAGIC = b"umem layout 1\n\0"
READY = 2       # UMEM_STATE_READY


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    directory = tmp_path_factory.mktemp("heap")
    program = build(directory)
    with waiting(program, "lose", debug="audit=20,guard") as process:
        return gcore(process.pid, directory)


class Core:
    """Just enough ELF to find what the layout block names."""

    def __init__(self, data):
        self.data = data
        table, = WORD.unpack_from(data, 32)
        count, = struct.unpack_from("<H", data, 56)
        headers = [struct.unpack_from("<IIQQQQQQ", data, table + i * 56) for i in range(count)]
        self.loads = [(h[3], h[5], h[2]) for h in headers if h[0] == 1 and h[5] > 0]

    def offset(self, address):
        for start, size, offset in self.loads:
            if start <= address < start + size:
                return offset + address - start
        raise KeyError(hex(address))

    def word(self, address):
        return WORD.unpack_from(self.data, self.offset(address))[0]

    def variable(self, name):
        """Address of a variable of the library that is in use: libumem_core's sleeps."""
        block = self.data.index(MAGIC)
        while self.state(block) != READY:
            block = self.data.index(MAGIC, block + 1)
        return self.entry(block, name)

    def field(self, name):
        """Offset of a field in its structure."""
        return self.variable(name)

    def entry(self, block, name):
        found = self.data.index(name.encode().ljust(44, b"\0"), block)
        return WORD.unpack_from(self.data, found + 48)[0]

    def state(self, block):
        try:
            return self.word(self.entry(block, "umem_state")) & 0xffffffff
        except (KeyError, ValueError):
            return None

    def structures(self):
        """(offset, size) of the library's records, caches and lists in the file."""
        found = []
        chunk = self.word(self.variable("umem_meta_chunks"))
        while chunk:
            found.append((self.offset(chunk), self.word(chunk + 8)))
            chunk = self.word(chunk)
        for name, size in [("umem_caches", 4096), ("umem_larges", 512), ("vmem_arenas", 4096)]:
            found.append((self.offset(self.variable(name)) - 64, size))
            found.append((self.offset(self.word(self.variable(name))) - 512, 4096))
        return found


def damage(data, regions, generator):
    """Overwrites some words that are in use with plausible and implausible ones."""
    for _ in range(generator.choice([1, 1, 2, 5, 50])):
        while True:
            start, size = generator.choice(regions)
            at = generator.randrange(start, start + size) & ~7
            if any(data[at:at + 8]):
                break
        value, = WORD.unpack_from(data, at)
        other_start, other_size = generator.choice(regions)
        other, = WORD.unpack_from(data, generator.randrange(other_start,
                                                            other_start + other_size) & ~7)
        value = generator.choice([
            generator.getrandbits(64), value ^ 1 << generator.randrange(48), 0, other,
            (value + generator.choice([-64, 64, 8, 4096, 1 << 20, 1 << 32])) % (1 << 64)])
        WORD.pack_into(data, at, value)


@pytest.mark.parametrize("seed", range(DAMAGED))
def test_damaged_structures(core, tmp_path, seed):
    whole = core.read_bytes()
    regions = Core(whole).structures()
    broken = bytearray(whole)
    damage(broken, regions, random.Random(seed))
    path = tmp_path / "damaged"
    path.write_bytes(broken)
    for verb in VERBS:
        result = umem(verb, path, timeout=LIMIT_S)
        assert result.returncode in (0, 1, 2), result
        if result.returncode == 2:
            assert result.stdout == "" and result.stderr.startswith("umem: "), result
    path.unlink()


def test_damage_is_owned_up_to(core, tmp_path):
    """A list of slabs that leads nowhere: the answer says that it is partial."""
    broken = bytearray(core.read_bytes())
    chain = Core(bytes(broken))
    first = chain.word(chain.variable("umem_larges"))
    WORD.pack_into(broken, chain.offset(first), 0x123456789000)
    path = tmp_path / "damaged"
    path.write_bytes(broken)
    report = umem_json("leaks", path, expect=1)
    assert report["complete"] is False
    assert any("oversize" in reason for reason in report["incomplete"])
    assert {group["kind"] for group in report["groups"]} == {"possible"}
    assert "incomplete:" in umem("leaks", path).stdout


def test_circle_in_a_list(core, tmp_path):
    """One that misses the list's head: walked round once, not until all memory is full."""
    broken = bytearray(core.read_bytes())
    chain = Core(bytes(broken))
    first = chain.word(chain.variable("umem_larges"))
    WORD.pack_into(broken, chain.offset(first), first)
    path = tmp_path / "damaged"
    path.write_bytes(broken)
    result = umem("leaks", "--format=json", path, timeout=LIMIT_S)
    assert result.returncode in (0, 1), result
    reasons = json.loads(result.stdout)["incomplete"]
    assert "the list of oversize blocks does not end" in reasons


def test_circle_in_a_depot(core, tmp_path):
    """A magazine without rounds that leads to itself, in a depot that counts 2^62 of them."""
    broken = bytearray(core.read_bytes())
    chain = Core(bytes(broken))
    start, size, offset = next(load for load in chain.loads if load[1] > 4096 and not
                               any(broken[load[2] + load[1] - 4096:load[2] + load[1]]))
    magazine = start + size - 4096
    WORD.pack_into(broken, offset + size - 4096 + chain.field("magazine.mag_next"), magazine)
    cache = chain.word(chain.variable("umem_caches")) - chain.field("umem_cache.cache_link")
    depot = cache + chain.field("umem_cache.cache_depot") + chain.field("depot.depot_full")
    WORD.pack_into(broken, chain.offset(depot + chain.field("magazine_list.list_head")), magazine)
    WORD.pack_into(broken, chain.offset(depot + chain.field("magazine_list.list_count")), 1 << 62)
    path = tmp_path / "damaged"
    path.write_bytes(broken)
    result = umem("leaks", "--format=json", path, timeout=LIMIT_S)
    assert result.returncode in (0, 1), result
    reasons = json.loads(result.stdout)["incomplete"]
    assert any("depot" in reason and "does not end" in reason for reason in reasons), reasons


def test_replaced_library(core, tmp_path):
    """The block that describes the library is in the core: its file is not needed."""
    broken = bytearray(core.read_bytes())
    name = b"libumem.so.1"
    assert name in broken
    at = broken.find(name)
    while at >= 0:
        broken[at:at + len(name)] = b"libumem.so.9"
        at = broken.find(name, at)
    path = tmp_path / "renamed"
    path.write_bytes(broken)
    assert umem_json("leaks", path, expect=1)["total"]["buffers"] == 36


BIG = """#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
struct node { struct node *left, *right; };
int main(int argc, char **argv)
{
    long n = atol(argv[1]);
    struct node **all = malloc((size_t)n * sizeof(*all));
    unsigned random = 1;
    for (long i = 0; i < n; i++) {
        random = random * 1103515245 + 12345;
        all[i] = calloc(1, 16 + (random >> 16) % 300);
        if (i > 0) {
            struct node *parent = all[(random >> 3) % (unsigned long)i];
            all[i]->left = parent->right;
            parent->right = all[i];
        }
    }
    struct node *volatile root = all[0];
    free(all);
    for (int i = 0; i < 1000; i++)
        *(void *volatile *)malloc(64) = NULL;
    puts("ready");
    fflush(stdout);
    pause();
    return root != NULL && argc > 5;
}
"""


@pytest.mark.slow
def test_a_million_blocks(tmp_path):
    program = build(tmp_path, BIG, libs=())
    with waiting(program, "1000000") as process:
        core = gcore(process.pid, tmp_path)
    umem_json("leaks", core, expect=1)  # its pages are in memory now
    started = time.monotonic()
    report = umem_json("leaks", core, expect=1)
    elapsed = time.monotonic() - started
    # Less one or two: a stale word of the loop may still hold the last ones.
    assert 998 <= report["total"]["buffers"] <= 1000
    assert report["live"]["buffers"] >= 1000000
    assert elapsed < 10, f"{elapsed:.1f} s; under 2 s on a quiet machine"
