"""Two revisions share one schema during a rollout: what the release before calls is still there, as it was.

`tests/golden/release.txt` has its functions; a release adds those it brought. That they still *do* what they did, the
other tests of this folder show: they call `begin_run`, `claim_run` and `append_events` as the first release did.
"""

from pathlib import Path

from tests.fixtures.database import TestDatabase

RELEASE = Path(__file__).parents[1] / "golden" / "release.txt"

_SIGNATURES = """
select proname || '(' || pg_get_function_identity_arguments(oid) || ') ' || pg_get_function_result(oid)
  from pg_proc where pronamespace = 'agent'::regnamespace
"""


async def test_every_function_of_the_release_before_has_its_signature(
    database: TestDatabase,
) -> None:
    released = RELEASE.read_text().splitlines()
    async with database.owner() as owner:
        there = {row[0] for row in await owner.fetch(_SIGNATURES)}

    assert len(released) > 30
    assert [signature for signature in released if signature not in there] == []
