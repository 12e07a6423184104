"""`python -m knative`: deploy, inspect, promote and roll back."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence

from functions.output import run_while_read
from functions.packages import needed_packages

with needed_packages("knative", "make bootstrap"):
    from knative import changes, deploying, status
    from knative.checking import NoCluster, check_settings, remarks
    from knative.cluster import Cluster
    from knative.errors import Refused, Unreachable
    from knative.inspecting import invoke, logs
    from knative.rendering import overlay, services
    from shared.core import Json

_NAMESPACE = "agent-backend"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. If it fails, print the reason and return exit code 1."""
    return run_while_read(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except Refused as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _deploy(options: argparse.Namespace) -> None:
    cluster, objects = _overlay(options)
    check_settings(cluster, objects, overlay(options.overlay))
    deploying.deploy(cluster, objects, canary=options.canary, seconds=options.timeout)


def _diff(options: argparse.Namespace) -> int:
    cluster, objects = _overlay(options)
    try:
        has_difference = _print_differences(cluster, objects, options.canary)
    except Unreachable as why:
        nothing = NoCluster(cluster.namespace, why)
        raise Refused(_without_cluster(options, objects, nothing)) from None
    # At the end: what `deploy` would refuse does not hide what it would change.
    check_settings(cluster, objects, overlay(options.overlay))
    return int(has_difference and options.exit_code)


def _print_differences(cluster: Cluster, objects: list[Json], canary: int | None) -> bool:
    """Print what would change; returns whether anything would."""
    deploying.prepare(cluster, objects, canary)
    has_difference = False
    for each in changes.differences(cluster, objects):
        has_difference = True
        print(each)
    sys.stdout.flush()
    return has_difference


def _overlay(options: argparse.Namespace) -> tuple[Cluster, list[Json]]:
    # Before the cluster is needed, so that errors in files show without one.
    objects = deploying.render_overlay(overlay(options.overlay), options.image)
    for remark in remarks(overlay(options.overlay)):
        print(remark, file=sys.stderr)
    [namespace] = {each["metadata"]["namespace"] for each in services(objects).values()}
    try:
        return Cluster.of(options.kubeconfig, options.context, namespace), objects
    except Refused as why:
        raise Refused(_without_cluster(options, objects, NoCluster(namespace, why))) from None


def _without_cluster(options: argparse.Namespace, objects: list[Json], nothing: NoCluster) -> str:
    """Why there is no cluster, after all that is wrong with the overlay's own settings."""
    try:
        check_settings(nothing, objects, overlay(options.overlay))
    except Refused as faults:
        return f"{faults}\n{nothing.why}"
    return f"{nothing.why} The overlay's own settings can be used; its Secrets were not checked."


def _promote(options: argparse.Namespace) -> None:
    deploying.promote(_cluster(options), options.functions, options.timeout)


def _rollback(options: argparse.Namespace) -> None:
    deploying.roll_back(_cluster(options), options.functions, options.to, options.timeout)


def _status(options: argparse.Namespace) -> None:
    rows = status.rows(_cluster(options))
    print(json.dumps(rows, indent=2) if options.json else status.table(rows))


def _logs(options: argparse.Namespace) -> None:
    logs(_cluster(options), options.function, follow=options.follow, lines=options.tail)


def _invoke(options: argparse.Namespace) -> int:
    return invoke(
        _cluster(options),
        options.function,
        path=options.path,
        method=options.method or ("GET" if options.data is None else "POST"),
        body=options.data,
        headers=options.header,
        address=options.address,
    )


def _cluster(options: argparse.Namespace) -> Cluster:
    return Cluster.of(options.kubeconfig, options.context, options.namespace)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m knative", description=__doc__)
    parser.add_argument("--kubeconfig", help="a file; else KUBECONFIG's, else ~/.kube/config")
    parser.add_argument("--context", help="a context of that file; else its current one")
    commands = parser.add_subparsers(required=True)

    def add(
        run: Callable[[argparse.Namespace], int | None], summary: str
    ) -> argparse.ArgumentParser:
        name = run.__name__.removeprefix("_")
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(run=run)
        return command

    for run, summary in (
        (_deploy, "apply an overlay, and wait until its functions are ready"),
        (_diff, "show what deploy would change, without the values of Secrets"),
    ):
        _add_overlay(add(run, summary))
    for move, summary in (
        (_promote, "send all traffic to the latest revision"),
        (_rollback, "send all traffic to the revision that served before the last deploy"),
    ):
        _add_move(add(move, summary))
    _add_inspection(add)
    return parser


def _add_overlay(command: argparse.ArgumentParser) -> None:
    command.add_argument("overlay", nargs="?", default="production", help="a name, or a folder")
    command.add_argument("--image", help="replaces the overlay's: name@sha256:..., or name:tag")
    command.add_argument(
        "--canary",
        type=_percent,
        metavar="PERCENT",
        help="share of the traffic for the new revision",
    )
    if command.prog.endswith("deploy"):
        _add_timeout(command)
    else:
        command.add_argument("--exit-code", action="store_true", help="1 if there is a difference")


def _add_move(command: argparse.ArgumentParser) -> None:
    command.add_argument("functions", nargs="*", metavar="function", help="default: all")
    _add_namespace(command)
    _add_timeout(command)
    if command.prog.endswith("rollback"):
        command.add_argument(
            "--to", metavar="REVISION", help="instead of the one that served before"
        )


def _add_inspection(add: Callable[..., argparse.ArgumentParser]) -> None:
    show = add(_status, "show revisions, their pods and their traffic")
    show.add_argument("--json", action="store_true", help="print JSON")
    read = add(_logs, "print the logs of a function's pods")
    read.add_argument("--follow", "-f", action="store_true", help="continue until Ctrl-C")
    read.add_argument("--tail", type=int, metavar="LINES", help="the last lines only")
    request = add(
        _invoke, "send a request to a public function and print the response as it arrives"
    )
    for command in (read, request):
        command.add_argument("function")
    request.add_argument("path", nargs="?", default="/health")
    request.add_argument("--method", help="default: GET, or POST if there is a body")
    request.add_argument("--data", help="the body")
    request.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'")
    request.add_argument("--address", help="of an ingress, if the function's name does not resolve")
    for command in (show, read, request):
        _add_namespace(command)


def _add_namespace(command: argparse.ArgumentParser) -> None:
    command.add_argument("--namespace", "-n", default=_NAMESPACE)


def _add_timeout(command: argparse.ArgumentParser) -> None:
    # Knative gives up on a revision after 600 s and reports the reason.
    command.add_argument(
        "--timeout", type=float, default=660, metavar="SECONDS", help="time to wait; default 660"
    )


def _percent(text: str) -> int:
    if text.isdecimal() and 0 < int(text) < 100:
        return int(text)
    raise argparse.ArgumentTypeError("a number from 1 to 99")


if __name__ == "__main__":
    sys.exit(main())
