"""checks: what `kubectl mesh check` asks.

A check is a class (`check.Check`) in the file of its category, and a line in `table.CHECKS`.
`result.run_checks` runs them on a `context.CheckContext`.
"""
