"""dates: what of a mesh ends, and when, as far as a render knows it."""

from collections.abc import Iterator
from datetime import datetime

from kubectl_mesh.credentials.accounts import SHARED_READER, token_file
from kubectl_mesh.credentials.api_servers import ca_dates
from kubectl_mesh.credentials.logins import parse_claims
from kubectl_mesh.model import Certificate, Expiry, Member, Pki, Plan
from kubectl_mesh.text import mesh_command
from kubectl_mesh.x509.chain import RENEW_FIX

SIGN_CRL_FIX = f"sign it anew with `{mesh_command('certs crl')}`, render and apply"


def list_expiries(plan: Plan, pki: Pki) -> tuple[Expiry, ...]:
    """Of the whole mesh: the roots, what is revoked, every cluster's own."""
    return tuple(
        sorted(
            {
                *list_shared_expiries(pki),
                *(
                    d
                    for member in plan.members.values()
                    for d in list_cluster_expiries(plan, member, pki)
                ),
            }
        )
    )


def list_shared_expiries(pki: Pki) -> Iterator[Expiry]:
    """What ends for all clusters at once."""
    yield from map(root_expiry, pki.roots)
    if pki.crl is not None:
        yield crl_expiry(pki.crl.issued, pki.crl.next_update)


def root_expiry(certificate: Certificate) -> Expiry:
    """The end of a root."""
    name = f"root-{certificate.fingerprint[:16]}"
    return Expiry(
        certificate.not_after,
        name,
        "root",
        "mesh",
        f"the root {certificate.subject}",
        RENEW_FIX,
        certificate.not_before,
    )


def intermediate_expiry(cluster: str, certificate: Certificate) -> Expiry:
    """The end of the intermediate of a cluster; its name is that of the one that takes its
    place.
    """
    name = f"intermediate-{cluster}"
    return Expiry(
        certificate.not_after,
        name,
        "intermediate",
        cluster,
        f"the intermediate of {cluster}",
        RENEW_FIX,
        certificate.not_before,
    )


NEW_SERVER_CA_FIX = "put the new CA into clusters/NAME.crt, render and apply"


def server_ca_expiry(cluster: str, validity: tuple[datetime, datetime]) -> Expiry:
    """The end of the CA by which the peers verify the API server of a cluster."""
    fix = NEW_SERVER_CA_FIX.replace("NAME", cluster)
    return Expiry(
        validity[1],
        f"server-ca-{cluster}",
        "server-ca",
        cluster,
        f"the CA of the API server of {cluster}",
        fix,
        validity[0],
    )


def crl_expiry(issued: datetime, next_update: datetime) -> Expiry:
    """When the first of the CRLs has to be signed anew."""
    return Expiry(
        next_update,
        "crl",
        "crl",
        "mesh",
        "certs/ca-crl.pem, without which no connection is accepted,",
        SIGN_CRL_FIX,
        issued,
    )


def list_cluster_expiries(plan: Plan, member: Member, pki: Pki) -> Iterator[Expiry]:
    """What a cluster has of its own: the intermediate that signs there, the CA of its API server,
    and the tokens by which the peers read it.
    """
    name = member.cluster.name
    validity = ca_dates(member.server.ca) if member.server is not None and member.readers else None
    if validity is not None:
        yield server_ca_expiry(name, validity)
    found = pki.intermediates.get(name)
    if found is not None:
        yield intermediate_expiry(name, found.certificate)
    for peer, login in sorted(member.logins.items()):
        id_ = token_expiry_id(member, peer)
        text = login.get("token")
        if peer in member.sealed_logins:
            # It is sealed, and not here; what was told of it when it was, is in the tree.
            if id_ in plan.sealed_token_expiries:
                yield plan.sealed_token_expiries[id_]
            continue
        claims = parse_claims(text) if isinstance(text, str) else None
        if claims is not None and claims.expires is not None:
            yield Expiry(
                claims.expires, id_, "token", name, *token_expiry_texts(member, peer), claims.issued
            )


def token_expiry_id(member: Member, peer: str) -> str:
    """The name of a token's date."""
    return f"token-{member.cluster.name}-g{member.cluster.token_generation}" + (
        "" if peer == SHARED_READER else f"-{peer}"
    )


def token_expiry_texts(member: Member, peer: str) -> tuple[str, str]:
    """What a token is called, and what to do when it ends."""
    whom = "its peers read" if peer == SHARED_READER else f"{peer} reads"
    file = token_file(member.cluster, peer)
    return (
        f"the token by which {whom} {member.cluster.name}",
        f"have a new one made, put it into {file} and render",
    )
