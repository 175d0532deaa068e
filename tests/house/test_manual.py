# SPDX-License-Identifier: MIT
"""The manual: well-formed, complete, and what its examples print is what it says."""

import pathlib
import shutil
import sys

import pytest

from harness import compile_c, paths, run

sys.path.insert(0, str(paths.REPO / "scripts"))
import house_rules  # noqa: E402
import man_examples  # noqa: E402

PAGES = sorted((paths.REPO / "man").glob("*.[1-8]"))


def names(pages):
    return [page.name for page in pages]


def is_link(page):
    return page.read_text().startswith(".so ")


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_page_is_well_formed(page):
    if is_link(page):
        target = page.read_text().split()[1]
        assert (page.parent / pathlib.PurePosixPath(target).name).exists()
        return
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    done = run(["mandoc", "-Tlint", "-W", "warning", page])
    assert done.returncode == 0, done.stdout
    done = run(["groff", "-man", "-ww", "-z", "-Tutf8", "-K", "utf8", page])
    assert done.returncode == 0 and done.stderr == "", done.stderr


def test_pages_are_installed():
    """All of them, and none is left out of meson.build."""
    for page in PAGES:
        section = page.suffix[1:]
        found = list((paths.man_dir() / f"man{section}").glob(page.name + "*"))
        assert found, f"{page.name} is not installed: man/meson.build lists them"


def test_examples_in_pages_are_the_programs():
    done = run([sys.executable, paths.REPO / "scripts/man_examples.py"])
    assert done.returncode == 0, done.stdout


def test_escapes_survive():
    text = "a - 'b' `c` ^ ~ \\n\n.dot\n"
    assert man_examples.from_roff(".EX\n" + man_examples.to_roff(text) + ".EE\n") == text


OUTPUTS = [(page.name, name, output) for page in PAGES
           for name, output in man_examples.outputs(page.read_text()).items()]


@pytest.mark.parametrize("library", ["umem", "umem-core"])
@pytest.mark.parametrize("page, name, output", OUTPUTS, ids=[row[1] for row in OUTPUTS])
def test_example_prints_what_its_page_says(page, name, output, library, tmp_path):
    """Compiled against the installed tree, as a user would."""
    if page.startswith("stack") or "stackalloc" in page:
        library = "stackalloc"
    program = compile_c(paths.REPO / "examples" / f"{name}.c", tmp_path / name, package=library,
                        flags=["-pthread"])
    for debug in (None, "audit=64,guard"):
        done = run([program], debug=debug)
        assert done.returncode == 0, done
        assert done.stdout == output, done
        assert done.stderr == "", done


@pytest.mark.parametrize("example", sorted((paths.REPO / "examples").glob("*.c")),
                         ids=lambda path: path.stem)
def test_example_compiles_as_its_manual_says(example, tmp_path):
    """cc FILE $(pkg-config ...): with nothing defined that it does not define itself."""
    package = "stackalloc" if "<stackalloc" in example.read_text() else "umem"
    compile_c(example, tmp_path / example.stem, package=package, libs=["-pthread"])


def test_every_option_of_a_verb_is_in_its_page():
    """--help lists the options; each has an entry in the page."""
    for verb in house_rules.verbs():
        done = run([paths.umem(), verb, "--help"])
        assert done.returncode == 0, done
        page = (paths.REPO / "man" / f"umem-{verb}.1").read_text().replace("\\-", "-")
        options = {word.strip(",[=").split("=")[0].split("[")[0]
                   for line in done.stdout.splitlines() if line.lstrip().startswith("-")
                   for word in line.split() if word.startswith("--")}
        missing = {option for option in options if option != "--" and option not in page}
        assert options and not missing, f"umem-{verb}.1 lacks {missing}"


@pytest.mark.parametrize("page", ["umem.1", "umem_debug.7", "umem_alloc.3", "umem_free.3"])
def test_installed_page_can_be_read(page):
    name, section = page.rsplit(".", 1)
    if shutil.which("man") is None:
        pytest.skip("man is not installed")
    done = run(["man", "-M", paths.man_dir(), section, name],
               env={"MANPAGER": "cat", "MANWIDTH": "80", "LC_ALL": "C.UTF-8"})
    assert done.returncode == 0, done
    assert "SYNOPSIS" in done.stdout
