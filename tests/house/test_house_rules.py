# SPDX-License-Identifier: MIT
"""The house rules hold (scripts/house_rules.py), and the checker sees breaches."""

import pathlib
import sys

import pytest

from harness import paths, run

sys.path.insert(0, str(paths.REPO / "scripts"))
import house_rules  # noqa: E402


def test_house_rules():
    done = run([sys.executable, paths.REPO / "scripts/house_rules.py", paths.build()])
    assert done.returncode == 0, done.stdout + done.stderr


HEAD = "/* SPDX-License-Identifier: MIT */\n/*\n * x.c - a file that breaks a rule of the house" \
       " on purpose, for this test.\n */\n"

BREACHES = {
    "upward include": ("src/umem/vmem/x.c", '#include "slab/slab.h"\n', "includes upward"),
    "system header": ("src/umem/slab/x.c", "#include <sys/mman.h>\n", "system header"),
    "stdio": ("src/umem/debug/x.c", "#include <stdio.h>\n", "does without"),
    "system call": ("src/umem/cache/x.c", "int f(void)\n{\n    return mmap(0);\n}\n", "mmap()"),
    "long function": ("src/umem/base/x.c", "int f(void)\n{\n" + "    g();\n" * 61 + "}\n",
                      "61 lines"),
    "wide line": ("src/umem/base/x.c", "int " + "x" * 100 + ";\n", "columns"),
    "long file": ("src/umem/base/x.c", "int x;\n" * 700, "704 lines"),
    "private header": ("src/stackalloc/x.c", '#include "cache/cache.h"\n', "private header"),
}


@pytest.mark.parametrize("name", BREACHES)
def test_breach_is_seen(name):
    where, text, finding = BREACHES[name]
    path = pathlib.PurePosixPath(where)
    checker = house_rules.Checker()
    checker.check_text(path, (HEAD + text).encode())
    checker.check_c(path, HEAD + text)
    assert any(finding in line for line in checker.findings), checker.findings


def test_head_is_demanded():
    checker = house_rules.Checker()
    path = pathlib.PurePosixPath("src/umem/base/x.c")
    checker.check_text(path, b"int x;\n")
    checker.check_c(path, "int x;\n")
    assert len(checker.findings) == 2


def test_clean_file_is_clean():
    checker = house_rules.Checker()
    path = pathlib.PurePosixPath("src/umem/slab/x.c")
    text = HEAD + '#include "vmem/vmem_impl.h"\n/* mmap(2) in a comment */\n'
    checker.check_text(path, text.encode())
    checker.check_c(path, text)
    assert not checker.findings
