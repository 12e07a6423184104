"""What scaling costs and saves: Knative's autoscaler and a Deployment's, simulated over a day of requests.

The rules are those of Knative Serving and of Kubernetes, as their sources and documents state them; paths in docstrings
are of knative/serving, unless named. It replays events in simulated time, so a day takes a second or less.
"""

from typing import Final, NamedTuple

DAY: Final = 86_400.0

#: From a pod's creation to its first response, in seconds: measured on a cluster, median of eight starts of `assistant`
#: (docs/scale.md). Kubernetes publishes no such time. The same for every pod, also in a Deployment.
START_SECONDS: Final = 2.8


class Request(NamedTuple):
    """When a request arrives, and how long it is open once a pod has it; seconds."""

    at: float
    seconds: float
