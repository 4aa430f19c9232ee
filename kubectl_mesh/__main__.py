"""`python -m kubectl_mesh`, the same program as `kubectl mesh`."""

from kubectl_mesh.cli import main

if __name__ == "__main__":
    main()
