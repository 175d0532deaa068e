# SPDX-License-Identifier: MIT
"""Targets: the same facts about one program from a live process, a copy of it,
a core of gcore and a core of the kernel."""

import collections
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import time

import pytest

from harness import Background, compile_c, gcore, kernel_core, paths, run, wait_for

HERE = pathlib.Path(__file__).resolve().parent
FIXTURE = HERE / "target_fixture.c"
PAGE = os.sysconf("SC_PAGESIZE")
GENERAL, VECTOR = "feed0000beef0001", "feed0000beef0002"
X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="registers are set by x86-64 code")

Seen = collections.namedtuple("Seen", "name argument facts program")
Mapping = collections.namedtuple("Mapping", "start end flags offset name")
Symbol = collections.namedtuple("Symbol", "function module offset file line inlined")


def probe(*arguments, **options):
    return run([paths.built("tests/unit/analyse/target_probe"), *arguments], **options)


def ask(target, *question):
    """The lines that answer a question, split into words, without their first."""
    result = probe(*target.argument, *question)
    assert result.returncode == 0, result
    return [line.split(" ")[1:] for line in result.stdout.splitlines()
            if line.split(" ")[0] not in ("target", "complete", "reason", "copied")]


def facts_of(lines):
    words = [line.split() for line in lines]
    return {word[0]: word[1:] for word in words if word}


def symbols(lines):
    found = []
    for words in lines:
        part = " ".join(words).split("|")
        if len(part) == 6:
            found.append(Symbol(part[0], part[1], int(part[2], 16), part[3], int(part[4]),
                                part[5] == "1"))
    return found


def stacks(target):
    """Lists of symbols by thread id."""
    result = probe(*target.argument, "stacks")
    assert result.returncode == 0, result
    by_thread, current = {}, None
    for line in result.stdout.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "stack":
            current = by_thread.setdefault(int(rest.split()[0]), [])
        elif kind == "symbol":
            current += symbols([rest.split(" ")])
    return by_thread


def stack_with(target, function):
    for stack in stacks(target).values():
        names = [symbol.function for symbol in stack]
        if function in names:
            return stack, names
    raise AssertionError(f"{function} is on no stack: {stacks(target)}")


def line_of(comment):
    for number, text in enumerate(FIXTURE.read_text().splitlines(), 1):
        if f"/* {comment} */" in text:
            return number
    raise AssertionError(comment)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return compile_c(FIXTURE, tmp_path_factory.mktemp("target") / "target_fixture",
                     flags=["-O2", "-fomit-frame-pointer", "-rdynamic", "-pthread"])


@pytest.fixture(scope="module")
def process(program):
    with Background([program]) as background:
        background.wait_for_line("ready")
        yield background


@pytest.fixture(scope="module")
def everything(program, process, tmp_path_factory):
    """Targets by name."""
    facts = facts_of(process.lines)
    folder = tmp_path_factory.mktemp("cores")
    targets = {
        "live": Seen("live", [str(process.pid)], facts, program),
        "copied": Seen("copied", ["--copy", str(process.pid)], facts, program),
        "gcore": Seen("gcore", [str(gcore(process.pid, folder))], facts, program),
    }
    try:
        result, core = kernel_core([program, "abort"], folder)
        facts = facts_of(result.stdout.splitlines())
        targets["kernel"] = Seen("kernel", [str(core)], facts, program)
    except RuntimeError:
        pass  # the kernel's core pattern sends cores elsewhere
    return targets


@pytest.fixture(params=["live", "copied", "gcore", "kernel"])
def target(request, everything):
    if request.param not in everything:
        pytest.skip("kernel.core_pattern does not write cores into the working directory")
    return everything[request.param]


def mappings(target):
    found = []
    for words in ask(target, "mappings"):
        found.append(Mapping(int(words[0], 16), int(words[1], 16), words[2], int(words[3], 16),
                             " ".join(words[4:])))
    return found


