-- Leases: who holds a run, when another process may take it, and which runs wait for a process.
--
-- Every function that locks both locks the thread before the lease.

-- The rules about waiting runs, each in one place. The first and the third have parsed bodies and no settings, so that
-- the planner inlines them and uses the index on `until`.
create function agent.lease_is_expired(until timestamptz) returns boolean
language sql stable
return until < now();

-- Whether a run without a holder could continue now: it had started, or it is the first in the queue of a free thread.
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

-- The one of these runs that could continue now and that no process holds; the caller should take it.
create function agent.unheld_run(p_runs uuid[]) returns uuid
language sql stable security definer set search_path = '' as $$
  select run_id from agent.lease join agent.run on run.id = run_id
   where run_id = any (p_runs) and agent.lease_is_expired(until) and agent.can_continue(run) limit 1
$$;

-- Those of these runs that have not ended and that no process holds.
create function agent.unheld_runs(p_runs uuid[]) returns setof uuid
language sql stable security definer set search_path = '' as $$
  select run_id from agent.lease where run_id = any (p_runs) and agent.lease_is_expired(until)
$$;

-- The next run of an ended run's thread.
create function agent.next_run(p_run uuid) returns uuid
language sql stable security definer set search_path = '' as $$
  select queued.id from agent.run join agent.run queued using (thread_id)
   where run.id = p_run and run.ended_at is not null and queued.status = 'queued'
   order by queued.created_at, queued.id limit 1
$$;

-- Where the committed log of a run ends, and whether a process holds the run.
create function agent.log_position(p_run uuid, out attempt integer, out last_seq integer, out held boolean)
language sql stable security definer set search_path = '' as $$
  select attempt, last_seq, not agent.lease_is_expired(until) from agent.lease where run_id = p_run
$$;

-- Whether an expired lease may be taken. A holder that was only late, as all are after Postgres was away, renews with
-- its next tick: so a lease that was not released is taken `p_grace` seconds after it was first seen to be expired.
create function agent.is_abandoned(held agent.lease, p_grace numeric) returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  if held.token is null or p_grace = 0 then
    return true;
  end if;
  if held.suspected_at is null then
    update agent.lease set suspected_at = clock_timestamp() where run_id = held.run_id;
  end if;
  return coalesce(held.suspected_at < clock_timestamp() - make_interval(secs => p_grace), false);
end $$;

-- Take the lease of a run that is queued, or whose holder's lease expired. An answer without a token says why not:
-- null (another process has it, or it has ended), `suspected`, or `next_run` of the thread because this run was ended
-- here.
--
-- A takeover discards the turn that was not closed: each of its items is aborted, completed or not.
create function agent.take_lease(p_run uuid, p_seconds numeric, p_max_attempts integer, p_grace numeric) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  held agent.lease;
  v_run agent.run;
  v_token uuid := gen_random_uuid();
  v_from integer;
begin
  perform from agent.thread where id = (select thread_id from agent.run where id = p_run) for no key update;
  select * into held from agent.lease where run_id = p_run for update skip locked;
  if not found or not agent.lease_is_expired(held.until) then
    return null;
  end if;
  if not agent.is_abandoned(held, p_grace) then
    return '{"suspected": true}';
  end if;
  select * into v_run from agent.run where id = p_run;
  if not agent.can_continue(v_run) then
    return null;
  end if;
  if held.unfinished_attempts >= p_max_attempts then
    perform agent.end_unheld_run(p_run, 'run.failed', jsonb_build_object(
      'code', 'too_many_attempts', 'message', 'Too many processes stopped while they executed the run.', 'retryable', true
    ));
    return jsonb_build_object('next_run', agent.next_run(p_run));
  end if;
  v_from := held.last_seq;
  if v_run.status = 'queued' then
    insert into agent.run_event (run_id, seq, attempt, type) values (p_run, v_from + 1, 1, 'run.started');
    update agent.run set status = 'in_progress', started_at = clock_timestamp() where id = p_run;
    held.last_seq := v_from + 1;
  else
    with discarded as (
      select item_id, row_number() over (order by seq) as nth from agent.run_event started
       where run_id = p_run and type = 'item.started' and seq > held.closed_seq and not exists (
         select from agent.run_event where run_id = p_run and item_id = started.item_id and type = 'item.aborted'
       )
    ), aborted as (
      insert into agent.run_event (run_id, seq, attempt, type, item_id, data)
      select p_run, v_from + nth, held.attempt + 1, 'item.aborted', item_id, '{"reason": "takeover"}' from discarded
      returning item_id
    ), superseded as (
      update agent.item set superseded_at = now()
       where id in (select item_id from discarded) and superseded_at is null
    )
    select v_from + count(*) into held.last_seq from aborted;
  end if;
  update agent.lease
     set token = v_token, until = clock_timestamp() + make_interval(secs => p_seconds), attempt = held.attempt + 1,
         unfinished_attempts = held.unfinished_attempts + 1, last_seq = held.last_seq, dispatched_at = null,
         suspected_at = null
   where run_id = p_run;
  return jsonb_build_object(
    'token', v_token, 'attempt', held.attempt + 1, 'base', v_from, 'last_seq', held.last_seq,
    'claims', (select claims from agent.run_secret where run_id = p_run)
  );
end $$;

-- Release leases before they expire: their holder stops, or the run has had its time in one process.
-- `unfinished_attempts` is above zero where the attempt closed no turn, because closing one sets both counts to zero.
create function agent.release_runs(p_held jsonb) returns void
language sql security definer set search_path = '' as $$
  update agent.lease
     set token = null, until = '-infinity', suspected_at = null,
         stalled_attempts = stalled_attempts + (unfinished_attempts > 0)::integer,
         unfinished_attempts = greatest(unfinished_attempts - 1, 0)
    from jsonb_to_recordset(p_held) as held (run_id uuid, token uuid)
   where lease.run_id = held.run_id and lease.token = held.token
$$;

-- Whether the caller may dispatch this run, which marks it as dispatched. A claim clears the mark.
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

-- Let the next sweep or reader dispatch these runs at once, unless a process has taken them.
create function agent.clear_dispatches(p_runs uuid[]) returns void
language sql security definer set search_path = '' as $$
  update agent.lease set dispatched_at = null where run_id = any (p_runs) and agent.lease_is_expired(until)
$$;

-- The runs that wait for a process: released, left by a process that died, or queued in a free thread. Marked as
-- dispatched, oldest first.
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

-- Whether `sweep_runs` would find a run.
create function agent.has_waiting_runs() returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (
    select from agent.lease join agent.run on run.id = lease.run_id where agent.is_dispatchable(lease, run)
  )
$$;

-- The runs whose lease expires within `p_seconds`, and in how many seconds: a sweep dispatches them then, because the
-- next sweep may be a minute away. This is not yet a suspicion.
create function agent.late_leases(p_seconds double precision, p_limit integer)
returns table (run_id uuid, due_in double precision)
language sql stable security definer set search_path = '' as $$
  select run_id, extract(epoch from until - now())::double precision from agent.lease
   where token is not null and not agent.lease_is_expired(until) and until < now() + make_interval(secs => p_seconds)
   order by until limit p_limit
$$;
