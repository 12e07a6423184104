"""What a turn cost, if its provider does not say."""

from collections.abc import Iterable
from dataclasses import replace

from shared.core import Usage
from shared.models.history import sent_tokens
from shared.models.requests import ModelRequest
from shared.models.sizes import text_tokens


def estimated_usage(request: ModelRequest, written: Iterable[str], reported: Usage) -> Usage:
    """The usage of a turn that was answered with these texts, marked as an estimate, rather too high than too low.

    `reported`: what the provider says without counts, such as the model.
    """
    return replace(
        reported,
        input_tokens=sent_tokens(request),
        output_tokens=text_tokens("".join(written)),
        model=reported.model or request.settings.model,
        is_estimate=True,
    )
