"""`make manifests`: every overlay rendered and checked, and a table of what each service may do."""

import sys

from shared.core.json import Json
from tests.knative.rendering import FOLDER, CannotRender, render, scaling, services
from tests.knative.rendering import overlays as overlays_
from tests.knative.schemas import faults

_COLUMNS = "{:<11} {:<12} {:<8} {:>5} {:>6} {:>6} {:>7} {:>6} {:>9} {:>6} {:>20}"
_TITLES = (
    *("overlay", "service", "visible", "scale", "target", "limit"),
    *("window", "delay", "retention", "burst", "start/idle/all (s)"),
)


def main() -> int:
    """Exit code 1 when an overlay cannot be rendered, or an object of it is wrong."""
    print(_COLUMNS.format(*_TITLES))
    wrong = [fault for overlay in overlays_() for fault in _check(overlay)]
    for fault in wrong:
        print(fault, file=sys.stderr)
    return 1 if wrong else 0


def _check(overlay: str) -> list[str]:
    try:
        objects = render(FOLDER / "overlays" / overlay)
    except CannotRender as error:
        return [f"{overlay}: {error}"]
    for name, service in services(objects).items():
        print(_COLUMNS.format(overlay, name, *_row(service)))
    print(f"{overlay:<11} {len(objects)} objects")
    return [
        f"{overlay}: {each['kind']} {each['metadata']['name']}: {fault}"
        for each in objects
        for fault in faults(each)
    ]


def _row(service: Json) -> tuple[str, ...]:
    scale = scaling(service)
    spec = service["spec"]["template"]["spec"]
    return (
        service["metadata"]
        .get("labels", {})
        .get("networking.knative.dev/visibility", "public")
        .removeprefix("cluster-"),
        f"{scale['min-scale']}-{scale['max-scale']}",
        scale["target"],
        str(spec["containerConcurrency"]),
        scale["window"],
        scale["scale-down-delay"],
        scale["scale-to-zero-pod-retention-period"],
        scale["target-burst-capacity"],
        f"{spec['responseStartTimeoutSeconds']}/{spec['idleTimeoutSeconds']}/{spec['timeoutSeconds']}",
    )


if __name__ == "__main__":
    sys.exit(main())
