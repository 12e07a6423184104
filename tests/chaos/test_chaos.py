"""A short play; `make chaos` is the long one."""

from tests.chaos.play import Play, play


def test_a_short_play_of_chaos_breaks_nothing() -> None:
    report = play(Play(kills=6, seed=7, clients=5, progress=lambda _: None))

    assert report.is_sound, "\n".join(report.lines)
