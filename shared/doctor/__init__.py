"""Tries what a function needs, and says what to do about each part that does not work."""

from shared.doctor.examination import examine

__all__ = [
    "examine",
]
