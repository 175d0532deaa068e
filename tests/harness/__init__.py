# SPDX-License-Identifier: MIT
"""What tests share: where things are, running programs, cores, compiling.

    from harness import run, Background, gcore, kernel_core, compile_c, paths

Nothing here knows a particular test.
"""

from harness import paths
from harness.compile import compile_c
from harness.cores import core_pattern_is_usable, gcore, kernel_core
from harness.process import Background, Result, clean_env, run, wait_for

__all__ = ["paths", "run", "Background", "Result", "clean_env", "wait_for", "gcore",
           "kernel_core", "core_pattern_is_usable", "compile_c"]
