"""kubectl mesh: the compiler for multi-cluster service meshes."""

__version__ = "0.1.0"
