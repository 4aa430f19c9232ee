"""The class of a control plane that can be rendered. A kind of base.yaml is a file with one class
and a line in `targets.KINDS`.

A `base` is the documents of base.yaml by the part that they customise.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, NamedTuple

from kubectl_mesh.delivery.removal import Installation, PlaneRemoval
from kubectl_mesh.errors import Problem
from kubectl_mesh.model import Cluster, Document, Json, Member, Pki, Plan, Topology
from kubectl_mesh.plan import TargetTraits
from kubectl_mesh.targets.images import stated_at
from kubectl_mesh.targets.replaced import Replaceable, replaced_problems, used_versions
from kubectl_mesh.targets.uninstall import revision_webhooks_command
from kubectl_mesh.yaml_io.manifest import document_text
from kubectl_mesh.yaml_io.merge_patch import merge_values

Base = Mapping[str, Document]
Path = tuple[str, ...]
ReadSchema = Callable[[str], Mapping[str, Json]]
"""Gives a JSON Schema by its path below `schemas/`."""


class PlaneFile(NamedTuple):
    """A file of a control plane: what the mesh sets, and what of base.yaml that is laid over."""

    name: str
    overlay: Mapping[str, object]
    part: str = ""
    """The part of base.yaml that it is laid over; empty: none."""
    under: Json = None
    """The value of that part."""

    @property
    def text(self) -> str:
        """The YAML of the file."""
        return document_text(merge_values(self.under, self.overlay) if self.part else self.overlay)


class Target(ABC):
    """A kind of base.yaml, and what becomes of it in each cluster."""

    KIND: ClassVar[str]
    """The kind that base.yaml states first."""
    API_VERSION: ClassVar[str]
    """The apiVersion of all of its documents."""
    SCHEMAS: ClassVar[Mapping[str, str]]
    """The paths of the schemas of base.yaml's documents, by the part that each customises; the main
    one first.
    """
    VALUES: ClassVar[Path] = ("spec", "values")
    """Where the values of Istio's charts are in a document."""
    VERSION: ClassVar[Path] = ("spec", "version")
    """Where a document states the version of Istio."""
    NODE_KINDS: ClassVar[Mapping[str, str]] = {}
    """The kinds of the documents that install a component on the nodes each, by component."""
    NAMESPACE: ClassVar[Path] = ()
    """Where a document states the namespace of a component on the nodes."""
    STARTER: ClassVar[str]
    """The base.yaml that `init` writes."""
    DEFAULT_BASE: ClassVar[Json] = {}
    """The main document where there is no base.yaml."""
    KEY_TYPE: ClassVar[str] = "ec-p256"
    """The type of new keys where the topology states none."""
    APPLIED: ClassVar[bool] = True
    """Whether a cluster reads the control plane as it stands in the tree; else istioctl does."""
    HUB: ClassVar[bool] = False
    """Whether that is the cluster of Argo CD, where there is one for all."""
    BRINGS_IMAGES: ClassVar[bool] = False
    """Whether an operator decides where images come from, unless it is stated."""
    STATES_VERSION: ClassVar[bool] = True
    """Whether base.yaml has to state the version of Istio, unless the kind fixes it."""
    GATEWAY_PORT: ClassVar[int] = 15443
    """The port of a gateway where the topology states none."""
    HAS_RELEASES: ClassVar[bool] = True
    """Whether an istiod can leave a cluster in which another one stays."""
    FIXED_VERSION: ClassVar[str | None] = None
    """The one minor version of Istio that reads the kind; None: several do."""
    GATEWAYS: ClassVar[tuple[str, ...]] = ()
    """The kinds of east-west gateways that it can have, the default one first."""
    MERGED: ClassVar[tuple[Path, ...]] = ()
    """The paths of lists in base.yaml that the mesh adds to, so that no value is lost."""

    @abstractmethod
    def plan_traits(self, topology: Topology) -> TargetTraits:
        """What the target decides for the plan."""

    @abstractmethod
    def topology_problems(self, topology: Topology) -> Iterator[Problem]:
        """What of a topology this target cannot do."""

    @abstractmethod
    def plane_files(self, plan: Plan, base: Base) -> Callable[[Member], Iterator[PlaneFile]]:
        """Gives for each cluster the files of its control plane."""

    @abstractmethod
    def plane_removal(self, cluster: Installation) -> PlaneRemoval:
        """How its control plane leaves a cluster while what installed it runs, and waits for
        that.
        """

    def webhook_commands(self, cluster: Installation) -> tuple[str, ...]:
        """The commands that delete what it installs outside of namespaces."""
        return (revision_webhooks_command(cluster),)

    @property
    def main_part(self) -> str:
        """The part that the first document of base.yaml customises."""
        return next(iter(self.SCHEMAS))

    def main_value(self, base: Base) -> Json:
        """The main document of base.yaml."""
        return base[self.main_part].value if self.main_part in base else self.DEFAULT_BASE

    def part_name(self, value: Mapping[str, Json]) -> str:
        """What a document of base.yaml customises: by default its kind."""
        return str(value.get("kind"))

    def read_version(self, value: Json) -> str | None:
        """A version at `VERSION` of a document as the topology writes it, None where it is none."""
        return None

    def write_version(self, version: str) -> str:
        """A version of the topology as a document states it at `VERSION`."""
        return version

    def write_spec(self, values: Json) -> dict[str, Json]:
        """The `spec` of a main document with values of Istio's charts at `VALUES`."""
        return {"values": values}

    def stated_version(self, base: Base) -> str | None:
        """The version of Istio that base.yaml states."""
        if self.FIXED_VERSION is not None:
            return self.FIXED_VERSION
        main = base.get(self.main_part)
        return None if main is None else self.read_version(stated_at(main.value, self.VERSION))

    def document_schema(self, part: str, read: ReadSchema) -> Mapping[str, Json]:
        """The schema of a document of base.yaml by the part that it customises."""
        return read(self.SCHEMAS[part])

    def list_schemas(
        self, part: str, topology: Topology, read: ReadSchema
    ) -> Iterator[tuple[Path, Mapping[str, object]]]:
        """The schemas of what stands in a document, each with its path there; by default the schema
        of its kind leaves nothing open.
        """
        return iter(())

    def base_problems(self, base: Base, topology: Topology) -> Iterator[Problem]:
        """What is wrong with a base.yaml whose shape is right."""
        return iter(())

    def component_accounts(
        self, base: Base, topology: Topology, cluster: Cluster
    ) -> dict[str, str]:
        """The namespace and the account of each component on the nodes, `cni` and `ztunnel`, of
        those that are installed.
        """
        return {}

    def can_detect_platform(self, base: Base) -> bool:
        """Whether an operator in the cluster chooses the ztunnel that istiod trusts, by the
        platform that it finds.
        """
        return False

    def topology_warnings(self, topology: Topology, pki: Pki) -> Iterator[Problem]:
        """What does not keep the mesh from being rendered, and people have to know."""
        return iter(())

    def control_plane(
        self, plan: Plan, base: Base
    ) -> Callable[[Member], Iterator[tuple[str, str]]]:
        """Gives for each cluster the files of its control plane: name and text."""
        files = self.plane_files(plan, base)

        def of(member: Member) -> Iterator[tuple[str, str]]:
            for file in files(member):
                yield file.name, file.text

        return of

    def overridden_settings(self, plan: Plan, base: Base) -> list[Problem]:
        """A warning for each value of base.yaml that the mesh replaces."""
        files = self.plane_files(plan, base)
        laid = (
            (file.part, file.overlay)
            for member in plan.members.values()
            if not member.trust_stage_only
            for file in files(member)
        )
        known = Replaceable(self.STARTER, self.VERSION, self.read_version, self.MERGED)
        return replaced_problems(base, laid, plan, known)

    def kind_text(self, base: Base, plan: Plan) -> str:
        """The kind of control plane; with both versions, where base.yaml states one that no cluster
        runs.
        """
        stated, used = self.stated_version(base), used_versions(plan)
        if not base or self.FIXED_VERSION is not None or stated in (None, *used):
            return self.KIND
        return f"{self.KIND} {' and '.join(used)} (base.yaml says {stated})"
