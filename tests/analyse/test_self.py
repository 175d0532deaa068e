# SPDX-License-Identifier: MIT
"""`umem VERB --self`: a process that nobody may look at is asked itself.

The container is contained.c, which refuses ptrace and its kin to the process and
to umem alike, and makes the process undumpable; where root runs the tests, the
process is nobody's besides.
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile

import pytest

from harness import Background, compile_c, paths, run, wait_for
from harness.agent import OPTIONS, Agent
from leak_support import FLAGS, HERE, build, umem, waiting
from test_leaks import LOST_BUFFERS, check_kinds

NOBODY, STRANGER = 65534, 65533
USER = NOBODY if os.geteuid() == 0 else None
LOOKS = 10


@pytest.fixture(scope="module")
def place():
    """A directory that everybody gets to."""
    with tempfile.TemporaryDirectory(prefix="umem-self-") as name:
        os.chmod(name, 0o755)
        yield pathlib.Path(name)


@pytest.fixture(scope="module")
def container(place):
    return compile_c(HERE / "contained.c", place / "contained.so", flags=["-shared", "-fPIC"])


@pytest.fixture(scope="module")
def kinds(place):
    return build(place)


class Contained:
    """A process in the container, and umem beside it."""

    def __init__(self, container, argv, *, debug="audit=20", agent=True, env=None):
        self.inside = {"LD_PRELOAD": container}
        env = {**self.inside, **(OPTIONS if agent else {}), **(env or {})}
        self.process = Background(argv, debug=debug, env=env, user=USER)
        try:
            self.process.wait_for_line("ready")
            self.pid = self.process.pid
            if agent:
                self.wait_for_agent()
        except BaseException:
            self.process.__exit__(None, None, None)
            raise

    def wait_for_agent(self):
        with Agent(self.pid) as agent:
            # Who it is not for is hung up on: that somebody listens is enough.
            assert agent.ask("help")[-1:] in ([], ["ok"])

    def umem(self, *arguments, user=USER, env=None):
        return run([paths.umem(), *arguments], user=user, env={**self.inside, **(env or {})})

    def self_json(self, verb, *arguments, expect=0):
        result = self.umem(verb, "--self", "--format=json", self.pid, *arguments)
        assert result.returncode == expect, result
        return json.loads(result.stdout)

    def refused(self, *arguments, **options):
        """The one line on stderr that says why."""
        result = self.umem(*arguments, **options)
        assert (result.returncode, result.stdout) == (2, ""), result
        lines = result.stderr.splitlines()
        assert len(lines) == 1 and lines[0].startswith(f"umem: {self.pid}: "), result
        return lines[0]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.__exit__(*exception)


# --- What is found ---

def test_plain_verb_says_what_to_do(container, kinds):
    with Contained(container, [kinds, "hold"]) as it:
        assert "give --self" in it.refused("leaks", it.pid)
    with Contained(container, [kinds, "hold"], agent=False) as it:
        line = it.refused("leaks", it.pid)
        assert "UMEM_OPTIONS=agent" in line and "--self" in line
        assert "UMEM_OPTIONS=agent" in it.refused("leaks", "--self", it.pid)


@pytest.mark.parametrize("debug", ["audit=20", "audit=64,guard"])
def test_the_same_leaks_as_by_pid(container, kinds, debug):
    with Contained(container, [kinds, "lose"], debug=debug) as it:
        check_kinds(it.self_json("leaks", expect=1))
        check_kinds(it.self_json("leaks", expect=1))
        text = it.umem("leaks", "--self", it.pid).stdout
        assert text.startswith(f"{LOST_BUFFERS} leaked buffers in leak_kinds (pid {it.pid}):"), text
        assert re.search(r"allocated [\d.]+ m?s ago, by thread \d+", text), text


def test_the_same_numbers_as_by_pid(kinds):
    """Where both ways are open: every register and stack is as ptrace has it."""
    with Background([kinds, "lose"], debug="audit=20", env=OPTIONS) as process:
        process.wait_for_line("ready")
        with Agent(process.pid):
            pass
        answers = [json.loads(umem("leaks", *how, "--format=json", process.pid).stdout)
                   for how in ([], ["--self"])]
    for answer in answers:
        del answer["target"]
        for group in answer["groups"]:
            del group["oldest_s"]
    assert answers[0] == answers[1]


def test_every_verb(container, kinds, place):
    folder = pathlib.Path(tempfile.mkdtemp(dir=place))
    if USER is not None:
        os.chown(folder, USER, USER)
    with Contained(container, [kinds, "lose"], env={"UMEM_LOGGING": "transaction"}) as it:
        buffer = it.self_json("leaks", expect=1)["groups"][0]["buffers"][0]
        for verb in ("status", "caches", "stat", "arenas", "log", "users", "verify", "sizes",
                     "stacks", "threads"):
            assert it.self_json(verb), verb
        assert it.self_json("whatis", buffer)["kind"] == "buffer"
        assert it.self_json("history", buffer)
        assert it.umem("grep", "--self", it.pid, buffer).returncode in (0, 1)
        assert it.umem("top", "--self", "--once", it.pid).returncode == 0
        assert "lost_large" in it.umem("shell", "--self", "-e", "::findleaks", it.pid).stdout
        page = folder / "page.folded"
        assert it.umem("report", "--self", f"--folded={page}", it.pid).returncode == 0
        assert "lost_string" in page.read_text()
        for verb in ("snapshot", "core"):
            file = folder / verb
            result = it.umem(verb, "--self", "-o", file, it.pid)
            assert result.returncode == 0 and "by itself" in result.stdout, result
            report = json.loads(it.umem("leaks", "--format=json", file).stdout)
            check_kinds(report)
        same = it.umem("diff", "--self", "--format=json", folder / "core", it.pid)
        assert json.loads(same.stdout)["changes"] == [], same


def test_gdb_reads_it(kinds, tmp_path):
    file = tmp_path / "core"
    with Background([kinds, "hold"], env=OPTIONS) as process:
        process.wait_for_line("ready")
        with Agent(process.pid):
            pass
        assert umem("core", "--self", "-o", file, process.pid).returncode == 0
    told = run(["gdb", "-batch", "-nx", "-ex=thread apply all backtrace", kinds, file])
    assert "main (" in told.stdout and told.stdout.count("held_by_stack") >= 4, told


REGISTERS = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile int ready;

/* Nothing but a register has the block, in a thread that runs and in one that sleeps. */
static void *
run(void *arg)
{
    void *p = malloc(123);
    memset(p, 1, 123);
    __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
    __asm__ volatile("1: pause\n jmp 1b" : : "b"(p));
    return arg;
}

static void *
rest(void *arg)
{
    void *p = malloc(321);
    memset(p, 1, 321);
    __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
    __asm__ volatile("1: movl $34, %%eax\n syscall\n jmp 1b" : : "r"(p) : "rax", "rcx", "r11");
    return arg;
}

int
main(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, run, NULL);
    pthread_create(&thread, NULL, rest, NULL);
    while (__atomic_load_n(&ready, __ATOMIC_SEQ_CST) < 2)
        usleep(1000);
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="its registers are named")
def test_registers_hold(container, place):
    program = build(place, REGISTERS, libs=())
    with Contained(container, [program]) as it:
        for _ in range(LOOKS):
            report = it.self_json("leaks")
            assert report["complete"] and report["groups"] == []


# The place where a thread's registers are saved held the pointer before.
SOILED = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define KEEP __attribute__((noipa)) static
static volatile uintptr_t hidden;
KEEP void lose(void)
{
    hidden = ~(uintptr_t)memset(malloc(100), 1, 100);
}
KEEP void soil(void)
{
    uintptr_t dead[4096]; /* the last of them are the red zone of main() */
    for (int i = 0; i < 4096 - 32; i++)
        dead[i] = ~hidden;
    __asm__ volatile("" : : "r"(dead) : "memory");
}
int main(void)
{
    lose();
    puts("ready");
    fflush(stdout);
    soil();
    __asm__ volatile("xorl %edx, %edx\\n pxor %xmm0, %xmm0\\n pxor %xmm1, %xmm1\\n"
                     "1: xorl %edi, %edi\\n xorl %esi, %esi\\n xorl %ebx, %ebx\\n"
                     "movl $34, %eax\\n syscall\\n jmp 1b"); /* pause() */
}
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="its registers are named")
def test_gaps_between_registers_hold_nothing(container, place):
    """Nobody writes them where a signal comes, so they are what lay on the stack before."""
    program = build(place, SOILED, libs=())
    with Contained(container, [program]) as it:
        for _ in range(LOOKS):
            groups = it.self_json("leaks", expect=1)["groups"]
            assert [group["count"] for group in groups] == [1], groups


# --- What the process notices of it ---

def end_unharmed(it):
    os.kill(it.pid, signal.SIGTERM)
    it.process.wait_for_line("unharmed")
    assert it.process.wait() == 0 and it.process.errors == []


@pytest.fixture(scope="module")
def watchful(place):
    return build(place, "forked_target.c")


def test_the_process_is_not_harmed(container, watchful):
    """Calls that wait, signals, waits for children; memory that children do not get is seen."""
    with Contained(container, [watchful]) as it:
        for _ in range(LOOKS):
            report = it.self_json("leaks", expect=1)
            assert report["complete"], report
            assert [(group["kind"], group["count"]) for group in report["groups"]] == \
                [("direct", 7)], report
        end_unharmed(it)


def test_storm(container, kinds):
    """Threads caught in the middle of malloc and free have lost nothing."""
    with Contained(container, [kinds, "storm"], debug=None) as it:
        for _ in range(LOOKS):
            result = it.umem("leaks", "--self", it.pid)
            assert result.returncode == 0, result


CHANGERS = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void *volatile held;

/* libc reaches all threads by the very signal that stops them. */
static void *
change(void *arg)
{
    for (;;)
        if (setuid(getuid()) != 0)
            abort();
    return arg;
}

static void *
come_and_go(void *arg)
{
    return arg;
}

/* Each child is one that it made. */
static void *
have_children(void *arg)
{
    for (;;) {
        pid_t child = fork();
        if (child == 0)
            _exit(3);
        int status;
        pid_t ended = wait(&status);
        if (child < 0 || ended != child || WEXITSTATUS(status) != 3)
            abort();
    }
    return arg;
}

int
main(void)
{
    pthread_t thread;
    held = malloc(100);
    pthread_create(&thread, NULL, change, NULL);
    pthread_create(&thread, NULL, change, NULL);
    pthread_create(&thread, NULL, have_children, NULL);
    puts("ready");
    fflush(stdout);
    for (;;) {
        pthread_create(&thread, NULL, come_and_go, NULL);
        pthread_join(thread, NULL);
    }
}
"""


