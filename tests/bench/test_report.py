"""A candidate that fails does not stop the bench, and reaches no goal."""

import json
from pathlib import Path

import pytest

from bench import NotMeasured, report
from bench.__main__ import ROWS
from bench.contenders import AGENT, Contender
from bench.peers import DURABLE, PEERS
from bench.rounds import Effort, attempts
from bench.rows import Results, Row, Spread, Verdict, best, limit, ratio


def test_a_candidate_that_fails_keeps_its_results_and_the_others_continue(
    capsys: pytest.CaptureFixture[str],
) -> None:
    measured: list[str] = []

    def steady() -> float:
        measured.append("steady")
        return 2.0

    def failing() -> dict[str, float]:
        measured.append("failing")
        if measured.count("failing") == 2:
            raise ZeroDivisionError("an unexpected error")
        return {"p50": 1.0}

    results = attempts({"failing": failing, "steady": steady}, 3)

    assert results.figures == {"failing p50": Spread((1.0,)), "steady": Spread((2.0, 2.0, 2.0))}
    assert results.missing == {"failing": "round 2 of 3: an unexpected error"}
    assert measured == ["failing", "steady", "failing", "steady", "steady"]
    output = capsys.readouterr().err
    assert "round 2 of 3  failing: could not be measured" in output
    # Unexpected errors have a traceback.
    assert output.count("Traceback") == 1


def test_a_goal_without_a_figure_is_not_met() -> None:
    results = Results({"assistant": Spread((1.0,))}, {"dbos": "no licence"})

    assert not ratio(results, "assistant", "dbos", at_most=5).is_met
    assert not ratio(results, "assistant", best(results, ["dbos", "ogx"]), at_most=5).is_met
    assert not limit(results, "dbos", 5).is_met


def test_a_goal_of_an_unknown_figure_is_a_mistake() -> None:
    with pytest.raises(KeyError, match="agent p50"):
        limit(Results({"assistant p50": Spread((1.0,))}), "agent p50", 5)


def test_goals_compare_middles_with_the_best_of_the_others() -> None:
    results = Results(
        {
            "assistant": Spread((1.0, 9.0, 2.0)),
            "aegra": Spread((10.0,)),
            "dbos": Spread((8.0, 8.0)),
        }
    )

    assert best(results, ["aegra", "dbos"]) == "dbos"
    assert best(results, ["aegra", "dbos"], max) == "aegra"
    quarter = ratio(results, "assistant", "dbos", at_most=0.25)
    assert (quarter.is_met, quarter.ours, quarter.theirs) == (True, "assistant 2", "dbos 8")
    assert quarter.result.startswith("0.25 ")
    assert not ratio(results, "assistant", "dbos", at_most=0.24).is_met
    assert ratio(results, "aegra", "assistant", at_least=5).is_met
    assert not ratio(results, "aegra", "assistant", at_least=5.1).is_met
    assert limit(results, "assistant", 2, "ms").is_met
    assert not limit(results, "assistant", 1.9, "ms").is_met


def test_rows_are_saved_with_the_missing_candidates_and_the_curves(tmp_path: Path) -> None:
    compared = Row(
        "runs",
        "runs/s",
        Results(
            {"assistant": Spread((2.0, 4.0)), "naive": Spread((1.0,))}, {"ogx": "no | python3.12"}
        ),
        [Verdict("more than naive", "3 times", True, "assistant 3", "naive 1")],
    )
    grown = Row(
        "a page",
        "ms",
        Results({"threads, 100": Spread((1.0,)), "threads, 1,000": Spread((1.5,))}),
        [Verdict("as the first", "1.5 times", False)],
        {"threads": {100: "threads, 100", 1_000: "threads, 1,000"}},
    )

    report.save([compared], tmp_path)
    report.save([compared, grown], tmp_path)

    table = (tmp_path / "results.md").read_text().splitlines()
    assert {line.count("|") for line in table if line.startswith("|")} == {8}
    assert "ogx could not be measured: no ¦ python3.12" in table[2]
    assert table[-1] == "goals met: 1/2"
    assert [row["name"] for row in json.loads((tmp_path / "results.json").read_text())["rows"]] == [
        "runs",
        "a page",
    ]
    assert {file.name for file in tmp_path.glob("*.png")} == {"runs.png", "a-page.png"}


def test_quick_measures_no_peer_and_full_measures_all() -> None:
    assert Effort(is_quick=True).of() == ()
    assert Effort().of() == PEERS
    assert {peer.name for peer in DURABLE} == {"aegra", "agno", "ogx", "dbos"}
    assert Effort(most_rounds=1).rounds(2, 3) == 1
    assert Effort().rounds(2, 3) == 3


def test_a_full_bench_is_planned_for_three_quarters_of_an_hour_at_most() -> None:
    assert sum(row.minutes for row in ROWS.values()) <= 45


def test_missing_packages_are_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.contenders.FOLDER", tmp_path)
    peer = Contender(
        "peer",
        "peer",
        ("./no-such-package",),
        lambda _: [],
        lambda _: {},
        AGENT.request,
        is_pinned_here=True,
    )

    with pytest.raises(NotMeasured, match=r"cannot be installed: .*no-such-package"):
        peer.install()
