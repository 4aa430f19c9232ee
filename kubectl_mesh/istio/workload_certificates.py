"""The lifetime of workload certificates by the settings in base.yaml; a change of roots waits that
long.
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
"""The settings of the lifetime: environment variables of istiod, the proxies and ztunnel, and
values of Citadel in Istio 1.4.
"""
DEFAULT_TTL, CITADEL_TTL = timedelta(hours=24), timedelta(days=90)
"""The defaults of istiod and proxies, and of Citadel (security/pkg/cmd/constants.go)."""
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(h|ms|m|s|us|µs|ns)")
_MAX_SECONDS = 2**63 / 1e9
"""The maximum of Go's nanoseconds in 64 bits, about 292 years."""
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def max_ttl(base: Mapping[str, Document], *, citadel: bool) -> timedelta:
    """The longest lifetime that the values of base.yaml allow, at least the default. `citadel`:
    Istio 1.4. Raises a `MeshError` for an invalid duration.
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
    """The values of the settings with their paths, each as a key, or as a `name` next to a
    `value`.
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
    """A duration as Go's time.ParseDuration reads it; None if it is invalid."""
    if not isinstance(value, str) or not value:
        return None
    seconds, end = 0.0, 0
    while end < len(value):
        part = _PART.match(value, end)
        if part is None:
            return None
        seconds, end = seconds + float(part[1]) * _SECONDS[part[2]], part.end()
    return timedelta(seconds=seconds) if seconds <= _MAX_SECONDS else None
