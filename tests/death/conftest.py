# SPDX-License-Identifier: MIT
"""Programs of this folder, compiled on demand."""

import pathlib

import pytest

from harness.programs import Programs


@pytest.fixture(scope="session")
def programs():
    made = Programs(pathlib.Path(__file__).parent)
    yield made
    made.close()
