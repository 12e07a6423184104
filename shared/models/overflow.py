"""Whether a provider's error says that a request is longer than the model's context."""

import json
import re
from typing import Any, Final

#: The codes and types of errors, in OpenAI's, Anthropic's and llama.cpp's spelling.
_CODES: Final = frozenset(
    {
        "context_length_exceeded",
        "string_above_max_length",
        "request_too_large",
        "exceed_context_size_error",
        "model_context_window_exceeded",
        "context_window_exceeded",
    }
)
#: The sentences of servers without a code of their own: vLLM, Mistral, Gemini, xAI, Groq, Together, OpenRouter,
#: Bedrock, Ollama, LM Studio, Kimi, MiniMax, Zhipu.
_SENTENCES: Final = (
    r"maximum (?:context|prompt|allowed input) length|context (?:window|length|size) (?:exceeds|exceeded)"
    r"|exceeds? (?:the |this |its |model'?s? )*(?:available |maximum |max )*(?:context|input length|prompt length)"
    r"|exceeded (?:the )?(?:max |model )*(?:context length|token limit)"
    r"|(?:longer|greater|larger) than the (?:model'?s )?context length"
    r"|(?:prompt|input|request|conversation) (?:is )?too (?:long|large)"
    r"|input token count .{0,200}exceeds|prompt token count .{0,200}exceeds|input length and .{0,200}exceed"
    r"|reduce the length of the (?:messages|prompt|input)|range of input length|prompt 超长"
)
#: 429 and 5xx are not among them: "too many tokens" is then a limit per minute.
_STATUSES: Final = frozenset({400, 413, 422})
_TOO_LARGE: Final = 413


def is_overflow(status: int, body: bytes) -> bool:
    """Whether an error response with this status and body says so. 413 always does."""
    return status == _TOO_LARGE or (status in _STATUSES and says_overflow(_loaded(body)))


def says_overflow(error: Any) -> bool:
    """Whether an error says so: its JSON, or its text."""
    # Without recursion: an error may be nested as deep as its server likes.
    parts = [error]
    while parts:
        match parts.pop():
            case str() as text if text in _CODES or re.search(_SENTENCES, text, re.IGNORECASE):
                return True
            case dict() as members:
                parts += members.values()
            case list() as entries:
                parts += entries
    return False


def _loaded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode(errors="replace")
