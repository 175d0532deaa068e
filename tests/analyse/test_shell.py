# SPDX-License-Identifier: MIT
"""`umem shell`: what each command and walker says of a core.

tests/golden/shell.txt has commands and their output, without what differs from
run to run.  UMEM_SHELL_GOLDEN=write fills it in anew.
"""

import os
import random
import re
import signal

import pytest

from harness import paths
from leak_support import refused, sleeping, umem, umem_json
from shell_support import Core, commands_of, examples_of, helps_of, start, walkers_of

GOLDEN = paths.REPO / "tests/golden/shell.txt"

VARYING = [
    (re.compile(r"^T-[0-9.]+", re.MULTILINE), "T-TIME"),
    (re.compile(r"\b0x[0-9a-f]{7,}\b"), "ADDR"),
    (re.compile(r"\b0*[0-9a-f]{9,16}\b"), "ADDR"),
    (re.compile(r"^ *(libc\.so\.6|ld-linux)[^\n]*$", re.MULTILINE), "  LIBC"),
    (re.compile(r"^(\[?) *ADDR libc\.so\.6[^\n]*$", re.MULTILINE), r"\1 ADDR LIBC"),
    (re.compile(r"^ *(ADDR )?_start[^\n]*$", re.MULTILINE), "  LIBC"),
    (re.compile(r"^ ADDR LIBC$", re.MULTILINE), "  LIBC"),
    (re.compile(r"(^  LIBC\n)+", re.MULTILINE), "  LIBC\n"),
    (re.compile(r"\+(0x)?[0-9a-f]+\b"), "+OFFSET"),
    # Classes of sizes are the allocator's business.
    (re.compile(r"umem_alloc_\d+"), "umem_alloc_N"),
    (re.compile(r"\b\d+ bytes$", re.MULTILINE), "N bytes"),
    (re.compile(r"^\d+ (?=.*lose_large)", re.MULTILINE), "N "),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r" $", re.MULTILINE), ""),
]


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    return Core(tmp_path_factory.mktemp("shell"))


def stable(text, core):
    for number in {*core.walk("::walk thread"), core.pid}:
        text = re.sub(rf"\b{number}\b", "TID", text)
    for pattern, replacement in VARYING:
        text = pattern.sub(replacement, text)
    return text


def golden_commands():
    return [line[2:] for line in GOLDEN.read_text().splitlines() if line.startswith("> ")]


def golden_output():
    """Command to output."""
    result = {}
    for block in re.split(r"^> ", GOLDEN.read_text(), flags=re.MULTILINE)[1:]:
        command, _, output = block.partition("\n")
        result[command] = output
    return result


def substituted(command, core):
    """NAME@ in a command is an address that the program told."""
    return re.sub(r"\b(\w+)@", lambda match: f"{core.at[match[1]]:x}", command)


def run_all(core, commands):
    """Outputs of commands, from one session: they are told apart by an echo before each."""
    lines = []
    for command in commands:
        lines += ["-e", "::echo =====", "-e", substituted(command, core)]
    result = umem("shell", *lines, core.path)
    assert result.returncode in (0, 1) and result.stderr == "", result
    return [stable(text, core) for text in result.stdout.split("=====\n")[1:]]


def test_golden(core):
    commands = golden_commands()
    outputs = run_all(core, commands)
    if os.environ.get("UMEM_SHELL_GOLDEN") == "write":
        GOLDEN.write_text("".join(f"> {command}\n{output}"
                                  for command, output in zip(commands, outputs)))
    expected = golden_output()
    for command, output in zip(commands, outputs):
        assert output == expected[command], f"> {command}\n{output}"


def test_golden_has_every_command_and_walker(core):
    text = " ".join(golden_commands())
    words = set(re.findall(r"::\w+|\$\w|[/=>]", text))
    for name in commands_of(core):
        verb = f"::{name}" if name[0].isalpha() else name
        assert verb in words or name in ("quit", "$q", "mappings", "$m", "dcmds", "walkers"), name
    for name in walkers_of(core):
        assert f"::walk {name}" in text, name


def test_every_command_has_help_and_examples_that_run(core):
    texts = helps_of(core)
    examples = []
    for name, text in texts.items():
        assert f"NAME\n  {name} - " in text
        own = examples_of(text)
        assert own, name
        examples += [example for example in own if name not in ("quit", "$q")]
    for example, output in zip(examples, run_all(core, examples)):
        assert output, example


