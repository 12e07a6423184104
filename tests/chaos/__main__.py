"""`python -m tests.chaos --kills 200 --seed 1`: break everything for a while, then check everything."""

import argparse
import sys

from tests.chaos.play import Play, play


def main() -> int:
    """Play, print one line per invariant and a summary. Exit code 1: an invariant was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=40, help="how often something is broken")
    parser.add_argument("--seed", type=int, default=1, help="decides all that can be decided")
    parser.add_argument("--clients", type=int, default=6)
    chosen = parser.parse_args()
    report = play(Play(chosen.kills, chosen.seed, chosen.clients, _tell))
    if sys.stdout.isatty():
        print("\r\033[K", end="")
    print("\n".join(report.lines))
    return 0 if report.is_sound else 1


def _tell(news: str) -> None:
    if sys.stdout.isatty():
        print(f"\r\033[K{news}", end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
