"""Ids on the wire, and the members of MCP's `_meta` that our functions exchange."""

#: Members of `_meta`: a call's idempotency key, its outcome, and its tool's approval policy.
CALL_ID = "agent-functions/call_id"
OUTCOME = "agent-functions/outcome"
APPROVAL = "agent-functions/approval"

#: Ids in paths: opaque strings, without what a path gives a meaning of its own.
WIRE_ID = (
    r"^([^/\\\x00-\x1f\x7f.]|\.[^/\\\x00-\x1f\x7f.]|\.\.[^/\\\x00-\x1f\x7f])[^/\\\x00-\x1f\x7f]*$"
)
