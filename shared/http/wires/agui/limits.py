"""What is left of a user's and a run's limits, as clients see it."""

from collections.abc import Mapping

from shared.core import DAY_SECONDS, Json, Settings, seconds_to_tomorrow


def headers(settings: Settings, tokens_left: int | None) -> Mapping[str, str]:
    """Headers with what is left of today's tokens (draft-ietf-httpapi-ratelimit-headers-10); none without a limit."""
    if tokens_left is None:
        return {}
    return {
        "ratelimit-policy": f'"daily-tokens";q={settings.daily_tokens_per_user};w={DAY_SECONDS}',
        "ratelimit": f'"daily-tokens";r={max(0, tokens_left)};t={seconds_to_tomorrow()}',
    }


def describe(settings: Settings, tool_calls: int, tokens_left: int | None) -> Json:
    """A run's member `limits`: each limit with what is left of it, which may be less than one more turn takes."""
    calls = settings.max_tool_calls
    limits: Json = {"toolCalls": {"limit": calls, "left": max(0, calls - tool_calls)}}
    if tokens_left is not None:
        daily = settings.daily_tokens_per_user
        limits["dailyTokens"] = {"limit": daily, "left": max(0, tokens_left)}
    return limits
