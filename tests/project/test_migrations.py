"""Migrations that apps have applied stay as they are."""

import hashlib

from local.environment import ROOT

#: The first 16 digits of each file's SHA-256. Add a line for a new migration; never change one.
APPLIED = {
    "20261128120001_roles.sql": "330c479fbd314ac4",
    "20261128120002_tables.sql": "8e04cfe2393bf90e",
    "20261128120003_policies.sql": "195d8b783358a6f3",
    "20261128120004_auth.sql": "d956025d80450448",
    "20261128120005_lease.sql": "14f9c58e8c6c52eb",
    "20261128120006_log.sql": "d89ae01411d0fe97",
    "20261128120007_approvals.sql": "5ef214fc4c6eec7e",
    "20261128120008_limits.sql": "742daafff4ed64ca",
    "20261128120009_admission.sql": "711bbb0e47a623cb",
    "20261128120010_tools.sql": "5ab531f49682402d",
    "20261128120011_threads.sql": "a9c75bb0649bfcf6",
    "20261128120012_search.sql": "a739ff87b9b64509",
    "20261128120013_retention.sql": "87aadd326566cac2",
    "20261128120014_schedule.sql": "eccfcf396cb9454b",
    "20261128120015_grants.sql": "db232c9a0d673483",
    "20261129120016_expired_interrupts.sql": "2c0e09f67784ced4",
}


def test_a_migration_that_apps_have_applied_never_changes() -> None:
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in sorted((ROOT / "supabase/migrations").glob("*.sql"))
    }
    assert found == APPLIED, "write a new migration; `add-to` refuses an app with another version"