def test_among_threads_that_come_and_go(container, place):
    program = build(place, CHANGERS, libs=())
    with Contained(container, [program], debug=None) as it:
        for _ in range(LOOKS):
            report = it.self_json("leaks")
            assert report["complete"], report
        assert it.process.process.poll() is None


def test_many_threads(container, place):
    program = build(place, r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static void *volatile held;
static void *rest(void *arg) { for (;;) pause(); return arg; }
int main(void)
{
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 65536);
    held = malloc(100);
    for (int i = 0; i < 700; i++)
        if (pthread_create(&thread, &attr, rest, NULL) != 0) return 1;
    puts("ready");
    fflush(stdout);
    for (;;) pause();
}
""", libs=())
    with Contained(container, [program]) as it:
        result = it.umem("threads", "--self", "--format=json", it.pid)
        report = it.self_json("leaks")
        assert report["complete"] and report["groups"] == [], report
        assert result.returncode == 0 and result.stdout.count('"thread"') >= 701, result


def test_caller_that_goes_away(container, kinds):
    """The copy ends with it, and the next caller is served."""
    with Contained(container, [kinds, "lose"]) as it:
        for _ in range(LOOKS):
            caller = subprocess.Popen([paths.umem(), "leaks", "--self", str(it.pid)],
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            caller.kill()
            caller.wait()
        wait_for(lambda: it.umem("leaks", "--self", it.pid).returncode == 1, what="a snapshot")


# --- When it cannot be ---

def test_file_too_large(container, kinds):
    with Contained(container, ["prlimit", "--fsize=100000", kinds, "lose"]) as it:
        line = it.refused("leaks", "--self", it.pid)
        assert "RLIMIT_FSIZE" in line and "TMPDIR" in line
        assert it.umem("status", "--self", it.pid).returncode == 2
        assert it.process.process.poll() is None


def test_full_disk(container, kinds, place, needs_root):
    del needs_root
    disk = place / "disk"
    disk.mkdir()
    if run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=1777", "tmpfs", disk]).returncode != 0:
        pytest.skip("may not mount")
    try:
        with Contained(container, [kinds, "lose"]) as it:
            line = it.refused("leaks", "--self", it.pid, env={"TMPDIR": disk})
            assert "no space is left" in line and "TMPDIR" in line
            kept = disk / "kept"
            line = it.refused("snapshot", "--self", "-o", kept, it.pid)
            assert "no space is left" in line and "-o FILE" in line
            assert list(disk.iterdir()) == []
            check_kinds(it.self_json("leaks", expect=1))
    finally:
        run(["umount", disk])


LIMITED = r"""
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static void *volatile held;

