#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks the house rules that a machine can check (CONTRIBUTING.md has them all).

  scripts/house_rules.py [BUILD]

With a build directory the exported symbols are held against the version maps
too.  Prints one line a finding, "file:line: what", and exits 1 where there are any.
"""

import pathlib
import re
import subprocess
import sys

REPO = pathlib.Path(__file__).resolve().parent.parent

FUNCTION_LINES = 60
FILE_LINES = 700
COLUMNS = 100

# Layers of the engine; a file includes its own rank and lower ones.  debug and
# cache stand beside each other: the cache asks debug, whose reports name caches.
LAYERS = {"base": 0, "os": 1, "vmem": 2, "slab": 3, "magazine": 4, "debug": 5, "cache": 5,
          "malloc": 6}
# Headers that give system calls: for os/ alone.
SYSTEM_HEADERS = re.compile(
    r"^(unistd|fcntl|poll|sched|link|dlfcn|sys/(mman|syscall|prctl|resource|time|types|stat|uio|"
    r"auxv|random|wait|ptrace|socket)|linux/.*|asm/.*)\.h$")
# stdio and libc's malloc allocate, lock, and end in ourselves.
ENGINE_FORBIDDEN = re.compile(r"^(stdio|malloc|wchar|locale)\.h$")
# malloc_info() and mallinfo() are declared in terms of these; type names only.
ENGINE_EXCEPTIONS = {("malloc", "stdio.h"), ("malloc", "malloc.h")}
SYSTEM_CALLS = re.compile(
    r"(?<![\w.>])(mmap|munmap|mprotect|madvise|mremap|mlock2?|munlock|prctl|syscall|brk|sbrk|open|"
    r"write|read|close|fork|clone|abort|getenv|secure_getenv|clock_gettime|gettid|getpid|"
    r"sysconf|getauxval|dl_iterate_phdr|printf|fprintf|snprintf)\s*\(")
# What names a machine or a way of working instead of the project.
PRIVATE_PATHS = re.compile(r"/work/|/tmp/(build|b)-|/root/|/home/\w")

def verbs():
    """Those of the umem command, in the order of its help."""
    return re.findall(r'^    \{"(\w+)", command_', (REPO / "src/analyse/main.c").read_text(), re.M)


INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')
SPDX = "SPDX-License-Identifier: MIT"


def tracked():
    """Files that git holds or would: not the ignored ones."""
    out = subprocess.run(["git", "-C", str(REPO), "ls-files", "-z", "--cached", "--others",
                          "--exclude-standard"], check=True, capture_output=True).stdout
    names = sorted(set(filter(None, out.decode().split("\0"))))
    return [pathlib.PurePosixPath(name) for name in names if (REPO / name).is_file()]


def without_comments(text):
    """C with comments and strings blanked, lines kept."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group())
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.DOTALL)


