-- The log: appending to it by lease token, and reading it by position.

-- Append a batch, one entry per run, and renew their leases. One statement per process and tick. An entry without
-- rows and `seconds` only asks.
--
-- Entry: {run_id, token, seconds, rows: [{seq, count, type, item_id, data}], closes, ending}. The rows go on from the
-- log's last event; rows that are already in it are passed over, so a batch whose answer was lost can be sent again.
-- Verdict per run: `ok`, `cancel` (ok, and a cancel was asked for), `lost` (another holder, or ended), `busy` (try the
-- next tick). `next_run` names the thread's next queued run after an ending.
create function agent.append_events(p_batch jsonb)
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
               asks = case when (entry ->> 'closes')::boolean then 0 else asks end
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

-- The rows of one entry behind the log's end, and the items they complete. A row of deltas that grew since it was sent
-- first is written from where the log ends.
create function agent.append_rows(held agent.lease, p_rows jsonb) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_missing integer;
begin
  select max(seq + count - 1) - held.last_seq - sum(least(count, seq + count - 1 - held.last_seq)) into v_missing
    from jsonb_to_recordset(p_rows) as fresh (seq integer, count integer) where seq + count - 1 > held.last_seq;
  if v_missing <> 0 then
    raise exception 'the log of run % ends at %, and % events behind it are missing',
      held.run_id, held.last_seq, v_missing;
  end if;
  with fresh as (
    insert into agent.run_event (run_id, seq, count, attempt, type, item_id, data)
    select held.run_id, greatest(seq, held.last_seq + 1), least(count, seq + count - 1 - held.last_seq), held.attempt,
           type, item_id,
           case when seq > held.last_seq then data else jsonb_set(data, '{deltas}', (
             select jsonb_agg(delta order by nth)
               from jsonb_array_elements(data -> 'deltas') with ordinality as part (delta, nth)
              where nth > held.last_seq + 1 - seq
           )) end
      from jsonb_to_recordset(p_rows) as sent (seq integer, count integer, type text, item_id uuid, data jsonb)
     where seq + count - 1 > held.last_seq
    returning seq, type, item_id, data
  ), taken_back as (
    update agent.item set superseded_at = now()
     where run_id = held.run_id and id in (select item_id from fresh where type = 'item.aborted')
  )
  insert into agent.item (id, thread_id, run_id, owner, key, kind, data)
  select item_id, run.thread_id, run.id, run.owner, item_id::text, fresh.data ->> 'kind', fresh.data -> 'item'
    from fresh join agent.run on run.id = held.run_id
   where fresh.type = 'item.completed'
     and not exists (select from fresh void where void.item_id = fresh.item_id and void.type = 'item.aborted')
   order by fresh.seq;
end $$;

-- The ending: in the statement that sets the run's status. Returns the next queued run of the thread.
create function agent.end_held(held agent.lease, p_last_seq integer, p_type text) returns uuid
language plpgsql security definer set search_path = '' as $$
declare
  v_run agent.run;
begin
  delete from agent.lease where run_id = held.run_id;
  update agent.run_secret set last_token = held.token where run_id = held.run_id;
  update agent.run
     set status = substr(p_type, 5), attempt = held.attempt, last_seq = p_last_seq, ended_at = clock_timestamp(),
         ending = (select data from agent.run_event where run_id = held.run_id and seq = p_last_seq and type = p_type)
   where id = held.run_id
   returning * into strict v_run;
  insert into agent.interrupt (id, run_id, thread_id, owner, call_id, reason, message, response_schema, expires_at)
  select (asked ->> 'id')::uuid, v_run.id, v_run.thread_id, v_run.owner, (asked ->> 'call_id')::uuid,
         asked ->> 'reason', asked ->> 'message', asked -> 'response_schema', (asked ->> 'expires_at')::timestamptz
    from jsonb_array_elements(coalesce(v_run.ending -> 'interrupts', '[]')) asked;
  return agent.next_of(v_run.id);
end $$;

-- Give runs back before their leases run out: the holder stops. That asking does not count.
create function agent.release_runs(p_held jsonb) returns void
language sql security definer set search_path = '' as $$
  update agent.lease set token = null, until = '-infinity', suspected_at = null, asks = greatest(asks - 1, 0)
    from jsonb_to_recordset(p_held) as held (run_id uuid, token uuid)
   where lease.run_id = held.run_id and lease.token = held.token
