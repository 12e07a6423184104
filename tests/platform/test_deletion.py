"""A pod's life from its deletion to its end."""

import asyncio
import os
import signal
from dataclasses import replace
from time import monotonic

import httpx
import pytest

from tests.platform.rules import Rules
from tests.platform.small import LATE, ready_pod, streaming, until
from tests.platform.stand_in import Platform

#: The pod stays unless it is deleted, and stops within a test.
RULES = replace(Rules(), window=60, quiet=0.4, grace=20, tick=0.02)


async def test_a_deleted_pod_gets_no_new_request_and_finishes_the_open_one_after_sigterm(
    platform: Platform, client: httpx.AsyncClient
) -> None:
    pod = await ready_pod(platform, RULES)
    url = platform.url("small")

    async with streaming(client, f"{url}/stream?chunks=30&every=0.05") as stream:
        await platform.delete(pod)
        assert (await client.get(url)).headers["x-pid"] != str(pod.pid)
        rest = await stream.rest()
    await pod.gone()

    assert rest == [*map(str, range(1, 30)), "end"]
    assert pod.deleted_at is not None
    assert pod.terminated_at is not None
    # The stream was open all the time: it does not postpone SIGTERM.
    assert 0.4 <= pod.terminated_at - pod.deleted_at < 0.4 + 0.5
    assert pod.gone_at is not None
    assert pod.gone_at - pod.terminated_at >= 0.3
    assert platform.crashes == []


async def test_each_late_request_postpones_sigterm(
    platform: Platform, client: httpx.AsyncClient
) -> None:
    pod = await ready_pod(platform, RULES)
    await platform.delete(pod)

    # A router that does not know of the deletion yet.
    for _ in range(5):
        await asyncio.sleep(0.2)
        assert (await client.get(f"http://127.0.0.1:{pod.queue_port}/")).status_code == 200
    last = monotonic()
    await pod.gone()

    assert pod.terminated_at is not None
    assert pod.deleted_at is not None
    assert pod.terminated_at - pod.deleted_at >= 1.4
    assert pod.terminated_at - last < 0.4 + LATE


async def test_a_process_that_ignores_sigterm_is_killed_at_the_end_of_the_grace(
    platform: Platform,
) -> None:
    pod = await ready_pod(platform, replace(RULES, grace=1), OBEYS="no")
    await platform.delete(pod)
    await pod.gone()

    assert pod.returncode == -signal.SIGKILL
    assert pod.terminated_at is not None
    assert pod.deleted_at is not None
    assert pod.gone_at is not None
    assert 1 <= pod.gone_at - pod.deleted_at < 1 + LATE
    assert "got SIGTERM" in pod.log.read_text()


async def test_the_grace_counts_from_the_deletion_even_during_the_drain(
    platform: Platform,
) -> None:
    pod = await ready_pod(platform, replace(RULES, quiet=5, grace=0.5))
    await platform.delete(pod)
    await pod.gone()

    assert (pod.returncode, pod.terminated_at) == (-signal.SIGKILL, None)


@pytest.mark.parametrize("is_terminating", [False, True])
async def test_a_forced_deletion_kills_at_once(platform: Platform, is_terminating: bool) -> None:
    pod = await ready_pod(platform, RULES, OBEYS="no")
    if is_terminating:
        await platform.delete(pod)
    at = monotonic()
    await platform.delete(pod, force=True)
    await pod.gone()

    assert pod.returncode == -signal.SIGKILL
    assert pod.gone_at is not None
    assert pod.gone_at - at < 0.4
    assert "got SIGTERM" not in pod.log.read_text()


async def test_a_frozen_pod_answers_when_it_is_thawed(
    platform: Platform, client: httpx.AsyncClient
) -> None:
    pod = await ready_pod(platform, RULES)
    pod.freeze()

    async with asyncio.TaskGroup() as group:
        answer = group.create_task(client.get(platform.url("small")))
        await until(lambda: pod.open == 1)
        done, _ = await asyncio.wait([answer], timeout=0.3)
        assert not done
        pod.thaw()

    assert answer.result().headers["x-pid"] == str(pod.pid)


async def test_remaining_processes_are_killed_when_the_platform_exits(platform: Platform) -> None:
    pod = await ready_pod(platform, RULES, OBEYS="no")
    pod.freeze()
    await platform.__aexit__(None, None, None)

    assert pod.state == "gone"
    assert pod.pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pod.pid, 0)
