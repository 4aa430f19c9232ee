"""The facts about discovery and remote secrets; no secret value is in them."""

from collections.abc import Iterator

from kubectl_mesh.differences.comparison import TreePair, build_change, build_effect, removal_effect
from kubectl_mesh.differences.values import DELETED, NEW, Detail, Fact
from kubectl_mesh.observed.cluster_pairs import ClusterPair
from kubectl_mesh.observed.mesh_state import ObservedCluster, RemoteSecret
from kubectl_mesh.observed.removal import build_secret_holder, cluster_namespace
from kubectl_mesh.safety.removals import delete_remote_secret_commands
from kubectl_mesh.stores import STORES

_LOGINS = {
    "token": "token",
    "clientCertificate": "client certificate",
    "oidc": "OIDC login",
    "exec": "command",
    None: "login",
}


def list_remote_secret_facts(both: TreePair, pair: ClusterPair) -> Iterator[Fact]:
    """The changes of remote secrets of a cluster that stays. Added and removed clusters report
    their own.
    """
    old, new = pair.before, pair.after
    if old is None or new is None:
        return
    before = {both.current_name(s.peer): s for s in both.before.applied_remote_secrets(old.name)}
    after = {s.peer: s for s in both.after.applied_remote_secrets(new.name)}
    unpaired = {p.name for p in both.pairs if p.before is None or p.after is None}
    for peer in sorted({*before, *after}):
        one, other = before.get(peer), after.get(peer)
        if one is None and other is not None:
            if peer not in unpaired:
                details = _secret_details(other, added=True)
                yield Fact(
                    NEW,
                    "discovery",
                    f"discovery of {peer}",
                    "begins",
                    new.name,
                    other.file,
                    details,
                    (build_effect("discovery-added", peer=peer),),
                )
        elif one is not None and other is None:
            if peer not in unpaired:
                effects, commands = (
                    (removal_effect("discovery-removed", both.tool, peer=peer),),
                    tuple(
                        delete_remote_secret_commands(
                            build_secret_holder(new, one.name, [one]), both.tool
                        )
                    ),
                )
                yield Fact(
                    DELETED,
                    "discovery",
                    f"discovery of {peer}",
                    "ends",
                    new.name,
                    one.file,
                    _secret_details(one, added=False),
                    effects,
                    commands,
                )
        elif one is not None and other is not None and one != other:
            yield from _change_facts(both, old, new, one, other)


def _secret_details(secret: RemoteSecret, *, added: bool) -> tuple[Detail, ...]:
    found = (("server", secret.server), ("CA", secret.ca_digest), ("login", secret.login_kind))
    return tuple(
        Detail(path, None if added else value, value if added else None)
        for path, value in found
        if value is not None
    )


def _change_facts(
    both: TreePair,
    old: ObservedCluster,
    new: ObservedCluster,
    one: RemoteSecret,
    other: RemoteSecret,
) -> Iterator[Fact]:
    """Why a remote secret is another one: its server, CA, login, store, recipients; or nothing but
    its name and labels.
    """
    why, found = _change_reasons(old, new, one, other)
    if one.peer != other.peer and not why:
        return  # its name stands in it, and that is told with the cluster
    if one.kubeconfig_digest != other.kubeconfig_digest and not why:
        why = (
            ["its text changes, and nothing that it says"]
            if one.login_digest is not None
            else [f"its {_LOGINS.get(None)} changes"]
        )
    if why in ([_RECIPIENTS_REASON], [_STORE_REASON]):
        pass  # that is told once, for all of the directory
    elif why:
        yield build_change(
            new.name,
            "remote-secret",
            f"remote secret of {other.peer}",
            "; ".join(why),
            other.file,
            build_effect("secret-changed", peer=other.peer),
            details=tuple(found),
        )
    elif found := _metadata_details(both, old, new, one, other):
        yield build_change(
            new.name,
            "remote-secret",
            f"remote secret of {other.peer}",
            "its metadata changes",
            other.file,
            build_effect("secret-metadata"),
            details=tuple(found),
        )
    if one.file.startswith("_") != other.file.startswith("_"):
        yield _bundle_fact(new, other)


