"""Chaos: real processes, killed at random moments, and a check of everything that clients saw."""
