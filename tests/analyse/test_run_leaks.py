# SPDX-License-Identifier: MIT
"""`umem run --leaks`: leaks at exit, the exit code, and every way that a program ends."""

import os
import pathlib
import pty
import re
import select
import shutil
import signal
import tempfile
import time

import pytest

from harness import Background, compile_c, paths, run
from harness.process import clean_env, wait_for
from leak_support import FLAGS

HERE = pathlib.Path(__file__).resolve().parent
NOT_LOOKED = "leaks not looked for: it ended without exit()"
NOBODY = 65534


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return compile_c(HERE / "exit_kinds.c", tmp_path_factory.mktemp("exit") / "exit_kinds",
                     flags=FLAGS)


@pytest.fixture
def watched(program):
    """Runs a way of exit_kinds under umem run --leaks=fail, or with other options."""
    def start(*arguments, options=("--leaks=fail",), **how):
        return run([paths.umem(), "run", *options, "--", program, *arguments], **how)
    return start


def leaked(result):
    """Leaked buffers of each report, by the line it begins with."""
    return [int(line.split()[0]) if line[0].isdigit() else 0 for line in result.stderr.splitlines()
            if re.match(r"(no leaks|\d+ leaked buffers?)( |$)", line)]


# --- What is found, and the exit code


def test_leaks_are_the_exit_code(watched):
    result = watched("lose")
    assert result.returncode == 23 and leaked(result) == [3], result
    assert "lose+0x" in result.stderr and "exit_kinds.c:" in result.stderr
    assert "direct    3  336 bytes from 1 place" in result.stderr
    assert result.stdout == ""


def test_leaks_override_the_programs_code(watched):
    assert watched("lose", 5).returncode == 23
    assert watched("lose", 5, options=["--leaks=fail", "--leaks-exit-code=0"]).returncode == 0
    assert watched("lose", options=["--leaks=fail", "--leaks-exit-code=99"]).returncode == 99


@pytest.mark.parametrize("option", ["--leaks", "--leaks=report", "-l"])
def test_report_keeps_the_programs_code(watched, option):
    result = watched("lose", 5, options=[option])
    assert result.returncode == 5 and leaked(result) == [3], result


@pytest.mark.parametrize("code", [0, 5, 23])
@pytest.mark.parametrize("way", ["atexit", "hold"])
def test_clean(watched, way, code):
    result = watched(way, code)
    assert result.returncode == code and leaked(result) == [0], result
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ("freed at exit\n" if way == "atexit" else "")


def test_a_program_that_allocates_nothing(tmp_path):
    program = compile_c("int main(void) { return 4; }", tmp_path / "nothing")
    result = run([paths.umem(), "run", "--leaks=fail", "--", program])
    assert result.returncode == 4 and leaked(result) == [0], result
    assert len(result.stderr.splitlines()) == 1, result


def test_suppressions(watched, tmp_path):
    known = tmp_path / "known.supp"
    known.write_text("leak:^lose$\n")
    result = watched("lose", 4, options=["--leaks=fail", f"--suppressions={known}"])
    assert result.returncode == 4, result
    assert f"3 buffers, 336 bytes  leak:^lose$  ({known}:1)" in result.stderr
    known.write_text("leak:other\n")
    assert watched("lose", options=["--leaks=fail", f"--suppressions={known}"]).returncode == 23


def test_audit_is_on_and_depth_is_kept(program):
    def environment(*options, **how):
        result = run([paths.umem(), "run", *options, "env"], **how)
        return dict(line.split("=", 1) for line in result.stdout.splitlines() if "=" in line)
    assert environment("--leaks")["UMEM_DEBUG"] == "audit"
    assert environment("--leaks", "--audit=3")["UMEM_DEBUG"] == "audit=3"
    assert environment("--leaks", debug="audit=64,guard")["UMEM_DEBUG"] == "audit=64,guard,audit"
    options = environment("--leaks", env={"UMEM_OPTIONS": "nomagazines"})["UMEM_OPTIONS"]
    assert re.fullmatch(r"nomagazines,exit_stop=\d+", options)
    assert "UMEM_OPTIONS" not in environment()


# --- Ways to end


def test_exit_by_another_thread(watched):
    result = watched("thread", 7)
    assert result.returncode == 23 and leaked(result) == [3], result


def test_busy_threads(watched):
    for _ in range(5):
        result = watched("storm", 6)
        assert result.returncode == 6 and leaked(result) == [0], result


def test_closed_descriptors(program, tmp_path):
    """Nothing is inherited that a program could close."""
    result = run([paths.umem(), "run", "--leaks=fail", program, "close"])
    assert result.returncode == 23 and leaked(result) == [3], result


@pytest.mark.parametrize("way", ["fork", "daemon"])
def test_only_the_first_process(watched, way):
    result = watched(way, 2)
    assert result.returncode == 2 and leaked(result) == [0], result


