# SPDX-License-Identifier: MIT
"""Tools that a program with stacks of the library runs under."""

import re
import shutil

import pytest

from harness import compile_c, paths, run


@pytest.mark.parametrize("name,said", [("fiber_ends", "stacks built: 1\n"),
                                       ("fiber_loop", "at most 100 stacks: yes\n")])
def test_valgrind_knows_the_stacks(tmp_path, name, said):
    """Fibers switch to and fro, and valgrind does not take that for a lost stack pointer, nor
    what the library asks the kernel about closed memory for a mistake."""
    if shutil.which("valgrind") is None:
        pytest.skip("valgrind is not installed")
    program = compile_c(paths.REPO / "examples" / f"{name}.c", tmp_path / name,
                        package="stackalloc", flags=["-pthread"])
    result = run(["valgrind", "--tool=memcheck", program])
    assert result.returncode == 0 and result.stdout.endswith(said), result
    if "STACK_HAVE_VALGRIND" in (paths.build() / "compile_commands.json").read_text():
        assert "client switching stacks" not in result.stderr, result
        assert "ERROR SUMMARY: 0 errors" in result.stderr, result
    assert "Invalid write" not in result.stderr and "Invalid read" not in result.stderr, result


def test_sanitizer_forgets_dropped_fibers(tmp_path):
    """What AddressSanitizer noted of a dropped fiber's frames is not held against the next one."""
    program = compile_c(paths.REPO / "tests" / "stacks" / "dropped_fiber.c",
                        tmp_path / "dropped_fiber", package="stackalloc",
                        flags=["-fsanitize=address"])
    result = run([program], env={"ASAN_OPTIONS": "detect_stack_use_after_return=0"})
    assert result.returncode == 0 and result.stdout == "done\n", result


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_sanitizer_is_told_of_switches(tmp_path, compiler, told):
    """By <stackalloc/switch.h>; a program that does not tell it is warned of false reports."""
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    text = (paths.REPO / "examples" / "fiber_switch.c").read_text()
    if not told:
        text = re.sub(r"\n *stack_switch_(begin|end)\(.*", "", text)
    program = compile_c(text, tmp_path / "program", package="stackalloc", compiler=compiler,
                        flags=["-fsanitize=address", *([] if told else ["-w"])])
    result = run([program], env={"ASAN_OPTIONS": "detect_stack_use_after_return=1"})
    assert result.returncode == 0 and result.stdout == "1\n2\n3\n0\n", result
    assert told == ("False positive error reports may follow" not in result.stderr), result
