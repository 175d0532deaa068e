# SPDX-License-Identifier: MIT
"""Modules that ask libc for malloc before anybody else share blocks with the program all the same.

And the program's own dlopen() is what it is without the library: a module finds
what its RUNPATH says, and sees its own symbols first where it asked for that.
"""

import pytest

from harness import compile_c, run

SAID = """the module sees its own function
blocks are shared
libbeside.so is not for all
the module finds it
"""
SHARED = ("-O1", "-fPIC", "-shared", "-D_GNU_SOURCE", "-w")


@pytest.fixture(name="deepbind", scope="module")
def fixture_deepbind(programs):
    """The program, with its arguments."""
    program = programs("deepbind.c", flags=("-O1", "-rdynamic"), libs=("-ldl",))
    beside = programs.directory / "beside"
    beside.mkdir()
    compile_c("int nothing;", beside / "libbeside.so", flags=SHARED)
    module = compile_c(programs.source_dir / "deepbind_module.c",
                       programs.directory / "deepbind_module.so",
                       flags=(*SHARED, "-Wl,--enable-new-dtags,-rpath,$ORIGIN/beside"))
    return [program, module, "libbeside.so"]


@pytest.mark.parametrize("binding", ["deep", "plain"])
@pytest.mark.parametrize("how", [{}, dict(preload=True), dict(preload=True, debug="default,verify"),
                                 dict(preload=True, debug="sample=3,firewall=4096")],
                         ids=["without", "preload", "debug", "firewall"])
def test_modules_share_blocks(deepbind, how, binding):
    program, *arguments = deepbind
    result = run([program, binding, *arguments], **how)
    said = SAID if binding == "deep" else SAID.replace("its own", "the program's")
    assert (result.returncode, result.stdout, result.stderr) == (0, said, ""), result
