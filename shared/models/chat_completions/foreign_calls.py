"""What a server requires of every call, also of one that another model made, or that was stored without it."""

import re
from typing import Final
from urllib.parse import urlsplit

from shared.core import Json

#: Gemini 3 and later refuse a turn whose first call has no signature. This one stands for a missing one
#: (ai.google.dev/gemini-api/docs/thought-signatures).
_NO_SIGNATURE: Final = {"google": {"thought_signature": "skip_thought_signature_validator"}}
_WITHOUT_SIGNATURES: Final = r"gemini-[12]\b"
#: DeepSeek and Kimi refuse calls without the reasoning that led to them, while the model thinks.
_THINKING: Final = ("api.deepseek.com", "api.moonshot.ai", "api.moonshot.cn")
_NO_REASONING: Final = "[The reasoning is not known.]"


def complete_calls(message: Json, base_url: str, model: str) -> None:
    """Add what the server at this address requires of a message with calls, and does not find there."""
    host = urlsplit(base_url).hostname or ""
    if host.endswith(".googleapis.com") and not re.search(_WITHOUT_SIGNATURES, model):
        message["tool_calls"][0].setdefault("extra_content", _NO_SIGNATURE)
    if host in _THINKING:
        message.setdefault("reasoning_content", _NO_REASONING)
