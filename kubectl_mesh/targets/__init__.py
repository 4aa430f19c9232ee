"""The control planes that can be rendered, by the kind of base.yaml that asks for each.

A target is a class of its own (`target.Target`) and a line in `KINDS`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from kubectl_mesh.errors import MeshError, Problem
from kubectl_mesh.model import Document
from kubectl_mesh.targets.application import Application
from kubectl_mesh.targets.helmrelease import HelmRelease
from kubectl_mesh.targets.istio import Istio
from kubectl_mesh.targets.istiocontrolplane import IstioControlPlane
from kubectl_mesh.targets.istiooperator import IstioOperator
from kubectl_mesh.targets.target import Target
from kubectl_mesh.text import did_you_mean, value_text

KINDS: Mapping[str, Target] = {
    Istio.KIND: Istio(),
    IstioOperator.KIND: IstioOperator(),
    Application.KIND: Application(),
    HelmRelease.KIND: HelmRelease(),
    IstioControlPlane.KIND: IstioControlPlane(),
}
"""Every kind of base.yaml, and its target."""
OLD = IstioControlPlane.KIND
"""The kind that a mesh without a base.yaml has, as the old tool had it."""
DEFAULT = Istio.KIND
"""The kind of a new base.yaml where none is asked for."""


def find_target(kind: str) -> Target | None:
    """The target whose base.yaml has documents of a kind; None where none has."""
    return KINDS.get(kind) or next((t for t in KINDS.values() if kind in t.SCHEMAS), None)


def is_applied(kind: str) -> bool:
    """Whether a cluster reads objects of a kind; False for what istioctl reads."""
    target = KINDS.get(kind)
    return target is None or target.APPLIED


def choose_target(base: Sequence[Document]) -> Target:
    """The target of a base.yaml, by its first document; without one, Istio 1.4's, as the old tool
    had it.
    """
    if not base:
        return KINDS[OLD]
    kind = _kind(base[0], KINDS)
    target = KINDS[kind]
    _check_version(base[0], kind, target.API_VERSION)
    return target


def documents_by_part(base: Sequence[Document], target: Target) -> dict[str, Document]:
    """The documents of a base.yaml by what they customise, in the order of the target's schemas."""
    found: dict[str, Document] = {}
    problems: list[Problem] = []
    by_kind = target.part_name({"kind": target.KIND}) == target.KIND
    for index, document in enumerate(base):
        try:
            kinds = target.SCHEMAS.keys() if by_kind else (target.KIND,)
            _check_version(document, _kind(document, kinds), target.API_VERSION)
        except MeshError as error:
            problems += error.problems
            continue
        assert isinstance(document.value, dict)
        name = target.part_name(document.value)
        problem = _part_problem(document, name, target, is_first=index == 0, known=found)
        if problem is None:
            found[name] = document
        else:
            problems.append(problem)
    if problems:
        raise MeshError(problems)
    return found


def _part_problem(
    document: Document, name: str, target: Target, *, is_first: bool, known: Collection[str]
) -> Problem | None:
    """Why a document cannot customise a part; `known` are the parts of the documents before it."""
    if name not in target.SCHEMAS:
        return Problem(
            document.field_place(),
            f"customises {value_text(name)}, which is none of"
            f" {', '.join(target.SCHEMAS)}{did_you_mean(name, target.SCHEMAS)}",
            "",
            "base-valid",
            code="base-part-unknown",
        )
    if name in known:
        return Problem(
            document.field_place(),
            f"customises {name} a second time",
            "put the two documents together",
            "base-valid",
            code="base-part-twice",
        )
    if is_first and name != target.main_part:
        return Problem(
            document.field_place(),
            f"customises {name}, but the first document is for {target.main_part}",
            "put it behind that",
            "base-valid",
            code="base-part-out-of-order",
        )
    return None


def _kind(document: Document, known: Collection[str]) -> str:
    """The kind of a document, which has to be one of those that are `known` here."""
    value: Any = document.value
    if not isinstance(value, dict):
        raise _refuse(
            document,
            (),
            "must be a mapping with apiVersion, kind and spec",
            code="base-not-a-mapping",
        )
    missing = [
        Problem(
            document.field_place(),
            f'the field "{key}" is missing',
            "",
            "base-valid",
            code="field-missing",
        )
        for key in ("apiVersion", "kind")
        if value.get(key) is None
    ]
    if missing:
        raise MeshError(missing)
    kind, fix = value["kind"], f"the kinds are: {', '.join(known)}"
    if not isinstance(kind, str):
        what = "must be the kind of a control plane, as a text"
        raise _refuse(document, ("kind",), what, fix, code="kind-not-a-text")
    if kind not in known:
        what = (
            f"the kind {value_text(kind)} is no control plane that can be"
            f" rendered{did_you_mean(kind, known)}"
        )
        if kind in KINDS or list(known) != list(KINDS):
            what = (
                f"a document of kind {value_text(kind)} has no place"
                f" here{did_you_mean(kind, known)}"
            )
        raise _refuse(document, ("kind",), what, fix, code="kind-unknown")
    return kind


def _check_version(document: Document, kind: str, wanted: str) -> None:
    value: Any = document.value
    if value["apiVersion"] != wanted:
        what = f"the apiVersion of {kind} is {wanted}, not {value_text(value['apiVersion'])}"
        fix = f"write apiVersion: {wanted}"
        raise _refuse(document, ("apiVersion",), what, fix, code="api-version-differs")


def _refuse(
    document: Document, path: tuple[str, ...], what: str, fix: str = "", *, code: str
) -> MeshError:
    return MeshError([Problem(document.field_place(*path), what, fix, "base-valid", code=code)])
