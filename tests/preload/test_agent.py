# SPDX-License-Identifier: MIT
"""UMEM_OPTIONS=agent: commands by a socket, and clients of every kind."""

import os
import signal
import sys

import pytest

from harness import Background, run
from harness.agent import OPTIONS, Agent, connect
from harness.process import wait_for
from test_hard_spots import C_FLAGS, NOBODY, WAYS

HELP = ["audit on [frames=N] [cache=NAME] [size=LO-HI] [thread=TID]... [cap=SIZE] [guards]",
        "audit off", "status", "reap", "verify", "snapshot", "help", "ok"]


@pytest.fixture
def busy(programs):
    """Two threads at work, and an agent."""
    with Background([programs("agent.c", flags=C_FLAGS)], preload=True, env=OPTIONS) as process:
        process.wait_for_line("ready")
        yield process


@pytest.fixture
def quiet(programs):
    with Background([programs("agent.c", flags=C_FLAGS), "quiet"], preload=True,
                    env=OPTIONS) as process:
        process.wait_for_line("ready")
        yield process


def status(agent):
    lines = agent.ask("status")
    assert lines[-1] == "ok", lines
    return dict(line.split(" ", 1) for line in lines[:-1])


def ends_well(process):
    process.say("end")
    assert process.wait() == 0 and process.errors == [], process.errors


def answers(pid):
    """Not where the client came just as the kernel let go of an old listener: it is hung up."""
    try:
        with Agent(pid) as agent:
            return agent.ask("help") == HELP
    except (ConnectionResetError, BrokenPipeError):
        return False


@pytest.mark.parametrize("way", ["preload", "debug"])
def test_commands(programs, way):
    program = programs("agent.c", flags=C_FLAGS)
    with Background([program], env=OPTIONS, **WAYS[way]) as process:
        process.wait_for_line("ready")
        with Agent(process.pid) as agent:
            assert agent.ask("help") == HELP
            assert status(agent)["audit"] == "off"
            assert agent.ask("audit on frames=9 cap=256m") == ["ok"]
            state = status(agent)
            assert (state["audit"], state["frames"], state["cap"]) == ("on", "9", str(256 << 20))
            wait_for(lambda: int(status(agent)["records"]) > 0, what="records")
            assert agent.ask("audit on") == ["error: audit is on already"]
            assert agent.ask("audit off") == ["ok"]
            assert agent.ask("reap") == ["ok"]
            assert agent.ask("verify") == ["corrupt 0", "ok"]
            assert agent.ask("verify now") == ["error: this command takes nothing more"]
            assert agent.ask("nonsense") == ["error: no such command, help lists them"]
        ends_well(process)


def test_switching_often(busy):
    """Under two busy threads, with guards and without."""
    with Agent(busy.pid) as agent:
        for number in range(60):
            items = ["", " guards", " size=100-500", f" thread={busy.pid}", " cap=100k"][number % 5]
            assert agent.ask("audit on" + items) == ["ok"]
            assert agent.ask("status")[-1] == "ok"
            if number % 10 == 0:
                assert agent.ask("reap") == ["ok"]
            assert agent.ask("audit off") == ["ok"]
    ends_well(busy)


def test_many_commands_at_once_and_in_pieces(quiet):
    with Agent(quiet.pid) as agent:
        agent.send("help\r\nnonsense\nhe")
        assert agent.reply() == HELP
        assert agent.reply()[0].startswith("error: ")
        with Agent(quiet.pid) as other:
            assert other.ask("help") == HELP
        agent.send("lp\n")
        assert agent.reply() == HELP


@pytest.mark.parametrize("text", ["x" * 5000, "\0" * 5000, "\xff\xfe" * 3000])
def test_too_long(quiet, text):
    with Agent(quiet.pid) as agent:
        try:
            agent.send(text)
            assert agent.reply() == ["error: the line is too long"]
        except (ConnectionResetError, BrokenPipeError):
            pass  # hung up while more was on its way
    with Agent(quiet.pid) as agent:
        assert agent.ask("\0\1\x7f\n")[0].startswith("error: ")
        assert agent.ask("help")[-1] in ("ok", "error: no such command, help lists them")


