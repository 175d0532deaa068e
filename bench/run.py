#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures this library against other mallocs and prints ratios as markdown.

Every allocator runs every workload, one after the other in each round, so that
what else the machine does hits all of them; a figure is the median of the
rounds.  Ratios count, times do not: below 1.00 ours is faster (or smaller).

  bench/run.py [OPTION...] BUILD              measure
  bench/run.py [OPTION...] --from FILE...     show what --json wrote earlier
"""

import argparse
import functools
import json
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from benchlib import debugging, document, latency, leaks, machine, micro, plots  # noqa: E402
from benchlib import programs, runner, scale, space, stacks, tables, waste  # noqa: E402

SECTIONS = {
    "micro": micro,
    "latency": latency,
    "space": space,
    "scale": scale,
    "programs": programs,
    "waste": waste,
    "debugging": debugging,
    "stacks": stacks,
    "leaks": leaks,
}
# Of another library, or of the command, with a page of its own: only when asked for.
APART = {"stacks", "leaks"}
ROUNDS, RUN_MS = 5, 100
QUICK_ROUNDS, QUICK_MS = 1, 10


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", nargs="?", type=pathlib.Path, help="the build directory")
    parser.add_argument("--only", action="append", choices=SECTIONS, metavar="SECTION",
                        help=f"of {', '.join(SECTIONS)}; may be repeated")
    parser.add_argument("--rounds", type=int, help=f"{ROUNDS} if not given")
    parser.add_argument("--ms", type=int, help=f"time of one run of a pattern, {RUN_MS}")
    parser.add_argument("--quick", action="store_true", help="one short round: does it run?")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the medians")
    parser.add_argument("--plot", type=pathlib.Path, metavar="DIR", help="write SVG plots")
    parser.add_argument("--docs", type=pathlib.Path, metavar="FILE",
                        help="fill in this document's tables; plots go to plots/ beside it, "
                             "or where --plot says")
    parser.add_argument("--from", dest="earlier", nargs="+", type=pathlib.Path, metavar="FILE",
                        help="do not measure: take medians that --json wrote")
    options = parser.parse_args(arguments)
    if bool(options.build) == bool(options.earlier):
        parser.error("give the build directory, or --from")
    options.rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    options.ms = options.ms or (QUICK_MS if options.quick else RUN_MS)
    if options.docs and not options.plot:
        options.plot = options.docs.parent / "plots"
    return options


def measure(options):
    build = options.build.resolve()
    os.environ["UMEM_BUILD"] = str(build)
    bench = runner.Bench(build, options.rounds, options.ms, options.quick)
    found, about = [], {}
    for section in options.only or [s for s in SECTIONS if s not in APART]:
        started = time.monotonic()
        found += SECTIONS[section].run(bench)
        about[section] = SECTIONS[section].about(bench)
        runner.say(f"{section}: {time.monotonic() - started:.0f} s in all")
    return {"machine": machine.describe(),
            "about": about,
            "tables": [tables.to_json(table) for table in found]}


def load(options):
    """Later files' tables take the place of earlier ones of the same name."""
    about, by_name = {}, {}
    for path in options.earlier:
        data = json.loads(path.read_text(encoding="utf-8"))
        by_name.update({table["name"]: table for table in data["tables"]
                        if not options.only or table["section"] in options.only})
        about.update(data["about"])
    return {"machine": data["machine"], "about": about, "tables": list(by_name.values())}


def main(arguments=None):
    options = parse(arguments)
    data = load(options) if options.earlier else measure(options)
    found = [tables.from_json(table) for table in data["tables"]]
    sections = [name for name in SECTIONS if any(table.section == name for table in found)]
    if options.json:
        options.json.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n",
                                encoding="utf-8")
    drawn = plots.write(found, options.plot) if options.plot else {}
    about_machine = machine.markdown(data["machine"])

    def text(section, names=None, prefix=""):
        return document.section_text(section, found, data["about"][section], names, prefix)

    if options.docs:
        contents = {"machine": lambda prefix: about_machine}
        for section in sections:
            contents[section] = functools.partial(text, section, drawn.get(section))
        document.update(options.docs, options.plot, contents)
    for section in sections:
        print(f"\n## {section.capitalize()}\n\n{text(section)}")
    print(f"\n{about_machine}\nA ratio below 1.00 says that ours is faster or smaller.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
