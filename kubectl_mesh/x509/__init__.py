"""Certificates as values: parsed, named, and followed to their roots."""