def test_manual_has_every_command_walker_and_example(core):
    page = (paths.REPO / "man/umem-shell.1").read_text()
    page = page.replace("\\-", "-").replace("\\(aq", "'").replace("\\&", "").replace("\\e", "\\")
    for name, text in helps_of(core).items():
        assert f"::{name}" in page or name in page, name
        for example in examples_of(text):
            assert f"\n> {example}\n" in page, example
    for name in walkers_of(core):
        assert re.search(rf"^\.B {name}$", page, re.MULTILINE), name


def test_examples_of_manual_run(core):
    """Lines that begin with "> " are commands, "$ umem shell" is the command itself."""
    page = (paths.REPO / "man/umem-shell.1").read_text().replace("\\-", "-")
    page = page.replace("\\(aq", "'").replace("\\e", "\\")
    commands = re.findall(r"^> (.*)$", page, re.MULTILINE)
    assert len(commands) > 30
    result = umem("shell", *[word for command in commands if command not in ("::quit", "$q")
                             for word in ("-e", command)], core.path)
    assert result.returncode == 1 and result.stderr == "", result
    shells = re.findall(r"^\$ umem shell (.*) core$", page, re.MULTILINE)
    assert shells


def test_same_leaks_as_the_verb(core):
    report = umem_json("leaks", core.path, "--max=0", expect=1)
    text = core.shell("::findleaks -dv", expect=1)
    assert f"leaked buffers => {report['total']['buffers']}\n" in text
    assert f"leaked bytes => {report['total']['bytes']}\n" in text
    totals = re.findall(r"Total +(\d+) (?:buffer|oversize leak)s?, (\d+) byte", text)
    assert sum(int(count) for count, _ in totals) == report["total"]["buffers"] == 6
    assert sum(int(size) for _, size in totals) == report["total"]["bytes"]
    found = {address for group in report["groups"] for address in group["buffers"]}
    assert {hex(address) for address in core.walk("::walk leakbuf")} == found
    kinds = {kind: sum(group["count"] for group in report["groups"] if group["kind"] == kind)
             for kind in ("direct", "indirect")}
    assert f"direct leaks => {kinds['direct']}\n" in text
    assert f"indirect leaks => {kinds['indirect']}\n" in text


def test_walkers_agree_with_the_verbs(core):
    stat = umem_json("stat", core.path)
    rocket = next(row for row in stat["caches"] if row["name"] == "rocket")
    at = f"{core.at['rocket']:x}"
    assert len(core.walk("::walk rocket")) == rocket["inuse"] == 2
    assert core.walk("::walk rocket") == core.walk(f"{at}::walk umem")
    assert len(core.walk(f"{at}::walk freemem")) == rocket["total"] - rocket["inuse"]
    assert len(core.walk("::walk umem_cache")) == len(stat["caches"]) - 1  # and oversize
    assert len(core.walk("::walk vmem")) == len(stat["arenas"])
    assert sorted(core.walk("::walk vmem")) == sorted(core.walk("::walk vmem_postfix"))
    assert len(core.walk("::walk umem_cpu")) == len(stat["threads"])
    log = umem_json("log", core.path, "--max=0")
    assert len(core.walk("::walk umem_log")) == log["records"]
    live = sum(row["inuse"] for row in stat["caches"])
    assert len(core.walk("::walk umem")) == live
    threads = core.walk("::walk thread")
    assert len(threads) == 4 and core.pid in threads
    segments = {kind: core.walk(f"{core.at['pool']:x}::walk vmem_{kind}")
                for kind in ("seg", "alloc", "free", "span")}
    assert sorted(segments["alloc"] + segments["free"] + segments["span"]) == \
        sorted(segments["seg"])
    slabs = core.walk(f"{at}::walk umem_slab")
    assert slabs and set(core.walk(f"{at}::walk umem_slab_partial")) <= set(slabs)


