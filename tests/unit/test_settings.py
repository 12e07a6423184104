"""Settings: typed, named in their errors, and all of them documented."""

import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest

from shared.core.environment import InvalidSettings
from shared.core.settings import Settings

ROOT = Path(__file__).parents[2]


def test_settings_are_read_by_their_types() -> None:
    settings = Settings.from_env(
        {"PORT": "9000", "TICK_SECONDS": "0.5", "ALLOW_BYPASSRLS_LOGIN": "yes", "LOG_LEVEL": " "}
    )

    assert (settings.port, settings.tick_seconds) == (9000, 0.5)
    assert settings.allow_bypassrls_login is True
    assert settings.log_level == "INFO", "empty counts as absent"


@pytest.mark.parametrize(
    ("name", "text"), [("PORT", "http"), ("TICK_SECONDS", "soon"), ("ALLOW_BYPASSRLS_LOGIN", "2")]
)
def test_a_setting_of_another_type_is_named_and_its_value_is_not(name: str, text: str) -> None:
    with pytest.raises(InvalidSettings, match=name) as refused:
        Settings.from_env({name: text})

    assert text not in str(refused.value).replace(name, "")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("LEASE_SECONDS", text) for text in ("nan", "inf", "-1", "0", "1e9")),
        *(("PORT", text) for text in ("0", "65536", "-8080")),
        ("STOP_GRACE_SECONDS", "-0.1"),
        ("MAX_LIVE_RUNS", "0"),
        ("DATABASE_CONNECTIONS", "1000000"),
        ("DAILY_TOKENS_PER_USER", "-1"),
        ("KEEP_EVENTS_HOURS", "-inf"),
    ],
)
def test_a_number_outside_its_range_is_refused_in_one_sentence(name: str, text: str) -> None:
    with pytest.raises(InvalidSettings, match=rf"{name} must be from [\d.e-]+ to [\d.e+]+\.\Z"):
        Settings.from_env({name: text})


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("PORT", "a whole number"),
        ("LEASE_SECONDS", "a number"),
        ("ALLOW_BYPASSRLS_LOGIN", "one of 1, true, yes, 0, false, no"),
    ],
)
def test_a_value_of_another_type_is_refused_in_plain_words(name: str, wanted: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        Settings.from_env({name: "many"})

    assert str(refused.value) == f"{name} must be {wanted}."


def test_an_unknown_choice_is_refused_in_one_sentence() -> None:
    known = r"OPENAI_API must be one of chat_completions, responses\.\Z"
    with pytest.raises(InvalidSettings, match=known):
        Settings.from_env({"OPENAI_API": "assistants"})
    assert Settings.from_env({"OPENAI_API": "responses"}).openai_api == "responses"


def test_a_renewal_period_that_is_not_below_the_lease_is_refused() -> None:
    with pytest.raises(InvalidSettings, match=r"LEASE_RENEW_SECONDS must be below LEASE_SECONDS\."):
        Settings.from_env({"LEASE_SECONDS": "5", "LEASE_RENEW_SECONDS": "5"})


def test_every_number_has_a_range_and_its_default_is_inside() -> None:
    kinds = get_type_hints(Settings, include_extras=True)
    for each in fields(Settings):
        if isinstance(each.default, int | float) and not isinstance(each.default, bool):
            assert get_origin(kinds[each.name]) is Annotated, each.name
            [allowed] = get_args(kinds[each.name])[1:]
            assert allowed.least <= each.default <= allowed.most, each.name


def test_one_error_names_all_missing_settings() -> None:
    with pytest.raises(InvalidSettings, match="SUPABASE_URL, GATEWAY_PUBLIC_KEYS"):
        Settings().require("supabase_url", "gateway_public_keys", "host")


def test_every_setting_is_documented_with_its_default() -> None:
    documented = (ROOT / "docs/configuration.md").read_text()
    for field in fields(Settings):
        prefix = field.metadata.get("prefix")
        variable = f"{prefix}<NAME>" if prefix else field.name.upper()
        row = re.search(rf"^\|[^|]*`{re.escape(variable)}`.*$", documented, re.MULTILINE)
        assert row, field.name
        if field.default not in ("", False, 0, 0.0, MISSING):
            default = field.default
            shown = re.escape(f"{default:g}" if isinstance(default, float) else str(default))
            assert re.search(rf"[ `]{shown}[` ]", row[0]), field.name
