"""The revisions of a bundle on a cluster, as `python -m knative` makes and lists them."""

import asyncio

from tests.cluster.bundle import ClusterBundle


async def do(bundle: ClusterBundle, *arguments: str) -> None:
    """A command that must succeed."""
    done = await asyncio.to_thread(bundle.knative, *arguments)
    assert done.returncode == 0, done.stderr


async def deploy(bundle: ClusterBundle) -> None:
    """Deploy the overlay's files, and wait until they are ready."""
    await do(bundle, "deploy", str(bundle.overlay))


async def serving(bundle: ClusterBundle) -> dict[str, str]:
    """Revisions of `assistant` with traffic, and their share."""
    rows = await asyncio.to_thread(bundle.status)
    agents = [row for row in rows if row["service"] == "assistant" and row["traffic"] != "0%"]
    return {row["revision"]: row["traffic"] for row in agents}
