"""What Istio does, by version: data with its sources, and the functions that ask it."""
