"""The class of what applies the tree. A tool is a file with one class and a line in
`delivery.TOOLS`.
"""

from abc import ABC
from collections.abc import Collection, Iterator, Sequence
from typing import ClassVar, NamedTuple

from kubectl_mesh.delivery.removal import Installation, PlaneRemoval, Tool, kubectl_command
from kubectl_mesh.model import Plan


class EncryptedResources(NamedTuple):
    """How the kustomization of a stage has files that SOPS encrypted."""

    listed: tuple[str, ...] = ()
    """Those that it lists like any other."""
    generator: str = ""
    """The file that it decrypts them by, below."""
    files: tuple[str, ...] = ()
    """What that file lists."""


class Delivery(ABC):
    """A tool that applies the tree; by default a person does, file by file."""

    NAME: ClassVar[str]
    """What topology.yaml calls it."""
    TITLE: ClassVar[str]
    """What people call it."""
    DIRECTORY: ClassVar[str] = ""
    """The directory of its objects in `out/`; empty: it needs none."""
    NAMESPACE: ClassVar[str] = ""
    """Where it lives, and its objects unless the topology says otherwise."""
    NAMESPACE_FILE: ClassVar[str] = ""
    """The file in its directory whose object says which namespace that is."""
    RECONCILES: ClassVar[bool] = False
    """Whether it applies the tree from git by itself, and deletes what leaves it."""
    CENTRAL: ClassVar[bool] = False
    """Whether one installation of it serves all clusters."""
    DECRYPTS: ClassVar[bool] = False
    """Whether it can apply what SOPS encrypted."""
    NEEDS_FINALIZER: ClassVar[bool] = False
    """Whether it deletes what one of its own objects installed only by a finalizer."""
    KEEP: ClassVar[tuple[str, str] | None] = None
    """The annotation by which it never deletes an object, whatever becomes of its file."""

    def list_objects(self, plan: Plan, *, hub: bool) -> dict[str, str]:
        """The objects of the tool by their path; `hub`: the control plane is for the cluster of the
        tool.
        """
        return {}

    def list_encrypted(self, paths: Sequence[str]) -> EncryptedResources:
        """How a kustomization has the files that SOPS encrypted; by default it does not."""
        return EncryptedResources()

    def objects_namespace(self, plan: Plan) -> str:
        """The namespace of its objects."""
        return plan.topology.delivery.namespace or self.NAMESPACE

    def first_apply_lines(self, plan: Plan, out: str, created: Collection[str]) -> list[str]:
        """What has to be applied once, by hand, so that it reads the repository; the commits that
        follow need nothing. `created` are the new files of its directory.
        """
        return []

    def first_removal_commands(self, tool: Tool) -> Iterator[str]:
        """What is deleted before the first cluster of a mesh of which no cluster stays."""
        return iter(())

    def removal_commands(
        self, cluster: Installation, tool: Tool, plane: PlaneRemoval, *, whole: bool
    ) -> Iterator[tuple[str, str]]:
        """The commands that stop what reconciles a cluster and uninstall its control plane, each
        with its phase; `whole`: no other cluster of the mesh stays.
        """
        if cluster.alerts:
            rule = ("prometheusrules.monitoring.coreos.com", "kubectl-mesh-expiry")
            yield (
                "control-plane",
                kubectl_command(
                    cluster.context, "-n", cluster.alerts, "delete", *rule, "--ignore-not-found"
                ),
            )
        for text in plane.commands:
            yield "control-plane", text
