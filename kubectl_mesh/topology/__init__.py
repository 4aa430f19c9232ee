"""Validates topology.yaml: its schema, and the rules across fields."""
