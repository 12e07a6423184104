"""Why Postgres rejected a statement of a user: a policy or a constraint, which is no missing grant."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: The class of SQLSTATEs of constraints.
_CONSTRAINTS: Final = "23"
_NO_PRIVILEGE: Final = "42501"
#: A missing grant has the same SQLSTATE, and messages are translated; only the place in Postgres tells them apart.
_POLICY_CHECK: Final = "ExecWithCheckOptions"


class WriteRejected(Exception):
    """A policy or a constraint of a table rejected a statement; the session is rolled back.

    `code`: the SQLSTATE, such as 23505 for a duplicate; 42501 for a policy. `constraint`: its name, or "" for a policy
    and for `not null`.
    """

    def __init__(self, code: str, constraint: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.constraint = constraint

    @property
    def reason(self) -> str:
        """What rejected the statement, in words for the model."""
        if self.code == _NO_PRIVILEGE:
            return "the user may not write this row"
        return (
            f"it breaks the rule {self.constraint!r}" if self.constraint else "a value is missing"
        )


@contextmanager
def naming_rejections() -> Iterator[None]:
    """Raise WriteRejected for the driver's errors that mean one. All others pass."""
    try:
        yield
    except Exception as error:
        if rejection := _rejection(error):
            # The error quotes the row, and logs must hold no content.
            raise rejection from None
        raise


def _rejection(error: Exception) -> WriteRejected | None:
    code = getattr(error, "sqlstate", None) or ""
    is_policy = (
        code == _NO_PRIVILEGE and getattr(error, "server_source_function", "") == _POLICY_CHECK
    )
    if is_policy or code.startswith(_CONSTRAINTS):
        return WriteRejected(code, getattr(error, "constraint_name", None) or "")
    return None