def mapping_at(target, text):
    address = int(text, 16)
    return next(m for m in mappings(target) if m.start <= address < m.end)


def test_is_complete(target):
    result = probe(*target.argument)
    assert "complete 1" in result.stdout.splitlines(), result
    assert result.stderr == ""
    assert str(target.program) in result.stdout.splitlines()[0]


def test_mappings_are_sorted_and_apart(target):
    maps = mappings(target)
    assert len(maps) > 10
    for low, high in zip(maps, maps[1:]):
        assert low.start < low.end <= high.start


def test_mappings_have_names_and_rights(target):
    data = mapping_at(target, target.facts["words"][0])
    assert (data.name, data.flags) == (str(target.program), "rw-pf+")
    text = mapping_at(target, target.facts["text"][0])
    assert (text.name, text.flags) == (str(target.program), "r--pf+")
    stack = mapping_at(target, target.facts["local"][0])
    assert (stack.name, stack.flags) == ("[stack]", "rw-pa+")
    anonymous = mapping_at(target, target.facts["hole"][0])
    assert (anonymous.name, anonymous.flags) == ("", "rw-pa+")
    assert any(m.flags == "r-xpf+" and "libc.so" in m.name for m in mappings(target))
    assert any(m.name == "[vdso]" for m in mappings(target))


def test_modules_have_the_right_bias(target):
    names = subprocess.run(["nm", target.program], capture_output=True, text=True, check=True)
    value = next(int(line.split()[0], 16) for line in names.stdout.splitlines()
                 if line.endswith(" fixture_words"))
    modules = {words[4]: words for words in ask(target, "modules")}
    start, end, bias, build_id_size, _ = modules[str(target.program)]
    address = int(target.facts["words"][0], 16)
    assert int(bias, 16) + value == address
    assert int(start, 16) <= address < int(end, 16)
    assert build_id_size == "20"
    assert any("libc.so" in name for name in modules)
    assert not any(name.endswith((".cache", "locale-archive")) for name in modules)


def test_threads(target):
    threads = ask(target, "threads")
    assert len(threads) == 3
    for _, stopped, sp, pc, fs_base, words in threads:
        assert stopped == "1"
        assert int(sp, 16) and int(pc, 16) and int(fs_base, 16)
        assert int(words) > 100  # general, floating point and vector state
    main = next(words for words in threads if mapping_at(target, words[2]).name == "[stack]")
    assert int(main[2], 16) < int(target.facts["local"][0], 16)


def test_thread_ids_are_those_of_the_process(everything, process):
    expected = set(os.listdir(f"/proc/{process.pid}/task"))
    assert {words[0] for words in ask(everything["live"], "threads")} == expected
    assert {words[0] for words in ask(everything["gcore"], "threads")} == expected


@X86
@pytest.mark.parametrize("value", [GENERAL, VECTOR])
def test_registers(target, value):
    held = ask(target, "register", value)
    assert held, "the value is in no register"
    assert len({words[0] for words in held}) == 1
    if value == VECTOR:  # in the legacy area at least: 27 general words come first
        assert any(int(words[1]) >= 27 for words in held)


def test_reads_data(target):
    answer, = ask(target, "read", target.facts["words"][0], "16")
    assert answer[::2] == ["16", "88776655443322110200000000000000"]


def test_reads_what_a_core_leaves_to_the_file(target):
    text = b"read-only text of the fixture"
    size, _, data = ask(target, "read", target.facts["text"][0], str(len(text)))[0]
    assert int(size) == len(text)
    assert bytes.fromhex(data) == text


