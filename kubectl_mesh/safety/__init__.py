"""What running clusters do not survive, and what they need when something changes."""
