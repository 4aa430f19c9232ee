"""YAML and JSON: read with places, written so that every reader agrees, checked against schemas,
and edited in place.
"""