def test_bufctls_and_buffers(core):
    """From a buffer to its bufctl and back."""
    live = core.at["live"]
    bufctl, = core.walk(f"::walk bufctl | ::bufctl -a {live:x} | ::map .")
    text = core.shell(f"{live:x}::whatis")
    assert f"{live:x} is {live:x}+0, allocated from rocket:" in text
    assert re.search(rf"^ +{bufctl:x} +{live:x} ", text, re.MULTILINE)
    assert "make_rocket+0x" in text
    assert f"{bufctl + 4:x} is {bufctl:x}+4, the bufctl of {live:x}" in \
        core.shell(f"{bufctl + 4:x}::whatis")
    freed = core.shell(f"{core.at['freed'] + 5:x}::whatis")
    assert f"{core.at['freed']:x}+5, freed from rocket:" in freed and "drop_rocket+0x" in freed
    history = core.walk(f"::walk freectl | ::bufctl -a {core.at['freed']:x} | "
                        "::walk bufctl_history")
    assert len(history) == 3  # itself, and its free and its allocation in the log
    listed = core.shell(f"::walk freectl | ::bufctl -vh -a {core.at['freed']:x}")
    assert listed.count("drop_rocket+0x") == 1 and listed.count("make_rocket+0x") == 1
    assert core.walk(f"0t{core.pid}::walk freedby | ::bufctl -c drop_rocket | ::map .")
    assert not core.walk("1::walk allocdby")


def test_whatis(core):
    assert "is unknown" in core.shell("10::whatis")
    every = core.shell(f"{core.at['live']:x}::whatis -aqv").splitlines()
    assert every[0].endswith("allocated from rocket")
    assert any("rocket's own words" in line for line in every)
    assert any("3000 bytes, 3000 requested" in line for line in every)
    assert any("allocated from the arena umem_heap (vmem_seg " in line for line in every)
    assert any("in the mapping [" in line for line in every)
    assert "is unknown" in core.shell("0t1005::whatis -a")
    assert "allocated from the arena numbers" in core.shell("0t1005::whatis -i")
    assert "is unknown" in core.shell("main::whatis -k")
    assert "code of shell_fixture, main+0x0" in core.shell("main::whatis")
    assert "in the stack of thread" in core.shell("<sp::whatis")


def test_threads(core):
    groups = core.shell("::stacks")
    assert re.search(r"^\d+ +STOPPED +<NONE> +2\n(.*\n)+? +worker\+0x", groups, re.MULTILINE)
    assert len(core.walk("::stacks -c worker | ::map .")) == 2
    assert len(core.walk("::stacks -C worker | ::map .")) == 2
    assert len(core.walk("::stacks -m nothing.so | ::map .")) == 0
    assert f"stack pointer for thread {core.pid}: " in core.shell(f"0t{core.pid}::findstack")
    deep, = core.walk("::stacks -c deep | ::map .")
    info = core.shell(f"0t{deep}::stackinfo").splitlines()[1]
    row = re.match(r" *(\d+) +[0-9a-f]+ +20000 +(\d+)% +(\d+)% .*deep one", info)
    assert row and int(row[1]) == deep and int(row[2]) >= 15 and int(row[3]) >= int(row[2])
    assert core.lines(f"0t{deep}::context; $c")[0] != ""
    assert "deep+0x" in core.shell(f"0t{deep}::context; $c")
    registers = core.shell("$r")
    sp = int(re.search(r"^%(?:rsp|sp) += (0x[0-9a-f]+)", registers, re.MULTILINE)[1], 16)
    assert int(core.shell("<sp=J").split()[0], 16) == sp
    first = core.lines("$C")[0].split()
    assert int(first[0], 16) == sp and first[1] in core.lines("$c")[0]


def test_memory(core):
    live = f"{core.at['live']:x}"
    assert core.lines(f"{live}/s")[0].split(None, 1)[1] == "rocket's own words"
    assert core.lines(f"{live}/6c")[0].split()[1] == "rocket"
    assert core.lines(f"{live},3/B")[0].split()[1:] == ["72", "6f", "63"]
    assert core.lines(f"{live}/x")[0].split()[1] == "6f72"
    assert core.lines(f"{live}/X")[0].split()[1] == "6b636f72"
    assert core.lines(f"{live}/J")[0].split()[1] == "732774656b636f72"
    assert core.lines(f"{live}/V")[0].split()[1] == "114"
    assert core.lines(f"{live}/d")[0].split()[1] == str(0x6f72)
    assert core.lines(f"{live}/1B", "/1B")[1].split()[1] == "6f"  # dot has moved on
    assert core.lines(f"{live}/2Xnt2X")[1].split()[0] == "6e776f20"
    assert core.lines("-1=D")[0].split() == ["-1"]
    assert core.lines("main=p")[0].split() == ["main"]
    assert core.lines("main/a")[0].split()[0] == "main:"
    assert core.lines("*(main)=J")[0].split()[0] == core.lines("main/J")[0].split()[1]
    assert "0x10 cannot be read" in core.shell("10/X", expect=2)