def test_ended_without_exit(watched):
    result = watched("_exit", 9)
    assert result.returncode == 9 and leaked(result) == [], result
    assert NOT_LOOKED in result.stderr and len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT, signal.SIGSEGV,
                                    signal.SIGUSR1])
def test_killed(watched, number, tmp_path):
    result = watched("kill", int(number), cwd=tmp_path, core=True)
    assert result.signal == number and result.stderr == "", result


def test_killed_while_looked_at(watched):
    """Whatever the moment, it ends, and as it did."""
    codes = [watched("race", delay).returncode for delay in range(0, 60000, 2000)]
    assert set(codes) <= {-signal.SIGKILL, 23} and -signal.SIGKILL in codes, codes


def test_exec(watched, program):
    """The image that the process executed last."""
    result = watched("exec", program, "lose", 5)
    assert result.returncode == 23 and leaked(result) == [3], result
    result = watched("exec", program, "atexit", 5)
    assert result.returncode == 5 and leaked(result) == [0], result
    result = run([paths.umem(), "run", "--leaks=fail", "bash", "-c", f"'{program}' lose; exit 3"])
    assert result.returncode == 3 and leaked(result) == [0], result  # bash's own child


def test_without_the_library(tmp_path):
    source = tmp_path / "static.c"
    source.write_text("#include <stdlib.h>\nint main(void) { return malloc(3) == NULL; }\n")
    try:
        static = compile_c(source, tmp_path / "static", flags=["-static"])
    except RuntimeError:
        pytest.skip("nothing can be linked statically")
    result = run([paths.umem(), "run", "--leaks=fail", static])
    assert result.returncode == 0 and NOT_LOOKED in result.stderr, result


def test_library_in_the_program(tmp_path):
    """Linked with the library and preloaded with it: one report."""
    linked = compile_c(HERE / "exit_kinds.c", tmp_path / "linked", package="umem-core",
                       flags=[*FLAGS, "-Wl,--no-as-needed"])
    result = run([paths.umem(), "run", "--leaks=fail", linked, "lose"])
    assert result.returncode == 23 and leaked(result) == [3], result


CXX = """#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>
struct Registry {
    std::map<int, std::string> names;
    Registry() { for (int i = 0; i < 100; i++) names[i] = std::string(100, 'x'); }
    ~Registry() { static std::vector<int> *late = new std::vector<int>(50); (void)late; }
};
static Registry registry;
static std::vector<std::unique_ptr<int>> numbers;
thread_local std::string own(200, 'y');
static std::string &once() { static std::string text(300, 'z'); return text; }
int main()
{
    for (int i = 0; i < 100; i++)
        numbers.push_back(std::make_unique<int>(i));
    std::thread([] { own += 'a'; }).join();
    own += 'b';
    return once().size() == 300 ? 0 : 1;
}
"""


def test_constructors_and_destructors(tmp_path):
    source = tmp_path / "statics.cc"
    source.write_text(CXX)
    program = compile_c(source, tmp_path / "statics", flags=["-O1", "-pthread"])
    result = run([paths.umem(), "run", "--leaks=fail", program])
    assert result.returncode == 0 and leaked(result) == [0], result


@pytest.mark.parametrize("command", [["python3", "-c", "pass"], ["ls", "/"], ["bash", "-c", ":"]])
def test_real_programs(command):
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]}")
    result = run([paths.umem(), "run", "--leaks=fail", *command])
    assert result.returncode == 0 and leaked(result) == [0], result


# --- Signals and terminals


def waiting(program):
    process = Background([paths.umem(), "run", "--leaks=fail", program, "wait"])
    child = int(process.wait_for_line("ready").split()[1])
    return process, child


def test_signals_are_passed_on(program):
    process, _ = waiting(program)
    with process:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT,
                       signal.SIGUSR1, signal.SIGUSR2):
            os.kill(process.pid, number)
            process.wait_for_line(f"signal {int(number):02}")
        process.process.stdin.close()
        assert process.wait() == 0
    assert len(process.lines) == 7


def test_a_signal_that_makes_it_exit(program):
    """Sent to both, as a terminal does: the program exits by its handler and is looked at."""
    for _ in range(5):
        process = Background([paths.umem(), "run", "--leaks=fail", program, "quit"])
        with process:
            process.wait_for_line("ready")
            os.kill(process.pid, signal.SIGSTOP)  # it sees the signal when it is called already
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.1)
            os.kill(process.pid, signal.SIGCONT)
            assert process.wait() == 23, (process.lines, process.errors)