def test_reads_across_holes(target):
    hole = target.facts["hole"][0]
    assert ask(target, "read", hole, str(5 * PAGE))[0][0] == str(2 * PAGE)
    assert ask(target, "pages", hole, str(5 * PAGE))[0][0] == str(4 * PAGE)
    inside = f"{int(hole, 16) + 2 * PAGE:x}"
    assert ask(target, "read", inside, "8")[0][0] == "0"
    after = f"{int(hole, 16) + 3 * PAGE:x}"
    assert ask(target, "read", after, "8")[0][::2] == ["8", "44" * 8]
    # What a hole leaves out is zero in the buffer, not what was in it before.
    across = f"{int(hole, 16) + 3 * PAGE - 8:x}"
    assert ask(target, "pages", across, "16")[0][::2] == ["8", "00" * 8 + "44" * 8]


def test_reads_beside_guard_regions(target):
    address, has_guard = target.facts["guarded"]
    if has_guard == "0":
        pytest.skip("this kernel has no guard regions")
    if target.name == "gcore":
        pytest.skip("gcore of gdb 13 writes zeros around guard regions")
    start = int(address, 16)
    assert ask(target, "read", f"{start + PAGE:x}", "8")[0][::2] == ["8", "42" * 8]
    assert ask(target, "read", f"{start + 3 * PAGE:x}", "8")[0][::2] == ["8", "44" * 8]
    if target.name != "kernel":  # which has zeros in their place
        assert ask(target, "read", address, str(5 * PAGE))[0][0] == str(2 * PAGE)
        assert ask(target, "pages", address, str(5 * PAGE))[0][0] == str(4 * PAGE)


def test_nothing_beyond_the_address_space(target):
    for address in ("0", "fffffffffffffff0", "ffffffffffffffff", "7fffffffffffffff"):
        assert ask(target, "read", address, "4096")[0][0] == "0"
        assert ask(target, "pages", address, "4096")[0][0] == "0"


def test_peek(target):
    words = target.facts["words"][0]
    hole = target.facts["hole"][0]
    if target.name == "live":
        assert ask(target, "peek", words, "8")[0][0] == "0"
        return
    assert ask(target, "peek", words, "8")[0][::2] == ["8", "8877665544332211"]
    assert ask(target, "peek", hole, str(2 * PAGE))[0][0] == str(2 * PAGE)
    assert ask(target, "peek", hole, str(2 * PAGE + 1))[0][0] == "0"


def test_finds_symbols(target):
    for name, fact in (("fixture_words", "words"), ("fixture_text", "text")):
        (address, path), = ask(target, "symbol", name)
        assert int(address, 16) == int(target.facts[fact][0], 16)
        assert path == str(target.program)
    assert any("libc.so" in words[1] for words in ask(target, "symbol", "malloc"))
    assert ask(target, "symbol", "no_such_symbol_anywhere") == []


@X86
def test_stack_with_inlined_functions(target):
    stack, names = stack_with(target, "innermost")
    at = names.index("innermost")
    assert names[at:at + 4] == ["innermost", "middle", "outer", "spin"]
    assert [symbol.inlined for symbol in stack[at:at + 4]] == [True, True, False, False]
    assert stack[at + 1].line == line_of("call of innermost")
    assert stack[at + 2].line == line_of("call of middle")
    for symbol in stack[at:at + 4]:
        assert pathlib.Path(symbol.file).name == FIXTURE.name
        assert symbol.module == target.program.name
    assert stack[at + 2].offset > 0


def test_stack_through_a_signal_handler(target):
    _, names = stack_with(target, "on_signal")
    assert names.index("on_signal") < names.index("interrupted") < names.index("interrupt")


def test_stack_of_main(target):
    # Where it aborts, the compiler has put that part of main apart.
    stack, names = stack_with(target, "main.cold" if target.name == "kernel" else "main")
    assert names[-2:] == ["__libc_start_main", "_start"]
    names = [name.removesuffix(".cold") for name in names]
    symbol = stack[names.index("main")]
    assert pathlib.Path(symbol.file).name == FIXTURE.name and symbol.line > 0


