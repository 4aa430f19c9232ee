"""kubectl mesh: the compiler for multi-cluster service meshes.

As a library: `from kubectl_mesh import load, build, check, diff`; see docs/library.md.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubectl_mesh.errors import MeshError as MeshError
    from kubectl_mesh.operations.library import build as build
    from kubectl_mesh.operations.library import check as check
    from kubectl_mesh.operations.library import diff as diff
    from kubectl_mesh.operations.library import load as load

__version__ = "0.1.0"
__all__ = ["MeshError", "__version__", "build", "check", "diff", "load"]


def __getattr__(name: str) -> Any:
    # Loaded when it is asked for: the command line starts without it.
    if name == "MeshError":
        from kubectl_mesh.errors import MeshError

        return MeshError
    if name in __all__:
        from kubectl_mesh.operations import library

        return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