def test_verify(core):
    """The same as the verb finds."""
    report = umem_json("verify", core.path, expect=1)
    problem, = report["problems"]
    assert int(problem["address"], 16) == core.at["buffer"] and problem["kind"] == "redzone"
    every = core.shell("::umem_verify", expect=1)
    assert re.search(r"^victim +[0-9a-f]{16} 1 corrupt buffer$", every, re.MULTILINE)
    assert every.count("corrupt") == 1 and every.count("clean") > 3
    one = core.shell(f"{core.at['victim']:x}::umem_verify", expect=1)
    assert "Summary for cache 'victim'" in one
    assert f"  buffer {core.at['buffer']:x} (allocated) seems corrupted, at " \
           f"{core.at['buffer'] + 40:x}: " in one
    assert "  clean" in core.shell(f"{core.at['rocket']:x}::umem_verify")


def test_users_and_sizes(core):
    report = umem_json("users", core.path, "--max=0")
    text = core.shell("::umausers -e")
    assert sum(int(size) for size in re.findall(r"^(\d+) bytes for ", text, re.MULTILINE)) == \
        report["total"]["bytes"]
    assert core.shell("::umausers -e rocket").startswith(
        "6000 bytes for 2 allocations with data size 3000:\n         make_rocket+0x")
    each = core.shell("::umausers -ef rocket")
    assert each.count("size     3000, addr ") == 2
    assert "lose_" not in core.shell("::umausers umem_alloc_112")  # small groups are left out
    sizes = umem_json("sizes", core.path)
    raw = dict(map(int, line.split()) for line in core.lines("::umem_malloc_dist -d"))
    assert raw == {row["size"]: row["count"] for row in sizes["sizes"]}
    counts = [int(line.split()[-1]) for line in core.lines("::umem_malloc_dist -b 8")[1:]]
    assert len(counts) <= 8 and sum(counts) == sum(raw.values())
    info = core.lines("::umem_malloc_info")
    assert sum(int(line.split()[5]) for line in info[1:]) == \
        sum(row["requested_bytes"] for row in sizes["caches"])


def test_ugrep(core):
    """Who points into the second node of the list that is lost: the first one."""
    node, = core.walk("::walk bufctl | ::bufctl -c lose_list ! tail -1 | cut -d' ' -f2")
    found = core.walk(f"{node:x}::ugrep | ::map .")
    verb = umem_json("grep", core.path, f"{node:x}", "--max=0", expect=(0, 1))
    assert {hex(address) for address in found} == \
        {hit["address"] for hit in verb["hits"] if hit["address"]}
    verbose = core.shell(f"{core.at['live']:x}::ugrep -v -d 10")
    assert f": {core.at['live']:x}  " in verbose and "data of shell_fixture" in verbose
    low = core.at["live"] & 0xffff
    masked = core.walk(f"{low:x}::ugrep -m ffff -a {core.at['rocket']:x} -A "
                       f"{core.at['rocket'] + 0x100:x} | ::map .")
    assert all(core.at["rocket"] <= address < core.at["rocket"] + 0x100 for address in masked)
    for words in ("-s 3", "-m 1 -M 1", "-d 1 -m 1"):
        core.shell(f"10::ugrep {words}", expect=2)


def test_errors_are_one_line_and_the_rest_runs(core):
    for command in ("::nothing", "nosuch::whatis", "::findleaks -x", "::walk", "::walk nothing",
                    "::whatis", "::bufctl -c", "10::bufctl", "10::umem_cache", "10::vmem",
                    "10::walk umem_slab", "::walk umem_slab", "10::walk umem_cache",
                    "::walk umem_cpu_cache", "10::thread", "::status | ::whatis", "10::vmem_seg",
                    "main/Z", "main/9999999999X", "10::umastat", "::umalog nothing", "::help no",
                    "1+", "::walk umem |", "10::walk leak", "::echo \"", "10>"):
        result = umem("shell", "-e", command, "-e", "::echo and on", core.path)
        assert result.returncode == 2, (command, result)
        assert result.stdout.endswith("and on\n"), (command, result)
        lines = result.stderr.splitlines()
        assert len(lines) == 1 and lines[0].startswith("umem: "), (command, result)


