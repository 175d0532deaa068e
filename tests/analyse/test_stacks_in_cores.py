# SPDX-License-Identifier: MIT
"""Cores of a process with a thousand stacks hold all of them, and `umem stacks` lists them."""

import struct

import pytest

from leak_support import build, target_of, umem_json, waiting

THOUSAND = """#include <stackalloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(void)
{
    static char out[1 << 16];
    setvbuf(stdout, out, _IOFBF, sizeof(out));
    for (size_t i = 0; i < 1000; i++) {
        size_t size = i % 100 == 0 ? 2 << 20 : i % 4 == 0 ? 65536 : 32768;
        /* Every other one is used to its lowest byte, the others to some depth. */
        size_t depth = i % 2 == 0 ? size : 8 * i;
        char *stack = stack_alloc(size);
        if (stack == NULL || stack_watermark(stack, size, STACK_WATERMARK_FILL) != 0)
            return 3;
        /* The lowest byte is 0, which no byte of the fill is. */
        unsigned long top = ~i * 0x9e3779b97f4a7c15, bottom = (i + 1) * 0x9e3779b97f4a7c15 << 8;
        memcpy(stack + size - depth, &bottom, 8);
        memcpy(stack + size - 16, &top, 8);
        printf("stack 0x%lx %zu %zu %lu %lu\\n", (unsigned long)stack, size,
               depth < 16 ? 16 : depth, bottom, top);
    }
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}
"""


class Core:
    """What a core file of 64 bits holds, by address."""

    def __init__(self, path):
        self.data = path.read_bytes()
        offset, = struct.unpack_from("<Q", self.data, 32)
        entry, count = struct.unpack_from("<HH", self.data, 54)
        self.parts = []  # of what is in the file: address, bytes, offset
        for number in range(count):
            kind, _, start, address, _, length = struct.unpack_from("<IIQQQQ", self.data,
                                                                    offset + number * entry)
            if kind == 1:
                self.parts.append((address, length, start))

    def word(self, address):
        """The 8 bytes there as a number; None where the file has none."""
        for start, length, offset in self.parts:
            if start <= address <= start + length - 8:
                return struct.unpack_from("<Q", self.data, offset + address - start)[0]
        return None


@pytest.mark.parametrize("how", ["gcore", "kernel"])
def test_thousand_stacks_in_a_core(tmp_path, how):
    """Each is there with both of its ends, and listed with how deep it went."""
    with waiting(build(tmp_path, THOUSAND, package="stackalloc"), cwd=tmp_path) as process:
        made = [[int(word, 0) for word in line.split()[1:]] for line in process.lines
                if line.startswith("stack ")]
        assert len(made) == 1000
        path = target_of(process, how, tmp_path)
        core = Core(path)
        for base, size, depth, bottom, top in made:
            assert core.word(base + size - 16) == top, (hex(base), size)
            if depth > 16:
                assert core.word(base + size - depth) == bottom, (hex(base), size, depth)
        rows = {int(row["base"], 16): row for row in umem_json("stacks", path)["stacks"]
                if row["state"] == "in use"}
        assert rows.keys() == {base for base, *_ in made}
        for base, size, depth, *_ in made:
            assert (rows[base]["size"], rows[base]["high_water"]) == (size, depth), rows[base]
