#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the tests and sums them up.

Two runners: meson, for the C unit tests and stress programs, of which every
TAP line counts as a test; and pytest, for everything that looks at programs
from outside.  The last line is "N passed, N failed[, N skipped]"; the exit
code is 0 only where something passed and nothing failed.

  scripts/check.py [--slow] [--only meson|pytest] BUILD [-- PYTEST_ARGUMENT...]
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import xml.etree.ElementTree

REPO = pathlib.Path(__file__).resolve().parent.parent
PYTHON = "/usr/bin/python3"
# Four times what a run takes on two cores: past it something hangs.
PYTEST_TIMEOUT_S = 3600
# Two test programs at a time: stress programs have threads of their own.
MESON_JOBS = 2

TAP_LINE = re.compile(r"^(not )?ok\b(?P<rest>.*)$", re.MULTILINE)
TAP_PLAN = re.compile(r"^1\.\.(\d+)", re.MULTILINE)
TAP_SKIP = re.compile(r"#\s*skip", re.IGNORECASE)


class Sum:
    """What came of a set of tests."""

    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def __add__(self, other):
        return Sum(self.passed + other.passed, self.failed + other.failed,
                   self.skipped + other.skipped)

    def __eq__(self, other):
        return vars(self) == vars(other)

    def __str__(self):
        text = f"{self.passed} passed, {self.failed} failed"
        return text + (f", {self.skipped} skipped" if self.skipped else "")

    __repr__ = __str__

    def good(self):
        return self.failed == 0 and self.passed > 0


def count_tap(text, clean_exit):
    """Counts a program's TAP lines; a case that never reported is a failure."""
    total = Sum()
    for match in TAP_LINE.finditer(text):
        if TAP_SKIP.search(match.group("rest")):  # cmocka says "not ok 3 # SKIP"
            total.skipped += 1
        elif match.group(1):
            total.failed += 1
        else:
            total.passed += 1
    planned = sum(int(n) for n in TAP_PLAN.findall(text))
    total.failed += max(0, planned - total.passed - total.failed - total.skipped)
    if not clean_exit and total.failed == 0:
        total.failed = 1  # it crashed, hung, or failed outside any case
    if clean_exit and total == Sum():
        total.passed = 1  # a program that speaks no TAP is one test
    return total


def count_meson(log):
    """Sums meson's testlog.json: one JSON object a line."""
    total = Sum()
    for line in log.read_text(errors="replace").splitlines():
        test = json.loads(line)
        if test["result"] == "SKIP":
            total.skipped += 1
            continue
        clean = test["result"] in ("OK", "EXPECTEDFAIL")
        one = count_tap(test.get("stdout") or "", clean)
        total += one
        if one.failed:
            print(f"--- {test['name']}: {test['result']}, exit code {test['returncode']}")
            print(test.get("stdout") or "", test.get("stderr") or "", sep="\n")
    return total


def count_pytest(junit):
    """Sums pytest's junit file."""
    total = Sum()
    for suite in xml.etree.ElementTree.parse(junit).getroot().iter("testsuite"):
        tests, skipped = int(suite.get("tests")), int(suite.get("skipped"))
        failed = int(suite.get("failures")) + int(suite.get("errors"))
        total += Sum(max(0, tests - failed - skipped), failed, skipped)
    return total


def run_meson(build, suites=(), patience=1):
    """Runs the C tests of a build directory, their time limits multiplied by patience."""
    log = build / "meson-logs" / "testlog.json"
    log.unlink(missing_ok=True)
    command = ["meson", "test", "-C", str(build), "--no-rebuild", "--num-processes",
               str(MESON_JOBS), "--timeout-multiplier", str(patience)]
    for suite in suites:
        command += ["--suite", suite]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
    if not log.exists():  # there is nothing to run, or meson itself failed
        return Sum(0, 1 if done.returncode else 0)
    total = count_meson(log)
    if done.returncode and total.failed == 0:
        total.failed = 1
    return total


def run_pytest(build, directory, arguments):
    """Runs pytest over a directory; a run that breaks down is a failure."""
    junit = build / "pytest.xml"
    junit.unlink(missing_ok=True)
    command = [PYTHON, "-m", "pytest", f"--junitxml={junit}", "-q", *arguments, str(directory)]
    env = dict(os.environ, UMEM_BUILD=str(build), PYTHONDONTWRITEBYTECODE="1")
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, env=env, cwd=REPO,
                              timeout=PYTEST_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        print(f"pytest did not end within {PYTEST_TIMEOUT_S} s")
        return Sum(0, 1)
    if not junit.exists():
        return Sum(0, 1)
    total = count_pytest(junit)
    nothing_collected = 5
    if done.returncode not in (0, nothing_collected) and total.failed == 0:
        total.failed = 1
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slow", action="store_true", help="the slow tests and real programs")
    parser.add_argument("--only", choices=("meson", "pytest"))
    parser.add_argument("--suite", action="append", default=[], help="meson suite (repeatable)")
    parser.add_argument("--patience", type=int, default=1, help="multiplies time limits of C tests")
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("arguments", nargs="*", help="passed on to pytest")
    options = parser.parse_args()
    build = options.build.resolve()
    started = time.monotonic()

    total = Sum()
    if options.only != "pytest" and not options.slow:
        total += run_meson(build, options.suite, options.patience)
    if options.only != "meson":
        arguments = list(options.arguments)
        if options.slow:
            arguments += ["-m", "slow or programs"]
        total += run_pytest(build, REPO / "tests", arguments)

    print(f"\n{time.monotonic() - started:.0f} s")
    sys.stderr.flush()
    print(total, flush=True)
    return 0 if total.good() else 1


if __name__ == "__main__":
    sys.exit(main())
