# SPDX-License-Identifier: MIT
"""What `make install` leaves: libraries, headers, pkg-config files, the command."""

import pathlib
import re
import subprocess

import pytest

from harness import compile_c, paths, run


LIBRARIES = ("libumem", "libumem_core", "libstackalloc", "libstackalloc_preload")


@pytest.mark.parametrize("name", LIBRARIES)
def test_library(name):
    library = paths.library(f"{name}.so.1")
    assert library.resolve().name == f"{name}.so.1.0.0"
    assert (paths.library_dir() / f"{name}.so").exists()
    dynamic = subprocess.run(["readelf", "-d", library], check=True, capture_output=True,
                             text=True).stdout
    assert re.search(rf"SONAME.*\[{name}\.so\.1\]", dynamic)
    # The preload is loaded by a path, and what it needs lies beside it.
    found = re.findall(r"(?:RUNPATH|RPATH).*\[(.*)\]", dynamic)
    assert found == (["$ORIGIN"] if name == "libstackalloc_preload" else [])


@pytest.mark.parametrize("name", LIBRARIES)
def test_thread_local_storage_is_at_fixed_offsets(name):
    """What is found by __tls_get_addr() or its like can be gone before the thread is."""
    relocations = subprocess.run(["readelf", "-rW", paths.library(f"{name}.so.1")], check=True,
                                 capture_output=True, text=True).stdout
    assert re.search(r"R_\w+_JUMP_SLO|R_\w+_GLOB_DAT", relocations)
    assert not re.search(r"__tls_get_addr|DTPMOD|DTPOFF|TLSDESC", relocations)


def test_core_leaves_malloc_alone():
    symbols = subprocess.run(["nm", "-D", "--defined-only", paths.library("libumem_core.so.1")],
                             check=True, capture_output=True, text=True).stdout
    assert " T umem_alloc@@UMEM_1.0" in symbols
    assert not re.search(r" [TW] (malloc|free|calloc|realloc)\b", symbols)


def test_multiarch_directory():
    triplet = subprocess.run(["gcc", "-print-multiarch"], check=True, capture_output=True,
                             text=True).stdout.strip()
    if not triplet:
        pytest.skip("this system has no multiarch directories")
    assert paths.library_dir() == paths.prefix() / "lib" / triplet


@pytest.mark.parametrize("package, header", [
    ("umem", "umem.h"), ("umem-core", "umem.h"), ("umem", "sys/vmem.h"),
    ("stackalloc", "stackalloc.h"), ("stackalloc", "stackalloc/switch.h")])
@pytest.mark.parametrize("language", ["c", "cc"])
def test_header_stands_alone(package, header, language, tmp_path):
    """In C and C++, strictly, first and twice."""
    source = tmp_path / f"program.{language}"
    source.write_text(f"#include <{header}>\n#include <{header}>\n"
                      "int main(void) { return 0; }\n")
    standard = "-std=c11" if language == "c" else "-std=c++11"
    compile_c(source, tmp_path / "program", package=package,
              flags=[standard, "-pedantic", "-Wstrict-prototypes"] if language == "c"
              else [standard, "-pedantic"])


def test_version_is_one_everywhere():
    version = re.search(r"version: '([^']+)'", (paths.REPO / "meson.build").read_text()).group(1)
    done = run([paths.umem(), "--version"])
    assert version in done.stdout
    for name in ("umem", "umem-core", "stackalloc"):
        text = (paths.pkgconfig_dir() / f"{name}.pc").read_text()
        assert f"Version: {version}\n" in text
    changes = (paths.REPO / "CHANGELOG.md").read_text()
    assert f"## {version}" in changes
    for page in (paths.REPO / "man").glob("*.[1-8]"):
        text = page.read_text()
        assert text.startswith(".so ") or f'"umem {version}"' in text, page.name


def test_install_elsewhere(tmp_path):
    """make install DESTDIR= PREFIX= as the README says, from a clean clone of what is here."""
    clone = tmp_path / "clone"
    listed = subprocess.run(["git", "-C", paths.REPO, "ls-files", "-z"], check=True,
                            capture_output=True).stdout.decode().split("\0")
    for name in filter(None, listed):
        if (paths.REPO / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            (clone / name).write_bytes((paths.REPO / name).read_bytes())
            (clone / name).chmod((paths.REPO / name).stat().st_mode)
    done = run(["make", "-C", clone, "install", f"DESTDIR={tmp_path}/D", "PREFIX=/usr"],
               timeout=300)
    assert done.returncode == 0, done
    installed = {str(path.relative_to(tmp_path / "D"))
                 for path in pathlib.Path(tmp_path / "D").rglob("*") if not path.is_dir()}
    for name in ("usr/bin/umem", "usr/include/umem.h", "usr/include/sys/vmem.h",
                 "usr/include/stackalloc.h", "usr/include/stackalloc/boost_context.hpp",
                 "usr/include/stackalloc/switch.h",
                 "usr/share/man/man3/umem_alloc.3"):
        assert name in installed, sorted(installed)
    pc = next(name for name in installed if name.endswith("/umem.pc"))
    assert "prefix=/usr\n" in (tmp_path / "D" / pc).read_text()
    assert not [name for name in installed if not name.startswith("usr/")]
