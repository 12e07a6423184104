"""The cost of the gateway: CPU of Deno per request, added latency, and its first answer when it does not run."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from time import monotonic
from uuid import uuid4

import uvloop

from bench.contenders import HELLO
from bench.load import in_turn, middle, request
from bench.machine import OTHER_CORE, Process, process
from bench.rounds import Effort, attempts, progress
from bench.rows import Row, limit, ratio
from bench.rows.waking import read_first
from bench.site import Site
from local import gateway
from local.environment import ROOT
from local.probe import free_port

_KNOWN, _ADDED_MS, _COLD = 1.3, 1.5, 2.0
_PROXY = ROOT / "bench" / "apps" / "proxy.ts"
Starting = Callable[[Site, int], AbstractContextManager[tuple[Process, int]]]
#: A signature measured alone is faster, because its caches are warm.
_ROOM = 1.5


def per_request(site: Site, effort: Effort) -> Row:
    """CPU per request for a known token and path, and for a new path; and the added latency."""
    count = effort.pick(1500, 4000)
    with (
        HELLO.running(site) as (_, hello, _),
        _running(_starting_gateway, site, hello) as (deno, port),
        _running(_starting_proxy, site, hello) as (bare, bare_port),
    ):
        make = _requests(site)
        for each in (port, bare_port):
            uvloop.run(in_turn(each, lambda _: make("/runs/known"), 500, 1))

        def measure_proxy() -> float:
            return _cpu_us(bare, bare_port, lambda _: make("/runs/known", prefix=""), count)

        def measure() -> dict[str, float]:
            # A path that is new in each round.
            new = uuid4().hex
            known_us = _cpu_us(deno, port, lambda _: make("/runs/known"), count)
            fresh = _cpu_us(deno, port, lambda nth: make(f"/runs/{new}-{nth}"), count)
            return {
                "known path µs": known_us,
                "new path µs": fresh,
                "new over known µs": fresh - known_us,
                "added p50 ms": _p50(port, make) - _p50(hello, make, prefix=""),
            }

        results = attempts({"gateway": measure, "bare proxy": measure_proxy}, effort.rounds(2, 5))
    signature = _signature_us()
    goals = [
        ratio(
            results,
            "gateway known path µs",
            "bare proxy",
            at_most=_KNOWN,
            label="a bare proxy (known path)",
        ),
        limit(
            results,
            "gateway new over known µs",
            signature * _ROOM,
            "µs",
            label=f"new over known: {_ROOM:g} × a signature's {signature:.0f} µs,",
        ),
        limit(results, "gateway added p50 ms", _ADDED_MS, "ms", label="added p50"),
    ]
    return Row("gateway, CPU per request", "", results, goals)


def first_answer(site: Site, effort: Effort) -> Row:
    """Milliseconds from exec of Deno to the first answer through it, beside a bare proxy's."""
    with HELLO.running(site, core=OTHER_CORE) as (_, hello, _):
        measures = {
            "gateway": partial(_cold_ms, site, _starting_gateway, hello),
            "bare proxy": partial(_cold_ms, site, _starting_proxy, hello),
        }
        progress("  first starts, not counted")
        attempts(measures, 1)
        results = attempts(measures, effort.rounds(5, 11))
    goal = ratio(results, "gateway", "bare proxy", at_most=_COLD)
    return Row("gateway, exec → first answer", "ms", results, [goal])


def _cold_ms(site: Site, starting: Starting, function: int) -> float:
    make = _requests(site)
    with starting(site, function) as (deno, port):
        # The function has no such path, so its 404 is the answer.
        prefix = "" if starting is _starting_proxy else f"{gateway.PATH}/assistant"
        read_first(deno, port, make("/runs/known", prefix=prefix), b"HTTP/1.1 404")
        return (monotonic() - deno.started_at) * 1000


@contextmanager
def _starting_gateway(site: Site, function: int) -> Iterator[tuple[Process, int]]:
    port = free_port()
    environ = gateway.settings(site.keys, {}, port, {"assistant": function})
    command = [str(part) for part in gateway.command()]
    with process(command, environ, site.logs / "gateway.log", core=0, folder=ROOT) as deno:
        yield deno, port


@contextmanager
def _starting_proxy(site: Site, function: int) -> Iterator[tuple[Process, int]]:
    port = free_port()
    environ = {"PORT": str(port), "BENCH_UPSTREAM_PORT": str(function)}
    command = [str(part) for part in gateway.command(_PROXY)]
    with process(command, environ, site.logs / "proxy.log", core=0, folder=ROOT) as deno:
        yield deno, port


@contextmanager
def _running(starting: Starting, site: Site, function: int) -> Iterator[tuple[Process, int]]:
    with starting(site, function) as (deno, port):
        deno.wait_ready(port, gateway.PATH, expect=range(200, 600))
        yield deno, port


def _requests(site: Site) -> Callable[..., bytes]:
    token = site.users["bench"].token(site.keys.user)

    def make(path: str, prefix: str = f"{gateway.PATH}/assistant") -> bytes:
        return request("GET", prefix + path, b"", {"authorization": f"Bearer {token}"})

    return make


def _cpu_us(deno: Process, port: int, make: Callable[[int], bytes], count: int) -> float:
    before = deno.cpu_ms()
    uvloop.run(in_turn(port, make, count, 4))
    return (deno.cpu_ms() - before) * 1000 / count


def _p50(port: int, make: Callable[..., bytes], **where: str) -> float:
    answers = uvloop.run(in_turn(port, lambda _: make("/runs/known", **where), 400, 1))
    return middle([answer.total_ms for answer in answers])


def _signature_us() -> float:
    """The time of one ES256 signature in Deno on this machine, in µs."""
    script = """
      const key = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign"]);
      const data = new Uint8Array(300), how = { name: "ECDSA", hash: "SHA-256" };
      const sign = async (n) => { for (let i = 0; i < n; i++) await crypto.subtle.sign(how, key.privateKey, data); };
      await sign(500);
      const start = performance.now();
      await sign(2000);
      console.log((performance.now() - start) / 2);
    """
    process = subprocess.run(
        ["taskset", "-c", str(OTHER_CORE), gateway.find_deno(), "eval", script],
        capture_output=True,
        check=True,
    )
    return float(json.loads(process.stdout))
