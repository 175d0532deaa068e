# SPDX-License-Identifier: MIT
"""Test programs compiled once a session, where any user may run them."""

import pathlib
import shutil
import tempfile

from harness import paths
from harness.compile import compile_c


class Programs:
    """Compiles sources of one folder on demand and keeps what it made.

    The directory is open to all users, unlike pytest's own, so that a program
    can be run as nobody; close() removes it.
    """

    def __init__(self, source_dir):
        self.source_dir = pathlib.Path(source_dir)
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="umem-programs-"))
        self.directory.chmod(0o755)
        self._made = {}

    def __call__(self, source, *, name=None, flags=("-O1",), package=None, libs=("-lpthread",)):
        """Path of the program made of source, a file name in the folder.

        name: of the output, where one source is built in several ways.
        """
        output = self.directory / (name or pathlib.Path(source).stem)
        key = (str(source), tuple(flags), package, tuple(libs))
        if self._made.setdefault(output, key) != key:
            raise ValueError(f"{output.name} is already made in another way: give it a name")
        if not output.exists():
            compile_c(self.source_dir / source, output, package=package,
                      flags=("-D_GNU_SOURCE", *flags), libs=libs)
            output.chmod(0o755)
        return output

    def library(self, name="libumem.so.1"):
        """A copy of a library that any user can read."""
        copy = self.directory / name
        if not copy.exists():
            shutil.copyfile(paths.library(name), copy)
            copy.chmod(0o755)
        return copy

    def close(self):
        shutil.rmtree(self.directory, ignore_errors=True)
