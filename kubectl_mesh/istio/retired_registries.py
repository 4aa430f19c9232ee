"""The chart repositories and image registries that Istio retires, references to them in texts, and
their replacements. The data is in releases.json.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from kubectl_mesh.istio.versions import RELEASES

_CHART_DATA, _IMAGE_DATA = RELEASES["charts"], RELEASES["images"]
CHART_REPOSITORY: str = _CHART_DATA["home"]
IMAGE_REGISTRY: str = _IMAGE_DATA["home"]
SHUTDOWN_DATE: str = _CHART_DATA["since"]
"""The day on which the chart repository and the image registries are switched off."""
MOVE_PAGE = "docs/istio-move.md"
BUILT_IN_HUB = "built-in"
"""The value of `istio.hub` that leaves the choice to the operator, the charts or istioctl."""
RETIRED_HUBS: tuple[str, ...] = tuple(str(entry["hub"]) for entry in _IMAGE_DATA["builtIn"])
"""The retired image registries that are built into releases."""
_RETIRED_HOSTS = sorted({_CHART_DATA["gone"][0], *_IMAGE_DATA["gone"]})
_REFERENCE = re.compile(
    r"(?:^|(?<=[\s\"'=,@]))((?:oci|https?|docker)://)?("
    + "|".join(map(re.escape, _RETIRED_HOSTS))
    + r")((?:/[A-Za-z0-9._/-]*)?)((?::[A-Za-z0-9._-]+)?(?:@sha256:[0-9a-f]+)?)(?=[/:\s\"',@]|$)",
    re.IGNORECASE,
)
_ISTIO_CHARTS = (CHART_REPOSITORY, RELEASES["charts"]["registry"], *_CHART_DATA["gone"])


class RetiredReference(NamedTuple):
    """A reference to a retired place: its kind (`charts` or `images`), its text, and the
    replacement (None: not known).
    """

    kind: str
    text: str
    replacement: str | None

    @property
    def check_id(self) -> str:
        """The id of the check that reports it."""
        return f"{self.kind}-gone"


def find_retired(text: str) -> Iterator[RetiredReference]:
    """The references to retired chart repositories and image registries in a text. A mirror with
    such a name in its path is not one.
    """
    for match in _REFERENCE.finditer(text):
        scheme, host, path, tag = match[1] or "", match[2].lower(), match[3], match[4]
        if host == _CHART_DATA["gone"][0]:
            yield RetiredReference("charts", match[0], CHART_REPOSITORY)
        elif path == "/charts" or path.startswith("/charts/"):
            yield RetiredReference(
                "charts",
                match[0],
                f"{scheme}{RELEASES['charts']['registry'].removeprefix('oci://')}{path.removeprefix('/charts')}",
            )
        elif host == "gcr.io/istio-release":
            yield RetiredReference("images", match[0], f"{scheme}{IMAGE_REGISTRY}{path}{tag}")
        elif path == "/release" or path.startswith("/release/"):
            yield RetiredReference(
                "images", match[0], f"{scheme}{IMAGE_REGISTRY}{path.removeprefix('/release')}{tag}"
            )
        else:
            yield RetiredReference("images", match[0], None)


def is_istio_charts(url: str) -> bool:
    """Whether a URL is a present or former chart repository of Istio, with or without `oci://` and
    the name of a chart.
    """
    plain = _without_scheme(url)
    known = [*(_without_scheme(home) for home in _ISTIO_CHARTS), f"{_CHART_DATA['gone'][0]}/charts"]
    return any(
        plain
        in (
            home,
            *(f"{home}/{chart}" for chart in ("base", "istiod", "cni", "ztunnel", "gateway")),
        )
        for home in known
    )


def is_istio_images(registry: str) -> bool:
    """Whether a registry is a present or former image registry of Istio."""
    return registry in (IMAGE_REGISTRY, IMAGE_REGISTRY.rpartition("/")[2]) or any(
        named.kind == "images" for named in find_retired(registry)
    )


def _without_scheme(url: str) -> str:
    return url.rstrip("/").removeprefix("https://").removeprefix("oci://")


def retired_text(reference: RetiredReference, minor: int = 0) -> str:
    """What is wrong with a retired reference; `minor` is the newest minor version in use."""
    if reference.kind == "images":
        return f"{reference.text} is an image registry that Istio switches off on {SHUTDOWN_DATE}"
    never = (
        f"; it has no charts of Istio 1.{_CHART_DATA['neverFrom']} and later"
        if minor >= _CHART_DATA["neverFrom"] and _CHART_DATA["gone"][0] in reference.text
        else ""
    )
    return (
        f"{reference.text} is a chart repository that Istio switches off on {SHUTDOWN_DATE}{never}"
    )


def replacement_text(reference: RetiredReference) -> str:
    """The remedy for a retired reference."""
    instead = (
        f"write {reference.replacement}"
        if reference.replacement is not None
        else "name a registry that has these images"
    )
    return f"{instead}; {MOVE_PAGE} has the commands"
