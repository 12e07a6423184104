"""Arguments are checked against a tool's schema: what fits, and what is said of the rest."""

import pytest

from shared.agents.schemas import fault


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("uuid", "6f9619ff8b86d011b42d00c04fc964ff"),
        ("date", "2026-11-29"),
        ("date-time", "2026-11-29 10:00"),
        ("date-time", "2026-11-29"),
        ("time", "10:00"),
        # Servers read these in their own ways.
        ("duration", "5m"),
        ("email", "root"),
        ("uri", "/a b"),
        ("of-its-own", "anything"),
    ],
)
def test_what_a_server_may_read_fits(form: str, value: str) -> None:
    assert fault({"type": "string", "format": form}, value) is None


@pytest.mark.parametrize("form", ["uuid", "date", "date-time", "time"])
def test_a_word_in_place_of_a_form_is_a_fault(form: str) -> None:
    assert fault({"type": "string", "format": form}, "soon") == f'"soon" is not a "{form}"'
