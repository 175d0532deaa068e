# SPDX-License-Identifier: MIT
"""The stress mix for two minutes, that of stacks for ten; `make check` has seconds of the mix."""

import pytest

from harness import paths, run

SECONDS = 120
STACKS_SECONDS = 600


@pytest.mark.slow
@pytest.mark.parametrize("debug", [None, "audit=64,guard"])
@pytest.mark.parametrize("name,preload", [("stress_core", False), ("stress_malloc", True)])
def test_mix(name, preload, debug):
    program = paths.built(f"tests/stress/{name}")
    result = run([program, "mix", SECONDS, "6", "7"], preload=preload, debug=debug,
                 timeout=SECONDS * 3)
    assert result.returncode == 0 and result.stderr == "", result
    assert "freed by another thread" in result.stdout, result


@pytest.mark.slow
def test_stacks():
    program = paths.built("tests/stress/stress_stacks")
    result = run([program, STACKS_SECONDS, "8", "11"], timeout=STACKS_SECONDS * 2)
    assert result.returncode == 0 and result.stderr == "", result
    assert "freed by another thread" in result.stdout, result
