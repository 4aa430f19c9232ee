"""The shell commands of a page of the documentation."""

import re

from tests.conftest import TOP


def commands(page: str) -> list[str]:
    """The shell blocks of a page."""
    return re.findall(r"^```sh\n(.*?)^```$", (TOP / page).read_text(), re.MULTILINE | re.DOTALL)


LATER = """#!/usr/bin/env bash
# Stands for the days that pass before the next step of a rotation.
if [[ "$*" == *"rotate-root advance"* ]]; then
  sed -i 's/"since": "[^"]*"/"since": "2026-01-01T00:00:00Z"/' certs/rotation.json
fi
exec {program} "$@"
"""
