# SPDX-License-Identifier: MIT
"""Blocks in quarantine are free: no leak, and `umem whatis` says so."""

import pytest

from leak_support import build, target_of, umem_json, waiting

PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
__attribute__((noipa)) static void release(size_t size)
{
    void *p = malloc(size);
    __asm__ volatile("" : "+r"(p) : : "memory");
    printf("freed %p\n", p);
    free(p);
    __asm__ volatile("" : : : "memory");
}
int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    release(100);
    release(20000);
    release(300000);
    puts("ready");
    pause();
    return 0;
}
"""


@pytest.mark.parametrize("how", ["live", "gcore"])
def test_quarantined_blocks_are_free(tmp_path, how):
    program = build(tmp_path, PROGRAM, libs=())
    with waiting(program, debug="audit=64,guards") as process:
        freed = [line.split()[1] for line in process.lines if line.startswith("freed ")]
        assert len(freed) == 3
        target = target_of(process, how, tmp_path)
        for address in freed:
            report = umem_json("whatis", target, address)
            assert report["kind"] == "free buffer" and report["base"] == address, report
            assert "release" in [frame["function"] for frame in report["stack"]], report
        assert umem_json("leaks", target)["total"]["buffers"] == 0