def test_program_killed_from_outside(program):
    process, child = waiting(program)
    with process:
        os.kill(child, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL


def test_parent_gone(program):
    """The program neither notices nor hangs."""
    process, child = waiting(program)
    with process:
        os.kill(process.pid, signal.SIGKILL)
        process.process.wait()
        process.process.stdin.close()
        wait_for(lambda: not pathlib.Path(f"/proc/{child}/exe").exists(), what="end of the child")
    assert process.errors == []


class Shell:
    """An interactive bash on a terminal of its own."""

    def __init__(self):
        self.text = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"],
                       clean_env(env={"PS1": "$ ", "TERM": "dumb", "HISTFILE": ""}))

    def say(self, text):
        os.write(self.fd, text)

    def expect(self, text, timeout=30):
        """Reads on until text, and returns what came before it."""
        end = time.monotonic() + timeout
        while text not in self.text:
            if not select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError(f"no {text}: {self.text}")
            self.text += os.read(self.fd, 4096)
        before, self.text = self.text.split(text, 1)
        return before

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        os.close(self.fd)  # hangs up, which ends the shell and its jobs
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def test_terminal(program):
    """In a shell with job control: ^C reaches the program once, ^Z stops it, fg goes on."""
    with Shell() as shell:
        shell.expect(b"$ ")
        shell.say(f"'{paths.umem()}' run --leaks -- '{program}' wait\n".encode())
        shell.expect(b"ready ")
        child = int(shell.expect(b"\r\n"))
        shell.say(b"\x03")
        shell.expect(b"signal 02")
        shell.say(b"\x1a")
        assert b"signal" not in shell.expect(b"Stopped")
        shell.expect(b"$ ")
        status = pathlib.Path(f"/proc/{child}/status")
        wait_for(lambda: "State:\tT" in status.read_text(), what="stop of the program")
        shell.say(b"fg\n")
        shell.expect(b"wait\r\n")
        shell.say(b"\x04")
        shell.expect(b"can be reached")
        shell.expect(b"$ ")
        shell.say(b"echo code=$?\n")
        shell.expect(b"code=0")


def test_ignored_signals_stay_ignored(program):
    command = (f"trap '' HUP CHLD; exec '{paths.umem()}' run --leaks=fail -- "
               f"grep -E 'SigIgn|SigBlk' /proc/self/status")
    result = run(["sh", "-c", command])
    plain = run(["sh", "-c", "trap '' HUP CHLD; exec grep -E 'SigIgn|SigBlk' /proc/self/status"])
    assert result.returncode == 0 and result.stdout == plain.stdout, result


# --- What cannot be


def test_may_not_be_looked_at(program):
    """A user without ptrace: said so, with what to do; fail is no success."""
    user = NOBODY if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="umem-nobody-") as folder:
        os.chmod(folder, 0o755)
        for file in (paths.umem(), paths.libumem(), program):
            shutil.copy(file, folder)
        # The library beside the command, as in a folder that was unpacked somewhere.
        command = [f"{folder}/umem", "run", "--leaks=fail", f"{folder}/exit_kinds"]
        result = run([*command, "private", 3], user=user)
        assert result.returncode == 125, result
        assert "may not be looked at" in result.stderr or "belongs to user" in result.stderr
        command[2] = "--leaks"
        assert run([*command, "private", 3], user=user).returncode == 3
        command[2] = "--leaks=fail"
        assert run([*command, "lose"], user=user).returncode == 23  # its own child it may


@pytest.mark.parametrize("options, said", [
    (["--leaks=maybe"], "--leaks=maybe: give report or fail"),
    (["--leaks=fail", "--leaks-exit-code=256"], "--leaks-exit-code=256: give at most 255"),
    (["--leaks=fail", "--leaks-exit-code=x"], "not a number"),
    (["--leaks", "--leaks-exit-code=1"], "--leaks-exit-code is of use with --leaks=fail only"),
    (["--suppressions=x"], "--suppressions is of use with --leaks only"),
    (["--leaks", "--suppressions=/no/such"], "/no/such: No such file"),
])
def test_wrong_options(options, said):
    result = run([paths.umem(), "run", *options, "echo", "started"])
    assert result.returncode == 125 and result.stdout == "", result
    assert said in result.stderr and len(result.stderr.splitlines()) == 1


def test_malformed_suppressions(tmp_path):
    known = tmp_path / "known.supp"
    known.write_text("# fine\nleek:x\n")
    result = run([paths.umem(), "run", "--leaks", f"--suppressions={known}", "echo", "started"])
    assert result.returncode == 125 and result.stdout == ""
    assert f"{known}:2: a line is leak:PATTERN" in result.stderr


def test_what_cannot_be_executed(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("text")
    for argv, code in ((["/no/such/program"], 127), (["no-such-program"], 127), ([plain], 126)):
        result = run([paths.umem(), "run", "--leaks=fail", "--", *argv])
        assert result.returncode == code, result
        assert result.stderr.count("\n") == 1 and result.stderr.startswith("umem: run: ")


def test_children_do_not_wait(program):
    """Two hundred processes that exit while the first one goes on: none is held up."""
    script = "i=0; while [ $i -lt 200 ]; do \"$0\" lose; i=$((i+1)); done; exit 4"
    started = time.monotonic()
    result = run([paths.umem(), "run", "--leaks", "bash", "-c", script, program], timeout=120)
    assert result.returncode == 4 and leaked(result) == [0], result
    assert time.monotonic() - started < 100
