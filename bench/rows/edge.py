"""What the gateway adds: CPU of Deno per request, and time on the way."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvloop

from bench.contenders import HELLO
from bench.load import in_turn, middle, request
from bench.machine import OTHER_CORE, Process, process
from bench.rows import Row, Spread, Verdict, limit
from bench.site import Site
from local import gateway
from local.environment import ROOT
from local.probe import answer, free_port

_KNOWN_US, _ADDED_MS = 150, 1.5


def door(site: Site, *, is_quick: bool) -> Row:
    """CPU per request for a known token and path, and for a path that is new; and what the way through it adds."""
    count, times = (1500, 2) if is_quick else (4000, 3)
    known: list[float] = []
    fresh: list[float] = []
    added: list[float] = []
    with HELLO.running(site) as (_, hello, _), _gateway(site, hello) as (deno, port):
        ask = _asks(site)
        uvloop.run(in_turn(port, lambda _: ask("/runs/known"), 500, 1))
        for _ in range(times):
            known.append(_cpu_us(deno, port, lambda _: ask("/runs/known"), count))
            fresh.append(
                _cpu_us(deno, port, lambda nth: ask(f"/runs/new-{len(fresh)}-{nth}"), count)
            )
            added.append(_p50(port, ask) - _p50(hello, ask, prefix=""))
    found = {
        "known path": Spread(tuple(known)),
        "new path": Spread(tuple(fresh)),
        "added p50, ms": Spread(tuple(added)),
    }
    signature = _signature_us()
    extra = found["new path"].middle - found["known path"].middle
    goals = [
        limit(f"known ≤ {_KNOWN_US} µs", found["known path"].middle, _KNOWN_US, " µs"),
        Verdict(
            f"new ≤ known + a signature ({signature:.0f} µs)",
            f"+{extra:.0f} µs",
            extra <= signature * 1.5,
        ),
        limit(f"added p50 ≤ {_ADDED_MS} ms", found["added p50, ms"].middle, _ADDED_MS, " ms"),
    ]
    return Row("gateway, CPU per request", "µs", found, goals)


@contextmanager
def _gateway(site: Site, function: int) -> Iterator[tuple[Process, int]]:
    port = free_port()
    environ = gateway.settings(site.keys, {}, port, {"agent": function})
    command = [str(part) for part in gateway.command()]
    with process(command, environ, site.logs / "gateway.log", core=0, folder=ROOT) as deno:
        while not answer(port, gateway.PATH):
            pass
        yield deno, port


def _asks(site: Site) -> Callable[..., bytes]:
    token = site.users["bench"].token(site.keys.user)

    def ask(path: str, prefix: str = f"{gateway.PATH}/agent") -> bytes:
        return request("GET", prefix + path, b"", {"authorization": f"Bearer {token}"})

    return ask


def _cpu_us(deno: Process, port: int, make: Callable[[int], bytes], count: int) -> float:
    before = deno.cpu_ms()
    uvloop.run(in_turn(port, make, count, 4))
    return (deno.cpu_ms() - before) * 1000 / count


def _p50(port: int, ask: Callable[..., bytes], **where: str) -> float:
    answers = uvloop.run(in_turn(port, lambda _: ask("/runs/known", **where), 400, 1))
    return middle([answer.total_ms for answer in answers])


def _signature_us() -> float:
    """What one ES256 signature costs this machine's Deno."""
    script = """
      const key = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign"]);
      const data = new Uint8Array(300), how = { name: "ECDSA", hash: "SHA-256" };
      const sign = async (n) => { for (let i = 0; i < n; i++) await crypto.subtle.sign(how, key.privateKey, data); };
      await sign(500);
      const began = performance.now();
      await sign(2000);
      console.log((performance.now() - began) / 2);
    """
    done = subprocess.run(
        ["taskset", "-c", str(OTHER_CORE), gateway.find_deno(), "eval", script],
        capture_output=True,
        check=True,
    )
    return float(json.loads(done.stdout))
