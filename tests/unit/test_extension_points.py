"""Extension points: a control plane, a store, a tool that applies the tree, and a check are each one class and one line in a table."""

import ast
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Self

import pytest
import yaml

from kubectl_mesh import delivery, stores, targets
from kubectl_mesh.checks import table as checks_table
from kubectl_mesh.checks.check import Check, Unknown
from kubectl_mesh.checks.context import ERROR, CheckContext, Finding, InputFacts, Needs
from kubectl_mesh.delivery.delivery import Delivery
from kubectl_mesh.delivery.removal import Installation, PlaneRemoval
from kubectl_mesh.errors import Problem
from kubectl_mesh.model import Json, Member, Plan, SecretManifest, Topology
from kubectl_mesh.model.issuers import ISSUERS
from kubectl_mesh.observed.install_kinds import INSTALL_KINDS, list_kinds
from kubectl_mesh.plan import TargetTraits
from kubectl_mesh.stores.store import Store, StoreInputs
from kubectl_mesh.targets.target import Base, PlaneFile, ReadSchema, Target
from kubectl_mesh.topology.kinds import STORE_FACTS, TOOL_FACTS
from kubectl_mesh.yaml_io import assets
from tests.conftest import TOP, Run, WorkDir

sys.path.insert(0, str(TOP / "tools"))

from schema_words import FILES, SCHEMA, generate_schema

Make = Callable[..., WorkDir]
READERS = (
    ("check",),
    ("diff", "empty", "out"),
    ("diff", "out", "empty"),
    ("describe",),
    ("describe", "-o", "json"),
    ("explain", "x509: certificate signed by unknown authority"),
    ("graph",),
    ("teardown",),
    ("tokens", "status"),
)
"""The commands that read a mesh."""


def read_mesh(made: WorkDir, run: Run) -> None:
    """Runs every command that reads a mesh, and sees that none fails."""
    (made / "empty").mkdir()
    for words in READERS:
        ran = run(*words, cwd=made)
        assert ran.code in (0, 1), (words, ran.err)
        assert "Traceback" not in ran.err, words


def read_yaml(path: Path) -> dict[str, Json]:
    """The one document of a file."""
    value = yaml.safe_load(path.read_text())
    assert isinstance(value, dict)
    return value


def test_the_generated_words_are_those_of_the_tables() -> None:
    """The schemas and the command line have the words that `make docs` writes."""
    for path, generate in FILES.items():
        assert generate(path.read_text()) == path.read_text(), path
    for table in (targets.KINDS, delivery.TOOLS, stores.STORES):
        assert all(
            name in (getattr(one, "KIND", name), getattr(one, "NAME", name))
            for name, one in table.items()
        )


