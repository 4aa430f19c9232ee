"""Stage 3, the half that lets others in: the accounts as which the peers read this cluster, and
their tokens.
"""

from kubectl_mesh.credentials.accounts import SHARED_READER, reader_account, reader_secret
from kubectl_mesh.model import DEFAULT_READER_ACCOUNT, Cluster, Member, Plan
from kubectl_mesh.render.stage import Stage
from kubectl_mesh.stores import store_of
from kubectl_mesh.yaml_io.templates import Manifests


def role(cluster: Cluster) -> str:
    """The role of a reader that Istio does not bring; Istio's own has another name."""
    return f"istio-reader-{cluster.namespace}-{cluster.reader_account}"


def own_role(plan: Plan, cluster: Cluster) -> bool:
    """Whether Istio's own account is not the one that is used."""
    return cluster.reader_account != DEFAULT_READER_ACCOUNT or plan.topology.reader_per_peer


def add(stage: Stage, plan: Plan, member: Member, manifests: Manifests, *, legacy: bool) -> None:
    """The account is Istio's own unless another is asked for; then its role is ours too. Whom
    nobody reads has neither.
    """
    cluster = member.cluster
    shared = {SHARED_READER: "reader"} if member.readers else {}
    readers = (
        {peer: f"reader-{peer}" for peer in member.readers}
        if plan.topology.reader_per_peer
        else shared
    )
    tokens = cluster.credential.kind == "tokenFile"
    text = manifests.render(
        "reader-role-legacy.yaml" if legacy else "reader-role.yaml", role=role(cluster)
    )
    for peer, name in readers.items():
        account = reader_account(cluster, peer)
        place = {"namespace": cluster.namespace, "reader": account}
        if own_role(plan, cluster):
            binding = role(cluster) if peer == SHARED_READER else f"{role(cluster)}-{peer}"
            stage.add(f"{name}-account.yaml", manifests.render("reader-account.yaml", **place))
            if "reader-role.yaml" not in stage.files:
                stage.add("reader-role.yaml", text)
            stage.add(
                f"{name}-role-binding.yaml",
                manifests.render(
                    "reader-role-binding.yaml", binding=binding, role=role(cluster), **place
                ),
            )
        if tokens:
            for generation in cluster.token_generations:
                file = (
                    f"{name}-token.yaml" if generation == 1 else f"{name}-token-g{generation}.yaml"
                )
                stage.add(
                    file,
                    manifests.render(
                        "reader-token.yaml",
                        secret=reader_secret(cluster, peer, generation),
                        **place,
                    ),
                )
            pushed = store_of(plan.topology).token_object(plan.topology, cluster, peer)
            if pushed is not None:
                stage.add(f"{name}-push.yaml", pushed)
