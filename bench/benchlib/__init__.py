# SPDX-License-Identifier: MIT
"""The benchmark's parts: runner (children), the sections, tables, plots, document."""
