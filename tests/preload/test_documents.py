# SPDX-License-Identifier: MIT
"""Each command that a document shows still prints what the document says."""

import pytest

from harness import console

COMMANDS = [(document.name, *pair) for document in console.documents()
            for block in console.shown(document.read_text(encoding="utf-8")) for pair in block]


def test_there_are_some():
    assert len(COMMANDS) > 5


@pytest.mark.parametrize("document, command, output", COMMANDS,
                         ids=[f"{name}:{command}" for name, command, _ in COMMANDS])
def test_prints_what_it_says(document, command, output, tmp_path):
    printed = console.run_command(command, tmp_path)
    assert console.stable(printed) == console.stable(output), f"{document}: $ {command}\n{printed}"
