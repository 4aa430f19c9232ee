"""A cluster as far as its removal needs it, and how the commands of a removal are written."""

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

HUB = "  # where Argo CD runs"
"""What marks a command for the cluster of Argo CD, whose context is not known here."""
TIMEOUT = "--timeout=10m"
LAST = ("--ignore-not-found", TIMEOUT)
"""How a command ends that deletes something and waits until it is gone."""
APPLICATIONS = "applications.argoproj.io"
FINALIZER = json.dumps(
    {"metadata": {"finalizers": ["resources-finalizer.argocd.argoproj.io"]}}, separators=(",", ":")
)
"""By it Argo CD deletes what an Application installed before the Application itself."""


@dataclass(frozen=True, slots=True)
class Tool:
    """What applies a tree: the name of its `Delivery`, the namespace of its objects, and the mesh
    that they are named after.
    """

    name: str = "kubectl"
    namespace: str = ""
    mesh: str = ""


@dataclass(frozen=True, slots=True)
class Installation:
    """A cluster as far as its removal needs it; the revision "" is the default one."""

    name: str
    context: str
    namespace: str
    kind: str
    """The kind of base.yaml."""
    revisions: tuple[str, ...] = ("",)
    parts: tuple[str, ...] = ()
    """What the tree installs on its nodes: `cni`, `ztunnel`."""
    served: bool = False
    """It has no control plane of its own."""
    alerts: str = ""
    """The namespace of its alerts, where that is not Istio's."""


class PlaneRemoval(NamedTuple):
    """How a control plane leaves a cluster while what installed it runs."""

    commands: tuple[str, ...]
    """The commands for the cluster itself."""
    applications: tuple[str, ...] = ()
    """The Applications that installed it, where the cluster of Argo CD may have them."""


def kubectl_command(context: str, *words: str) -> str:
    """A kubectl command for a context, quoted for a shell."""
    return shlex.join(["kubectl", f"--context={context}", *words])


def hub_command(tool: Tool, *words: str) -> str:
    """A kubectl command for the objects of Argo CD where it runs."""
    return shlex.join(["kubectl", "-n", tool.namespace, *words]) + HUB


def finalizer_command(kubectl: Sequence[str], namespace: str, names: Sequence[str]) -> str:
    """The command that sets Argo CD's finalizer on those of the Applications that exist."""
    get = shlex.join(
        [*kubectl, "-n", namespace, "get", APPLICATIONS, *names, "--ignore-not-found", "-o", "name"]
    )
    patch = shlex.join([*kubectl, "-n", namespace, "patch", "--type=merge", "-p", FINALIZER])
    return f"{get} | xargs -r {patch}"


def cascade_commands(kubectl: Sequence[str], namespace: str, names: Sequence[str]) -> Iterator[str]:
    """The commands that delete Applications with what they installed."""
    yield finalizer_command(kubectl, namespace, names)
    yield shlex.join([*kubectl, "-n", namespace, "delete", APPLICATIONS, *names, *LAST])
