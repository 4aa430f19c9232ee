"""The description of the mesh as a table, with a line for each cluster."""

from collections.abc import Mapping
from typing import Any

from kubectl_mesh.reports.describe import EXPECTED, head_lines
from kubectl_mesh.text import count_text, mesh_size_text, single_line


def table_text(value: Mapping[str, Any], width: int) -> str:
    """The mesh as a table, a line for each cluster; long names lose their middle where the line
    would be wider.
    """
    rows = [
        ("CLUSTER", "NETWORK", "ISTIO", "CERT", "SECRETS", "GATEWAYS", "TREE"),
        *(_row(c) for c in value["clusters"]),
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for column in (0, 1, 2, 5):
        widths[column] = max(
            min(widths[column], 12),
            widths[column] - max(0, sum(widths) + 2 * (len(widths) - 1) - width),
        )
    lines = [
        "  ".join(
            _short(cell, size).ljust(size) for cell, size in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
    lines = [*head_lines(value), *lines, ""]
    lines += [
        f"root {single_line(root['subject'])}: {root['daysLeft']} days left"
        for root in value["roots"]
    ]
    lines.append(f"{mesh_size_text(value)}, {count_text(len(value['pending']), 'thing')} pending")
    lines += _secrets(value)
    lines.append("SECRETS: remote secrets declared/rendered/committed; CERT: days left")
    return "\n".join(lines) + "\n"


def _secrets(value: Mapping[str, Any]) -> list[str]:
    """A line for each state in which a remote secret should not be: how many, and the first."""
    found: dict[str, list[str]] = {}
    for cluster in value["clusters"]:
        for secret in cluster["remoteSecrets"]:
            if secret["state"] not in EXPECTED:
                detail = f": {single_line(secret['detail'])}" if secret["detail"] else ""
                found.setdefault(secret["state"], []).append(
                    f"{secret['cluster']} in {cluster['name']}{detail}"
                )
    return [
        f"{count_text(len(all_), 'remote secret')} {state}: {all_[0]}"
        + (f", and {len(all_) - 1} more" if all_[1:] else "")
        for state, all_ in found.items()
    ]


def _row(cluster: Mapping[str, Any]) -> tuple[str, ...]:
    plane, certificate, counts = cluster["istio"], cluster["certificate"], cluster["counts"]
    istio = (
        f"by {plane['servedBy']}"
        if plane["servedBy"]
        else "+".join(r["version"] or "?" for r in plane["releases"])
    )
    gateways = (
        str(len(cluster["gateways"]))
        if cluster["gateways"]
        else "by label"
        if cluster["eastWestGateway"]
        else "-"
    )
    secrets = "/".join(
        "-" if counts[k] is None else str(counts[k]) for k in ("declared", "rendered", "committed")
    )
    days = "-" if certificate is None else f"{certificate['daysLeft']}d"
    return cluster["name"], cluster["network"], istio, days, secrets, gateways, cluster["tree"]


def _short(cell: str, size: int) -> str:
    if len(cell) <= size:
        return cell
    return cell[: size // 2] + "…" + cell[len(cell) - (size - size // 2 - 1) :]
