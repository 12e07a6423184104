-- Leases: who holds a run, when another process may take it, and which runs wait for a process.
--
-- Every function that locks both locks the thread before the lease.

-- The rules about waiting runs, each in one place. `lease_is_expired` and `is_dispatchable` have parsed bodies and no
-- settings, so that the planner inlines them and uses the index on `until`.

-- Whether a lease has expired. A run that was never claimed, or was released, has the lease `-infinity`, which counts
-- as expired.
create function agent.lease_is_expired(until timestamptz) returns boolean
language sql stable
return until < now();

-- Whether a run without a holder could continue now: it is in progress, or it is the first in the queue of its thread
-- and the thread has no run in progress.
create function agent.can_continue(p_run agent.run) returns boolean
language sql stable security definer set search_path = '' as $$
  select p_run.status = 'in_progress' or not exists (
    select from agent.run other
     where other.thread_id = p_run.thread_id and other.id <> p_run.id
       and (other.status = 'in_progress'
            or other.status = 'queued' and (other.created_at, other.id) < (p_run.created_at, p_run.id))
  )
$$;

-- Whether a run may be dispatched: it has no holder, it could continue now, and nobody dispatched it within a minute.
create function agent.is_dispatchable(lease agent.lease, run agent.run) returns boolean
language sql stable
return agent.lease_is_expired(lease.until)
  and coalesce(lease.dispatched_at < now() - interval '60 seconds', true)
  and agent.can_continue(run);

-- The other runs of a thread that have not ended. The caller has locked the thread.
create function agent.unended_runs(p_thread uuid, p_except uuid) returns uuid[]
language sql stable security definer set search_path = '' as $$
  select coalesce(array_agg(id order by created_at), '{}') from agent.run
   where thread_id = p_thread and status in ('queued', 'in_progress') and id <> p_except
$$;

-- The one of these runs that could continue now and that no process holds. The caller should place it.
create function agent.run_to_place(p_runs uuid[]) returns uuid
language sql stable security definer set search_path = '' as $$
  select run_id from agent.lease join agent.run on run.id = run_id
   where run_id = any (p_runs) and agent.lease_is_expired(until) and agent.can_continue(run) limit 1
$$;

-- Those of these runs that have not ended and that no process holds.
create function agent.unheld_runs(p_runs uuid[]) returns setof uuid
language sql stable security definer set search_path = '' as $$
  select run_id from agent.lease where run_id = any (p_runs) and agent.lease_is_expired(until)
$$;

-- The run that an ended run's thread continues with: the first in its queue.
create function agent.next_queued_run(p_run uuid) returns uuid
language sql stable security definer set search_path = '' as $$
  select queued.id from agent.run join agent.run queued using (thread_id)
   where run.id = p_run and run.ended_at is not null and queued.status = 'queued'
   order by queued.created_at, queued.id limit 1
$$;

-- Where the committed log of a run ends, and whether a process holds the run.
create function agent.log_position(p_run uuid, out attempt integer, out last_seq integer, out is_held boolean)
language sql stable security definer set search_path = '' as $$
  select attempt, last_seq, not agent.lease_is_expired(until) from agent.lease where run_id = p_run
$$;

-- In how many seconds an expired lease may be claimed; 0: now. The first look marks it as suspected. From `p_grace`
-- seconds later on, a second look returns 0: a holder that was only late, as all are after Postgres was away, has
-- renewed its lease by then, which clears the mark. Both looks may be of different processes. A released lease needs
-- only one look.
create function agent.seconds_to_second_look(p_lease agent.lease, p_grace numeric) returns numeric
language plpgsql security definer set search_path = '' as $$
begin
  if p_lease.token is null or p_grace = 0 then
    return 0;
  end if;
  if p_lease.suspected_at is null then
    update agent.lease set suspected_at = clock_timestamp() where run_id = p_lease.run_id;
    return p_grace;
  end if;
  return greatest(p_grace - extract(epoch from clock_timestamp() - p_lease.suspected_at), 0);
end $$;

