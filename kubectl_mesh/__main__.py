"""The programs: `kubectl mesh`, which is `python -m kubectl_mesh` too, and `kubectl_complete-mesh`."""

import gc

gc.disable()  # a run makes values, uses them and ends; looking for cycles among them, and among what is loaded, costs a tenth of it

from kubectl_mesh import cli  # noqa: E402


def mesh() -> None:
    """`kubectl mesh`"""
    cli.main()


def complete() -> None:
    """`kubectl_complete-mesh`"""
    cli.complete()
    cli.leave(0)


if __name__ == "__main__":
    mesh()
