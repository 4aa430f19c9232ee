"""The control planes that can be rendered, each a module with the same functions; base.yaml's kind chooses one.

A target module has `KIND`, `API_VERSION`, `SCHEMA` (of base.yaml), `KEY_TYPE` (of new keys), `TRAITS` (for the plan), `STARTER` (what `init`
writes), `DEFAULT_BASE` (where there is no base.yaml), `problems(topology)`, `warnings(topology, pki)`, and
`folders(plan, base, pki, manifests)`, which gives each cluster's stages as files.
"""

from types import ModuleType
from typing import Any

from kubectl_mesh.errors import MeshError, Problem, near, shown
from kubectl_mesh.model import Document

KINDS = {"IstioControlPlane": "kubectl_mesh.targets.istiocontrolplane"}
"""Every kind of base.yaml and the module that renders it."""
ELSEWHERE = {
    "IstioOperator": "install.istio.io/v1alpha1",
    "Istio": "sailoperator.io/v1",
    "Application": "argoproj.io/v1alpha1",
    "HelmRelease": "helm.toolkit.fluxcd.io/v2",
}
"""Kinds of control planes that exist and that this version does not render; they are refused by name."""


def module(kind: str) -> ModuleType:
    """The module of a kind in `KINDS`."""
    from importlib import import_module

    return import_module(KINDS[kind])


def choose(base: Document | None) -> ModuleType:
    """The target of a base.yaml; without one, Istio 1.4's, as the old tool had it."""
    if base is None:
        return module("IstioControlPlane")
    value: Any = base.value
    if not isinstance(value, dict):
        raise MeshError([Problem(base.place(), "must be a mapping with apiVersion, kind and spec", id="base-valid")])
    kind, version = value.get("kind"), value.get("apiVersion")
    missing = [Problem(base.place(), f'the field "{key}" is missing', "", "base-valid") for key in ("apiVersion", "kind") if value.get(key) is None]
    if missing:
        raise MeshError(missing)
    if not isinstance(kind, str):
        raise MeshError([Problem(base.place("kind"), "must be the kind of a control plane, as a text", f"the kinds are: {', '.join(KINDS)}", "base-valid")])
    known = ", ".join(KINDS)
    if kind in ELSEWHERE:
        what = f"{kind} is not rendered by this version of kubectl mesh, which renders {known}"
        raise MeshError([Problem(base.place("kind"), what, f"use a base.yaml of kind {known}", "base-valid")])
    if kind not in KINDS:
        hint = near(str(kind), KINDS)
        raise MeshError(
            [Problem(base.place("kind"), f"the kind {shown(kind)} is no control plane that can be rendered{hint}", f"the kinds are: {known}", "base-valid")]
        )
    target = module(kind)
    if version != target.API_VERSION:
        what = f"the apiVersion of {kind} is {target.API_VERSION}, not {shown(version)}"
        raise MeshError([Problem(base.place("apiVersion"), what, f"write apiVersion: {target.API_VERSION}", "base-valid")])
    return target
