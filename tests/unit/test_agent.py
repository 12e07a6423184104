"""The declaration of an agent: its defaults, what it refuses, and its fingerprint."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from shared.agents.agent import Agent
from shared.agents.function_tool import tool
from shared.agents.model import Model
from shared.agents.sources import mcp, shared_tools
from shared.core.environment import InvalidSettings
from shared.core.settings import Settings
from shared.http.agents import agent_app
from shared.models.providers import Provider, provider_of


@tool
async def look() -> str:
    """Look."""
    return "seen"


class Answer(BaseModel):
    text: str


def test_instructions_alone_make_an_agent() -> None:
    app = agent_app("support", Agent(instructions="Help."))

    assert app.agent
    assert app.agent.model.in_order == [Model()]
    assert app.title == "support"


@pytest.mark.parametrize(
    ("make", "shown"),
    [
        (lambda: Agent(instructions="", tools=[look, look]), "Two tools are named look"),
        (lambda: Agent(instructions="", approval={"*": "maybe"}), "not 'maybe'"),  # type: ignore[dict-item]
        (lambda: Agent(instructions="", tools=[look], approval={"lok": "ask"}), "names 'lok'"),
        (lambda: Agent(instructions="", tools=[print]), "is no tool"),  # type: ignore[list-item]
        (lambda: Agent(instructions="", tools=look), "tools are a list"),  # type: ignore[arg-type]
        (lambda: Agent(instructions=None), "string or a function"),  # type: ignore[arg-type]
        (lambda: Agent(instructions="", model="gpt"), r"write Model\('gpt'\)"),  # type: ignore[arg-type]
        (lambda: Agent(instructions="", output=Answer | None), "pydantic model class"),  # type: ignore[arg-type]
        (lambda: Agent(instructions="", output=dict), "pydantic model class"),  # type: ignore[arg-type]
        (lambda: Agent(instructions="", max_turns="3"), "numbers from 1 up"),  # type: ignore[arg-type]
        (lambda: Agent(instructions="", max_turns=True), "numbers from 1 up"),
        (lambda: Agent(instructions="", max_turns=0), "numbers from 1 up"),
        (lambda: Agent(instructions="", approval_hours=float("nan")), "numbers from 1 up"),
        (lambda: Model("m", provider="Groq Inc"), "provider's name"),
        (lambda: Model("m", fallback=[Model("n", fallback=["o"])]), "fallbacks of its own"),
        (lambda: agent_app("Support", Agent(instructions="")), "cannot be a function's name"),
        (lambda: agent_app("support-", Agent(instructions="")), "cannot be a function's name"),
        (lambda: agent_app("s" * 41, Agent(instructions="")), "cannot be a function's name"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(make: Callable[[], object], shown: str) -> None:
    with pytest.raises(ValueError, match=shown):
        make()


def test_a_fallback_by_name_has_the_settings_of_the_first_model() -> None:
    other = Model("small", provider="groq")
    model = Model("large", temperature=0.5, fallback=["medium", other])

    assert model.in_order == [
        Model("large", temperature=0.5),
        Model("medium", temperature=0.5),
        other,
    ]


def test_a_provider_is_named_by_its_settings() -> None:
    given = {"GROQ_BASE_URL": "http://127.0.0.1:9/v1", "GROQ_API_KEY": "secret"}
    settings = Settings(openai_api="responses", openai_api_key="ours", model_providers=given)

    assert provider_of(settings, "groq") == Provider(
        "http://127.0.0.1:9/v1", "secret", "chat_completions"
    )
    assert provider_of(settings, "groq", "responses").api == "responses"
    assert provider_of(settings) == Provider("", "ours", "responses")
    assert provider_of(settings, None, "chat_completions").api == "chat_completions"
    with pytest.raises(InvalidSettings, match="MODEL_PROVIDER_ACME_BASE_URL"):
        provider_of(settings, "acme")
    assert "secret" not in repr(provider_of(settings, "groq"))


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"GROQ_BASE_URL": "api.groq.com/v1"}, "MODEL_PROVIDER_GROQ_BASE_URL is not"),
        ({"GROQ_BASE_URL": "ftp://api.groq.com"}, "not an http"),
        ({"GROQ_BASE_URL": "http://"}, "not an http"),
        ({"GROQ_BASE_URL": "http://a:port"}, "not an http"),
        ({"GROQ_BASE_URL": "http://[::1"}, "not an http"),
        ({"GROQ_BASE_URL": "http://a/v1 "}, "not an http"),
        ({"GROQ_BASE_URL": "http://a/v1\n"}, "not an http"),
        ({"GROQ_BASE_URL": "http://schlüssel.de"}, "not an http"),
        ({"GROQ_BASE_URL": "http://a..b"}, "not an http"),
        ({"GROQ_BASE_URL": f"http://{'a' * 64}.com"}, "not an http"),
        ({"GROQ_BASE_URL": "http://key:schlüssel@a"}, "not an http"),
        ({"GROQ_BASE_URL": "http://key:secret@a"}, "not an http"),
        ({"GROQ_BASE_URL": "http://a", "GROQ_API_KEY": "key\n"}, "MODEL_PROVIDER_GROQ_API_KEY has"),
        ({"GROQ_BASE_URL": "http://a", "GROQ_API_KEY": "schlüssel"}, "no HTTP header"),
    ],
)
def test_a_provider_without_a_usable_address_or_key_is_refused_at_start(
    members: dict[str, str], words: str
) -> None:
    with pytest.raises(InvalidSettings, match=words) as refused:
        provider_of(Settings(model_providers=members), "groq")
    assert "schlüssel" not in str(refused.value)


def test_the_default_provider_is_checked_too() -> None:
    with pytest.raises(InvalidSettings, match="OPENAI_BASE_URL is not"):
        provider_of(Settings(openai_base_url="localhost:8000"))
    with pytest.raises(InvalidSettings, match="OPENAI_API_KEY has"):
        provider_of(Settings(openai_api_key="key\r\nx-admin: 1"))


@pytest.mark.parametrize(
    "changed",
    [
        {"instructions": "Other."},
        {"model": Model("other")},
        {"tools": [look]},
        {"tools": [mcp("github")]},
        {"tools": [shared_tools("calculator")]},
        {"output": Answer},
        {"approval": {"*": "ask"}},
        {"max_turns": 3},
    ],
)
def test_the_fingerprint_changes_with_everything_declared(changed: dict[str, Any]) -> None:
    declared: dict[str, Any] = {"instructions": "Help."}

    assert Agent(**declared).fingerprint() == Agent(**declared).fingerprint()
    assert Agent(**declared).fingerprint() != Agent(**{**declared, **changed}).fingerprint()
