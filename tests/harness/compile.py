# SPDX-License-Identifier: MIT
"""Compiling test programs against the installed tree, as a user would."""

import os
import pathlib
import subprocess

from harness import paths
from harness.process import clean_env

COMPILE_TIMEOUT_S = 120
WARNINGS = ["-Wall", "-Wextra", "-Werror"]


def pkg_config(*arguments):
    """Flags from the installed .pc files, whatever DESTDIR they lie in."""
    env = clean_env()
    env["PKG_CONFIG_PATH"] = str(paths.pkgconfig_dir())
    prefix = paths.prefix()
    command = ["pkg-config", f"--define-variable=prefix={prefix}", *arguments]
    return subprocess.run(command, env=env, check=True, capture_output=True,
                          text=True, timeout=COMPILE_TIMEOUT_S).stdout.split()


def compile_c(source, output, *, package=None, flags=(), libs=(), compiler=None):
    """Compiles C (or, by its suffix, C++) and returns the program's path.

    source: a path, or the text of a program.  package: a pkg-config name; the
    program then finds the installed library without LD_LIBRARY_PATH.
    """
    output = pathlib.Path(output)
    if not isinstance(source, os.PathLike):
        text, source = source, output.with_suffix(".c")
        source.write_text(text)
    if compiler is None:
        compiler = "g++" if source.suffix in (".cc", ".cpp") else "gcc"
    command = [compiler, "-g", *WARNINGS, *flags, "-I", str(paths.include_dir()), str(source),
               "-o", str(output)]
    if package is not None:
        command += pkg_config("--cflags", "--libs", package)
        # The old tag serves the libraries of libraries too, as libstackalloc needs.
        command += [f"-L{paths.library_dir()}",
                    f"-Wl,--disable-new-dtags,-rpath,{paths.library_dir()}"]
    command += list(libs)
    done = subprocess.run(command, env=clean_env(), capture_output=True, text=True,
                          timeout=COMPILE_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
    return output
