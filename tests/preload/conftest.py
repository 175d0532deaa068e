# SPDX-License-Identifier: MIT
"""Programs of this folder, compiled on demand, and the ways of running them."""

import pathlib

import pytest

from harness.programs import Programs

# How the project's origin runs every program.
DEBUG = "audit=64,guard"


@pytest.fixture(scope="session")
def programs():
    made = Programs(pathlib.Path(__file__).parent)
    yield made
    made.close()


@pytest.fixture(params=["preload", "debug", pytest.param("verify", marks=pytest.mark.slow)])
def mode(request):
    """Arguments of run(): under the library, without and with debugging, and with every check."""
    return {"preload": dict(preload=True), "debug": dict(preload=True, debug=DEBUG),
            "verify": dict(preload=True, debug="default,verify")}[request.param]
