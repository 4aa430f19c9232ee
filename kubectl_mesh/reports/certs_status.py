"""certs_status: the certificates of a mesh, as text for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from kubectl_mesh.model.issuers import ISSUERS
from kubectl_mesh.text import count_text, escape_for_terminal, mesh_command, single_line, wrap_text

WIDTH = 80
_NAMED = 3
"""How many clusters of a root are named."""


def status_text(value: Mapping[str, Any]) -> str:
    """What `pki.status` says, in lines of at most 80 columns."""
    roots, found = value["roots"], value["intermediates"]
    lines = _wrapped(
        "mesh",
        f"{value['mesh']}: {count_text(len(roots), 'root')},"
        f" {count_text(len(found), 'intermediate')},"
        f" {value['archived']} archived",
    )
    if value["rotation"] is not None:
        lines += _wrapped(
            "rotation",
            f"{value['rotation']}; `{mesh_command('certs rotate-root status')}` tells what it waits"
            " for",
        )
    if not roots:
        lines += [
            "",
            (
                f"no root yet: `{mesh_command('render')}` makes one"
                if ISSUERS[value["issuer"]].signs_here
                else "no root yet: it comes with the first intermediate"
            ),
        ]
    for root in roots:
        lines += ["", *_root_lines(root, found)]
    for one in found:
        lines += ["", *_intermediate_lines(one, roots)]
    if value["servers"]:
        lines += ["", *_server_lines(value["servers"])]
    if value["missing"]:
        lines += ["", *_wrapped("missing", f"the intermediate of {', '.join(value['missing'])}")]
    return "\n".join(lines) + "\n"


def _root_lines(root: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> list[str]:
    does = "signs, is trusted" if root["signs"] else f"is trusted, {_signs_for(root, found)}"
    state = f"{does}; its key is {'here' if root['keyHere'] else 'not here'}"
    return [*_wrapped("root", root["subject"]), *_wrapped("  state", state), *_lines(root)]


def _intermediate_lines(one: Mapping[str, Any], roots: Sequence[Mapping[str, Any]]) -> list[str]:
    signer = next((r["subject"] for r in roots if r["fingerprint"] == one["signedBy"]), None)
    state = f"its key is {'here' if one['keyHere'] else 'not here'}" + (
        "; the next one is requested" if one["renewalRequested"] else ""
    )
    return [
        *_wrapped("intermediate", one["cluster"]),
        *_wrapped("  subject", one["subject"]),
        *_wrapped(
            "  signed by",
            "none of the roots" if signer is None else f"{signer} ({one['signedBy'][:8]})",
        ),
        *_wrapped("  state", state),
        *_lines(one),
    ]


def _server_lines(servers: Sequence[Mapping[str, Any]]) -> list[str]:
    first = min(servers, key=lambda one: one["notAfter"])
    left = _days_left_text(first["daysLeft"])
    return _wrapped(
        "server CAs",
        f"{len(servers)}; the first to expire is that of {first['cluster']},"
        f" {first['notAfter'][:10]}, {left}",
    )


def _signs_for(root: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> str:
    """What a root does that signs nothing new: during a union, clusters keep their own root until
    they move.
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
    return (
        f"{count_text(days, 'day')} left"
        if days >= 0
        else f"expired {count_text(-days - 1, 'day')} ago"
    )


def _wrapped(head: str, body: str) -> list[str]:
    """A line with its head in a column; what is too long goes on below, commands whole."""
    return wrap_text(escape_for_terminal(f"{head:13} {single_line(body)}"), WIDTH, then=" " * 14)
