"""Stage 3, where asked: alerts before something ends, from dates that are known when it is rendered
(PrometheusRule, monitoring.coreos.com/v1).

No exporter has to be there: the expression compares the clock of Prometheus with a number.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from kubectl_mesh.model import Alerts, Expiry, Member, Pki, Plan
from kubectl_mesh.pki.expiries import list_cluster_expiries, list_shared_expiries
from kubectl_mesh.render.stage import Stage
from kubectl_mesh.text import plain_text
from kubectl_mesh.yaml_io.manifest import parse_yaml
from kubectl_mesh.yaml_io.templates import Manifests

ALERTS_FILE = "expiry-alerts.yaml"
RULE_NAME = "kubectl-mesh-expiry"
SEVERITIES = (("warning", timedelta(days=30), 3), ("critical", timedelta(days=7), 10))
"""The severity, how long before the end, and at most what part of the life, so that what lives for
days does not begin with an alert.
"""


def add_alerts(
    stage: Stage, plan: Plan, alerts: Alerts, member: Member, pki: Pki, manifests: Manifests
) -> None:
    """What ends for all clusters, and what ends in this one."""
    rules = [
        rule
        for date in sorted({*list_shared_expiries(pki), *list_cluster_expiries(plan, member, pki)})
        for rule in _alert_rules(plan.topology.mesh_id, date)
    ]
    if not rules:
        return
    labels = {"labels": dict(alerts.labels)} if alerts.labels else {}
    namespace = alerts.namespace or member.cluster.namespace
    value = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": RULE_NAME, "namespace": namespace, **labels},
        "spec": {"groups": [{"name": RULE_NAME, "rules": rules}]},
    }
    stage.add_file(ALERTS_FILE, manifests.document_text(value))


def _alert_rules(mesh: str, date: Expiry) -> Iterable[dict[str, Any]]:
    for severity, before, part in SEVERITIES:
        early = before if date.issued is None else min(before, (date.expires - date.issued) / part)
        yield {
            "alert": "MeshExpiry",
            "expr": f"vector(time()) > {int((date.expires - early).timestamp())}",
            "labels": {
                "severity": severity,
                "mesh": mesh,
                "kind": date.kind,
                "subject": date.subject,
                "id": date.id,
            },
            "annotations": {
                "summary": _template_text(
                    f"{date.what.rstrip(',')} ends on {date.expires:%Y-%m-%d %H:%M} UTC"
                ),
                "description": _template_text(date.fix),
                "ends": f"{date.expires:%Y-%m-%dT%H:%M:%SZ}",
                **(
                    {"made": f"{date.issued:%Y-%m-%dT%H:%M:%SZ}"} if date.issued is not None else {}
                ),
            },
        }


def _template_text(text: str) -> str:
    """A text as a template of Prometheus that gives it again."""
    return plain_text(text).replace("{{", '{{ "{{" }}')


def parse_token_dates(text: str) -> dict[str, tuple[datetime, datetime | None, str, str]]:
    """What an earlier render told of tokens, by id: when they end, when they were made, what they
    are called, what to do. Nothing where it is no such file.
    """
    dates: dict[str, tuple[datetime, datetime | None, str, str]] = {}
    try:
        value: Any = parse_yaml(text)
        for rule in value["spec"]["groups"][0]["rules"]:
            if rule["labels"]["kind"] == "token":
                annotations = rule["annotations"]
                what, fix = (
                    annotations[key].replace('{{ "{{" }}', "{{")
                    for key in ("summary", "description")
                )
                dates[rule["labels"]["id"]] = (
                    _parse_time(annotations["ends"]),
                    _parse_time(annotations["made"]) if "made" in annotations else None,
                    what.rpartition(" ends on ")[0],
                    fix,
                )
    except Exception:  # noqa: BLE001 -- a person may have written anything into it
        return {}
    return dates


def _parse_time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
