"""Shows the commands that take Istio off clusters: as a script, and for programs."""

from collections.abc import Sequence
from typing import Any

from kubectl_mesh.operations.teardown import TeardownResult
from kubectl_mesh.targets.teardown import Command
from kubectl_mesh.text import mesh_command

_WARNING = """\
# WARNING: deleting a custom resource definition deletes every object of its kind in the cluster: \
the VirtualServices, Gateways,
# AuthorizationPolicies and all others, of every user. Run this only where no Istio runs any more, \
and save the objects first.
"""
_HOW_TO_RUN = (
    "# To run this as a script, put `set -eo pipefail` before it: a command that fails ends it, and"
    " all of it can run again.\n"
)


def script_text(result: TeardownResult) -> str:
    """The commands as a script for a shell."""
    warning = _WARNING if result.has_definitions else ""
    return _HOW_TO_RUN + warning + commands_text(result.commands)


def remaining_text(result: TeardownResult) -> str:
    """The comment that names what the commands keep; empty where they delete just that."""
    if result.has_definitions:
        return ""
    return (
        "# Custom resource definitions stay: they hold the objects of every user."
        f" `{mesh_command('teardown --definitions')}` prints what deletes them.\n"
    )


def teardown_json(result: TeardownResult) -> dict[str, Any]:
    """The report for programs."""
    return {"mesh": result.mesh_id, "commands": commands_json(result.commands)}


def commands_json(commands: Sequence[Command]) -> list[dict[str, str]]:
    """Such commands for programs."""
    return [
        {"cluster": step.cluster, "command": step.text, "phase": step.phase} for step in commands
    ]


def commands_text(commands: Sequence[Command]) -> str:
    """Such commands for a shell, with a comment where another cluster begins."""
    lines: list[str] = []
    last = ""
    for step in commands:
        lines += ([f"# {step.cluster}"] if step.cluster != last else []) + [step.text]
        last = step.cluster
    return "".join(f"{line}\n" for line in lines)
