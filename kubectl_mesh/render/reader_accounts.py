"""Stage 3, the half that lets others in: the accounts as which the peers read this cluster, and
their tokens.
"""

from kubectl_mesh.credentials.accounts import SHARED_READER, reader_account, reader_secret
from kubectl_mesh.model import DEFAULT_READER_ACCOUNT, Cluster, Member, Plan
from kubectl_mesh.render.stage import Stage
from kubectl_mesh.stores import store_of
from kubectl_mesh.yaml_io.templates import Manifests


def reader_role_name(cluster: Cluster) -> str:
    """The role of a reader that Istio does not bring; Istio's own has another name."""
    return f"istio-reader-{cluster.namespace}-{cluster.reader_account}"


def has_own_role(plan: Plan, cluster: Cluster) -> bool:
    """Whether Istio's own account is not the one that is used."""
    return cluster.reader_account != DEFAULT_READER_ACCOUNT or plan.topology.reader_per_peer


def add_readers(
    stage: Stage, plan: Plan, member: Member, manifests: Manifests, *, legacy: bool
) -> None:
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
        "reader-role-legacy.yaml" if legacy else "reader-role.yaml", role=reader_role_name(cluster)
    )
    for peer, name in readers.items():
        account = reader_account(cluster, peer)
        place = {"namespace": cluster.namespace, "reader": account}
        if has_own_role(plan, cluster):
            binding = (
                reader_role_name(cluster)
                if peer == SHARED_READER
                else f"{reader_role_name(cluster)}-{peer}"
            )
            stage.add_file(f"{name}-account.yaml", manifests.render("reader-account.yaml", **place))
            if "reader-role.yaml" not in stage.files:
                stage.add_file("reader-role.yaml", text)
            stage.add_file(
                f"{name}-role-binding.yaml",
                manifests.render(
                    "reader-role-binding.yaml",
                    binding=binding,
                    role=reader_role_name(cluster),
                    **place,
                ),
            )
        if tokens:
            _add_tokens(stage, plan, member, peer, manifests)


def _add_tokens(stage: Stage, plan: Plan, member: Member, peer: str, manifests: Manifests) -> None:
    """Adds the token Secrets of a reader, one for each generation, and what pushes the token."""
    cluster = member.cluster
    name = "reader" if peer == SHARED_READER else f"reader-{peer}"
    place = {"namespace": cluster.namespace, "reader": reader_account(cluster, peer)}
    for generation in cluster.token_generations:
        file = f"{name}-token.yaml" if generation == 1 else f"{name}-token-g{generation}.yaml"
        stage.add_file(
            file,
            manifests.render(
                "reader-token.yaml",
                secret=reader_secret(cluster, peer, generation),
                **place,
            ),
        )
    pushed = store_of(plan.topology).token_object(plan.topology, cluster, peer)
    if pushed is not None:
        stage.add_file(f"{name}-push.yaml", pushed)
