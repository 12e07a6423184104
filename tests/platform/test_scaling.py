"""The number of pods over time."""

import asyncio
from dataclasses import replace

import httpx
import pytest

from tests.platform.autoscaler import Autoscaler, Load
from tests.platform.rules import Rules
from tests.platform.small import FACTOR, LATE, ready_pod, streaming, until
from tests.platform.stand_in import Platform

QUICK = Rules(window=20, quiet=20).scaled(FACTOR)
#: Stays for the length of a test.
STEADY = replace(QUICK, window=60)


async def test_a_request_wakes_a_function_and_waits_until_it_is_ready(
    platform: Platform, client: httpx.AsyncClient
) -> None:
    url = await platform.deploy("small", STEADY, {"READY_SECONDS": "0.5"})
    assert platform.every_pod("small") == []

    answers = await asyncio.gather(*(client.get(url) for _ in range(5)))

    [pod] = platform.pods("small")
    assert {answer.status_code for answer in answers} == {200}
    assert pod.ready_at is not None
    assert pod.ready_at - pod.created_at >= 0.5
    log = pod.log.read_text()
    assert (log.count("request / ready"), log.count("early")) == (5, 0)


async def test_a_request_wakes_a_function_between_two_ticks(
    platform: Platform, client: httpx.AsyncClient
) -> None:
    url = await platform.deploy("small", replace(STEADY, tick=60))
    await asyncio.sleep(0.05)

    assert (await client.get(url)).status_code == 200


async def test_open_requests_bring_pods_up_to_the_maximum(
    platform: Platform, client: httpx.AsyncClient
) -> None:
    await ready_pod(platform, replace(STEADY, target=2, max_scale=3))
    url = platform.url("small")

    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(client.get(url, params={"wait": 1}))
        await until(lambda: len(platform.pods("small")) == 3)
        for _ in range(4):
            group.create_task(client.get(url, params={"wait": 1}))
        await until(lambda: platform.open_requests("small") == 9)

    assert len(platform.every_pod("small")) == 3


def test_open_requests_count_even_when_the_window_has_hardly_started() -> None:
    load = Load(window=60)
    autoscaler = Autoscaler(Rules(target=2), load)

    with load.counted(), load.counted(), load.counted(), load.counted(), load.counted():
        assert autoscaler.desired(current=1, ready=1) == 3


def test_at_most_half_of_the_pods_go_in_one_tick() -> None:
    autoscaler = Autoscaler(Rules(retention=60), Load(window=60))

    assert [autoscaler.desired(ready, ready) for ready in (8, 4, 2)] == [4, 2, 1]


@pytest.mark.parametrize(
    "rules",
    [
        QUICK,
        replace(QUICK, scale_down_delay=0.3, retention=0.2),
        replace(QUICK, burst_capacity=0, zero_grace=0.3),
        replace(QUICK, burst_capacity=0, zero_grace=0.1, retention=0.3),
    ],
    ids=["window", "delay and retention", "activator not in the path", "retention hides the grace"],
)
async def test_the_last_pod_goes_after_window_delay_and_hold(
    platform: Platform, client: httpx.AsyncClient, rules: Rules
) -> None:
    pod = await ready_pod(platform, rules)
    await client.get(platform.url("small"), params={"wait": 0.3})

    await platform.at_zero()

    ended = platform.last_request_ended_at("small")
    assert ended is not None
    assert pod.deleted_at is not None
    idle = pod.deleted_at - ended
    assert rules.to_zero <= idle < rules.to_zero + 2 * rules.tick + LATE
    assert platform.every_pod("small") == [pod]
    assert platform.crashes == []


def test_the_hold_is_the_longer_of_retention_and_grace_and_no_grace_behind_the_activator() -> None:
    assert Rules(retention=10, zero_grace=30, burst_capacity=0).hold == 30
    assert Rules(retention=40, zero_grace=30, burst_capacity=0).hold == 40
    assert Rules(retention=10, zero_grace=30, burst_capacity=-1).hold == 10


async def test_an_open_request_keeps_its_pod_for_many_windows(
    platform: Platform, client: httpx.AsyncClient
) -> None:
    pod = await ready_pod(platform, QUICK)

    await client.get(platform.url("small"), params={"wait": 6 * QUICK.window})

    assert pod.state == "ready"
    assert len(platform.every_pod("small")) == 1


async def test_a_scale_down_deletes_the_newest_pod_even_if_it_is_busier(
    platform: Platform, client: httpx.AsyncClient
) -> None:
    rules = replace(QUICK, target=1, concurrency=1, max_scale=2)
    older = await ready_pod(platform, rules)
    url = platform.url("small")

    async with (
        streaming(client, f"{url}/stream?chunks=2&every=0.8"),
        streaming(client, f"{url}/stream?chunks=40&every=0.05") as second,
    ):
        newer = platform.pods("small")[1]
        await until(lambda: newer.deleted_at)
        assert (older.state, older.open, newer.open) == ("ready", 0, 1)
        assert (await second.rest())[-1] == "end"


async def test_the_minimum_of_pods_starts_without_a_request(platform: Platform) -> None:
    await platform.deploy("small", replace(QUICK, min_scale=2))

    await until(lambda: [pod.state for pod in platform.pods("small")] == ["ready"] * 2)


async def test_a_pod_that_dies_is_replaced_and_one_that_cannot_start_is_backed_off(
    platform: Platform, client: httpx.AsyncClient
) -> None:
    pod = await ready_pod(platform, STEADY)
    pod.kill()
    await pod.gone()
    assert (await client.get(platform.url("small"))).status_code == 200
    assert len(platform.every_pod("small")) == 2
    assert platform.crashes == []

    rules = replace(STEADY, crash_backoff=10, response_start=1.5)
    url = await platform.deploy("broken", rules, {"READY_SECONDS": "no number"})
    assert (await client.get(url)).status_code == 504
    assert platform.crashes == ["broken-1.log: 1"]
