"""Who reaches whom: what a call between two clusters needs, and whether a change keeps it."""
