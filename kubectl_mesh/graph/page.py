"""The picture as one page that needs no network: drawings for four widths, and the data that its
script shows, searches and counts days by.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from string import Template
from typing import Any

from kubectl_mesh.graph.findings import Finding
from kubectl_mesh.graph.nodes import Area, Node
from kubectl_mesh.graph.picture import Picture
from kubectl_mesh.graph.svg import draw_picture
from kubectl_mesh.model import Certificate, Pending
from kubectl_mesh.text import escape_for_terminal

WIDTHS = (
    ("wide", 1240.0, True),
    ("large", 860.0, True),
    ("medium", 600.0, True),
    ("narrow", 340.0, False),
)
"""The drawings, of which the page shows the one that fits: a name, the width, and whether there is
room for lines.
"""


def page_text(
    picture: Picture, files: Mapping[str, str], checks: Sequence[Mapping[str, Any]]
) -> str:
    """The page. `files` are its templates, `checks` what was asked: id, category, status, sentence,
    and what is unknown.
    """
    style = files["graph-svg.css"] + files["graph.css"]
    script = files["graph.js"]
    drawings = "\n".join(
        '<div class="drawing'
        f' {name}">\n{draw_picture(picture, wide, f"{name}-", wires=wires, heading=False)}</div>'
        for name, wide, wires in WIDTHS
    )
    return Template(files["graph.html"]).substitute(
        policy=(
            f"default-src 'none'; script-src '{_csp_hash(script)}'; style-src"
            f" '{_csp_hash(style)}'; img-src"
            " data:; base-uri 'none'; form-action 'none'"
        ),
        title=escape(escape_for_terminal(picture.title)),
        facts=escape(escape_for_terminal(" · ".join(picture.facts))),
        state=picture.state,
        sum=escape(picture.summary),
        drawings=drawings,
        style=style,
        data=_script_safe(page_data(picture, checks)),
        script=script,
    )


def _csp_hash(text: str) -> str:
    """How a Content-Security-Policy names an inline script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _script_safe(value: object) -> str:
    """JSON in which nothing can end the script element that it stands in."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def page_data(picture: Picture, checks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the script shows."""
    seen, reading = picture.inputs, picture.discovery
    nodes = picture.nodes
    shown = [reading.positions[n.name] for n in nodes]
    pending = seen.plan.pending
    made = any("/" not in path for path in seen.pki.new_files)
    value = {
        "mesh": picture.title,
        "on": f"{seen.day:%Y-%m-%dT%H:%M:%SZ}" if seen.day is not None else None,
        "statement": picture.statement,
        "clusters": [
            _cluster_json(n, [p for p in pending if p.kind != "gateway" and p.subject == n.name])
            for n in nodes
        ],
        "networks": [
            _network_json(a, [p for p in pending if p.kind == "gateway" and p.subject == a.name])
            for a in picture.areas
        ],
        "roots": [] if made else [_certificate_json(c) for c in seen.pki.roots],
        "rows": ["".join(reading.rows[n.name][i] for i in shown) for n in nodes],
        "whole": [n.name for n in nodes if n.name in reading.pending_clusters],
        "lines": [
            {"kind": line.kind, "source": line.source, "target": line.target, "text": line.text}
            for line in picture.lines
        ],
        "notes": [
            {"kind": n.kind, "text": n.text, "clusters": list(n.clusters)} for n in picture.notes
        ],
        "findings": _findings_json(picture.findings),
        "checks": [
            {
                key: c[key]
                for key in ("id", "category", "status", "sentence", "unknown")
                if c.get(key)
            }
            for c in checks
        ],
    }
    shown_value: dict[str, Any] = _escape_invisible(value)
    return shown_value


def _escape_invisible(value: Any) -> Any:
    """The same with nothing in it that makes a text look other than it is."""
    if isinstance(value, str):
        return escape_for_terminal(value)
    if isinstance(value, dict):
        return {key: _escape_invisible(inner) for key, inner in value.items()}
    return [_escape_invisible(inner) for inner in value] if isinstance(value, list) else value


def _cluster_json(node: Node, pending: Sequence[Pending]) -> dict[str, Any]:
    member, cluster = node.member, node.member.cluster
    return {
        "name": node.name,
        "context": cluster.context,
        "network": cluster.network,
        "namespace": cluster.namespace,
        "server": member.server.url if member.server is not None else None,
        "credential": cluster.credential.kind,
        "joined": cluster.is_joined,
        "primary": member.primary.name if member.primary is not None else None,
        "plane": node.control_plane,
        "gateway": member.gateway_kind,
        "until": node.expiry_text,
        "certificate": _certificate_json(node.certificate)
        if node.certificate is not None
        else None,
        "tokens": [
            {
                "peer": t.peer,
                "expires": f"{t.expires:%Y-%m-%dT%H:%M:%SZ}" if t.expires is not None else None,
            }
            for t in node.tokens
        ],
        "tree": node.tree,
        "state": node.state,
        "marks": [[m.state, m.text] for m in node.marks],
        "pending": _pending_json(pending),
        "findings": _findings_json(node.findings),
    }


def _network_json(area: Area, pending: Sequence[Pending]) -> dict[str, Any]:
    return {
        "name": area.name,
        "gateways": area.gateways,
        "statement": area.statement,
        "pending": _pending_json(pending),
        "findings": _findings_json(area.findings),
    }


def _certificate_json(certificate: Certificate) -> dict[str, str]:
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "serial": certificate.serial,
        "fingerprint": certificate.fingerprint,
        "keyType": certificate.key_type,
        "from": f"{certificate.not_before:%Y-%m-%dT%H:%M:%SZ}",
        "until": f"{certificate.not_after:%Y-%m-%dT%H:%M:%SZ}",
    }


def _pending_json(pending: Sequence[Pending]) -> list[dict[str, str]]:
    return [p.pending_json() for p in pending]


def _findings_json(findings: Sequence[Finding]) -> list[dict[str, str]]:
    return [
        {"severity": f.severity, "id": f.id, "where": f.where, "what": f.what, "fix": f.fix}
        for f in findings
    ]
