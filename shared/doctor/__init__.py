"""Tries what a function needs, and says what to do about each part that does not work."""

from shared.doctor.examination import examine
from shared.doctor.offline import REQUIRED, WrongSetting, wrong_settings
from shared.doctor.spelling import misspelled

__all__ = [
    "REQUIRED",
    "WrongSetting",
    "examine",
    "misspelled",
    "wrong_settings",
]
