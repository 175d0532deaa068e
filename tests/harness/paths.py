# SPDX-License-Identifier: MIT
"""Where the sources, the build directory and the installed tree are.

UMEM_BUILD names another build directory; UMEM_DEST another installed tree
(the DESTDIR of `make install`; the prefix inside it is found by looking).
"""

import functools
import os
import pathlib

REPO = pathlib.Path(__file__).resolve().parent.parent.parent


def build():
    """The meson build directory, where test programs lie."""
    return pathlib.Path(os.environ.get("UMEM_BUILD", REPO / "build")).resolve()


def built(relative):
    """A program that meson built, e.g. built("tests/death/double_free")."""
    path = build() / relative
    if not path.exists():
        raise FileNotFoundError(f"{path} is not built: run make first")
    return path


@functools.lru_cache(maxsize=None)
def prefix():
    """The installed tree with its prefix: DESTDIR/PREFIX."""
    dest = pathlib.Path(os.environ.get("UMEM_DEST", build() / "dest")).resolve()
    for header in sorted(dest.glob("**/include/umem.h")):
        return header.parent.parent
    raise FileNotFoundError(f"nothing is installed in {dest}: `make dest` does it")


@functools.lru_cache(maxsize=None)
def library_dir():
    for name in ("libumem.so.1",):
        for found in sorted(prefix().glob(f"lib*/**/{name}")):
            return found.parent
    raise FileNotFoundError(f"no libumem.so.1 below {prefix()}")


def library(name):
    """An installed library: library("libumem.so.1")."""
    path = library_dir() / name
    if not path.exists():
        raise FileNotFoundError(path)
    return path


def libumem():
    return library("libumem.so.1")


def umem():
    """The umem command."""
    path = prefix() / "bin" / "umem"
    if not path.exists():
        raise FileNotFoundError(path)
    return path


def include_dir():
    return prefix() / "include"


def pkgconfig_dir():
    return library_dir() / "pkgconfig"


def man_dir():
    return prefix() / "share" / "man"
