"""Any value of any setting gives settings that can be used, or one sentence that names the setting."""

import json
from dataclasses import fields
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from local.keys import SigningKey
from shared.auth.callers import CallerVerifier, Minter
from shared.core.environment import InvalidSettings
from shared.core.settings import Settings
from shared.database.address import read_address
from shared.http.process import users_verifier
from shared.mcp.servers import servers_of
from shared.models.providers import provider_of

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "tokens.json").read_text())
KEY = SigningKey.generate("internal")
GOOD = {
    "SUPABASE_DATABASE_URL": "postgresql://agent_api:secret@127.0.0.1:5432/postgres",
    "SUPABASE_URL": "https://project.example.com",
    "SUPABASE_JWKS": json.dumps(GOLDEN["jwks"]),
    "GATEWAY_PUBLIC_KEYS": json.dumps(GOLDEN["gateway_jwks"]),
    "INTERNAL_SIGNING_KEY": KEY.private_text,
    "INTERNAL_PUBLIC_KEYS": KEY.public_keys,
    "TOOLS_URL": "http://tools.example.com/mcp",
}
#: The name of a variable that a field reads; for fields of several variables, two of them.
NAMES = [
    name
    for field in fields(Settings)
    for name in (
        [f"{field.metadata['prefix']}{rest}" for rest in ("GROQ_BASE_URL", "GROQ_API_KEY")]
        if field.metadata.get("prefix")
        else [field.name.upper()]
    )
]
VALUES = st.sampled_from(
    [
        *("0", "1", "-1", "1e999", "nan", "true", "9" * 5000, "http://", "http://[", "http://h:x"),
        *(
            "{}",
            "[]",
            "null",
            "[" * 100_000,
            '{"keys": []}',
            '{"keys": [1]}',
            "\udcff",
            "ü",
            "a\nb",
        ),
        *('{"a": {}}', '{"a": {"url": "http://["}}', '{"a": {"url": "http://h", "tools": 1}}'),
    ]
) | st.text(max_size=30)


def start(settings: Settings) -> None:
    """Make what a function makes of its settings when it starts."""
    settings.require("supabase_database_url", "supabase_url", "gateway_public_keys")
    read_address(settings.supabase_database_url)
    users_verifier("assistant", settings)
    servers_of(settings)
    provider_of(settings)
    for name in {name.partition("_")[0] for name in settings.model_providers}:
        provider_of(settings, name)
    try:
        Minter("assistant", settings.internal_signing_key)
        CallerVerifier(function="tools", keys=settings.internal_public_keys)
    except ValueError as error:
        raise InvalidSettings(str(error)) from None


def test_the_good_settings_start() -> None:
    start(Settings.from_env(GOOD))


@given(name=st.sampled_from(NAMES), value=VALUES)
@example("GATEWAY_PUBLIC_KEYS", "[" * 100_000)
@example("INTERNAL_SIGNING_KEY", "[" * 100_000)
@example("MCP_SERVERS", '{"a": {"url": "http://["}}')
@example("SUPABASE_URL", "http://[")
@example("OPENAI_API_KEY", "\udcff")
def test_any_value_starts_or_one_sentence_names_the_setting(name: str, value: str) -> None:
    try:
        start(Settings.from_env({**GOOD, name: value}))
    except InvalidSettings as refused:
        sentence = str(refused)
        assert name in sentence or name.partition("GROQ")[0] in sentence, (name, sentence)
        assert sentence.count("\n") == 0, sentence