@pytest.fixture
def new_words(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Reads the schema of topology.yaml as `make docs` would write it now."""
    read = assets.load_schema

    def write() -> None:
        schema = json.loads(generate_schema(SCHEMA.read_text()))
        monkeypatch.setattr(
            assets, "load_schema", lambda path: schema if path == SCHEMA.name else read(path)
        )

    return write


class ToyTarget(Target):
    """A control plane of one object."""

    KIND = "Toy"
    API_VERSION = "toys.example/v1"
    SCHEMAS: ClassVar[Mapping[str, str]] = {"Toy": ""}
    STARTER = "apiVersion: toys.example/v1\nkind: Toy\nspec: {colour: red}\n"

    def document_schema(self, part: str, read: ReadSchema) -> Mapping[str, Json]:
        spec = {
            "type": "object",
            "additionalProperties": False,
            "properties": {"colour": {"type": "string"}},
        }
        return {
            "type": "object",
            "properties": {
                "apiVersion": {"const": self.API_VERSION},
                "kind": {"const": self.KIND},
                "spec": spec,
            },
        }

    def plan_traits(self, topology: Topology) -> TargetTraits:
        return TargetTraits(
            15443, lambda cluster: f"toy gateway {cluster.name}", finds_gateways_by_label=True
        )

    def topology_problems(self, topology: Topology) -> Iterator[Problem]:
        if topology.is_ambient:
            yield Problem(
                topology.document.field_place("istio", "dataPlane"),
                "a toy has sidecars",
                "remove it",
                code="toy-not-ambient",
            )

    def plane_files(self, plan: Plan, base: Base) -> Callable[[Member], Iterator[PlaneFile]]:
        def of(member: Member) -> Iterator[PlaneFile]:
            overlay = {
                "metadata": {"name": member.cluster.name},
                "spec": {"mesh": plan.topology.mesh_id},
            }
            yield PlaneFile("toy.yaml", overlay, self.KIND, self.main_value(base))

        return of

    def plane_removal(self, cluster: Installation) -> PlaneRemoval:
        return PlaneRemoval((f"toy remove {cluster.name}",))


def test_a_toy_target(workdir: Make, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """base.yaml is checked by its schema, rendered, told of what it cannot do, and taken down."""
    monkeypatch.setitem(targets.KINDS, ToyTarget.KIND, ToyTarget())  # type: ignore[misc]
    for kind, facts in list_kinds(
        ToyTarget()
    ):  # a table made of that of the targets, when it is imported
        monkeypatch.setitem(INSTALL_KINDS, kind, facts)  # type: ignore[misc]
    made = workdir("mesh", tokens=True)
    made.write("base.yaml", ToyTarget.STARTER)
    assert run("render", cwd=made).code == 0
    found = read_yaml(made / "out/context-east-1/2-control-plane/toy.yaml")
    assert found == {
        "apiVersion": "toys.example/v1",
        "kind": "Toy",
        "metadata": {"name": "context-east-1"},
        "spec": {"colour": "red", "mesh": found["spec"]["mesh"]},
    }
    assert run("render", "--check", cwd=made).code == 0
    read_mesh(made, run)
    assert "toy remove context-east-1" in run("teardown", cwd=made).out
    made.topology({"istio": {"dataPlane": "ambient"}})
    assert "a toy has sidecars" in run("render", cwd=made).err
    made.topology()
    made.write("base.yaml", ToyTarget.STARTER.replace("red", "3"))
    assert "spec.colour: must be a text" in run("render", cwd=made).err


class ToyStore(Store):
    """Secrets whose values stand upside down."""

    NAME = "toy"
    DESCRIPTION = "upside down"
    WRITER = "the toy controller"

    @classmethod
    def open_store(cls, inputs: StoreInputs) -> Self:
        return cls()

    def render_file(
        self, directory: str, path: str, secret: SecretManifest
    ) -> tuple[bytes, str | None]:
        assert secret.text is not None
        value = yaml.safe_load(secret.text)
        value["data"] = {name: text[::-1] for name, text in value["data"].items()}
        return yaml.safe_dump({**value, "kind": "ToySecret"}).encode(), None

    def extra_files(self, directory: str) -> dict[str, str]:
        return {".toy.yaml": f"for: {directory}\n"}


def test_a_toy_store(
    workdir: Make, run: Run, monkeypatch: pytest.MonkeyPatch, new_words: Callable[[], None]
) -> None:
    """Every Secret goes through it, and only Secrets do."""
    monkeypatch.setitem(stores.STORES, ToyStore.NAME, ToyStore)  # type: ignore[misc]
    made = workdir("mesh", tokens=True)
    made.topology({"secrets": {"store": "toy"}})
    assert "toy" in run("render", cwd=made).err
    new_words()
    assert run("render", cwd=made).code == 0
    assert read_yaml(made / "out/context-east-1/1-trust/cacerts.yaml")["kind"] == "ToySecret"
    assert read_yaml(made / "out/context-east-1/1-trust/namespace.yaml")["kind"] == "Namespace"
    assert (made / "out/context-east-1/.toy.yaml").read_text() == "for: context-east-1\n"
    kinds = {read_yaml(path)["kind"] for path in (made / "out").glob("*/3-mesh/remote-secrets/*")}
    assert kinds == {"ToySecret"}
    assert run("render", "--check", cwd=made).code == 0
    assert "secrets      upside down\n" in run("describe", cwd=made).out
    read_mesh(made, run)


class ToyDelivery(Delivery):
    """A tool that has a list of clusters."""

    NAME = "toy"
    TITLE = "Toy"
    DIRECTORY = "_toy"
    NAMESPACE = "toys"
    NAMESPACE_FILE = "clusters.yaml"
    RECONCILES = True
    KEEP = ("toys.example/keep", "yes")

    def list_objects(self, plan: Plan, *, hub: bool) -> dict[str, str]:
        return {
            self.NAMESPACE_FILE: yaml.safe_dump(
                {"kind": "ToyClusters", "clusters": list(plan.members)}
            )
        }


def test_a_toy_tool(
    workdir: Make, run: Run, monkeypatch: pytest.MonkeyPatch, new_words: Callable[[], None]
) -> None:
    """Its objects are rendered, what it may not delete says so, and who reads the report knows that it applies the tree."""
    monkeypatch.setitem(delivery.TOOLS, ToyDelivery.NAME, ToyDelivery())  # type: ignore[misc]
    made = workdir("mesh", tokens=True)
    made.write("base.yaml", targets.KINDS["Istio"].STARTER)
    made.topology({"delivery": {"tool": "toy", "repoURL": "https://git.example.com/mesh.git"}})
    assert "toy" in run("render", cwd=made).err
    new_words()
    ran = run("render", cwd=made)
    assert ran.code == 0, ran.err
    assert "Toy applies it" in ran.err
    assert "context-east-1" in read_yaml(made / "out/_toy/clusters.yaml")["clusters"]
    namespace = read_yaml(made / "out/context-east-1/1-trust/namespace.yaml")
    assert namespace["metadata"]["annotations"]["toys.example/keep"] == "yes"
    assert run("render", "--check", cwd=made).code == 0
    read_mesh(made, run)
    assert "kubectl" in run("teardown", cwd=made).out


class ToyCheck(Check):
    """A check that no cluster is on the network of toys."""

    id = "toy-network"
    category = "toys"
    severity = ERROR
    sentence = "no cluster is on the network of toys"
    prevents = "`no healthy upstream`"
    remedy = "State another network."
    needs = Needs.TOPOLOGY

    def find_problems(self, context: CheckContext) -> Iterator[Finding]:
        clusters = context.topology.clusters if context.topology is not None else ()
        for cluster in clusters:
            if cluster.network == "toys":
                what, fix = "is on the network of toys", "move it"
                problem = Problem(cluster.place, what, fix, self.id, code="cluster-on-toys")
                yield Finding(self.severity, problem)

    def find_unknown(self, inputs: InputFacts) -> Unknown | None:
        return Unknown("whether a toy is in a box", "toy list")


def test_a_toy_check(workdir: Make, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its finding is in every report, it can be asked alone, and it says what it cannot know."""
    monkeypatch.setattr(checks_table, "CHECKS", (*checks_table.CHECKS, ToyCheck()))
    made = workdir("mesh", tokens=True)

    def checked(*words: str) -> str:
        return run("check", "--id", "toy-network", *words, cwd=made).out

    assert "  ? toy-network: cannot be known offline: whether a toy is in a box" in checked()
    made.topology({"contexts": {"context-east-1": {"network": "toys"}}})
    assert run("check", "--category", "toys", cwd=made).code == 1
    (check,) = json.loads(checked("-o", "json"))["checks"]
    assert (check["status"], check["sentence"]) == ("error", ToyCheck.sentence)
    assert [(f["path"], f["what"]) for f in check["findings"]] == [
        ("contexts.context-east-1", "is on the network of toys")
    ]
    assert " toy-network: topology.yaml:" in checked()
    (log,) = json.loads(checked("-o", "sarif"))["runs"]
    assert [(r["ruleId"], r["level"]) for r in log["results"]] == [("toy-network", "error")]
    assert '<testsuite name="toys" tests="1" failures="1"' in checked("-o", "junit")
    made.write("topology.yaml", "nonsense")
    assert json.loads(checked("-o", "json"))["checks"][0]["status"] == "skipped"


PACKAGE = TOP / "kubectl_mesh"
TABLES = {
    "targets": tuple(targets.KINDS),
    "stores": tuple(stores.STORES),
    "delivery": tuple(delivery.TOOLS),
    "model": tuple(ISSUERS),
}
"""The names that only a package may ask for."""
ALLOWED = {
    "cli/__init__.py": "the type of a completion of click is `plain`",
    "observed/dumped_control_planes.py": "reads dumps by the kinds of INSTALL_KINDS",
    "safety/removals.py": "Argo CD's Application and istioctl's IstioOperator as objects to delete",
    "topology/kinds.py": "the facts of stores and tools that are needed below their classes",
}
"""Modules that ask by name all the same, each with its reason."""


def asked_names(tree: ast.AST) -> Iterator[str]:
    """The texts that a module compares with something, or has as keys of a mapping."""
    for node in ast.walk(tree):
        parts: list[ast.expr | None] = []
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            parts = list(node.keys)
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        for part in parts:
            listed = part.elts if isinstance(part, ast.Tuple | ast.List | ast.Set) else [part]
            for one in listed:
                if isinstance(one, ast.Constant) and isinstance(one.value, str):
                    yield one.value


def test_no_module_asks_for_a_kind_by_its_name() -> None:
    """What a kind can do is an attribute of its class; a kind more needs no other file."""
    asking = {
        str(path.relative_to(PACKAGE))
        for path in sorted(PACKAGE.rglob("*.py"))
        for name in asked_names(ast.parse(path.read_text()))
        for package, names in TABLES.items()
        if name in names and path.relative_to(PACKAGE).parts[0] != package
    }
    assert asking == ALLOWED.keys()


def test_facts_are_of_kinds_that_exist() -> None:
    """The tables below the classes have no line of their own."""
    assert STORE_FACTS.keys() <= stores.STORES.keys()
    assert TOOL_FACTS.keys() == delivery.TOOLS.keys()
