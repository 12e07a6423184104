-- Waking: who waits is found here, and whoever looks first sends it on. Nothing has to be alive while nothing waits.

-- Whether the caller may dispatch this run: it could go on, and nobody did within a minute. A claim, or a failed delivery, clears the mark.
create function agent.mark_dispatched(p_run uuid) returns boolean
language sql security definer set search_path = '' as $$
  with marked as (
    update agent.lease set dispatched_at = clock_timestamp()
     where run_id = p_run and until < now() and coalesce(dispatched_at < now() - interval '60 seconds', true)
       and (select agent.is_next(run) from agent.run where id = p_run)
    returning run_id
  )
  select exists (select from marked)
$$;

create function agent.unmark_dispatched(p_run uuid) returns void
language sql security definer set search_path = '' as $$
  update agent.lease set dispatched_at = null where run_id = p_run and until < now()
$$;

-- The runs that wait for somebody to execute them: given back, left by a process that died, or queued on a thread that
-- is free. Marked as dispatched, oldest first.
create function agent.sweep_runs(p_limit integer) returns setof uuid
language sql security definer set search_path = '' as $$
  update agent.lease set dispatched_at = clock_timestamp()
   where run_id in (
     select lease.run_id from agent.lease join agent.run on run.id = lease.run_id
      where until < now() and coalesce(dispatched_at < now() - interval '60 seconds', true)
        and agent.is_next(run)
      order by run.created_at limit p_limit
      for update of lease skip locked
   )
  returning run_id
$$;

-- Take back the space of ended runs, a few at a time: their deltas after an hour at the earliest (what they added up to
-- stays), all but the ending after `p_events_after`. Returns how many runs were touched.
create function agent.prune_runs(p_deltas_after interval, p_events_after interval, p_limit integer) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_pruned uuid[];
  v_emptied uuid[];
begin
  with touched as (
    update agent.run set pruned_at = now() where id in (
      select id from agent.run
       where pruned_at is null and ended_at < now() - greatest(p_deltas_after, interval '1 hour')
       order by ended_at limit p_limit for update skip locked
    ) returning id
  )
  select coalesce(array_agg(id), '{}') into v_pruned from touched;
  delete from agent.run_event where run_id = any (v_pruned) and type = 'item.delta';
  with touched as (
    update agent.run set emptied_at = now() where id in (
      select id from agent.run
       where emptied_at is null and pruned_at is not null and ended_at < now() - p_events_after
       order by ended_at limit p_limit for update skip locked
    ) returning id
  )
  select coalesce(array_agg(id), '{}') into v_emptied from touched;
  delete from agent.run_event using agent.run
   where run_event.run_id = any (v_emptied) and run.id = run_event.run_id and run_event.seq < run.last_seq;
  return cardinality(v_pruned) + cardinality(v_emptied);
end $$;

revoke execute on all functions in schema agent from public, anon, authenticated;
grant execute on all functions in schema agent to agent_api;