-- Take the lease of a run that no process holds. Returns one of:
--   {token, attempt, base, last_seq, claims}: the caller holds the run now;
--   {suspected}: its holder may only be late, so the caller looks again in that many seconds;
--   {unknown_agent}: the run's agent is none of `p_agents`, those that the caller can execute (null: all). This counts
--     as a look, so that a runner that loads the agent now, or another process, need not wait again;
--   {next_queued_run}: this function ended the run, which had too many attempts; its thread continues with that run;
--   null: another process holds it, it has ended, or another run of its thread comes first.
--
-- A takeover takes back every item of the open turn, complete or not.
create function agent.take_lease(
  p_run uuid, p_seconds numeric, p_max_unfinished_attempts integer, p_grace numeric, p_agents jsonb
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_lease agent.lease;
  v_run agent.run;
  v_token uuid := gen_random_uuid();
  v_wait numeric;
  v_from integer;
begin
  perform from agent.thread where id = (select thread_id from agent.run where id = p_run) for no key update;
  select * into v_lease from agent.lease where run_id = p_run for update skip locked;
  if not found or not agent.lease_is_expired(v_lease.until) then
    return null;
  end if;
  select * into v_run from agent.run where id = p_run;
  if not agent.can_continue(v_run) then
    return null;
  end if;
  v_wait := agent.seconds_to_second_look(v_lease, p_grace);
  if not p_agents ? v_run.agent then
    return jsonb_build_object('unknown_agent', v_run.agent);
  end if;
  if v_wait > 0 then
    return jsonb_build_object('suspected', v_wait);
  end if;
  if v_lease.unfinished_attempts >= p_max_unfinished_attempts then
    perform agent.end_unheld_run(p_run, 'run.failed', jsonb_build_object(
      'code', 'too_many_attempts', 'message', 'Too many processes stopped while they executed the run.',
      'retryable', true
    ));
    return jsonb_build_object('next_queued_run', agent.next_queued_run(p_run));
  end if;
  v_from := v_lease.last_seq;
  if v_run.status = 'queued' then
    insert into agent.run_event (run_id, seq, attempt, type) values (p_run, v_from + 1, 1, 'run.started');
    update agent.run set status = 'in_progress', started_at = clock_timestamp() where id = p_run;
    v_lease.last_seq := v_from + 1;
  else
    with discarded as (
      select item_id, row_number() over (order by seq) as nth from agent.run_event started
       where run_id = p_run and type = 'item.started' and seq > v_lease.closed_seq and not exists (
         select from agent.run_event where run_id = p_run and item_id = started.item_id and type = 'item.aborted'
       )
    ), aborted as (
      insert into agent.run_event (run_id, seq, attempt, type, item_id, data)
      select p_run, v_from + nth, v_lease.attempt + 1, 'item.aborted', item_id, '{"reason": "takeover"}' from discarded
      returning item_id
    ), superseded as (
      update agent.item set superseded_at = now()
       where id in (select item_id from discarded) and superseded_at is null
    )
    select v_from + count(*) into v_lease.last_seq from aborted;
  end if;
  update agent.lease
     set token = v_token, until = clock_timestamp() + make_interval(secs => p_seconds), attempt = v_lease.attempt + 1,
         unfinished_attempts = v_lease.unfinished_attempts + 1, last_seq = v_lease.last_seq, dispatched_at = null,
         suspected_at = null, refusals = 0, refusal_reason = null, refused_at = null, refused_for = '0'
   where run_id = p_run;
  return jsonb_build_object(
    'token', v_token, 'attempt', v_lease.attempt + 1, 'base', v_from, 'last_seq', v_lease.last_seq,
    'claims', (select claims from agent.run_secret where run_id = p_run)
  );
end $$;

-- Release leases before they expire: their holder stops, or the run has had its time in one process.
-- A release is a stall if the attempt closed no turn. The claim added one to `unfinished_attempts`, and closing a turn
-- sets it to zero. So if it is above zero, this attempt closed no turn. `p_leases`: [{run_id, token}].
create function agent.release_runs(p_leases jsonb) returns void
language sql security definer set search_path = '' as $$
  update agent.lease
     set token = null, until = '-infinity', suspected_at = null,
         stalled_attempts = stalled_attempts + (unfinished_attempts > 0)::integer,
         unfinished_attempts = greatest(unfinished_attempts - 1, 0)
    from jsonb_to_recordset(p_leases) as released (run_id uuid, token uuid)
   where lease.run_id = released.run_id and lease.token = released.token
$$;

-- Mark a run as dispatched, if it may be. Returns whether the caller is to dispatch it. A claim clears the mark.
create function agent.mark_dispatched(p_run uuid) returns boolean
language sql security definer set search_path = '' as $$
  with marked as (
    update agent.lease set dispatched_at = clock_timestamp()
      from agent.run
     where lease.run_id = p_run and run.id = p_run and agent.is_dispatchable(lease, run)
    returning run_id
  )
  select exists (select from marked)
$$;

-- Clear the marks of these runs, unless a process holds them by now: the next sweep or reader dispatches them at once.
create function agent.clear_dispatches(p_runs uuid[]) returns void
language sql security definer set search_path = '' as $$
  update agent.lease set dispatched_at = null where run_id = any (p_runs) and agent.lease_is_expired(until)
$$;

-- Refuse a run for a runner that cannot execute its agent: `agent_gone` if its revision does not have the agent,
-- `agent_broken` if it cannot load it. The run waits again, and may be dispatched at once. After five refusals for the
-- same reason over an hour or more, it ends as failed. Only time with refusals counts: two of them that are more than
-- 15 minutes apart had an outage, a full runner or a queue between them. The next claim forgets all refusals.
-- Returns {next_queued_run} if it ended the run, null otherwise.
create function agent.refuse_run(p_run uuid, p_reason text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_lease agent.lease;
  v_run agent.run;
  v_gap interval;
begin
  perform from agent.thread where id = (select thread_id from agent.run where id = p_run) for no key update;
  select * into v_lease from agent.lease where run_id = p_run for update;
  if not found or not agent.lease_is_expired(v_lease.until) then
    return null;
  end if;
  select * into v_run from agent.run where id = p_run;
  if not agent.can_continue(v_run) then
    update agent.lease set dispatched_at = null where run_id = p_run;
    return null;
  end if;
  if v_lease.refusal_reason is distinct from p_reason then
    v_lease.refusals := 0;
    v_lease.refused_for := '0';
  else
    v_gap := clock_timestamp() - v_lease.refused_at;
    if v_gap <= interval '15 minutes' then
      v_lease.refused_for := v_lease.refused_for + v_gap;
    end if;
  end if;
  if v_lease.refusals >= 4 and v_lease.refused_for >= interval '1 hour' then
    perform agent.end_unheld_run(p_run, 'run.failed', jsonb_build_object(
      'code', p_reason, 'message', case p_reason
        when 'agent_gone' then 'The agent of this run no longer exists.'
        else 'The agent of this run cannot be started.'
      end, 'retryable', p_reason <> 'agent_gone'
    ));
    return jsonb_build_object('next_queued_run', agent.next_queued_run(p_run));
  end if;
  update agent.lease
     set dispatched_at = null, refusals = v_lease.refusals + 1, refusal_reason = p_reason,
         refused_at = clock_timestamp(), refused_for = v_lease.refused_for
   where run_id = p_run;
  return null;
end $$;

-- Mark the oldest runs that wait for a process as dispatched, and return them: released, left by a process that died,
-- or first in the queue of their thread.
create function agent.sweep_runs(p_limit integer) returns setof uuid
language sql security definer set search_path = '' as $$
  update agent.lease set dispatched_at = clock_timestamp()
   where run_id in (
     select lease.run_id from agent.lease join agent.run on run.id = lease.run_id
      where agent.is_dispatchable(lease, run)
      order by run.created_at limit p_limit
      for update of lease skip locked
   )
  returning run_id
$$;

-- Whether `sweep_runs` would return a run.
create function agent.has_waiting_runs() returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (
    select from agent.lease join agent.run on run.id = lease.run_id where agent.is_dispatchable(lease, run)
  )
$$;

-- The runs whose lease expires within `p_seconds`, and in how many seconds. A sweep dispatches each of them when its
-- lease expires, because the next sweep may be a minute away. A late lease is not suspected before it expires.
create function agent.late_leases(p_seconds double precision, p_limit integer)
returns table (run_id uuid, due_in double precision)
language sql stable security definer set search_path = '' as $$
  select run_id, extract(epoch from until - now())::double precision from agent.lease
   where token is not null and not agent.lease_is_expired(until) and until < now() + make_interval(secs => p_seconds)
   order by until limit p_limit
$$;
