# SPDX-License-Identifier: MIT
"""The harness itself: a failing test must be seen, whatever way it fails.

Tests that fail on purpose run here under the very runner of `make check`.
"""

import pathlib
import shutil
import subprocess
import sys
import textwrap

import pytest

from harness import Background, paths, run, wait_for

sys.path.insert(0, str(paths.REPO / "scripts"))
import check  # noqa: E402  (scripts/check.py)

FAILING_PYTEST = """
    import pytest
    def test_good(): pass
    def test_bad(): assert 1 == 2
    def test_skipped(): pytest.skip("on purpose")
    @pytest.fixture
    def broken(): raise RuntimeError("on purpose")
    def test_error(broken): pass
"""

CMOCKA = r"""
    #include <setjmp.h>
    #include <stdarg.h>
    #include <stddef.h>
    #include <stdint.h>
    #include <stdlib.h>
    #include <cmocka.h>
    static void good(void **state) { (void)state; }
    static void bad(void **state) { (void)state; assert_int_equal(1, 2); }
    static void skipped(void **state) { (void)state; skip(); }
    static void crash(void **state) { (void)state; abort(); }
    int main(int argc, char **argv)
    {
        const struct CMUnitTest fine[] = { cmocka_unit_test(good), cmocka_unit_test(good) };
        const struct CMUnitTest mixed[] = { cmocka_unit_test(good), cmocka_unit_test(bad),
                                            cmocka_unit_test(skipped) };
        const struct CMUnitTest crashing[] = { cmocka_unit_test(good), cmocka_unit_test(crash),
                                               cmocka_unit_test(good) };
        if (argc < 2)
            return cmocka_run_group_tests(fine, NULL, NULL);
        if (argv[1][0] == 'm')
            return cmocka_run_group_tests(mixed, NULL, NULL);
        return cmocka_run_group_tests(crashing, NULL, NULL);
    }
"""

MESON = """
    project('selftest', 'c')
    cmocka = dependency('cmocka')
    add_test_setup('default', is_default: true, env: ['CMOCKA_MESSAGE_OUTPUT=TAP'])
    program = executable('cases', 'cases.c', dependencies: cmocka)
    test('fine', program)
    if get_option('all')
      test('mixed', program, args: ['m'])
      test('crashing', program, args: ['c'])
      test('plain failure', find_program('false'))
      test('hanging', find_program('sleep'), args: ['60'], timeout: 1)
    endif
    test('plain success', find_program('true'))
"""


def meson_project(directory, everything):
    (directory / "meson.build").write_text(textwrap.dedent(MESON))
    (directory / "meson_options.txt").write_text("option('all', type: 'boolean')\n")
    (directory / "cases.c").write_text(textwrap.dedent(CMOCKA))
    build = directory / "build"
    subprocess.run(["meson", "setup", f"-Dall={str(everything).lower()}", build, directory],
                   check=True, capture_output=True)
    subprocess.run(["ninja", "-C", build], check=True, capture_output=True)
    return build


def test_pytest_failures_are_counted(tmp_path, capfd):
    (tmp_path / "test_on_purpose.py").write_text(textwrap.dedent(FAILING_PYTEST))
    total = check.run_pytest(tmp_path, tmp_path, [])
    assert total == check.Sum(passed=1, failed=2, skipped=1)
    assert not total.good()
    assert "test_bad" in capfd.readouterr().out


def test_pytest_that_cannot_collect_fails(tmp_path):
    (tmp_path / "test_syntax.py").write_text("def broken(:\n")
    assert check.run_pytest(tmp_path, tmp_path, []).failed >= 1


def test_nothing_run_is_no_success(tmp_path):
    total = check.run_pytest(tmp_path, tmp_path, [])
    assert total == check.Sum()
    assert not total.good()


def test_meson_failures_are_counted(tmp_path, capfd):
    build = meson_project(tmp_path, everything=True)
    total = check.run_meson(build)
    # fine 2 passed; mixed 1 passed, 1 failed, 1 skipped; crashing 1 passed and at
    # least 1 failed; plain failure and hanging 1 failed each; plain success 1 passed.
    assert total.passed == 5
    assert total.failed >= 4
    assert total.skipped == 1
    assert not total.good()
    assert "crashing" in capfd.readouterr().out


def test_meson_success_is_counted(tmp_path):
    build = meson_project(tmp_path, everything=False)
    total = check.run_meson(build)
    assert total == check.Sum(passed=3)
    assert total.good()


def test_a_case_that_never_reports_is_a_failure():
    assert check.count_tap("1..3\nok 1 - a\nok 2 - b\n", True) == check.Sum(2, 1, 0)
    assert check.count_tap("1..1\nok 1 - a\n", False) == check.Sum(1, 1, 0)
    assert check.count_tap("", False) == check.Sum(0, 1, 0)


def test_last_line_and_exit_code(tmp_path):
    """The command as make runs it, over a build directory that holds one failing test."""
    build = meson_project(tmp_path, everything=True)
    done = run([sys.executable, paths.REPO / "scripts/check.py", "--only", "meson", build])
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("5 passed, ")
    assert done.stdout.splitlines()[-1].endswith(" failed, 1 skipped")


def test_a_hang_is_ended_with_its_children():
    with pytest.raises(TimeoutError):
        run(["sh", "-c", "sleep 4242 & sleep 4242"], timeout=0.5)

    def nobody_sleeps():
        commands = pathlib.Path("/proc").glob("[0-9]*/cmdline")
        return not any(b"4242" in read_quietly(path) for path in commands)
    wait_for(nobody_sleeps, 5, "end of the children")


def read_quietly(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_signals_are_seen():
    done = run(["sh", "-c", "kill -SEGV $$"])
    assert done.signal is not None and done.signal.name == "SIGSEGV"


def test_the_environment_does_not_leak(monkeypatch):
    monkeypatch.setenv("UMEM_DEBUG", "default")
    monkeypatch.setenv("UMEM_OPTIONS", "nomagazines")
    done = run(["env"], env={"EXTRA": "1"})
    assert "UMEM_" not in done.stdout.replace("UMEM_BUILD", "")
    assert "EXTRA=1" in done.stdout


def test_background_talks():
    with Background([shutil.which("cat")]) as program:
        program.say("hello")
        assert program.wait_for_line("hello", 5) == "hello"
        program.process.stdin.close()
        assert program.wait(5) == 0