$$;

-- Where the committed log of a run ends, and whether anybody holds it.
create function agent.log_position(p_run uuid, out attempt integer, out last_seq integer, out held boolean)
language sql stable security definer set search_path = '' as $$
  select attempt, last_seq, until > now() from agent.lease where run_id = p_run
$$;

-- Find a run of the user's own, by its key or as the latest of a thread.
create function agent.find_run(p_claims jsonb, p_client_run_id text, p_client_thread_id text) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_run agent.run;
  v_thread text;
  v_position record;
begin
  perform agent.act_as(p_claims);
  select run.* into v_run from agent.run join agent.thread on thread.id = run.thread_id
   where run.owner = auth.uid() and (p_client_run_id is null or run.key = p_client_run_id)
     and (p_client_thread_id is null or thread.key = p_client_thread_id and thread.owner = auth.uid())
   order by run.created_at desc limit 1;
  if not found then
    raise exception using errcode = 'AF001', message = 'run_not_found';
  end if;
  select key into v_thread from agent.thread where id = v_run.thread_id;
  perform set_config('role', 'none', true);
  select * into v_position from agent.log_position(v_run.id);
  return jsonb_build_object(
    'run_id', v_run.id, 'client_run_id', v_run.key, 'client_thread_id', v_thread, 'client_parent_run_id', v_run.request -> 'client_parent_run_id',
    'status', v_run.status, 'ending', v_run.ending, 'created_at', v_run.created_at,
    'started_at', v_run.started_at, 'ended_at', v_run.ended_at, 'pruned', v_run.pruned_at is not null,
    'attempt', coalesce(v_position.attempt, v_run.attempt),
    'last_seq', coalesce(v_position.last_seq, v_run.last_seq), 'held', coalesce(v_position.held, false)
  );
end $$;

-- The thread as it stands in the log, from one snapshot: its items, the open ones with what they hold so far, and the
-- position the reader goes on from. `stable` makes all of it one snapshot.
create function agent.read_snapshot(p_claims jsonb, p_run uuid) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_run agent.run;
  v_items jsonb;
  v_open jsonb;
  v_position record;
begin
  perform agent.act_as(p_claims);
  select * into v_run from agent.run where id = p_run;
  if not found then
    raise exception using errcode = 'AF001', message = 'run_not_found';
  end if;
  select jsonb_agg(to_jsonb(live) order by live.position) into v_items
    from (select id, key, kind, data, position from agent.item
           where thread_id = v_run.thread_id and superseded_at is null) live;
  select jsonb_agg(to_jsonb(logged) order by logged.seq) into v_open
    from (select seq, count, attempt, type, item_id, data from agent.run_event part
           where run_id = p_run and type in ('item.started', 'item.delta') and v_run.ended_at is null
             and not exists (select from agent.run_event done where done.run_id = p_run
                              and done.item_id = part.item_id
                              and done.type in ('item.completed', 'item.aborted'))) logged;
  perform set_config('role', 'none', true);
  select * into v_position from agent.log_position(p_run);
  return jsonb_build_object(
    'items', coalesce(v_items, '[]'), 'open', coalesce(v_open, '[]'), 'state', v_run.request -> 'state',
    'attempt', coalesce(v_position.attempt, v_run.attempt),
    -- An ended run's snapshot stands before its ending, which the reader still gets.
    'seq', coalesce(v_position.last_seq, v_run.last_seq - 1)
  );
end $$;

-- The events behind given positions. Runs were checked as the user when the reader attached.
create function agent.read_events(p_reads jsonb)
returns table (reader integer, seq integer, count integer, attempt integer, type text, item_id uuid, data jsonb)
language sql stable security definer set search_path = '' as $$
  select wanted.reader, logged.*
    from jsonb_to_recordset(p_reads) as wanted (reader integer, run_id uuid, after integer),
         lateral (select seq, count, attempt, type, item_id, data from agent.run_event
                   where run_id = wanted.run_id and seq + count - 1 > wanted.after
                   order by seq limit 1000) logged
$$;

-- Nobody executes anything by default; the login of the functions executes all of it.
revoke execute on all functions in schema agent from public, anon, authenticated;
grant execute on all functions in schema agent to agent_api;