int
main(void)
{
    const struct rlimit one = {1, 1};
    struct stat tasks;
    held = malloc(100);
    while (stat("/proc/self/task", &tasks) == 0 && tasks.st_nlink < 4) /* ., .., the agent */
        usleep(1000);
    if (setrlimit(RLIMIT_NPROC, &one) != 0)
        return 1;
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}
"""


def test_no_more_processes(container, place, needs_root):
    del needs_root  # whom the limit does not hold for: the process is nobody's
    with Contained(container, [build(place, LIMITED, libs=())]) as it:
        assert "RLIMIT_NPROC" in it.refused("leaks", "--self", it.pid)
        assert it.process.process.poll() is None


def test_other_users(container, kinds, needs_root):
    del needs_root
    with Contained(container, [kinds, "lose"]) as it:
        assert f"belongs to user {NOBODY}" in it.refused("leaks", "--self", it.pid, user=STRANGER)
        assert it.umem("leaks", "--self", it.pid, user=None).returncode == 1


def test_stopped_process(container, kinds):
    with Contained(container, [kinds, "hold"]) as it:
        os.kill(it.pid, signal.SIGSTOP)
        assert "is stopped" in it.refused("leaks", "--self", it.pid)
        os.kill(it.pid, signal.SIGCONT)
        assert it.umem("leaks", "--self", it.pid).returncode == 0


def test_somebody_elses_name(kinds, place):
    """A process that took another's name is not believed."""
    with waiting(kinds, "hold") as process:
        squatter = ["/usr/bin/python3", "-c", "import socket, sys\n"
                    f"s = socket.socket(socket.AF_UNIX)\ns.bind('\\0umem-agent.{process.pid}')\n"
                    "s.listen()\nprint('ready', flush=True)\nsys.stdin.read()"]
        with Background(squatter) as other:
            other.wait_for_line("ready")
            result = umem("leaks", "--self", process.pid)
            assert result.returncode == 2, result
            assert f"its name is in use by process {other.pid}" in result.stderr, result


def test_a_file_is_no_process(kinds, tmp_path):
    result = umem("snapshot", "--self", "-o", tmp_path / "x", kinds)
    assert result.returncode == 2 and "give the number of a process" in result.stderr, result


# --- umem run ---

@pytest.mark.parametrize("what, code", [("lose", 23), ("hold", 3)])
def test_run_looks_at_exit(container, place, what, code):
    """A test in a container that leaks: an exit code, where it may not be traced."""
    program = build(place, "exit_kinds.c", libs=())
    arguments = [paths.umem(), "run", "--leaks=fail", program, what, 3]
    inside = {"LD_PRELOAD": container}
    plain = run(arguments, user=USER, env=inside)
    assert plain.returncode == 125 and "--self" in plain.stderr, plain
    result = run([*arguments[:2], "--self", *arguments[2:]], user=USER, env=inside)
    assert result.returncode == code, result


def test_run_gives_it_an_agent(kinds):
    with Background([paths.umem(), "run", "--self", kinds, "hold"]) as process:
        process.wait_for_line("ready")
        with Agent(process.pid) as agent:
            assert agent.ask("help")[-1] == "ok"
        assert umem("leaks", "--self", process.pid).returncode == 0
