"""The pattern of clients' ids, and the members of MCP's `_meta` that our functions exchange."""

#: Members of `_meta`: a call's idempotency key, its outcome, and its tool's approval policy.
CALL_ID = "agent-functions/call_id"
OUTCOME = "agent-functions/outcome"
APPROVAL = "agent-functions/approval"

#: Ids in paths: opaque strings without the characters that have a meaning in paths.
CLIENT_ID_PATTERN = (
    r"^([^/\\\x00-\x1f\x7f.]|\.[^/\\\x00-\x1f\x7f.]|\.\.[^/\\\x00-\x1f\x7f])[^/\\\x00-\x1f\x7f]*$"
)
