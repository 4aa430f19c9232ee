"""The control planes that can be rendered, each a module with the same functions; base.yaml's kind
chooses one.

`target.Target` says what these are. A new target is a module and a line in `KINDS`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kubectl_mesh.errors import MeshError, Problem
from kubectl_mesh.model import Document
from kubectl_mesh.targets import application, helmrelease, istio, istiocontrolplane, istiooperator
from kubectl_mesh.targets.target import Target
from kubectl_mesh.text import near, shown

KINDS: Mapping[str, Target] = {
    "Istio": istio,
    "IstioOperator": istiooperator,
    "Application": application,
    "HelmRelease": helmrelease,
    "IstioControlPlane": istiocontrolplane,
}
"""Every kind of base.yaml, and its target."""
OLD = "IstioControlPlane"
"""The kind that a mesh without a base.yaml has, as the old tool had it."""


def module(kind: str) -> Target:
    """The target of a kind in `KINDS`."""
    return KINDS[kind]


def choose(base: Sequence[Document]) -> Target:
    """The target of a base.yaml, by its first document; without one, Istio 1.4's, as the old tool
    had it.
    """
    if not base:
        return module(OLD)
    kind = _kind(base[0], KINDS)
    target = module(kind)
    _version(base[0], kind, target.API_VERSION)
    return target


def parts(base: Sequence[Document], target: Target) -> dict[str, Document]:
    """The documents of a base.yaml by what they customise, in the order of the target's schemas."""
    found: dict[str, Document] = {}
    problems: list[Problem] = []
    for index, document in enumerate(base):
        try:
            if target.part({"kind": target.KIND}) == target.KIND:
                _version(document, _kind(document, target.SCHEMAS), target.API_VERSION)
            else:
                _version(document, _kind(document, (target.KIND,)), target.API_VERSION)
        except MeshError as error:
            problems += error.problems
            continue
        assert isinstance(document.value, dict)
        name = target.part(document.value)
        if name not in target.SCHEMAS:
            known = ", ".join(target.SCHEMAS)
            problems.append(
                Problem(
                    document.place(),
                    f"customises {shown(name)}, which is none of"
                    f" {known}{near(name, target.SCHEMAS)}",
                    "",
                    "base-valid",
                )
            )
        elif name in found:
            problems.append(
                Problem(
                    document.place(),
                    f"customises {name} a second time",
                    "put the two documents together",
                    "base-valid",
                )
            )
        elif index == 0 and name != next(iter(target.SCHEMAS)):
            first = next(iter(target.SCHEMAS))
            problems.append(
                Problem(
                    document.place(),
                    f"customises {name}, but the first document is for {first}",
                    "put it behind that",
                    "base-valid",
                )
            )
        else:
            found[name] = document
    if problems:
        raise MeshError(problems)
    return found


def _kind(document: Document, kinds: Iterable[str]) -> str:
    value: Any = document.value
    if not isinstance(value, dict):
        raise MeshError(
            [
                Problem(
                    document.place(),
                    "must be a mapping with apiVersion, kind and spec",
                    id="base-valid",
                )
            ]
        )
    missing = [
        Problem(document.place(), f'the field "{key}" is missing', "", "base-valid")
        for key in ("apiVersion", "kind")
        if value.get(key) is None
    ]
    if missing:
        raise MeshError(missing)
    kinds, kind = list(kinds), value["kind"]
    if not isinstance(kind, str):
        raise MeshError(
            [
                Problem(
                    document.place("kind"),
                    "must be the kind of a control plane, as a text",
                    f"the kinds are: {', '.join(kinds)}",
                    "base-valid",
                )
            ]
        )
    known = ", ".join(kinds)
    if kind not in kinds:
        what = f"the kind {shown(kind)} is no control plane that can be rendered{near(kind, kinds)}"
        if kind in KINDS or kinds != list(KINDS):
            what = f"a document of kind {shown(kind)} has no place here{near(kind, kinds)}"
        raise MeshError(
            [Problem(document.place("kind"), what, f"the kinds are: {known}", "base-valid")]
        )
    return kind


def _version(document: Document, kind: str, wanted: str) -> None:
    value: Any = document.value
    if value["apiVersion"] != wanted:
        what = f"the apiVersion of {kind} is {wanted}, not {shown(value['apiVersion'])}"
        raise MeshError(
            [
                Problem(
                    document.place("apiVersion"), what, f"write apiVersion: {wanted}", "base-valid"
                )
            ]
        )