class Checker:
    def __init__(self):
        self.findings = []

    def say(self, path, line, what):
        self.findings.append(f"{path}:{line}: {what}")

    # --- every file

    def check_text(self, path, data):
        if b"\0" in data:
            self.say(path, 1, "binary file tracked")
            return None
        text = data.decode("utf-8", "replace")
        lines = text.splitlines()
        kind = path.suffix
        if kind in (".c", ".h", ".py", ".sh", ".map", ".hpp", ".cc") or \
                path.name in ("meson.build", "Makefile"):
            if not any(SPDX in line for line in lines[:2]):
                self.say(path, 1, f"no line '{SPDX}' at the top")
            if len(lines) > FILE_LINES:
                self.say(path, FILE_LINES, f"{len(lines)} lines: more than {FILE_LINES}")
        for number, line in enumerate(lines, 1):
            if kind in (".c", ".h", ".py") and len(line) > COLUMNS:
                self.say(path, number, f"{len(line)} columns: more than {COLUMNS}")
            if PRIVATE_PATHS.search(line) and path.name != "house_rules.py":
                self.say(path, number, "names a private path")
        return text

    def check_paragraph(self, path, text):
        """SPDX line, then a comment that says what the file owns."""
        match = re.match(r"/\* SPDX[^\n]*\*/\s*/\*(.*?)\*/", text, re.DOTALL)
        words = 8 if path.parts[0] in ("src", "include") else 3
        if not match or (len(match.group(1).split()) < words and
                         not re.search(r"\bsee \S+\.h\b", match.group(1))):
            self.say(path, 2, "no opening paragraph after the SPDX line")

    def check_functions(self, path, text):
        start = 0
        for number, line in enumerate(without_comments(text).splitlines(), 1):
            if line.startswith("{"):
                start = number
            elif line.startswith("}") and start:
                if number - start + 1 > FUNCTION_LINES + 2:  # its two braces
                    self.say(path, start,
                             f"function of {number - start - 1} lines: more than {FUNCTION_LINES}")
                start = 0

    # --- includes and calls

    def includes(self, text):
        for number, line in enumerate(text.splitlines(), 1):
            match = INCLUDE.match(line)
            if match:
                yield number, match.group(1) == '"', match.group(2)

    def check_engine(self, path, text):
        """A file of src/umem/<layer>/."""
        layer = path.parts[2]
        if layer not in LAYERS:
            self.say(path, 1, f"'{layer}' is no layer")
            return
        for number, _, name in self.includes(text):
            other = name.split("/")[0]
            if "/" in name and other in LAYERS and LAYERS[other] > LAYERS[layer]:
                self.say(path, number, f"{layer}/ includes upward: {name}")
            if layer != "os" and SYSTEM_HEADERS.match(name):
                self.say(path, number, f"system header outside os/: {name}")
            if ENGINE_FORBIDDEN.match(name) and (layer, name) not in ENGINE_EXCEPTIONS:
                self.say(path, number, f"the engine does without {name}")
        if layer not in ("os", "malloc"):  # malloc_info() prints to the caller's stream
            for number, line in enumerate(without_comments(text).splitlines(), 1):
                match = SYSTEM_CALLS.search(line)
                if match:
                    self.say(path, number, f"{match.group(1)}() outside os/")

    def check_client(self, path, text, allowed):
        """The stack library and the tool: nothing private of the engine."""
        for number, _, name in self.includes(text):
            other = name.split("/")[0]
            private = "/" in name and other in LAYERS and not (REPO / "src" / path.parts[1] /
                                                                name).exists()
            if (private or name == "layout.h" or name.startswith("../umem")) and \
                    pathlib.PurePosixPath(name).name not in allowed:
                self.say(path, number, f"private header of the engine: {name}")

    def check_c(self, path, text):
        self.check_paragraph(path, text)
        self.check_functions(path, text)
        if path.parts[:2] == ("src", "umem") and len(path.parts) > 3:
            self.check_engine(path, text)
        elif path.parts[:2] == ("src", "stackalloc"):
            self.check_client(path, text, allowed=("layout.h",))
        elif path.parts[:2] == ("src", "analyse"):
            self.check_client(path, text, allowed=("layout.h",))

    # --- whole-project rules

    def check_unit_tests(self, files):
        """A unit test at the path that mirrors the source.

        test_unwind.c stands for unwind_cfi.c and its like too.  malloc/ can only
        be had as a process's malloc: tests/preload has its tests.
        """
        have = set(files)
        for path in files:
            if path.parts[:2] != ("src", "umem") or path.suffix != ".c" or len(path.parts) < 4 or \
                    path.parts[2] == "malloc":
                continue
            folder = pathlib.PurePosixPath("tests/unit", path.parts[2])
            names = {path.stem, path.stem.split("_")[0]}
            if not any(folder / f"test_{name}.c" in have for name in names):
                self.say(path, 1, f"no unit test {folder}/test_{path.name}")

    def check_manual(self, files):
        """Each exported function and each verb has a page."""
        pages = {path.name for path in files if path.parts[0] == "man"}
        for library in ("umem/libumem.map", "stackalloc/libstackalloc.map"):
            for name in sorted(map_symbols(REPO / "src" / library)):
                # libc's own names are in libc's manual; the library's for itself are in none.
                if name in ("umem_layout", "stack_layout") or \
                        name.startswith(("pthread_", "stack_thread_")):
                    continue
                if f"{name}.3" not in pages:
                    self.say(f"src/{library}", 1, f"no man/{name}.3")
        for verb in verbs():
            if f"umem-{verb}.1" not in pages:
                self.say("src/analyse", 1, f"no man/umem-{verb}.1")

    def check_exports(self, build):
        """What a library exports is what its map says."""
        engine = map_symbols(REPO / "src/umem/libumem.map")
        expected = {
            "libumem.so.1": engine | unversioned_symbols(REPO / "src/umem/libumem.map"),
            "libumem_core.so.1": engine,
            "libstackalloc.so.1": map_symbols(REPO / "src/stackalloc/libstackalloc.map"),
        }
        for name, symbols in expected.items():
            for library in sorted(pathlib.Path(build, "src").glob(f"*/{name}")):
                found = exported(library)
                for symbol in sorted(found - symbols):
                    self.say(name, 1, f"exports {symbol}, which is not in the map")
                for symbol in sorted(symbols - found):
                    self.say(name, 1, f"does not export {symbol} of the map")


def map_symbols(path):
    """The global names of a version script; empty where there is none."""
    if not path.exists():
        return set()
    text = without_comments(path.read_text())
    names = set()
    for block in re.findall(r"global:(.*?)(?:local:|\})", text, re.DOTALL):
        names |= set(re.findall(r"\w+", block))
    return names


def unversioned_symbols(path):
    """Names that a version script's comment lists after "unversioned", up to a blank line."""
    match = re.search(r"\n \* unversioned[^\n]*:\n((?: \*[ \t]+\S[^\n]*\n)+)", path.read_text())
    return set(re.findall(r"\w+", match.group(1))) if match else set()


def exported(library):
    out = subprocess.run(["nm", "-D", "--defined-only", "--format=posix", str(library)],
                         check=True, capture_output=True, text=True).stdout
    rows = (line.split() for line in out.splitlines())
    return {row[0].split("@")[0] for row in rows if row[1] != "A"}


def main():
    files = tracked()
    checker = Checker()
    for path in files:
        text = checker.check_text(path, (REPO / path).read_bytes())
        if text is not None and path.suffix in (".c", ".h"):
            checker.check_c(path, text)
    checker.check_unit_tests(files)
    checker.check_manual(files)
    if len(sys.argv) > 1:
        checker.check_exports(sys.argv[1])
    for finding in checker.findings:
        print(finding)
    return 1 if checker.findings else 0


if __name__ == "__main__":
    sys.exit(main())
