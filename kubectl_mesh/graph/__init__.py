"""graph: the plan, its certificates, the tree's state and the checks' findings become a `Picture`,
and that becomes SVG, Mermaid, DOT or a page.
"""

from kubectl_mesh.graph.dot import dot_text
from kubectl_mesh.graph.mermaid import mermaid_text
from kubectl_mesh.graph.nodes import PictureInputs
from kubectl_mesh.graph.page import page_text
from kubectl_mesh.graph.picture import Picture, build_picture
from kubectl_mesh.graph.svg import svg_text

__all__ = [
    "DATE_CHECKS",
    "FORMATS",
    "Picture",
    "PictureInputs",
    "build_picture",
    "dot_text",
    "mermaid_text",
    "page_text",
    "svg_text",
]

FORMATS = ("mermaid", "svg", "dot", "html")
DATE_CHECKS = frozenset(
    {
        *(
            "certs-expired",
            "certs-expiring",
            "server-ca-expired",
            "server-ca-expiring",
            "token-expired",
            "token-expiring",
        ),
        *("sealing-expiring", "tree-expired", "tree-expiring"),
    }
)
"""The checks whose answer depends on the day."""
