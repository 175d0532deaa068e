# SPDX-License-Identifier: MIT
"""include/stackalloc/boost_context.hpp with Boost.Context, where that is installed."""

import pathlib

import pytest

from harness import compile_c, paths, run

REFUSED = """
#include <boost/context/fiber.hpp>
#include <stackalloc/boost_context.hpp>
#include <sys/resource.h>
int main()
{
    try { stackalloc::stack_allocator too_large(2097153); return 1; }
    catch (const std::length_error &) { }
    stackalloc::stack_allocator one, other(40000);
    auto a = other.allocate(), b = other.allocate();
    if (a.sp == b.sp || a.size > 65536 || a.size < 61440)
        return 2;
    struct stack_info info;
    if (stack_info(static_cast<char *>(a.sp) - 1, &info) != 0 || info.info_size != 65536)
        return 3;
    stackalloc::stack_allocator copy = other;
    copy.deallocate(a);
    other.deallocate(b);
    struct rlimit none = {1, 1};
    setrlimit(RLIMIT_AS, &none);
    try { one.allocate(); return 4; }
    catch (const std::bad_alloc &) { }
    return 0;
}
"""


def need_boost():
    if not pathlib.Path("/usr/include/boost/context/fiber.hpp").exists():
        pytest.skip("Boost.Context is not installed")


def test_fibers_of_boost(tmp_path):
    need_boost()
    program = compile_c(paths.REPO / "examples" / "fiber_boost.cc", tmp_path / "fiber_boost",
                        package="stackalloc", flags=["-std=c++17"],
                        libs=["-lboost_context", "-pthread"])
    done = run([program])
    assert (done.returncode, done.stdout, done.stderr) == \
        (0, "sum 999000, stacks built: 1\n", ""), done


def test_allocator_of_boost(tmp_path):
    need_boost()
    (tmp_path / "refused.cc").write_text(REFUSED)
    program = compile_c(tmp_path / "refused.cc", tmp_path / "refused", package="stackalloc",
                        flags=["-std=c++11"], libs=["-lboost_context", "-pthread"])
    done = run([program])
    assert done.returncode == 0, done
