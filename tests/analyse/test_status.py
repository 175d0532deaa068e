# SPDX-License-Identifier: MIT
"""`umem status`: settings, sums and the message ring."""

import signal

import pytest

from harness import compile_c, core_pattern_is_usable, kernel_core
from leak_support import build, refused, target_of, umem, umem_json, waiting

DOUBLE_FREE = """#include <stdlib.h>
int main(void)
{
    void *volatile p = malloc(40);
    free(p);
    free(p);
    return 0;
}
"""


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    return build(tmp_path_factory.mktemp("status"))


@pytest.mark.parametrize("debug, expected", [
    (None, {"audit": False, "guards": False, "contents": False, "audit_frames": 0}),
    ("audit=7", {"audit": True, "guards": False, "contents": False, "audit_frames": 7}),
    ("audit=64,guard", {"audit": True, "guards": True, "contents": False, "audit_frames": 64}),
    ("default", {"audit": True, "guards": True, "contents": True}),
])
def test_settings(kinds, debug, expected):
    with waiting(kinds, "hold", debug=debug) as process:
        report = umem_json("status", process.pid)
    assert report["complete"] is True and report["state"] == "ready"
    assert report["library"].startswith("libumem.so")
    assert {key: report["debug"][key] for key in expected} == expected


@pytest.mark.parametrize("how", ["live", "gcore"])
def test_sums(kinds, tmp_path, how):
    with waiting(kinds, "hold", debug=None) as process:
        target = target_of(process, how, tmp_path)
        status = umem_json("status", target)
        stat = umem_json("stat", target)
        leaks = umem_json("leaks", target)
    assert status["live"]["buffers"] == sum(cache["inuse"] for cache in stat["caches"])
    assert status["cached"]["buffers"] == sum(cache["cached"] for cache in stat["caches"])
    # The leak finder also counts what the program takes from arenas without a cache.
    assert 0 <= leaks["live"]["buffers"] - status["live"]["buffers"] <= 4
    assert status["heap_bytes"] >= status["live"]["bytes"]
    assert status["threads"] == len(stat["threads"])


def test_text(kinds):
    with waiting(kinds, "hold", debug="audit=20,guard") as process:
        result = umem("status", process.pid)
        plain = umem("status", process.pid, "--color=never")
    assert result.returncode == 0, result
    assert result.stdout == plain.stdout and "\033" not in result.stdout
    assert f"(pid {process.pid})" in result.stdout.splitlines()[0]
    assert "audit (20 frames), guards" in result.stdout
    assert "messages     none" in result.stdout


def test_messages(tmp_path):
    """What the allocator said before it aborted is in the core."""
    if not core_pattern_is_usable():
        pytest.skip("the kernel's core pattern pipes or names another directory")
    program = compile_c(DOUBLE_FREE, tmp_path / "twice", flags=["-O1", "-Wno-use-after-free"])
    result, core = kernel_core([program], tmp_path, preload=True, debug="audit,guard")
    assert result.signal == signal.SIGABRT, result
    report = umem_json("status", core)
    assert "duplicate free" in report["messages"]
    text = umem("status", core)
    assert "Messages" in text.stdout and "duplicate free" in text.stdout


def test_refused():
    refused("status", "/dev/null")
