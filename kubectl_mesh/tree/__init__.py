"""out/ on disk: what is there, what a render would change, and the change itself."""