def test_shell_commands_and_pipes(core):
    assert core.lines("::umem_cache ! wc -l")[0].strip() == str(len(core.walk("::walk umem_cache"))
                                                                + 1)
    assert core.shell("! echo hello") == "hello\n"
    # What reads only the beginning ends the pipeline and nothing else.
    assert core.lines("::walk umem | ::whatis -q ! head -n 1", "::echo on")[1:] == ["on"]
    assert core.shell("::echo a; ::echo b") == "a\nb\n"
    assert core.lines("::walk umem_cache c; <c=J")[-1].split()[0] == \
        f"{core.walk('::walk umem_cache')[-1]:x}"
    assert core.lines("10,3::echo x") == ["x"] * 3


FUZZ_LINES = 5000


def random_line(chance, names, walkers, addresses):
    """Pieces of commands in any order; nothing that runs a program, ends, or prints for long."""
    pieces = [f"::{name}" if name[0].isalpha() else name for name in names] + \
        [f"::walk {name}" for name in walkers] + \
        [f"{address:x}" for address in addresses] + \
        ["-v", "-a", "-c", "-t", "-z", "main", "<sp", "<", ".", "0t10", "2", "(", ")", "*", "-",
         "#", "%", "|", "|", "|", ";", ",2", "/", "=", "X", "4s", "p", ">x", "$[", "]", "\"", "'",
         "`", "nothing", "\x01", "\xff", "?", "&", "=="]
    return " ".join(chance.choice(pieces) for _ in range(chance.randrange(1, 7)))


def test_any_line_is_survived(core):
    """Whatever is typed is an answer or one line of complaint, and the next line is read."""
    chance = random.Random(1)
    names = [name for name in commands_of(core) if name not in ("quit", "$q", "formats", "help")]
    walkers = walkers_of(core)
    addresses = [*core.at.values(), 0, 10, 2 ** 64 - 1, core.pid, *core.walk("::walk leak")]
    lines = [random_line(chance, names, walkers, addresses) for _ in range(FUZZ_LINES)]
    text = "".join(line + "\n" for line in lines) + "::echo the end\n"
    result = umem("shell", core.path, stdin=text)
    assert result.returncode == 2 and result.stdout.endswith("the end\n"), result
    complaints = result.stderr.splitlines()
    assert FUZZ_LINES / 4 < len(complaints) <= FUZZ_LINES
    assert all(line.startswith("umem: ") for line in complaints)


def test_input(core):
    result = umem("shell", core.path, stdin="::echo one\n\n// nothing\n::quit\n::echo two\n")
    assert result.returncode == 0 and result.stdout == "one\n" and result.stderr == "", result
    result = umem("shell", core.path, stdin="::findleaks\n")
    assert result.returncode == 1, result
    result = umem("shell", core.path, stdin="::echo no end of line")
    assert result.stdout == "no end of line\n", result


def test_live(tmp_path):
    """Running on in a copy, or stopped meanwhile, and running on afterwards."""
    def state(process):
        with open(f"/proc/{process.pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0]

    with start(tmp_path) as process:
        stopped = umem("shell", "--stop", "-e", "::findleaks", "-e", "$c", "-e",
                       f"! cut -d' ' -f3 /proc/{process.pid}/stat", process.pid)
        assert stopped.returncode == 1 and "lose_list+0x" in stopped.stdout, stopped
        assert stopped.stdout.splitlines()[-1] == "t", stopped
        assert state(process) in "SR"
        copied = umem("shell", "-e", "::findleaks", "-e", "$c", "-e",
                      f"! cut -d' ' -f3 /proc/{process.pid}/stat", process.pid)
        assert copied.returncode == 1 and copied.stdout.splitlines()[-1] in "SR", copied
        assert copied.stdout.splitlines()[:-1] == stopped.stdout.splitlines()[:-1]


def test_refused(core):
    refused("shell")
    assert "no such file" in refused("shell", "/nowhere/core")
    assert "is one operand too many" in refused("shell", core.path, "::findleaks")


def test_target_without_the_library():
    """Threads and memory can be looked at all the same."""
    process = sleeping()
    try:
        result = umem("shell", "-e", "$c", "-e", "::findleaks", "-e", "::mappings ! head -1",
                      process.pid)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert result.returncode == 2 and "()" in result.stdout and "BASE" in result.stdout, result
    assert len(result.stderr.splitlines()) == 1 and "no libumem in it" in result.stderr, result
