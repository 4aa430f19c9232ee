"""What is in `certs/` as it is, valid or not: roots and intermediates, who signed which, what signs
now and what is trusted.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from kubectl_mesh.model import Certificate
from kubectl_mesh.pki import crl
from kubectl_mesh.text import count, one_line, visible
from kubectl_mesh.x509.certificates import Key, describe, load_certificates, load_key, same_key
from kubectl_mesh.x509.chain import root_of
from kubectl_mesh.x509.layout import (
    CRL,
    NEXT_KEY,
    REQUEST,
    ROOT_CERT,
    ROOT_KEY,
    folder,
    next_folder,
)

WIDTH = 80
_NAMED = 3
"""How many clusters of a root are named."""


def status(
    mesh: str,
    issuer: str,
    kept: Mapping[str, bytes],
    clusters: Sequence[str],
    archived: Iterable[str],
    now: datetime,
    step: str | None,
) -> dict[str, Any]:
    """The certificates for programs; the schema is `report/certs-status`. `clusters` are those that
    have an intermediate, `step` that of a rotation.
    """
    roots = load_certificates(f"certs/{ROOT_CERT}", kept[ROOT_CERT]) if ROOT_CERT in kept else ()
    keys = {
        name: load_key(f"certs/{name}", kept[name], for_istio=False)
        for name in (ROOT_KEY, NEXT_KEY)
        if name in kept
    }
    found, missing = [], []
    signers: list[x509.Certificate] = []
    for name in sorted(clusters):
        base = folder(name)
        if f"{base}/ca-cert.pem" not in kept:
            missing.append(name)
            continue
        chain = load_certificates(f"certs/{base}/ca-cert.pem", kept[f"{base}/ca-cert.pem"])
        if f"{base}/cert-chain.pem" in kept:
            chain += load_certificates(
                f"certs/{base}/cert-chain.pem", kept[f"{base}/cert-chain.pem"]
            )
        signer = root_of(chain, roots)
        if signer is not None:
            signers.append(signer)
        found.append(
            {
                "cluster": name,
                **_value(chain[0], now),
                "signedBy": None if signer is None else _fingerprint(signer),
                "keyHere": f"{base}/ca-key.pem" in kept,
                "renewalRequested": f"{next_folder(name)}/{REQUEST}" in kept,
            }
        )
    return {
        "mesh": mesh,
        "issuer": issuer,
        "rotation": step,
        "roots": [_root(root, keys, signers, now) for root in roots],
        "intermediates": found,
        "missing": missing,
        "archived": len(list(archived)),
    }


def server_ca_values(
    validity: Mapping[str, tuple[datetime, datetime]], now: datetime
) -> list[dict[str, Any]]:
    """The dates of the CAs of the API servers, by cluster, for programs."""
    return [
        {
            "cluster": name,
            "notBefore": f"{begin:%Y-%m-%dT%H:%M:%SZ}",
            "notAfter": f"{end:%Y-%m-%dT%H:%M:%SZ}",
            "daysLeft": (end - now).days,
        }
        for name, (begin, end) in sorted(validity.items())
    ]


def ends(
    kept: Mapping[str, bytes], clusters: Sequence[str]
) -> tuple[list[Certificate], dict[str, Certificate], tuple[datetime, datetime] | None]:
    """What has a date: the roots, the intermediates by cluster, and when the CRLs were made and the
    first of them ends, where there are any.
    """
    roots = (
        [describe(c) for c in load_certificates(f"certs/{ROOT_CERT}", kept[ROOT_CERT])]
        if ROOT_CERT in kept
        else []
    )
    paths = {name: f"{folder(name)}/ca-cert.pem" for name in sorted(clusters)}
    own = {
        name: describe(load_certificates(f"certs/{path}", kept[path])[0])
        for name, path in paths.items()
        if path in kept
    }
    if CRL not in kept:
        return roots, own, None

    found = [
        (c.last_update_utc, c.next_update_utc)
        for c in crl.load(f"certs/{CRL}", kept[CRL])
        if c.next_update_utc is not None
    ]
    return roots, own, min(found, key=lambda dates: dates[1], default=None)


def _root(
    root: x509.Certificate,
    keys: Mapping[str, Key],
    signers: Sequence[x509.Certificate],
    now: datetime,
) -> dict[str, Any]:
    """A root; where no key is here, the one that signed all intermediates is the one that signs."""
    signs = same_key(root, keys[ROOT_KEY]) if ROOT_KEY in keys else set(signers) == {root}
    return {
        **_value(root, now),
        "trusted": True,
        "signs": signs,
        "keyHere": any(same_key(root, key) for key in keys.values()),
    }


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


def _value(certificate: x509.Certificate, now: datetime) -> dict[str, Any]:
    said = describe(certificate)
    return {
        "subject": said.subject,
        "issuer": said.issuer,
        "serial": said.serial,
        "fingerprint": said.fingerprint,
        "keyType": said.key_type,
        "notBefore": f"{said.not_before:%Y-%m-%dT%H:%M:%SZ}",
        "notAfter": f"{said.not_after:%Y-%m-%dT%H:%M:%SZ}",
        "daysLeft": (said.not_after - now).days,
    }


def text(value: Mapping[str, Any]) -> str:
    """The certificates for people, in lines of at most 80 columns."""
    roots, found = value["roots"], value["intermediates"]
    lines = _wrapped(
        "mesh",
        f"{value['mesh']}: {count(len(roots), 'root')}, {count(len(found), 'intermediate')},"
        f" {value['archived']} archived",
    )
    if value["rotation"] is not None:
        lines += _wrapped(
            "rotation",
            f"{value['rotation']}; `kubectl mesh certs rotate-root status` tells what it waits for",
        )
    if not roots:
        lines += [
            "",
            (
                "no root yet: `kubectl mesh render` makes one"
                if value["issuer"] == "local"
                else "no root yet: it comes with the first intermediate"
            ),
        ]
    for root in roots:
        does = "signs, is trusted" if root["signs"] else f"is trusted, {_signs_for(root, found)}"
        lines += [
            "",
            *_wrapped("root", root["subject"]),
            *_wrapped("  state", f"{does}; its key is {'here' if root['keyHere'] else 'not here'}"),
        ]
        lines += _lines(root)
    for one in found:
        lines += [
            "",
            *_wrapped("intermediate", one["cluster"]),
            *_wrapped("  subject", one["subject"]),
        ]
        signer = next((r["subject"] for r in roots if r["fingerprint"] == one["signedBy"]), None)
        lines += _wrapped(
            "  signed by",
            "none of the roots" if signer is None else f"{signer} ({one['signedBy'][:8]})",
        )
        state = f"its key is {'here' if one['keyHere'] else 'not here'}" + (
            "; the next one is requested" if one["renewalRequested"] else ""
        )
        lines += [*_wrapped("  state", state), *_lines(one)]
    if value["servers"]:
        first = min(value["servers"], key=lambda one: one["notAfter"])
        left = _days_left_text(first["daysLeft"])
        lines += [
            "",
            *_wrapped(
                "server CAs",
                f"{len(value['servers'])}; the first to expire is that of {first['cluster']},"
                f" {first['notAfter'][:10]}, {left}",
            ),
        ]
    if value["missing"]:
        lines += ["", *_wrapped("missing", f"the intermediate of {', '.join(value['missing'])}")]
    return "\n".join(lines) + "\n"


def _signs_for(root: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> str:
    """What a root does that signs nothing new: clusters that are to come under one root go on by
    their own until then.
    """
    names = [one["cluster"] for one in found if one["signedBy"] == root["fingerprint"]]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"signs for {', '.join(names[:_NAMED])}{more}" if names else "does not sign"


def _lines(one: Mapping[str, Any]) -> list[str]:
    return [
        *_wrapped(
            "  valid",
            f"{one['notBefore'][:10]} to {one['notAfter'][:10]},"
            f" {_days_left_text(one['daysLeft'])}",
        ),
        *_wrapped("  key", one["keyType"]),
        *_wrapped("  serial", one["serial"]),
        *_wrapped("  sha256", one["fingerprint"]),
    ]


def _days_left_text(days: int) -> str:
    return f"{count(days, 'day')} left" if days >= 0 else f"expired {count(-days - 1, 'day')} ago"


def _wrapped(head: str, body: str) -> list[str]:
    """A line with its head in a column; what is too long goes on below."""
    return textwrap.wrap(
        visible(f"{head:13} {one_line(body)}"),
        WIDTH,
        subsequent_indent=" " * 14,
        drop_whitespace=True,
        break_on_hyphens=False,
        replace_whitespace=False,
    )
