#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Keeps the programs shown in manual pages the same as examples/*.c.

In a page, what stands between
    .\\" @example NAME.c
    .\\" @end
is the program from its first #include on, escaped for roff, and what stands
between "@output NAME" and "@end" is what the program prints (checked by
tests/house/test_manual.py, which runs it).

  scripts/man_examples.py [--update]

Without --update it names the pages that differ and exits 1 if there are any.
"""

import pathlib
import re
import sys

REPO = pathlib.Path(__file__).resolve().parent.parent
BLOCK = re.compile(r'(\.\\" @(example|output) (\S+)\n)(.*?)(\.\\" @end\n)', re.DOTALL)


def to_roff(text):
    """Text as roff source that prints as it stands."""
    lines = []
    for line in text.splitlines():
        line = line.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
        line = line.replace("`", "\\(ga").replace("^", "\\(ha").replace("~", "\\(ti")
        lines.append("\\&" + line if line[:1] == "." else line)
    return "\n".join(lines) + "\n"


def from_roff(source):
    """What to_roff() was given."""
    lines = []
    for line in source.splitlines():
        if line in (".EX", ".EE"):
            continue
        line = line.removeprefix("\\&")
        for escape, plain in (("\\(aq", "'"), ("\\(ga", "`"), ("\\(ha", "^"), ("\\(ti", "~"),
                              ("\\-", "-"), ("\\e", "\\")):
            line = line.replace(escape, plain)
        lines.append(line)
    return "\n".join(lines) + "\n"


def program(name):
    """An example from its first #include on."""
    text = (REPO / "examples" / name).read_text()
    return text[text.index("#include"):]


def refreshed(page):
    def block(match):
        if match.group(2) != "example":
            return match.group()
        return f"{match.group(1)}.EX\n{to_roff(program(match.group(3)))}.EE\n{match.group(5)}"
    return BLOCK.sub(block, page)


def outputs(page):
    """Name of a program -> what the page says that it prints."""
    return {match.group(3): from_roff(match.group(4))
            for match in BLOCK.finditer(page) if match.group(2) == "output"}


def commands(page):
    """What section EXAMPLES shows after "$ ": pairs of a command and the lines that it prints."""
    section = re.search(r'^\.SH EXAMPLES\n(.*?)^\.SH', page, re.MULTILINE | re.DOTALL)
    pairs = []
    for block in re.findall(r'^\.EX\n(.*?)^\.EE', section[1] if section else "",
                            re.MULTILINE | re.DOTALL):
        for line in from_roff(block).replace("|\n", "| ").splitlines():
            if line.startswith("$ "):
                pairs.append((line[2:], []))
            elif pairs:
                pairs[-1][1].append(line)
    return pairs


def main():
    stale = 0
    for path in sorted((REPO / "man").glob("*.[1-8]")):
        text = path.read_text()
        fresh = refreshed(text)
        if fresh != text and "--update" in sys.argv:
            path.write_text(fresh)
        elif fresh != text:
            print(f"{path.relative_to(REPO)}: an example differs; scripts/man_examples.py --update")
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
