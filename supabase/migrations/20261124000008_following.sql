-- Following, and noticing: the same query that reads on for all followed runs of a process says which of them nobody
-- holds any more, so that whoever follows takes them up as soon as their lease has run out.

-- The events behind given positions, as `read_events` gives them, and a row `lease.expired` for a run that could go on
-- and that nobody holds.
create function agent.follow_runs(p_reads jsonb)
returns table (reader integer, seq integer, count integer, attempt integer, type text, item_id uuid, data jsonb)
language sql stable security definer set search_path = '' as $$
  select * from agent.read_events(p_reads)
  union all
  select min(wanted.reader), 0, 0, lease.attempt, 'lease.expired', null, 'null'
    from jsonb_to_recordset(p_reads) as wanted (reader integer, run_id uuid)
    join agent.lease on lease.run_id = wanted.run_id
    join agent.run on run.id = wanted.run_id
   where lease.until < now() and agent.is_next(run)
   group by lease.run_id, lease.attempt
$$;

revoke execute on all functions in schema agent from public, anon, authenticated;
grant execute on all functions in schema agent to agent_api;
