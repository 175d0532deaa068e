# SPDX-License-Identifier: MIT
"""Completion in bash: what is offered is what the command's help names."""

import re

import pytest

from harness import Background, paths, run
from leak_support import umem

SCRIPT = paths.prefix() / "share/bash-completion/completions/umem"


def offered(*words, cwd=None):
    """What bash offers for the last of the words."""
    text = f"""source {SCRIPT}
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); compopt() {{ :; }}; _umem
        printf '%s\\n' "${{COMPREPLY[@]}}" """
    result = run(["bash", "-c", text, "bash", str(paths.umem()), *words], cwd=cwd)
    assert result.returncode == 0 and result.stderr == "", result
    return result.stdout.split()


def verbs():
    return re.findall(r"^  ([a-z]+)  ", umem("--help").stdout, re.M)


def test_verbs():
    assert {"run", "leaks", "whatis"} <= set(verbs())
    assert offered("") == [*verbs(), "help", "--help", "--version"]
    assert offered("le") == ["leaks"]
    assert offered("help", "wha") == ["whatis"]


@pytest.mark.parametrize("verb", verbs())
def test_every_option(verb):
    named = set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", umem(verb, "--help").stdout, re.M))
    assert "--help" in named
    assert {word.rstrip("=") for word in offered(verb, "--")} == named


def test_options_with_values_end_in_the_sign():
    assert "--format=" in offered("leaks", "--")
    assert "--possible" in offered("leaks", "--")


def test_values():
    assert offered("leaks", "--format", "=") == ["text", "json"]
    assert offered("leaks", "--format", "=", "j") == ["json"]
    assert offered("leaks", "--color", "=", "a") == ["auto", "always"]


def test_files_and_programs(tmp_path):
    (tmp_path / "core.1").touch()
    assert offered("leaks", "core", cwd=tmp_path) == ["core.1"]
    assert offered("leaks", "--suppressions", "=", "cor", cwd=tmp_path) == ["core.1"]
    assert "sleep" in offered("run", "--audit", "--", "slee")
    assert offered("run", "--", "cat", "core", cwd=tmp_path) == ["core.1"]


def test_processes_under_the_library():
    with Background(["sleep", "60"], preload=True) as under, Background(["sleep", "60"]) as plain:
        words = offered("leaks", "")
        assert str(under.pid) in words
        assert str(plain.pid) not in words
