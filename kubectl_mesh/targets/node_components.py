"""Istio's components on every node, the CNI plugin and ztunnel: their namespaces, and which ztunnel
istiod trusts.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.model import Cluster, Json, Topology
from kubectl_mesh.targets.values import stated_values

PLATFORM_NAMESPACE = {"openshift": "kube-system"}
"""Where a platform's profile of the istiod chart expects ztunnel (its
files/profile-platform-*.yaml).
"""
ACCOUNTS = "CA_TRUSTED_NODE_ACCOUNTS"
"""istiod's environment variable that the chart fills, unless it is stated
(manifests/charts/istio-control/istio-discovery/templates/deployment.yaml).
"""
BUILT_IN = frozenset(("default", "kube-node-lease", "kube-public", "kube-system"))
"""Namespaces that every cluster has."""


def extra_namespaces(accounts: Mapping[str, str], cluster: Cluster) -> Sequence[str]:
    """The namespaces that components need besides Istio's own, and that a cluster does not have by
    itself.
    """
    return sorted(
        {account.partition("/")[0] for account in accounts.values()}
        - {cluster.namespace}
        - BUILT_IN
    )


def stated_platform(values: Json, profile: object = None) -> str | None:
    """The platform that values state, or that a profile implies."""
    found = stated_values(values, ()).get("platform") or stated_values(values, ("global",)).get(
        "platform"
    )
    if isinstance(found, str):
        return found
    return (
        "openshift" if isinstance(profile, str) and profile.split("-")[0] == "openshift" else None
    )


def has_stated_trust(values: Json) -> bool:
    """Whether values say which ztunnel istiod trusts."""
    return bool(_setting(values, "trustedZtunnelNamespace") or _accounts(values))


def trusted_accounts(values: Json, cluster: Cluster, on: str | None) -> frozenset[str]:
    """The accounts, each with its namespace, whose requests for other workloads' certificates
    istiod of a cluster accepts.
    """
    listed = _accounts(values)
    if listed:
        return frozenset(account for account in listed.split(",") if "/" in account)
    namespace = (
        _setting(values, "trustedZtunnelNamespace")
        or PLATFORM_NAMESPACE.get(on or "")
        or cluster.namespace
    )
    return frozenset((f"{namespace}/{_setting(values, 'trustedZtunnelName') or 'ztunnel'}",))


def trust_problems(
    topology: Topology,
    values: Json,
    on: str | None,
    accounts: Mapping[str, str],
    place: Place,
    path: str,
) -> Iterator[Problem]:
    """A ztunnel that istiod does not trust, so that no ambient workload gets a certificate;
    `accounts` are those of ztunnel by cluster.

    `place` is where istiod's values are, `path` what they are called in a fix. With istio-csr
    istiod signs nothing.
    """
    if not topology.is_ambient or topology.issuer_kind.signs_workloads:
        return
    for cluster in topology.clusters:
        account = accounts[cluster.name]
        trusted = trusted_accounts(values, cluster, on)
        if account in trusted:
            continue
        namespace, _, name = account.partition("/")
        others = ", ".join(sorted(trusted)) or "nothing"
        what = (
            f"istiod of {cluster.name} trusts {others}, and ztunnel runs as {account}: it gets no"
            " certificates for its workloads"
        )
        fix = f"state {path}.pilot.trustedZtunnelNamespace: {namespace}" + (
            f" and trustedZtunnelName: {name}" if name != "ztunnel" else ""
        )
        if _accounts(values):
            fix = f"add {account} to {path}.pilot.env.{ACCOUNTS}"
        yield Problem(place, what, fix, "ztunnel-trusted", code="ztunnel-not-trusted")
        return


def _setting(values: Json, key: str) -> str:
    """A setting of istiod's chart, which it reads below `pilot` first."""
    found: Any = stated_values(values, ("pilot",)).get(key) or stated_values(values, ()).get(key)
    return found if isinstance(found, str) else ""


def _accounts(values: Json) -> str:
    found: Any = stated_values(values, ("pilot", "env")).get(ACCOUNTS) or stated_values(
        values, ("env",)
    ).get(ACCOUNTS)
    return found if isinstance(found, str) else ""
