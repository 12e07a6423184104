"""Ids on the wire, and the members of MCP's `_meta` that our own functions exchange."""

#: Members of `_meta` between our own functions: the key of a call, what came of it, whether it needs a yes.
CALL_ID = "agent-functions/call_id"


OUTCOME = "agent-functions/outcome"


APPROVAL = "agent-functions/approval"


#: Ids that stand in paths: opaque, but for what a path would read otherwise.
WIRE_ID = (
    r"^([^/\\\x00-\x1f\x7f.]|\.[^/\\\x00-\x1f\x7f.]|\.\.[^/\\\x00-\x1f\x7f])[^/\\\x00-\x1f\x7f]*$"
)
