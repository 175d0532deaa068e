# SPDX-License-Identifier: MIT
"""Audit switched on in a running program: `umem leaks` names who loses blocks from then on."""

import collections

from harness import Background
from harness.agent import OPTIONS, Agent
from leak_support import build, umem_json

# What each of two threads loses at a time: of 100 and 200 bytes, and 300,000.
SMALL, OBJECTS, LARGE = 70, 9, 2
ONCE = 2 * (SMALL + OBJECTS + LARGE)


def lost(process):
    """(function or None, whether in a twin) -> buffers; and how many there are in all."""
    report = umem_json("leaks", process.pid, expect=1)
    found = collections.Counter()
    for group in report["groups"]:
        names = [frame["function"] for frame in group["stack"]]
        site = next((name for name in names if name and name.startswith("lose_")), None)
        found[site, "+" in group["cache"]] += group["count"]
    return dict(found), report["total"]["buffers"]


def test_later_leaks_have_stacks(tmp_path):
    program = build(tmp_path, "leak_later.c")
    with Background([program], env=OPTIONS) as process, Agent(process.pid) as agent:
        process.wait_for_line("early")
        assert lost(process) == ({(None, False): ONCE}, ONCE)
        assert agent.ask("audit on frames=20") == ["ok"]
        process.say("go on")
        process.wait_for_line("later")
        found = {(None, False): ONCE, ("lose_later", True): 2 * (SMALL + OBJECTS),
                 ("lose_later", False): 2 * LARGE}
        assert lost(process) == (found, 2 * ONCE)
        assert agent.ask("audit off") == ["ok"]
        process.say("go on")
        process.wait_for_line("at last")
        found[None, False] += ONCE
        assert lost(process) == (found, 3 * ONCE)


def test_only_a_cache(tmp_path):
    """And only what is asked for in it."""
    program = build(tmp_path, "leak_later.c")
    with Background([program], env=OPTIONS) as process, Agent(process.pid) as agent:
        process.wait_for_line("early")
        assert agent.ask("audit on cache=later guards") == ["ok"]
        process.say("go on")
        process.wait_for_line("later")
        found = {(None, False): ONCE + 2 * (SMALL + LARGE), ("lose_later", True): 2 * OBJECTS}
        assert lost(process) == (found, 2 * ONCE)
        assert agent.ask("audit off") == ["ok"]
        assert agent.ask(f"audit on thread={process.pid}") == ["ok"]
        process.say("go on")
        process.wait_for_line("at last")
        found[None, False] += ONCE // 2
        found |= {("lose_at_last", True): SMALL + OBJECTS, ("lose_at_last", False): LARGE}
        assert lost(process) == (found, 3 * ONCE)
