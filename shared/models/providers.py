"""The model servers that agents name, by the settings that say where they are."""

from dataclasses import dataclass, field
from typing import Literal

from shared.core import InvalidSettings, ModelAccessSettings

ApiName = Literal["chat_completions", "responses"]


@dataclass(frozen=True, slots=True)
class Provider:
    """A model server: its address (empty: OpenAI's), its key, and which of OpenAI's APIs it speaks."""

    base_url: str
    api_key: str = field(repr=False)
    api: ApiName


def provider_of(
    settings: ModelAccessSettings, name: str | None = None, api: ApiName | None = None
) -> Provider:
    """The server with this name: MODEL_PROVIDER_<NAME>_BASE_URL, with MODEL_PROVIDER_<NAME>_API_KEY.

    Without a name, that of OPENAI_BASE_URL. `api` None: that of OPENAI_API; another server speaks Chat Completions.

    Raises:
        InvalidSettings: the settings have no address for this name.
    """
    if name is None:
        return Provider(
            settings.openai_base_url, settings.openai_api_key, api or settings.openai_api
        )
    values, prefix = settings.model_providers, name.upper()
    base_url = values.get(f"{prefix}_BASE_URL", "")
    if not base_url:
        raise InvalidSettings(
            f"Set MODEL_PROVIDER_{prefix}_BASE_URL: a model of an agent is there."
        )
    return Provider(base_url, values.get(f"{prefix}_API_KEY", ""), api or "chat_completions")
