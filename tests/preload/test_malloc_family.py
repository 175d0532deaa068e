# SPDX-License-Identifier: MIT
"""The malloc family keeps glibc's and POSIX' contract, preloaded and linked.

Each section of malloc_family.c and cxx_new.cc runs under glibc's own malloc
first: what fails there is the test's fault.
"""

import functools
import pathlib
import re

import pytest

from harness import run

HERE = pathlib.Path(__file__).parent
DEBUG = "audit=64,guard"
# name: (arguments of run, pkg-config package to link with)
WAYS = {
    "glibc": (dict(), None),
    "preload": (dict(preload=True), None),
    "preload-debug": (dict(preload=True, debug=DEBUG), None),
    "linked": (dict(), "umem"),
    "linked-debug": (dict(debug=DEBUG), "umem"),
}
C_FLAGS = ("-O2", "-fno-builtin", "-w")


def sections(source):
    """Names in the table of sections of a C program."""
    table = (HERE / source).read_text().split("section sections[]")[1]
    return re.findall(r'\{"(\w+)", ', table)


@functools.lru_cache(maxsize=None)
def program(programs, source, package):
    name = f"{pathlib.Path(source).stem}-{package or 'plain'}"
    flags = C_FLAGS if source.endswith(".c") else ("-O2", "-w")
    return programs(source, name=name, flags=flags, package=package)


def check_section(programs, source, section, way):
    how, package = WAYS[way]
    env = {} if way == "glibc" else {"EXPECT_FREE_SIZED": "1"}
    result = run([program(programs, source, package), section], env=env, **how)
    assert result.returncode == 0 and result.stdout == f"ok {section}\n", result
    assert result.stderr == "", result


@pytest.mark.parametrize("section", sections("malloc_family.c"))
@pytest.mark.parametrize("way", WAYS)
def test_c(programs, section, way):
    check_section(programs, "malloc_family.c", section, way)


@pytest.mark.parametrize("section", sections("cxx_new.cc"))
@pytest.mark.parametrize("way", WAYS)
def test_cxx(programs, section, way):
    check_section(programs, "cxx_new.cc", section, way)


@pytest.mark.parametrize("source", ["malloc_family.c", "cxx_new.cc"])
@pytest.mark.parametrize("way", WAYS)
def test_all_in_one_process(programs, source, way):
    """One after another, each on a heap that the ones before have used."""
    how, package = WAYS[way]
    result = run([program(programs, source, package)], **how)
    assert result.returncode == 0 and result.stderr == "", result
    assert result.stdout == "".join(f"ok {name}\n" for name in sections(source)), result