def _metadata_details(
    both: TreePair,
    old: ObservedCluster,
    new: ObservedCluster,
    one: RemoteSecret,
    other: RemoteSecret,
) -> list[Detail]:
    """What differs of its name, namespace, annotation and label, but for what follows from another
    name or namespace of a cluster.
    """
    if _current_namespace(old, new, one) == _current_namespace(old, new, other) and (
        (one.name, one.cluster_annotation, one.has_label)
        == (other.name, other.cluster_annotation, other.has_label)
    ):
        return []
    labelled = "labelled istio/multiCluster"
    return [
        Detail(path, before, after)
        for path, before, after in (
            ("name", one.name, other.name),
            ("annotation", one.cluster_annotation, other.cluster_annotation),
            (labelled, str(one.has_label).lower(), str(other.has_label).lower()),
            ("namespace", one.namespace, other.namespace),
        )
        if before != after
        and before is not None
        and both.current_name(before.removeprefix("istio-remote-secret-"))
        != (after or "").removeprefix("istio-remote-secret-")
    ]


def _bundle_fact(new: ObservedCluster, secret: RemoteSecret) -> Fact:
    """That the remote secrets are in one directory for all clusters, or no longer are."""
    where = (
        "stand once, in _remote-secrets, for all clusters"
        if secret.file.startswith("_")
        else "stand in the directory of each cluster"
    )
    folder = secret.file.rpartition("/")[0] + "/"
    return build_change(
        new.name, "bundle", "the remote secrets", where, folder, build_effect("bundled")
    )


_RECIPIENTS_REASON = "it is sealed for others; what is in it cannot be told"
_STORE_REASON = "it is in another store; what is in it cannot be told"


def _current_namespace(
    old: ObservedCluster, new: ObservedCluster, secret: RemoteSecret
) -> str | None:
    """The namespace of a secret, as it would be now."""
    moved = cluster_namespace(old) != cluster_namespace(
        new
    ) and secret.namespace == cluster_namespace(old)
    return cluster_namespace(new) if moved else secret.namespace


def _change_reasons(
    old: ObservedCluster, new: ObservedCluster, one: RemoteSecret, other: RemoteSecret
) -> tuple[list[str], list[Detail]]:
    """Why a remote secret is another one, and the values that differ."""
    why: list[str] = []
    found: list[Detail] = []
    for path, before, after in (
        ("API server", one.server, other.server),
        ("CA", one.ca_digest, other.ca_digest),
        ("TLS name", one.tls_server_name, other.tls_server_name),
    ):
        if before != after:
            why.append(f"its {path} changes")
            found.append(Detail(path, before, after))
    if one.is_insecure != other.is_insecure:
        why.append(
            "the certificate of its server is "
            + ("not looked at any more" if other.is_insecure else "looked at")
        )
    if one.store != other.store:
        return [*why, _STORE_REASON], [*found, Detail("store", one.store, other.store)]
    if one.login_kind != other.login_kind:
        found.append(Detail("login", one.login_kind, other.login_kind))
    login = _login_reason(old, new, one, other, alone=not why)
    return [*why, *([login] if login else [])], found


def _login_reason(
    old: ObservedCluster,
    new: ObservedCluster,
    one: RemoteSecret,
    other: RemoteSecret,
    *,
    alone: bool,
) -> str:
    """What changes of the login; `alone`: nothing else of the remote secret is known to change."""
    if one.login_kind != other.login_kind:
        return (
            f"its login is by {_LOGINS.get(other.login_kind, other.login_kind)}, and was by"
            f" {_LOGINS.get(one.login_kind, one.login_kind)}"
        )
    if one.login_digest is not None and one.login_digest != other.login_digest:
        return f"its {_LOGINS.get(one.login_kind, 'login')} changes"
    if one.kubeconfig_digest == other.kubeconfig_digest:
        return ""
    if one.login_digest is None and not STORES[one.store].SHOWS_KUBECONFIGS:
        if (old.cacerts.recipients, old.cacerts.sealed_for) != (
            new.cacerts.recipients,
            new.cacerts.sealed_for,
        ):
            return _RECIPIENTS_REASON
        return (
            "what is secret in it changes (its token, or whatever it logs in with)" if alone else ""
        )
    return "its command changes" if one.login_kind == "exec" and alone else ""
