# SPDX-License-Identifier: MIT
"""Who catches what: each cell of the table in docs/debugging.md, by catches.cc.

A cell says when the process ends with a report: "at once" where that is at the
misuse, "freed" when the block is freed, "exit" when main() has returned; "crash"
where it just dies, at the misuse; "–" where nothing is seen.  Our own columns
are checked always, those of others on the system whose tools the table names.
"""

import dataclasses
import platform
import re
import shutil

import pytest

from harness import paths, run

DOCUMENT = paths.REPO / "docs" / "debugging.md"
FLAGS = ("-O1", "-fno-builtin", "-fno-stack-protector", "-w")
UNDER_VALGRIND = ["valgrind", "-q", "--leak-check=full", "--error-exitcode=99",
                  "--exit-on-first-error=yes"]
TIMEOUT_S = 120  # for valgrind, on a busy machine


@dataclasses.dataclass
class Column:
    debug: str = None  # UMEM_DEBUG, under the preload
    before: tuple = ()
    flags: tuple = ()


OURS = {"`default,verify`": Column("default,verify"), "`firewall=1`": Column("firewall=1"),
        "both": Column("default,verify,firewall=1")}
OTHERS = {"glibc": Column(), "valgrind": Column(before=UNDER_VALGRIND),
          "ASan": Column(flags=("-fsanitize=address",))}


def table():
    """The rows: each the misuse's name, and what its columns say, by heading."""
    text = DOCUMENT.read_text(encoding="utf-8")
    lines = re.search(r"^\| misuse .*\n(?:\|.*\n)+", text, re.MULTILINE)[0].splitlines()
    heading, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {re.search(r"`([a-z-]+)`", row[0])[1]: dict(zip(heading[1:], row[1:])) for row in rows}


TABLE = table()


def ending(result):
    """What a cell says of such an end."""
    said = result.stdout.split()
    stage = "exit" if "freed" in said else "freed" if "misused" in said else "at once"
    if result.returncode == 0:
        return "–" if stage == "exit" else f"ended at {stage}"
    if not result.stderr:
        return "crash" if stage == "at once" else f"crash at {stage}"
    return stage


def committed(programs, misuse, column):
    program = programs("catches.cc", flags=(*FLAGS, *column.flags),
                       name="catches-asan" if column.flags else "catches")
    before = column.before
    if column.debug is not None and misuse == "leak":
        before = [paths.umem(), "run", "--leaks=fail", "--"]
    ours = column.debug is not None
    return run([*before, program, misuse], preload=ours and not before, debug=column.debug,
               timeout=TIMEOUT_S)


def test_every_misuse_is_in_the_table():
    source = (paths.REPO / "tests" / "death" / "catches.cc").read_text()
    assert list(TABLE) == re.findall(r'\{"([a-z-]+)",', source)


@pytest.mark.parametrize("column", OURS)
@pytest.mark.parametrize("misuse", TABLE)
def test_ours(programs, misuse, column):
    result = committed(programs, misuse, OURS[column])
    assert ending(result) == TABLE[misuse][column], result
    assert result.returncode == 0 or "umem" in result.stderr or misuse == "leak", result


@pytest.mark.parametrize("misuse", ["read-before", "write-before"])
def test_below(programs, misuse):
    assert ending(committed(programs, misuse, Column("firewall=below:1"))) == "at once"


@pytest.mark.slow
@pytest.mark.parametrize("column", OTHERS)
@pytest.mark.parametrize("misuse", TABLE)
def test_others(programs, misuse, column):
    if platform.libc_ver() != ("glibc", "2.36") or platform.machine() != "x86_64":
        pytest.skip("the table is of Debian 12 on x86-64")
    if column == "valgrind" and shutil.which("valgrind") is None:
        pytest.skip("valgrind is not installed")
    result = committed(programs, misuse, OTHERS[column])
    assert ending(result) == TABLE[misuse][column], result
