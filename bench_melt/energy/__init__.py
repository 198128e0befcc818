"""Joins a meter's samples with a log of events: joules per phase; docs/energy.md derives it."""
