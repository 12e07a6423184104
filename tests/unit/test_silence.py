"""The time limits of a turn."""

import asyncio

import pytest

from shared.models.silence import SilenceLimit


async def test_the_limit_does_not_pass_while_a_chunk_is_processed() -> None:
    worked = False

    async def turn() -> None:
        nonlocal worked
        async with asyncio.timeout(60) as timer:
            with SilenceLimit(timer, 0.0) as silence:
                silence.stop_waiting()
                await asyncio.sleep(0.1)
                worked = True
                silence.start_waiting()
                await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        await turn()
    assert worked


async def test_a_response_that_ends_at_the_limit_is_not_ended_again() -> None:
    """The time-out would reach whatever the caller does after the response."""
    async with asyncio.timeout(60) as timer:
        with SilenceLimit(timer, 0.0):
            assert timer.when() is not None
        await asyncio.sleep(0.01)
