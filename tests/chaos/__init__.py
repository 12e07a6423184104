"""Chaos: real processes, killed at random moments, and a check of everything anybody saw."""
