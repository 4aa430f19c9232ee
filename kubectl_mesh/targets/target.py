"""What a target is: a control plane that can be rendered. mypy compares each module of a target
with this.

A `base` is the documents of base.yaml by the part that they customise.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from kubectl_mesh.errors import Problem
from kubectl_mesh.model import Cluster, Document, Json, Member, Pki, Plan, Topology
from kubectl_mesh.plan import Traits

Base = Mapping[str, Document]
ReadSchema = Callable[[str], Mapping[str, Json]]
"""Gives a JSON Schema by its path below `schemas/`."""


class Target(Protocol):
    """A kind of base.yaml, and what becomes of it in each cluster."""

    @property
    def KIND(self) -> str:  # noqa: N802  the constants of a module
        """The kind that base.yaml states first."""

    @property
    def API_VERSION(self) -> str:  # noqa: N802
        """The apiVersion of all of its documents."""

    @property
    def SCHEMAS(self) -> Mapping[str, str]:  # noqa: N802
        """The paths of the schemas of base.yaml's documents, by the part that each customises; the
        main one first.
        """

    @property
    def VALUES(self) -> tuple[str, ...]:  # noqa: N802
        """Where the values of Istio's charts stand in the main document."""

    @property
    def VERSION(self) -> tuple[str, ...]:  # noqa: N802
        """Where the version of Istio stands in the main document."""

    @property
    def STARTER(self) -> str:  # noqa: N802
        """The base.yaml that `init` writes."""

    @property
    def DEFAULT_BASE(self) -> Json:  # noqa: N802
        """The main document where there is no base.yaml."""

    @property
    def KEY_TYPE(self) -> str:  # noqa: N802
        """The type of new keys where the topology states none."""

    @property
    def APPLIED(self) -> bool:  # noqa: N802
        """Whether a cluster reads the control plane as it stands in the tree; else istioctl
        does.
        """

    @property
    def HUB(self) -> bool:  # noqa: N802
        """Whether that is the cluster of Argo CD, where there is one for all."""

    def part(self, value: Mapping[str, Json], /) -> str:
        """What a document of base.yaml customises."""

    def version(self, base: Base, /) -> str | None:
        """The version of Istio that base.yaml states."""

    def checked(
        self, part: str, topology: Topology, read: ReadSchema, /
    ) -> Iterator[tuple[tuple[str, ...], Mapping[str, object]]]:
        """The schemas of what stands in a document, each with its path there."""

    def base_problems(self, base: Base, topology: Topology, /) -> Iterator[Problem]:
        """What is wrong with a base.yaml whose shape is right."""

    def lost_settings(self, plan: Plan, base: Base, /) -> list[Problem]:
        """A warning for each value of base.yaml that the mesh replaces."""

    def component_accounts(
        self, base: Base, topology: Topology, cluster: Cluster, /
    ) -> dict[str, str]:
        """The namespace and the account of each component on the nodes, `cni` and `ztunnel`, of
        those that are installed.
        """

    def can_detect_platform(self, base: Base, /) -> bool:
        """Whether an operator in the cluster chooses the ztunnel that istiod trusts, by the
        platform that it finds.
        """

    def traits(self, topology: Topology, /) -> Traits:
        """What the target decides for the plan."""

    def problems(self, topology: Topology, /) -> Iterator[Problem]:
        """What of a topology this target cannot do."""

    def warnings(self, topology: Topology, pki: Pki, /) -> Iterator[Problem]:
        """What does not keep the mesh from being rendered, and people have to know."""

    def control_plane(
        self, plan: Plan, base: Base, /
    ) -> Callable[[Member], Iterator[tuple[str, str]]]:
        """Gives for each cluster the files of its control plane: name and text."""
