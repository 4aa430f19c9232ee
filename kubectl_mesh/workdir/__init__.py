"""The working directory as values: what is read of it, and nothing judged."""
