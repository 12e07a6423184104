"""The cost of open streams: memory of silent ones, and the delay of the tokens of many."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import uvloop

from bench import NotMeasured
from bench.contenders import AGENT, NAIVE, NAIVE_POSTGRES, PASSTHROUGH, Contender
from bench.load import Connection, middle, open_streams, percentile
from bench.machine import Process
from bench.rounds import Effort, rounds
from bench.rows import Row, limit
from bench.rows.streaming import warm_up
from bench.site import Site

_STREAM_KB, _DELAY_MS, _STREAMS = 60, 250, 2000
_LANES = 16
#: One token, and then silence for longer than the measurement.
_SILENT = "2x600000"
_SETTLE_SECONDS = 4
#: A stream's prompt and pause between tokens, and the time for which all open streams are measured.
_ACTIVE, _PAUSE_SECONDS, _WINDOW_SECONDS = "600x1000", 1, 20


def memory(site: Site, effort: Effort) -> Row:
    """Memory per additional silent stream: the growth from 100 streams to 600, divided by 500."""
    contenders = (AGENT, NAIVE, NAIVE_POSTGRES, *effort.of())
    few, more = effort.pick((50, 150), (100, 500))

    def measure(site: Site, contender: Contender) -> float:
        with contender.running(site) as (process, port, _):
            warm_up(site, contender, port)
            requests = [contender.request(site, _SILENT) for _ in range(few + more)]
            return uvloop.run(_growth_per_stream(process, port, requests[:few], requests[few:]))

    # One round: the figure is a mean over hundreds of streams.
    results = rounds(site, contenders, measure, 1)
    goal = limit(results, "assistant", _STREAM_KB, "KB")
    return Row("memory per open idle stream", "KB", results, [goal])


async def _growth_per_stream(
    process: Process, port: int, few: list[bytes], more: list[bytes]
) -> float:
    # The first streams allocate what all share: imports, pools, arenas.
    streams = await open_streams(port, few, _LANES)
    await asyncio.sleep(_SETTLE_SECONDS)
    before = process.pss_mb()
    streams += await open_streams(port, more, _LANES)
    await asyncio.sleep(_SETTLE_SECONDS)
    grown = process.pss_mb() - before
    if closed_count := sum(stream.is_closed for stream in streams):
        raise NotMeasured(f"{closed_count} of {len(streams)} streams ended by themselves")
    return grown * 1024 / len(more)


def two_thousand(site: Site, effort: Effort) -> Row:
    """2,000 streams in one process, each with a token a second, measured for 20 s when all are open.

    They start as fast as the process admits them, 16 at a time; that ramp has its own figures. The passthrough shows
    the delay of the bench itself: model, clients and Postgres share a core.
    """
    streams = effort.pick(_STREAMS // 4, _STREAMS)

    def measure(site: Site, contender: Contender) -> dict[str, float]:
        with contender.running(site) as (process, port, _):
            warm_up(site, contender, port)
            requests = [contender.request(site, _ACTIVE) for _ in range(streams)]
            return uvloop.run(_measure_all(process, port, requests))

    results = rounds(site, (PASSTHROUGH, AGENT), measure, 1)
    goals = [
        limit(results, "assistant broken streams", 0, label="broken streams"),
        limit(results, "assistant delay p99 ms", _DELAY_MS, "ms", label="all open: delay p99"),
    ]
    return Row(f"{streams:,} streams in one process, a token a second each", "", results, goals)


async def _measure_all(process: Process, port: int, requests: list[bytes]) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    streams = await open_streams(port, requests, _LANES, stamps=True)
    ramp = loop.time() - started_at
    # The remaining work of the ramp ends meanwhile.
    await asyncio.sleep(_SETTLE_SECONDS)
    since, cpu = loop.time(), process.cpu_ms()
    await asyncio.sleep(_WINDOW_SECONDS)
    until, cpu_used = loop.time(), process.cpu_ms() - cpu
    # The most delayed tokens have yet to arrive, and matter most.
    await asyncio.sleep(_SETTLE_SECONDS)
    delays = _delays(streams, since, until)
    firsts = [stream.answer.first_ms for stream in streams]
    return {
        "delay p50 ms": middle(delays),
        "delay p99 ms": percentile(delays, 0.99),
        "delay most ms": max(delays),
        "events/s": len(delays) / _WINDOW_SECONDS,
        "CPU %": cpu_used / _WINDOW_SECONDS / 10,
        "broken streams": sum(_is_broken(stream, since, until) for stream in streams),
        "ramp s": ramp,
        "ramp admissions/s": len(requests) / ramp,
        "ramp first token p50 ms": middle(firsts),
        "ramp first token p99 ms": percentile(firsts, 0.99),
    }


def _is_broken(stream: Connection, since: float, until: float) -> bool:
    write_times = [moment / 1e6 for moment, _ in stream.answer.stamps_us]
    return stream.is_closed or not is_steady(write_times, since, until)


def is_steady(moments: Sequence[float], since: float, until: float) -> bool:
    """Whether all tokens arrived that the model wrote in this time, by the write times of those that arrived."""
    points = [since, *(moment for moment in moments if since <= moment < until), until]
    return max(later - earlier for earlier, later in pairwise(points)) < 2 * _PAUSE_SECONDS


def _delays(streams: list[Connection], since: float, until: float) -> list[float]:
    # Selected by the model's write time; the loop and the model use the same monotonic clock.
    return [
        (read - written) / 1000
        for stream in streams
        for written, read in stream.answer.stamps_us
        if since <= written / 1e6 < until
    ]
