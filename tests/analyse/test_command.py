# SPDX-License-Identifier: MIT
"""The umem command itself: its verbs, their options, and umem run."""

import pathlib
import shutil
import sys

import pytest

from harness import compile_c, paths, run

sys.path.insert(0, str(paths.REPO / "scripts"))
import house_rules  # noqa: E402

VERBS = house_rules.verbs()
assert "leaks" in VERBS


def one_line(result, code):
    assert result.returncode == code, result
    assert result.stdout == "", result
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("umem: "), result
    return lines[0]


def test_help_lists_every_verb(umem):
    for arguments in (["--help"], ["-h"], ["help"]):
        result = run([umem, *arguments])
        assert result.returncode == 0 and result.stderr == ""
        listed = [line.split()[0] for line in result.stdout.splitlines() if line.startswith("  ")]
        assert listed == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb(umem, verb):
    result = run([umem, verb, "--help"])
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout.startswith(f"Usage: umem {verb} ")
    assert "--help" in result.stdout
    assert run([umem, "help", verb]).stdout == result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 100


def test_overview_is_one_screen(umem):
    """Without a verb: what there is, by task; every verb once."""
    result = run([umem])
    assert result.returncode == 2 and result.stderr == ""
    lines = result.stdout.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 80
    rows = [line[22:].split("  ") for line in lines if line.startswith("  ") and "umem" not in line]
    named = [word for row in rows for word in row]
    assert sorted(named) == sorted(VERBS)


def test_version(umem):
    result = run([umem, "--version"])
    assert result.returncode == 0
    name, version = result.stdout.split()
    assert name == "umem" and version[0].isdigit()


@pytest.mark.parametrize("arguments,said", [
    (["leasks"], "did you mean 'umem leaks'"),
    (["leak"], "did you mean 'umem leaks'"),
    (["sta"], "did you mean 'umem stat"),
    (["frobnicate"], "no verb 'frobnicate'; 'umem --help'"),
    (["help", "frobnicate"], "no verb 'frobnicate'"),
    (["--frobnicate"], "no option --frobnicate"),
    (["leaks"], "needs TARGET"),
    (["leaks", "--frobnicate", "x"], "no option --frobnicate"),
    (["leaks", "-Z", "x"], "no option -Z"),
    (["leaks", "--max", "x"], "--max=x: not a number"),
    (["leaks", "--max"], "option --max needs N"),
    (["leaks", "--max=many", "x"], "--max=many: not a number"),
    (["leaks", "--format=xml", "x"], "--format=xml: give text or json"),
    (["leaks", "--color=red", "x"], "--color=red: give auto, always or never"),
    (["leaks", "--help=x"], "option --help takes no value"),
    (["leaks", "a", "b"], "b is one operand too many"),
])
def test_wrong_usage_is_one_line(umem, arguments, said):
    assert said in one_line(run([umem, *arguments]), 2)


def test_output_that_cannot_be_written_is_an_error(umem):
    result = run(["sh", "-c", f"'{umem}' --help >/dev/full"])
    assert "standard output could not be written; is the disk" in one_line(result, 2)


# --- umem run ---


def environment(umem, *arguments, **options):
    """What a program under umem run sees."""
    result = run([umem, "run", *arguments, "env"], **options)
    assert result.returncode == 0, result
    return dict(line.split("=", 1) for line in result.stdout.splitlines() if "=" in line)


def test_run_preloads_the_library(umem, libumem):
    result = run([umem, "run", "cat", "/proc/self/maps"])
    mapped = {line.split()[-1] for line in result.stdout.splitlines() if "libumem.so" in line}
    assert mapped == {str(libumem.resolve())}, result


def test_run_says_which_word_size_by_the_lib_token(umem, libumem):
    """Installed into a folder that the dynamic linker can name for each word size."""
    if not str(libumem).endswith(("lib/x86_64-linux-gnu/libumem.so.1", "lib64/libumem.so.1")):
        pytest.skip("installed elsewhere")
    assert environment(umem)["LD_PRELOAD"] == f"{paths.prefix().resolve()}/$LIB/libumem.so.1"


