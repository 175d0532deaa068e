# SPDX-License-Identifier: MIT
"""The stress mix for two minutes; meson runs ten seconds of it in `make check`."""

import pytest

from harness import paths, run

SECONDS = 120


@pytest.mark.slow
@pytest.mark.parametrize("debug", [None, "audit=64,guard"])
@pytest.mark.parametrize("name,preload", [("stress_core", False), ("stress_malloc", True)])
def test_mix(name, preload, debug):
    program = paths.built(f"tests/stress/{name}")
    result = run([program, "mix", SECONDS, "6", "7"], preload=preload, debug=debug,
                 timeout=SECONDS * 3)
    assert result.returncode == 0 and result.stderr == "", result
    assert "freed by another thread" in result.stdout, result
