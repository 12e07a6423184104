"""The simulated autoscaler does what a real one did on a cluster, and follows the published rules."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.simulate import START_SECONDS, Request
from bench.simulate.autoscaler import Decider
from bench.simulate.deployment import Deployment, Hpa, cores_per_stream
from bench.simulate.report import costs
from bench.simulate.revision import QUIET_SECONDS, Reporter, Revision
from bench.simulate.rules import Rules, shipped
from bench.simulate.settings import GOAL, knative, proposed, relative
from bench.simulate.traces import TRACES, idle_chat
from bench.simulate.windows import Average, Maximum, WeightedAverage

DOCS = Path(__file__).parents[2] / "docs" / "scale.md"
#: Streams a second. The cluster's rate was not recorded; docs/scale.md has other rates.
ARRIVALS = 28


def streams(count: int) -> Revision:
    """An agent with so many streams, which stay open."""
    revision = Revision(shipped("assistant"))
    revision.run([Request(nth / ARRIVALS, 120) for nth in range(count)])
    return revision


@pytest.mark.parametrize(("count", "pods"), [(50, 1), (200, 2), (400, 3)])
def test_open_streams_bring_as_many_pods_as_on_a_cluster(count: int, pods: int) -> None:
    assert len(streams(count).pods.ready_at) == pods


@pytest.mark.parametrize(("count", "seconds"), [(200, 14), (400, 17)])
def test_the_last_pod_is_ready_when_it_was_on_a_cluster(count: int, seconds: float) -> None:
    assert streams(count).pods.ready_at[-1] == pytest.approx(seconds, rel=0.1)


def test_the_first_pod_is_full_before_the_second_is_ready() -> None:
    revision = streams(400)
    filled_at = 200 / ARRIVALS

    assert revision.pods.outcome.fullest == 200
    assert filled_at < revision.pods.ready_at[1]
    # The others waited for the second pod, which was ready after 15 s on the cluster; docs/scale.md says why.
    assert revision.pods.ready_at[1] == pytest.approx(15, rel=0.15)
    assert max(revision.pods.outcome.waits) == pytest.approx(
        revision.pods.ready_at[1] - filled_at, abs=0.1
    )


@pytest.mark.parametrize(
    ("rules", "seconds"),
    [
        (shipped("threads"), 85),
        (shipped("runner"), 22),
        (shipped("assistant"), 150),
        # As it was when the cluster was measured.
        (replace(shipped("assistant"), delay=60, retention=30), 150),
    ],
    ids=["threads", "runner", "assistant", "assistant, earlier"],
)
@pytest.mark.parametrize("at", [0.3, 1.1, 1.9])
def test_a_function_terminates_as_long_after_its_last_request_as_on_a_cluster(
    rules: Rules, seconds: float, at: float
) -> None:
    ((created_at, gone_at),) = Revision(rules).run([Request(at, 1)]).spans

    assert created_at == at
    deleted_at = gone_at - QUIET_SECONDS
    assert deleted_at - (at + START_SECONDS + 1) == pytest.approx(seconds, rel=0.1)


@pytest.mark.parametrize(
    ("open_until", "gone_at"),
    [(0, 30), (9, 30), (100, 100), (9999, 600)],
    ids=["without work", "ends while it drains", "finishes", "is killed"],
)
def test_a_deleted_pod_is_gone_after_30_seconds_and_its_requests(
    open_until: float, gone_at: float
) -> None:
    pods = Revision(shipped("assistant")).pods
    pods.scale(0, 1)
    pods.clock.at(5, lambda now: pods.arrive(now, Request(now, 95 + open_until)))
    pods.clock.at(100, lambda now: pods.scale(now, 0))
    pods.clock.run()

    assert pods.outcome.spans == [(0, 100 + gone_at)]


def test_a_request_during_panic_does_not_scale_down() -> None:
    rules = Rules(target=1, concurrency=10, burst=-1)
    many = [Request(0, 5) for _ in range(6)]
    revision = Revision(rules)
    outcome = revision.run([*many, *(Request(10 + nth, 1) for nth in range(30))])

    deleted_at = [end - QUIET_SECONDS for _, end in outcome.spans]
    assert min(deleted_at) > 60, "panic lasts a stable window"


def test_activation_scale_brings_more_pods_than_are_needed() -> None:
    rules = Rules(burst=-1, activation_scale=3)

    assert Revision(rules).run([Request(0, 5)]).peak == 3


def test_max_scale_bounds_the_pods_and_the_others_wait() -> None:
    rules = Rules(target=1, concurrency=1, burst=-1, max_scale=2)
    outcome = Revision(rules).run([Request(0, 10) for _ in range(4)])

    assert outcome.peak == 2
    assert sorted(outcome.waits) == pytest.approx([2.8, 4.8, 12.8, 14.8])


def test_min_scale_keeps_a_pod_all_day_and_no_request_waits() -> None:
    outcome = Revision(replace(shipped("assistant"), min_scale=1)).run([Request(50_000, 8)])

    assert outcome.pod_seconds == pytest.approx(86_400, abs=60)
    assert outcome.waits == [0]


def test_a_positive_burst_capacity_takes_the_activator_out_of_the_path_when_there_is_room() -> None:
    def to_zero(burst: float) -> float:
        rules = Rules(target=100, concurrency=100, burst=burst)
        [(_, gone_at)] = Revision(rules).run([Request(0, 100)]).spans
        return gone_at - QUIET_SECONDS - 102.8

    # In the path all the time, it need not be there for another 30 s.
    assert to_zero(200) == pytest.approx(60, abs=3)
    assert to_zero(50) == pytest.approx(90, abs=3)


def test_the_activators_first_report_of_a_request_counts_it_once() -> None:
    reporter = Reporter()

    assert reporter.change(0.5, 1), "reported at once, as one"
    assert not reporter.change(0.5, 2)
    assert reporter.report(1) == 3 - 1
    assert reporter.report(2) == 3
    reporter.change(2.5, -3)
    assert reporter.report(3) == 1.5
    assert reporter.report(4) == 0
    assert not reporter.is_active


def test_at_most_half_of_the_ready_pods_go_in_one_tick() -> None:
    decider = Decider(Rules(burst=-1))

    assert [decider.decide(0, ready) for ready in (9, 4, 2, 1)] == [4, 2, 1, 0]


def test_the_linear_average_counts_gaps_and_neither_the_time_before_nor_after() -> None:
    average = Average(10)
    average.record(100.2, 6)
    assert average.average(100.9) == 6
    average.record(102.0, 6)
    assert average.average(102.5) == 4
    # Seconds without a report after the last one do not count.
    assert average.average(108) == 4
    assert average.average(111) == 6
    assert average.average(112) == 0


def test_the_weighted_average_counts_the_newest_most() -> None:
    rising, falling = WeightedAverage(4), WeightedAverage(4)
    for at, value in enumerate((5, 5, 10, 10)):
        rising.record(at, value)
        falling.record(at, 15 - value)

    # 0.9 of the newest, then a tenth of the weight for each older one.
    assert rising.average(3) == pytest.approx(9.9495, abs=1e-3)
    assert falling.average(3) == pytest.approx(5.049, abs=1e-3)


def test_a_delay_keeps_the_most_that_was_wanted_within_it() -> None:
    delay = Maximum(6, tick=2)

    assert [delay.record(at, value) for at, value in ((0, 3), (2, 1), (4, 1), (6, 1))] == [
        3,
        3,
        3,
        1,
    ]


def test_the_deployment_follows_cpu_up_at_once_and_down_after_five_minutes() -> None:
    streams = int(0.25 * 0.8 * 2 / cores_per_stream()) * 2
    outcome = Deployment(Hpa()).run([Request(30, 60) for _ in range(streams)], until=1000)

    assert outcome.peak == 4
    ended = sorted(end for _, end in outcome.spans)
    assert 90 + 285 <= ended[0] <= 90 + 330
    assert ended[2:] == [1005, 1005]


def test_the_shipped_windows_miss_the_goal_and_the_proposed_ones_reach_it() -> None:
    trace = idle_chat()
    rules = shipped("assistant")

    assert relative(knative(trace, rules), trace) > GOAL
    assert relative(knative(trace, proposed(rules)), trace) <= GOAL


@pytest.mark.parametrize("name", ["idle-chat", "office", "burst"])
def test_the_documented_figures_are_those_of_the_simulation(name: str) -> None:
    documented = DOCS.read_text().splitlines()

    assert [line for line in costs(TRACES[name]()) if line not in documented] == []
