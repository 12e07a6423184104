-- Stopping: attempts that are released without progress are counted, and a process that stops can see whether another
-- one has taken the runs it released.

-- How often the run was released since it last closed a turn. `asks` counts crashes; neither count touches the other.
alter table agent.lease add column stalls integer not null default 0;

-- Append a batch, as before; a closed turn sets both counts to zero.
create or replace function agent.append_events(p_batch jsonb)
returns table (run_id uuid, verdict text, last_seq integer, next_run uuid)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  entry jsonb;
  held agent.lease;
  v_is_locked boolean;
begin
  for entry in select value from jsonb_array_elements(p_batch) loop
    run_id := (entry ->> 'run_id')::uuid;
    next_run := null;
    -- An ending and an admission of the same thread must see each other, or neither wakes the run that waits. The thread
    -- is locked before the lease, as everywhere.
    if entry ->> 'ending' is not null then
      perform from agent.thread
        where id = (select thread_id from agent.run where run.id = (entry ->> 'run_id')::uuid)
        for no key update skip locked;
      v_is_locked := not found;
    else
      v_is_locked := false;
    end if;
    select * into held from agent.lease
     where lease.run_id = (entry ->> 'run_id')::uuid and token = (entry ->> 'token')::uuid and not v_is_locked
       for update skip locked;
    if found then
      perform agent.append_rows(held, entry -> 'rows');
      -- A batch of long ago moves nothing.
      last_seq := greatest(held.last_seq, (
        select max((fresh ->> 'seq')::integer + (fresh ->> 'count')::integer - 1)
          from jsonb_array_elements(entry -> 'rows') fresh
      ));
      verdict := case when held.cancel_requested_at is null then 'ok' else 'cancel' end;
      if entry ->> 'ending' is not null then
        next_run := agent.end_held(held, append_events.last_seq, entry ->> 'ending');
      elsif entry ->> 'seconds' is not null then
        update agent.lease
           set last_seq = append_events.last_seq,
               until = clock_timestamp() + make_interval(secs => (entry ->> 'seconds')::numeric),
               suspected_at = null,
               closed_seq = case when (entry ->> 'closes')::boolean then append_events.last_seq else closed_seq end,
               asks = case when (entry ->> 'closes')::boolean then 0 else asks end,
               stalls = case when (entry ->> 'closes')::boolean then 0 else stalls end
         where lease.run_id = held.run_id;
      end if;
    elsif exists (select from agent.lease where lease.run_id = (entry ->> 'run_id')::uuid
                                            and token = (entry ->> 'token')::uuid) then
      verdict := 'busy';
    elsif exists (select from agent.run_secret where run_secret.run_id = (entry ->> 'run_id')::uuid
                                                 and last_token = (entry ->> 'token')::uuid) then
      -- Our own ending, whose answer was lost on the way.
      verdict := 'ok';
      last_seq := (select run.last_seq from agent.run where run.id = (entry ->> 'run_id')::uuid);
      next_run := agent.next_of((entry ->> 'run_id')::uuid);
    else
      verdict := 'lost';
    end if;
    return next;
  end loop;
end $$;

-- Give runs back before their leases run out: the holder stops, or the run's time in one process is over. `asks` is above
-- zero where the attempt closed no turn: closing one sets both counts to zero.
create or replace function agent.release_runs(p_held jsonb) returns void
language sql security definer set search_path = '' as $$
  update agent.lease
     set token = null, until = '-infinity', suspected_at = null,
         stalls = stalls + (asks > 0)::integer, asks = greatest(asks - 1, 0)
    from jsonb_to_recordset(p_held) as held (run_id uuid, token uuid)
   where lease.run_id = held.run_id and lease.token = held.token
$$;

-- End a run that nobody holds and that was released `p_stalls` times without closing a turn. Null: it is not one.
create function agent.refuse_stalled_run(p_run uuid, p_stalls integer) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  held agent.lease;
begin
  if not exists (select from agent.lease where run_id = p_run and stalls >= p_stalls) then
    return null;
  end if;
  perform from agent.thread where id = (select thread_id from agent.run where id = p_run) for no key update;
  select * into held from agent.lease where run_id = p_run and stalls >= p_stalls for update skip locked;
  if not found or held.until > now() then
    return null;
  end if;
  perform agent.end_unheld(p_run, 'run.failed', jsonb_build_object(
    'code', 'run_stalled', 'message', 'The run was moved between processes too often without finishing a turn.',
    'retryable', true
  ));
  return jsonb_build_object('next_run', agent.next_of(p_run));
end $$;

create or replace function agent.take_run(p_run uuid, p_lease jsonb, p_limits jsonb) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_taken jsonb := coalesce(
    agent.refuse_old_run(p_run, (p_limits ->> 'max_hours')::numeric), agent.refuse_deleted_run(p_run),
    agent.refuse_stalled_run(p_run, (p_lease ->> 'max_stalls')::integer)
  );
begin
  if v_taken is not null then
    return v_taken;
  end if;
  v_taken := agent.claim_run(p_run, p_lease);
  perform set_config('role', 'none', true);
  return agent.with_limits(v_taken, p_limits);
end $$;

-- Those of these runs that have not ended and that nobody holds.
create function agent.unheld_runs(p_runs uuid[]) returns setof uuid
language sql stable security definer set search_path = '' as $$
  select run_id from agent.lease where run_id = any (p_runs) and until < now()
$$;

-- Let the next sweep or reader dispatch these runs at once, where nobody has taken them.
create function agent.clear_dispatches(p_runs uuid[]) returns void
language sql security definer set search_path = '' as $$
  update agent.lease set dispatched_at = null where run_id = any (p_runs) and until < now()
$$;

revoke execute on all functions in schema agent from public, anon, authenticated;
grant execute on all functions in schema agent to agent_api;
