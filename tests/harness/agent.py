# SPDX-License-Identifier: MIT
"""Talking to a process's agent (UMEM_OPTIONS=agent), as umem_agent(7) has it."""

import socket

from harness.process import wait_for

OPTIONS = {"UMEM_OPTIONS": "agent"}
TIMEOUT_S = 30


def connect(pid):
    """A connection, or None where nobody listens."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(f"\0umem-agent.{pid}")
    except ConnectionRefusedError:
        connection.close()
        return None
    connection.settimeout(TIMEOUT_S)
    return connection


class Agent:
    """A connection that takes one command at a time; for a with block."""

    def __init__(self, pid):
        self.connection = wait_for(lambda: connect(pid), TIMEOUT_S, f"agent of {pid}")
        self.lines = self.connection.makefile(encoding="ascii", newline="\n")

    def reply(self):
        """The lines of one reply; fewer where the connection ends."""
        lines = []
        for line in self.lines:
            lines.append(line.rstrip("\n"))
            if lines[-1] == "ok" or lines[-1].startswith("error: "):
                break
        return lines

    def send(self, text):
        self.connection.sendall(text.encode("latin-1"))

    def ask(self, command):
        self.send(command + "\n")
        return self.reply()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.lines.close()
        self.connection.close()