def test_run_leaves_no_options_where_none_were_asked_for(umem):
    assert "UMEM_DEBUG" not in environment(umem)
    assert environment(umem, debug="audit=3")["UMEM_DEBUG"] == "audit=3"


@pytest.mark.parametrize("arguments,before,after", [
    (["--audit"], None, "audit"),
    (["-a"], None, "audit"),
    (["--audit=64", "--guards"], None, "audit=64,guards"),
    (["-a64", "-g"], None, "audit=64,guards"),
    (["--guards"], "audit=3", "audit=3,guards"),
    (["--audit=9"], "verbose, audit=3 ,contents=5", "verbose,contents=5,audit=9"),
    (["--guards"], "guard,noabort", "noabort,guards"),
    (["--guards"], "", "guards"),
])
def test_run_merges_options(umem, arguments, before, after):
    assert environment(umem, *arguments, debug=before)["UMEM_DEBUG"] == after


def test_run_keeps_other_preloads(umem, tmp_path):
    other = compile_c("int other;\n", tmp_path / "libother.so", flags=["-shared", "-fPIC"])
    preload = environment(umem, preload=other)["LD_PRELOAD"]
    assert preload.endswith(f"libumem.so.1:{other}")
    twice = run([umem, "run", umem, "run", "env"])
    assert twice.stdout.count("libumem.so.1") == 1


def test_run_keeps_arguments_and_exit_code(umem):
    result = run([umem, "run", "--", "sh", "-c", "echo \"$0 $1\"; exit 7", "a b", "--help"])
    assert (result.returncode, result.stdout) == (7, "a b --help\n")
    assert run([umem, "run", "sh", "-c", "kill -TERM $$"]).signal is not None


def test_run_of_what_cannot_be_run(umem, tmp_path):
    assert "No such file" in one_line(run([umem, "run", "/no/such/program"]), 127)
    assert "no-such-program: No such file" in one_line(run([umem, "run", "no-such-program"]), 127)
    plain = tmp_path / "plain"
    plain.write_text("text")
    assert "Permission denied; give a program's file" in one_line(run([umem, "run", plain]), 126)


@pytest.mark.parametrize("arguments,said", [
    (["whatis", "core", "zz"], "whatis: zz: not an address"),
    (["grep", "core", "zz"], "grep: zz: not a number"),
    (["leaks", "--exe=missing", "core"], "leaks: --exe=missing: No such file"),
    (["log", "core", "zz"], "log: zz: give transaction, fail or slab")])
def test_mistakes_are_told_in_one_form(umem, arguments, said):
    assert one_line(run([umem, *arguments]), 2).startswith(f"umem: {said}")


@pytest.mark.parametrize("arguments,said", [
    ([], "needs [--] PROGRAM"),
    (["--audit=x", "true"], "--audit=x: not a number"),
    (["--frobnicate", "true"], "no option --frobnicate")])
def test_run_with_wrong_options(umem, arguments, said):
    """125, as env and timeout have it: no exit code of the program's."""
    assert said in one_line(run([umem, "run", *arguments]), 125)


def test_run_without_its_library(umem, tmp_path):
    if any(pathlib.Path(folder, "libumem.so.1").exists() for folder in
           ("/usr/lib", "/usr/lib/x86_64-linux-gnu", "/usr/local/lib",
            "/usr/local/lib/x86_64-linux-gnu", tmp_path.parent)):
        pytest.skip("the library is installed in the system")
    alone = tmp_path / "bin" / "umem"
    alone.parent.mkdir()
    shutil.copy(umem, alone)
    assert "libumem.so.1 was not found" in one_line(run([alone, "run", "true"]), 125)


def test_run_from_a_folder_that_a_preload_cannot_name(umem, libumem, tmp_path):
    odd = tmp_path / "with blank"
    odd.mkdir()
    shutil.copy(umem, odd / "umem")
    shutil.copy(libumem, odd / "libumem.so.1")
    assert "blanks or colons" in one_line(run([odd / "umem", "run", "true"]), 125)