def test_addresses_without_symbols(target):
    symbol, = symbols(ask(target, "address", "10"))
    assert (symbol.function, symbol.module, symbol.offset) == ("", "", 0x10)
    symbol, = symbols(ask(target, "address", target.facts["local"][0]))
    assert (symbol.function, symbol.module) == ("", "[stack]")


# --- A live process is left as it was ---


def status(pid, field):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return re.search(rf"^{field}:\s*(\S+)", text, re.MULTILINE)[1]


def count(process):
    seen = len(process.lines)
    process.say("count")
    wait_for(lambda: len(process.lines) > seen, what="count")
    return [int(word) for word in process.lines[seen].split()[1:]]


def test_a_process_goes_on_afterwards(process):
    before, _ = count(process)
    assert probe(str(process.pid), "stacks").returncode == 0
    assert status(process.pid, "TracerPid") == "0"
    wait_for(lambda: count(process)[0] > before, what="progress")


def test_signals_are_not_lost(process):
    """Signals that arrive while the process is looked at are delivered, once each."""
    _, before = count(process)
    sent = 0
    for _ in range(20):
        looker = subprocess.Popen([paths.built("tests/unit/analyse/target_probe"),
                                   str(process.pid), "threads"], stdout=subprocess.DEVNULL)
        while looker.poll() is None:
            os.kill(process.pid, signal.SIGRTMIN)
            sent += 1
            time.sleep(0.0005)
        assert looker.returncode == 0
    wait_for(lambda: count(process)[1] >= before + sent, what="all signals")
    assert count(process)[1] == before + sent


def test_a_stopped_process_stays_stopped(program):
    with Background([program]) as stopped:
        stopped.wait_for_line("ready")
        os.kill(stopped.pid, signal.SIGSTOP)
        wait_for(lambda: status(stopped.pid, "State") == "T", what="stop")
        result = probe(str(stopped.pid), "threads")
        assert result.returncode == 0 and "complete 1" in result.stdout
        time.sleep(0.05)
        assert status(stopped.pid, "State") == "T"
        os.kill(stopped.pid, signal.SIGCONT)
        assert count(stopped)[0] > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_process_goes_on_when_the_looker_dies(process, number):
    looker = subprocess.Popen([paths.built("tests/unit/analyse/target_probe"), str(process.pid),
                               "wait"], stdout=subprocess.DEVNULL)
    wait_for(lambda: status(process.pid, "TracerPid") == str(looker.pid), what="tracer")
    wait_for(lambda: status(process.pid, "State") == "t", what="stop")
    looker.send_signal(number)
    assert looker.wait(10) == -number
    assert status(process.pid, "TracerPid") == "0"
    before, _ = count(process)
    wait_for(lambda: count(process)[0] > before, what="progress")


# --- Programs of other kinds ---


def find_and_symbolise(argument, name):
    """The symbol found by name, and how its address is described."""
    result = probe(*argument, "symbol", name)
    assert result.returncode == 0, result
    found = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("found")]
    assert found, result
    described = probe(*argument, "address", found[0])
    return found[0], symbols([line.split(" ", 1)[1].split(" ")
                              for line in described.stdout.splitlines()
                              if line.startswith("symbol")])


def test_executable_that_was_deleted(program, tmp_path):
    copy = tmp_path / "deleted"
    shutil.copy(program, copy)
    with Background([copy]) as process:
        process.wait_for_line("ready")
        copy.unlink()
        address, _ = find_and_symbolise([str(process.pid)], "fixture_words")
        assert int(address, 16) == int(facts_of(process.lines)["words"][0], 16)
        _, described = find_and_symbolise([str(process.pid)], "main")
        assert described[0].function == "main"


