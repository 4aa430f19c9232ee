"""The description of a mesh as text, from its JSON."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kubectl_mesh.model.issuers import ISSUERS
from kubectl_mesh.stores import STORES
from kubectl_mesh.text import count_text, mesh_command, mesh_size_text, single_line

FEW, NAMED = 8, 3
"""The text shows so many remote secrets and tokens of a cluster line by line; of more it shows the
counts and names so many of each state.
"""
EXPECTED = (
    "ok",
    "off",
    "not a peer",
    "not held here",
    "not rendered",
    "server pending",
    "token pending",
)
"""The states of remote secrets that other columns and lines show."""


def describe_text(value: Mapping[str, Any]) -> str:
    """The mesh for people."""
    lines = [
        *head_lines(value),
        f"mesh {value['mesh']}: {mesh_size_text(value)}, {value['controlPlane']}",
    ]
    lines += _authority_lines(value)
    if description := STORES[value["store"]].DESCRIPTION:
        lines.append(f"secrets      {description}")
    for cluster in value["clusters"]:
        lines += _cluster_lines(cluster, value["issuer"])
    lines += _pending_text(value["pending"])
    if value["refused"]:
        lines += [
            "",
            (
                f"refused: `{mesh_command('render')}` refuses this for"
                f" {count_text(len(value['refused']), 'reason')}; `{mesh_command('check')}` prints"
                " the"
                " steps"
            ),
        ]
        lines += [f"  {p['file']}: {p['what']}" for p in value["refused"]]
    return "\n".join(lines) + "\n"


def _authority_lines(value: Mapping[str, Any]) -> Iterator[str]:
    """The roots of the mesh, and what is revoked."""
    for root in value["roots"]:
        yield from _certificate_lines("root", root, issuer=False)
    if not value["roots"]:
        yield "root         " + (
            "that of the issuer in the clusters"
            if ISSUERS[value["issuer"]].in_clusters
            else "not made yet"
        )
    if value["crl"] is not None:
        crl = value["crl"]
        yield (
            f"revoked      {count_text(len(crl['revoked']), 'intermediate')}; CRL number"
            f" {crl['number']}"
            f" until {crl['nextUpdate'][:10]} ({crl['daysLeft']} days)"
        )
        for entry in crl["revoked"]:
            yield f"{'':11}  {entry['serial']} since {entry['since'][:10]}"


def _cluster_lines(cluster: Mapping[str, Any], issuer: str) -> Iterator[str]:
    found = (
        f"found by label ({cluster['eastWestGateway']})" if cluster["eastWestGateway"] else "<none>"
    )
    gateways = ", ".join(_address_text(g) for g in cluster["gateways"]) or found
    yield from ("", cluster["name"])
    if cluster["context"] != cluster["name"]:
        yield f"  context      {cluster['context']}"
    yield f"  network      {cluster['network']}, gateways: {gateways}"
    yield f"  namespace    {cluster['namespace']}"
    yield f"  server       {cluster['server'] or 'not known yet'}"
    yield f"  tree         {cluster['directory']}: {cluster['tree']}"
    yield from _istio_lines(cluster["istio"])
    yield from _token_lines(cluster)
    if cluster["istio"]["servedBy"] is None:
        yield from _intermediate_lines(cluster["certificate"], issuer)
    if cluster["joined"]:
        yield from _secret_lines(cluster["remoteSecrets"])
    else:
        yield "  services     kept out of the mesh (disableRegistryJoin)"


def _istio_lines(plane: Mapping[str, Any]) -> Iterator[str]:
    for release in plane["releases"]:
        if release["version"] or release["revision"]:
            yield (
                f"  istio        {release['version'] or 'version not stated'}, revision"
                f" {release['revision'] or 'default'}"
            )
    if plane["servedBy"] is not None:
        yield f"  istio        served by {plane['servedBy']}"


def _token_lines(cluster: Mapping[str, Any]) -> Iterator[str]:
    """The tokens that say what they are: few one by one; of many those that end first."""
    tokens = [t for t in cluster["tokens"] if t["subject"] is not None]
    first = (
        tokens
        if len(tokens) <= FEW
        else sorted(tokens, key=lambda t: (t["expires"] is None, t["expires"] or ""))[:NAMED]
    )
    yield from map(_token_line, first)
    if len(tokens) > len(first):
        yield (
            f"  tokens       {len(tokens) - len(first)} more, which end later or never;"
            f" `{mesh_command('tokens status')}` lists them"
        )
    if cluster["tokenBeside"] is not None:
        yield (
            f"  rotation     peers use the token of generation {cluster['tokenGeneration']};"
            f" generation {cluster['tokenBeside']} is beside it"
        )


def _token_line(token: Mapping[str, Any]) -> str:
    whom = f" for {token['peer']}" if token["peer"] else ""
    until = (
        "never expires"
        if token["expires"] is None
        else f"expires {token['expires'][:10]} ({token['daysLeft']} days)"
    )
    age = (
        f"made {token['issued'][:10]} ({token['ageDays']} days ago), "
        if token["issued"] is not None
        else ""
    )
    return f"  token{whom}{'' if whom else '       '} {age}{until}, {single_line(token['subject'])}"


def _intermediate_lines(certificate: Mapping[str, Any] | None, issuer: str) -> Iterator[str]:
    if certificate is None:
        kind = ISSUERS[issuer]
        state = kind.description or ("awaited" if kind.takes_requests else "not made yet")
        yield f"  certificate  {state}"
    else:
        for line in _certificate_lines("certificate", certificate, issuer=True):
            yield f"  {line}"


def head_lines(value: Mapping[str, Any]) -> list[str]:
    """What comes before everything else: that Istio 1.4 is assumed, and that not everything is
    known.
    """
    lines = [value["assumed"]] if value["assumed"] else []
    if value["problems"]:
        lines.append(
            f"not complete: {count_text(len(value['problems']), 'error')} in the inputs or the"
            " tree; the"
            " tree is not compared with a render"
        )
    return lines


def _secret_lines(secrets: Sequence[Mapping[str, Any]]) -> list[str]:
    """The remote secrets of a cluster: few one by one; many counted by state, what is not ok first
    and with some names.
    """
    if len(secrets) <= FEW:
        width = max((len(s["cluster"]) for s in secrets), default=0)
        shown = [f"    {s['cluster']:{width}}  {_secret_text(s)}" for s in secrets]
        return ["  remote secrets", *(shown or ["    <none>"])]
    by_state: dict[str, list[Mapping[str, Any]]] = {}
    for secret in secrets:
        by_state.setdefault(secret["state"], []).append(secret)
    parts, explained = [], []
    for state in sorted(by_state, key=lambda state: (state == "ok", state in EXPECTED)):
        some, rest = by_state[state][:NAMED], len(by_state[state]) - NAMED
        names = ", ".join(s["cluster"] for s in some) + (f" and {rest} more" if rest > 0 else "")
        parts.append(
            f"{len(by_state[state])} {state}"
            + ("" if state == "ok" or len(by_state) == 1 else f" ({names})")
        )
        explained += [s for s in some if s["detail"]]
    width = max((len(s["cluster"]) for s in explained), default=0)
    return [
        f"  remote secrets  {len(secrets)}: {', '.join(parts)}",
        *(f"    {s['cluster']:{width}}  {_secret_text(s)}" for s in explained),
    ]


def _secret_text(secret: Mapping[str, Any]) -> str:
    if secret["detail"]:
        return f"{secret['state']}: {single_line(secret['detail'])}"
    server = secret["treeServer"] or secret["server"]
    return f"{secret['state']}, {single_line(server)}" if server else f"{secret['state']}"


def _address_text(gateway: Mapping[str, Any]) -> str:
    address = gateway["address"]
    return f"[{address}]:{gateway['port']}" if ":" in address else f"{address}:{gateway['port']}"


def _certificate_lines(head: str, certificate: Mapping[str, Any], *, issuer: bool) -> list[str]:
    lines = [f"{head:11}  {single_line(certificate['subject'])}"]
    if issuer:
        lines.append(f"{'':11}  issued by {single_line(certificate['issuer'])}")
    when = certificate["notAfter"].replace("T", " ").removesuffix(":00Z").removesuffix("Z")
    lines.append(
        f"{'':11}  not after {when} UTC ({certificate['daysLeft']} days), {certificate['keyType']}"
    )
    lines.append(f"{'':11}  sha256 {certificate['fingerprint']}")
    return lines


def _pending_text(pending: Sequence[Mapping[str, str]]) -> list[str]:
    if not pending:
        return ["", "pending: nothing"]
    return [
        "",
        f"pending: {count_text(len(pending), 'thing')}",
        *(f"  {p['subject']}: {p['what']}\n    {p['command']}" for p in pending),
    ]
