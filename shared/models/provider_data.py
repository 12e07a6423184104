"""What a provider wants back with later requests, and from where it came: the member `provider` of an item."""

from collections.abc import Sequence

from shared.core import Json


def origin_of(api: str, base_url: str) -> Json:
    """Where an API's data comes from: {api, base_url?}. It is sent back only there."""
    return {"api": api, **({"base_url": base_url} if base_url else {})}


def is_from(provider: Json, origin: Json) -> bool:
    """Whether the member `provider` of an item came from there."""
    return {name: value for name, value in provider.items() if name != "items"} == origin


def items_from(provider: Json, origin: Json) -> Sequence[Json]:
    """The provider's items, if they came from there."""
    return provider.get("items", ()) if is_from(provider, origin) else ()
