# SPDX-License-Identifier: MIT
"""Puts tables and plots into a document, between markers:

  <!-- bench:SECTION -->
  ... replaced ...
  <!-- /bench -->

Sections that were not measured stay as they are.
"""

import os
import re

from benchlib import tables


def section_text(section, all_tables, about, plots=None, prefix=""):
    """Markdown of a section: how it was measured, its plots, then its tables."""
    lines = [about, ""]
    for name, title in (plots or {}).items():
        lines += [f"![{title}]({prefix}{name})", ""]
    for table in all_tables:
        if table.section == section:
            lines += [*tables.markdown(table), ""]
    return "\n".join(lines).strip("\n")


def fill(text, section, content):
    """The document with a section's content replaced; ValueError without its marker."""
    pattern = re.compile(rf"(<!-- bench:{re.escape(section)} -->\n).*?(<!-- /bench -->)",
                         re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"no marker <!-- bench:{section} --> in the document")
    return pattern.sub(lambda match: f"{match[1]}\n{content}\n\n{match[2]}", text, count=1)


def update(path, plots_dir, contents):
    """contents: section -> function of the plots' relative prefix, giving its text."""
    prefix = os.path.relpath(plots_dir, path.parent) + "/"
    text = path.read_text(encoding="utf-8")
    for section, content in contents.items():
        text = fill(text, section, content(prefix))
    path.write_text(text, encoding="utf-8")