def test_executable_that_was_replaced(program, tmp_path, needs_core_files):
    """Its symbols must not be taken for those of what was running."""
    copy = tmp_path / "replaced"
    shutil.copy(program, copy)
    _, core = kernel_core([copy, "abort"], tmp_path)
    compile_c("int main(void) { return 0; }\nint other(void) { return 1; }\n", copy)
    result = probe(core, "stacks")
    assert result.returncode == 0
    assert "symbol main|" not in result.stdout
    assert "build id differs" in result.stderr and len(result.stderr.splitlines()) == 1
    assert "|replaced|" in result.stdout
    assert "symbol interrupted|" not in result.stdout
    # The file that was running, given by --exe, makes it right again.
    again = probe("--exe", program, core, "stacks")
    assert again.stderr == "" and "symbol interrupted|replaced|" in again.stdout


def test_static_program(tmp_path):
    source = """#include <stdio.h>
int fixture_words[4] = {1, 2, 3, 4};
int main(void) { puts("ready"); fflush(stdout); return getchar() + fixture_words[0]; }
"""
    static = compile_c(source, tmp_path / "static", flags=["-static"])
    with Background([static]) as process:
        process.wait_for_line("ready")
        address, _ = find_and_symbolise([str(process.pid)], "fixture_words")
        target = Seen("live", [str(process.pid)], {}, static)
        assert ask(target, "read", address, "16")[0][2] == "01000000020000000300000004000000"
        _, names = stack_with(target, "main")
        assert names[-1] == "_start"


CXX = """#include <cstdio>
namespace space {
struct thing {
    template <typename T> __attribute__((noinline)) T wait(T value) const
    {
        std::puts("ready");
        std::fflush(stdout);
        return value + static_cast<T>(std::getchar());
    }
};
}
int main() { return static_cast<int>(space::thing().wait<long>(3)); }
"""


def test_names_of_cxx_are_demangled(tmp_path):
    source = tmp_path / "cxx.cc"
    source.write_text(CXX)
    program = compile_c(source, tmp_path / "cxx", flags=["-O1"])
    with Background([program]) as process:
        process.wait_for_line("ready")
        _, names = stack_with(Seen("live", [str(process.pid)], {}, program), "main")
        assert "long space::thing::wait<long>(long) const" in names


def test_debug_information_without_aranges(program, tmp_path):
    """As clang writes it."""
    copy = tmp_path / "noaranges"
    subprocess.run(["objcopy", "-R", ".debug_aranges", program, copy], check=True)
    with Background([copy]) as process:
        process.wait_for_line("ready")
        target = Seen("live", [str(process.pid)], {}, copy)
        stack, names = stack_with(target, "main")
        assert stack[names.index("main")].line > 0


def test_separate_debug_file(program, tmp_path):
    copy = tmp_path / "split"
    debug = tmp_path / ".debug" / "split.debug"
    debug.parent.mkdir()
    subprocess.run(["objcopy", "--only-keep-debug", program, debug], check=True)
    subprocess.run(["objcopy", "--strip-all", f"--add-gnu-debuglink={debug}", program, copy],
                   check=True)
    with Background([copy]) as process:
        process.wait_for_line("ready")
        target = Seen("live", [str(process.pid)], {}, copy)
        stack, names = stack_with(target, "interrupted")
        assert pathlib.Path(stack[names.index("interrupted")].file).name == FIXTURE.name


@pytest.mark.parametrize("tool,suffix", [("zstd", "zst"), ("xz", "xz"), ("gzip", "gz"),
                                         ("lz4", "lz4"), ("bzip2", "bz2")])
def test_compressed_core(everything, tmp_path, tool, suffix):
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    packed = tmp_path / f"core.{suffix}"
    with open(packed, "wb") as output:
        subprocess.run([tool, "-c", "-1", everything["gcore"].argument[0]], stdout=output,
                       check=True)
    target = everything["gcore"]._replace(argument=[str(packed)])
    address = ask(target, "symbol", "fixture_words")[0][0]
    assert int(address, 16) == int(target.facts["words"][0], 16)
    assert len(ask(target, "threads")) == 3