def test_silent_clients(quiet):
    """They make room for the next, the longest silent one first."""
    clients = [Agent(quiet.pid) for _ in range(40)]
    try:
        assert clients[-1].ask("help") == HELP
        assert clients[0].reply() == []
    finally:
        for client in clients:
            client.__exit__()


def test_client_that_does_not_read(quiet):
    """Is dropped when its answers fill the socket."""
    with Agent(quiet.pid) as deaf:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(100000):
                deaf.send("help\n" * 20)
    with Agent(quiet.pid) as agent:
        assert agent.ask("help") == HELP


def test_clients_that_hang_up(quiet):
    for text in ("", "he", "help\n", "audit on\n", "audit off\n"):
        with Agent(quiet.pid) as agent:
            agent.send(text)
    with Agent(quiet.pid) as agent:
        assert agent.ask("help") == HELP


def test_fork(busy):
    """The child has no agent, and does not keep its parent's name; audit goes on in it."""
    with Agent(busy.pid) as agent:
        assert agent.ask("audit on") == ["ok"]
        busy.say("fork")
        child = int(busy.wait_for_line("child").split()[1])
        busy.wait_for_line("done")
        try:
            assert connect(child) is None
            busy.say("end")
            assert busy.process.wait(60) == 0
            assert agent.reply() == []
            assert connect(busy.pid) is None
            os.kill(child, 0)
        finally:
            os.kill(child, signal.SIGKILL)


def test_exec(quiet):
    """The program that follows has an agent of its own."""
    with Agent(quiet.pid) as before:
        assert before.ask("help") == HELP
        quiet.say("exec")
        assert before.reply() == []
    wait_for(lambda: answers(quiet.pid), what="the new listener")
    ends_well(quiet)


def test_all_descriptors_closed(quiet):
    """As daemons do; it listens anew."""
    with Agent(quiet.pid) as before:
        assert before.ask("help") == HELP
        quiet.say("close")
        quiet.wait_for_line("done")
        assert before.reply() == []

    wait_for(lambda: answers(quiet.pid), what="the new listener")
    ends_well(quiet)


def test_main_thread_leaves(quiet):
    """The agent does not keep the process alive."""
    quiet.say("leave")
    assert quiet.wait() == 0


STRANGER = """
import socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(30)
connection.connect(f"\\0umem-agent.{sys.argv[1]}")
try:
    connection.sendall(b"help\\n")
    print(connection.recv(100))
except (BrokenPipeError, ConnectionResetError):
    print(b"")
"""


def test_other_users(quiet, needs_root):
    del needs_root
    with Agent(quiet.pid) as agent:
        result = run(["/usr/bin/python3", "-c", STRANGER, quiet.pid], user=NOBODY)
        assert (result.returncode, result.stdout) == (0, "b''\n"), result
        assert agent.ask("help") == HELP


def test_without_it(programs):
    with Background([programs("agent.c", flags=C_FLAGS), "quiet"], preload=True) as process:
        process.wait_for_line("ready")
        assert connect(process.pid) is None


SQUATTER = """
import os, socket, sys
squatter = socket.socket(socket.AF_UNIX)
squatter.bind(f"\\0umem-agent.{os.getpid()}")
squatter.set_inheritable(True)
os.execvpe(sys.argv[1], sys.argv[1:], {**os.environ, "LD_PRELOAD": sys.argv[3]})
"""


def test_name_in_use(programs, libumem):
    """A message, and the program runs on."""
    program = programs("agent.c", flags=C_FLAGS)
    with Background([sys.executable, "-c", SQUATTER, program, "quiet", libumem],
                    env=OPTIONS) as process:
        process.wait_for_line("ready")
        wait_for(lambda: process.errors, what="message")
        process.say("end")
        assert process.wait() == 0
        assert process.errors == [f"umem: agent: cannot listen on @umem-agent.{process.pid}: "
                                  "the name is in use"]


def test_agent_takes_no_value(programs):
    result = run([programs("agent.c", flags=C_FLAGS), "quiet"], preload=True,
                 env={"UMEM_OPTIONS": "agent=1"})
    assert result.returncode == 0 and "takes no value" in result.stderr, result
