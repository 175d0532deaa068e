# SPDX-License-Identifier: MIT
"""Shared fixtures; the helpers behind them are in tests/harness/."""

import os
import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from harness import core_pattern_is_usable, paths  # noqa: E402


def pytest_sessionstart():
    """Programs must be able to die of signals that our parent ignores (nohup, "&" in a script)."""
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def umem():
    """Path of the installed umem command."""
    return paths.umem()


@pytest.fixture(scope="session")
def libumem():
    """Path of the installed libumem.so.1."""
    return paths.libumem()


@pytest.fixture
def needs_core_files():
    """Skips where the kernel's core pattern sends cores elsewhere."""
    if not core_pattern_is_usable():
        pytest.skip("kernel.core_pattern does not write cores into the working directory")


@pytest.fixture
def needs_root():
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
