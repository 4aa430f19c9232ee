"""leaves: how long a certificate of a workload may live, by what base.yaml says; a change of roots
has to wait that long.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from kubectl_mesh.errors import MeshError, Problem
from kubectl_mesh.model import Document
from kubectl_mesh.text import value_text

TTL_SETTINGS = (
    "DEFAULT_WORKLOAD_CERT_TTL",
    "MAX_WORKLOAD_CERT_TTL",
    "SECRET_TTL",
    "workloadCertTtl",
    "maxWorkloadCertTtl",
)
"""Where it may be set: istiod's and the proxies' environment, ztunnel's, and the values of Citadel
in Istio 1.4.
"""
DEFAULT_TTL, CITADEL_TTL = timedelta(hours=24), timedelta(days=90)
"""What istiod gives and proxies ask for; what Citadel gave (security/pkg/cmd/constants.go)."""
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(h|ms|m|s|us|µs|ns)")
_MAX_SECONDS = 2**63 / 1e9
"""In seconds: what Go counts in nanoseconds with 64 bits, some 292 years."""
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def max_ttl(base: Mapping[str, Document], *, citadel: bool) -> timedelta:
    """The longest life that the values allow: never less than what holds without any. `citadel`:
    Istio 1.4.
    """
    lifetimes = [CITADEL_TTL if citadel else DEFAULT_TTL]
    problems = []
    for document in base.values():
        for path, value in _find_settings(document.value, ()):
            lifetime = _parse_duration(value)
            if lifetime is None:
                what = (
                    f"{value_text(value)} is no duration of Go's, such as 24h or 1h30m, so nobody"
                    " knows"
                    " how long certificates live"
                )
                problems.append(
                    Problem(
                        document.field_place(*path),
                        what,
                        "write one, in quotes",
                        code="duration-invalid",
                    )
                )
            else:
                lifetimes.append(lifetime)
    if problems:
        raise MeshError(problems)
    return max(lifetimes)


def _find_settings(
    value: Any, path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every value of one of the settings, wherever it stands: as a key, or as a name with a value
    beside it.
    """
    if isinstance(value, dict):
        if value.get("name") in TTL_SETTINGS and "value" in value:
            yield (*path, "value"), value["value"]
        for key, inner in value.items():
            if key in TTL_SETTINGS and not isinstance(inner, dict | list):
                yield (*path, key), inner
            else:
                yield from _find_settings(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _find_settings(inner, (*path, index))


def _parse_duration(value: Any) -> timedelta | None:
    """A duration as Go's time.ParseDuration reads it; None where it would not."""
    if not isinstance(value, str) or not value:
        return None
    seconds, end = 0.0, 0
    while end < len(value):
        part = _PART.match(value, end)
        if part is None:
            return None
        seconds, end = seconds + float(part[1]) * _SECONDS[part[2]], part.end()
    return timedelta(seconds=seconds) if seconds <= _MAX_SECONDS else None
