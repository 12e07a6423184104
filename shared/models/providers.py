"""The model servers that agents name, by the settings that say where they are."""

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from shared.core import InvalidSettings, ModelAccessSettings, is_http_address

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
        InvalidSettings: the settings have no address for this name, or no request can be sent with its address or key.
    """
    if name is None:
        prefix, base_url, key = "OPENAI", settings.openai_base_url, settings.openai_api_key
    else:
        prefix, values = f"MODEL_PROVIDER_{name.upper()}", settings.model_providers
        base_url, key = (
            values.get(f"{name.upper()}_{kind}", "") for kind in ("BASE_URL", "API_KEY")
        )
        if not base_url:
            raise InvalidSettings(f"Set {prefix}_BASE_URL: a model of an agent is there.")
    if base_url and not (is_http_address(base_url) and _has_valid_host(base_url)):
        raise InvalidSettings(
            f"{prefix}_BASE_URL is not an http(s) address in ASCII, without spaces, `<`, `>` and a user name."
        )
    if not _is_printed_ascii(key):
        # Often the line break at the end of a file.
        raise InvalidSettings(f"{prefix}_API_KEY has characters that no HTTP header can have.")
    return Provider(
        base_url, key, api or (settings.openai_api if name is None else "chat_completions")
    )


def _has_valid_host(url: str) -> bool:
    """Whether the labels of the address's host have a length that can be looked up."""
    host = urlsplit(url).hostname or ""
    return all(0 < len(label) < 64 for label in host.removesuffix(".").split("."))


def _is_printed_ascii(text: str) -> bool:
    return text.isascii() and text.isprintable()
