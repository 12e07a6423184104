-- Column by column: a user's session inserts requests and messages, and never decides a status, a token, or a position
-- in the log.
grant select, insert (owner, client_thread_id, title, metadata, request_key, request_hash),
  update (title, metadata, updated_at, archived_at) on agent.thread to authenticated;
grant select, insert (thread_id, owner, client_run_id, agent, agent_hash, request, request_hash)
  on agent.run to authenticated;
grant select, insert (thread_id, run_id, owner, key, kind, data), update (superseded_at)
  on agent.item to authenticated;
grant select, update (status, payload, resolved_by, resolved_at) on agent.interrupt to authenticated;
grant select on agent.run_event, agent.turn_usage, agent.day_usage, agent.audit_event to authenticated;
grant select, insert (owner, key, text), delete on agent.note to authenticated;

-- Only the login of the Python functions executes the functions of this schema.
revoke execute on all functions in schema agent from public, anon, authenticated;
grant execute on all functions in schema agent to agent_api;
