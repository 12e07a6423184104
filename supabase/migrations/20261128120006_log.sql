-- The log: appending to it by lease token, ending runs, and reading it by position.

-- Append a batch, one entry per run, and renew their leases: one statement per process and tick. An entry with
-- neither rows nor `seconds` only reads the verdict. An entry with rows also has `seconds`, because the update that
-- renews the lease also stores `last_seq`.
--
-- An entry is {run_id, token, seconds, rows, closes, ending}:
--   rows: [{seq, count, type, item_id, data}], which continue the log. Rows that are already in it are skipped, so a
--     batch whose result was lost can be sent again;
--   seconds: how long the lease is valid from now on; null: the entry has no rows, and the lease is not renewed. A
--     renewal also clears what others noted while the holder was late: the suspicion, and the mark of a dispatch, whose
--     delivery found the run held. Without that, nobody could dispatch the run if its holder died within the minute;
--   closes: whether the last row closes a turn;
--   ending: the type of the last row, if it ends the run.
--
-- The verdict about an entry:
--   ok: its rows are in the log;
--   cancel: they are, and a user has requested the cancellation of the run;
--   busy: nothing was appended, because another transaction has locked the lease or the thread. Send it again;
--   lost: nothing was appended, because another process holds the run or the run has ended.
--
-- `next_queued_run`: after an ending, the run that its thread continues with.
create function agent.append_events(p_batch jsonb)
returns table (run_id uuid, verdict text, last_seq integer, next_queued_run uuid)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_entry jsonb;
  v_lease agent.lease;
  v_thread_is_locked boolean;
begin
  for v_entry in select value from jsonb_array_elements(p_batch) loop
    run_id := (v_entry ->> 'run_id')::uuid;
    next_queued_run := null;
    -- An ending and an admission of the same thread must see each other, or neither dispatches the run that waits.
    if v_entry ->> 'ending' is not null then
      perform from agent.thread
        where id = (select thread_id from agent.run where run.id = (v_entry ->> 'run_id')::uuid)
        for no key update skip locked;
      v_thread_is_locked := not found;
    else
      v_thread_is_locked := false;
    end if;
    select * into v_lease from agent.lease
     where lease.run_id = (v_entry ->> 'run_id')::uuid and token = (v_entry ->> 'token')::uuid
       and not v_thread_is_locked
       for update skip locked;
    if found then
      perform agent.append_rows(v_lease, v_entry -> 'rows');
      -- `last_seq` never goes back, also for a repeated batch.
      last_seq := greatest(v_lease.last_seq, (
        select max((fresh ->> 'seq')::integer + (fresh ->> 'count')::integer - 1)
          from jsonb_array_elements(v_entry -> 'rows') fresh
      ));
      verdict := case when v_lease.cancel_requested_at is null then 'ok' else 'cancel' end;
      if v_entry ->> 'ending' is not null then
        next_queued_run := agent.end_leased_run(v_lease, append_events.last_seq, v_entry ->> 'ending');
      elsif v_entry ->> 'seconds' is not null then
        update agent.lease
           set last_seq = append_events.last_seq,
               until = clock_timestamp() + make_interval(secs => (v_entry ->> 'seconds')::numeric),
               suspected_at = null, dispatched_at = null,
               closed_seq = case when (v_entry ->> 'closes')::boolean then append_events.last_seq else closed_seq end,
               unfinished_attempts = case when (v_entry ->> 'closes')::boolean then 0 else unfinished_attempts end,
               stalled_attempts = case when (v_entry ->> 'closes')::boolean then 0 else stalled_attempts end
         where lease.run_id = v_lease.run_id;
      end if;
    elsif exists (select from agent.lease where lease.run_id = (v_entry ->> 'run_id')::uuid
                                            and token = (v_entry ->> 'token')::uuid) then
      verdict := 'busy';
    elsif exists (select from agent.run where run.id = (v_entry ->> 'run_id')::uuid
                                          and ended_by = sha256(uuid_send((v_entry ->> 'token')::uuid))) then
      -- The caller's own ending: the result of that statement was lost.
      verdict := 'ok';
      last_seq := (select run.last_seq from agent.run where run.id = (v_entry ->> 'run_id')::uuid);
      next_queued_run := agent.next_queued_run((v_entry ->> 'run_id')::uuid);
    else
      verdict := 'lost';
    end if;
    return next;
  end loop;
end $$;

-- Append the new rows of one entry, and store the items that they complete. A row of deltas may have been sent before,
-- with fewer deltas: then only those that the log lacks are appended.
create function agent.append_rows(p_lease agent.lease, p_rows jsonb) returns void
language plpgsql security definer set search_path = '' as $$
declare
  -- Events that the log needs, less those that these rows bring: not zero if there is a gap.
  v_missing integer;
begin
  select max(seq + count - 1) - p_lease.last_seq - sum(least(count, seq + count - 1 - p_lease.last_seq)) into v_missing
    from jsonb_to_recordset(p_rows) as fresh (seq integer, count integer) where seq + count - 1 > p_lease.last_seq;
  if v_missing <> 0 then
    raise exception 'the log of run % ends at %, and the % events after it are missing',
      p_lease.run_id, p_lease.last_seq, v_missing;
  end if;
  with fresh as (
    insert into agent.run_event (run_id, seq, count, attempt, type, item_id, data)
    select p_lease.run_id, greatest(seq, p_lease.last_seq + 1), least(count, seq + count - 1 - p_lease.last_seq),
           p_lease.attempt, type, item_id,
           case when seq > p_lease.last_seq then data else jsonb_set(data, '{deltas}', (
             select jsonb_agg(delta order by nth)
               from jsonb_array_elements(data -> 'deltas') with ordinality as part (delta, nth)
              where nth > p_lease.last_seq + 1 - seq
           )) end
      from jsonb_to_recordset(p_rows) as sent (seq integer, count integer, type text, item_id uuid, data jsonb)
     where seq + count - 1 > p_lease.last_seq
    returning seq, type, item_id, data
  ), taken_back as (
    update agent.item set superseded_at = now()
     where run_id = p_lease.run_id and id in (select item_id from fresh where type = 'item.aborted')
  )
  insert into agent.item (id, thread_id, run_id, owner, key, kind, data)
  select item_id, run.thread_id, run.id, run.owner, item_id::text, fresh.data ->> 'kind', fresh.data -> 'item'
    from fresh join agent.run on run.id = p_lease.run_id
   where fresh.type = 'item.completed'
     and not exists (select from fresh aborted where aborted.item_id = fresh.item_id and aborted.type = 'item.aborted')
   order by fresh.seq;
end $$;

-- End a run for its holder, in the statement that appended the ending. Returns the run that its thread continues with.
create function agent.end_leased_run(p_lease agent.lease, p_last_seq integer, p_type text) returns uuid
language plpgsql security definer set search_path = '' as $$
declare
  v_run agent.run;
begin
  delete from agent.lease where run_id = p_lease.run_id;
  delete from agent.run_secret where run_id = p_lease.run_id;
  update agent.run
     set status = substr(p_type, 5), attempt = p_lease.attempt, last_seq = p_last_seq, ended_at = clock_timestamp(),
         ended_by = sha256(uuid_send(p_lease.token)),
         ending = (select data from agent.run_event
                    where run_id = p_lease.run_id and seq = p_last_seq and type = p_type)
   where id = p_lease.run_id
   returning * into strict v_run;
  insert into agent.interrupt (id, run_id, thread_id, owner, call_id, reason, message, response_schema, expires_at)
  select (entry ->> 'id')::uuid, v_run.id, v_run.thread_id, v_run.owner, (entry ->> 'call_id')::uuid,
         entry ->> 'reason', entry ->> 'message', entry -> 'response_schema', (entry ->> 'expires_at')::timestamptz
    from jsonb_array_elements(coalesce(v_run.ending -> 'interrupts', '[]')) entry;
  return agent.next_queued_run(v_run.id);
end $$;

-- Finish the items that a run without a holder left open, for the reason it ended: text stays, marked as incomplete,
-- and calls are taken back. Returns where the log ends then.
create function agent.close_items(p_run uuid, p_attempt integer, p_last_seq integer, p_reason text) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_last integer;
begin
  with started as (
    select item_id, data, row_number() over (order by seq) as nth from agent.run_event opened
     where run_id = p_run and type = 'item.started' and not exists (
       select from agent.run_event done where done.run_id = p_run and done.item_id = opened.item_id
          and done.type in ('item.completed', 'item.aborted')
     )
  ), unfinished as (
    select started.*, data ->> 'kind' as kind, (
      select string_agg(delta, '' order by part.seq, place)
        from agent.run_event part, jsonb_array_elements_text(part.data -> 'deltas') with ordinality as d (delta, place)
       where part.run_id = p_run and part.item_id = started.item_id and part.type = 'item.delta'
    ) as content from started
  ), closed as (
    insert into agent.run_event (run_id, seq, attempt, item_id, type, data)
    select p_run, p_last_seq + nth, p_attempt, item_id,
           case
             when content is null or kind not in ('message', 'reasoning') then 'item.aborted' else 'item.completed'
           end,
           case
             when content is null or kind not in ('message', 'reasoning') then jsonb_build_object('reason', p_reason)
             when kind = 'message' then jsonb_build_object('kind', kind, 'item', jsonb_build_object(
               'role', 'assistant', 'content', content, 'status', 'incomplete'))
             else jsonb_build_object('kind', kind, 'item', jsonb_build_object(
               'text', content, 'message_id', data ->> 'message_id', 'status', 'incomplete'))
           end
      from unfinished
    returning seq, item_id, type, data
  ), stored as (
    insert into agent.item (id, thread_id, run_id, owner, key, kind, data)
    select item_id, run.thread_id, run.id, run.owner, item_id::text, closed.data ->> 'kind', closed.data -> 'item'
      from closed join agent.run on run.id = p_run where closed.type = 'item.completed' order by closed.seq
  )
  select max(seq) into v_last from closed;
  return coalesce(v_last, p_last_seq);
end $$;

-- End a run that no process holds. The caller has locked its lease. The last holder may have shown readers events that
-- it did not commit. So the ending has an attempt of its own: a reader that saw those events has a cursor of another
-- attempt, so it gets a snapshot.
create function agent.end_unheld_run(p_run uuid, p_type text, p_data jsonb) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_lease agent.lease;
  v_attempt integer;
  v_last integer;
begin
  delete from agent.lease where run_id = p_run returning * into v_lease;
  delete from agent.run_secret where run_id = p_run;
  v_attempt := v_lease.attempt + (v_lease.attempt > 0)::integer;
  v_last := agent.close_items(p_run, v_attempt, v_lease.last_seq, substr(p_type, 5)) + 1;
  insert into agent.run_event (run_id, seq, attempt, type, data) values (p_run, v_last, v_attempt, p_type, p_data);
  update agent.run
     set status = substr(p_type, 5), ending = p_data, ended_at = clock_timestamp(), attempt = v_attempt,
         last_seq = v_last
   where id = p_run;
end $$;

-- Request the cancellation of a run: a flag for its holder's next tick, or the ending itself if no process holds the
-- run. Returns the run's status.
create function agent.request_cancel(p_run uuid, p_request_id text) returns text
language plpgsql security definer set search_path = '' as $$
declare
  v_lease agent.lease;
  v_run agent.run;
begin
  select * into v_lease from agent.lease where run_id = p_run for update;
  select * into v_run from agent.run where id = p_run;
  if v_run.ended_at is not null then
    return v_run.status;
  end if;
  perform agent.audit(v_run.owner, 'run.cancel', 'accepted', p_run, null, p_request_id);
  if not agent.lease_is_expired(v_lease.until) then
    update agent.lease set cancel_requested_at = coalesce(cancel_requested_at, now()) where run_id = p_run;
    return v_run.status;
  end if;
  perform agent.end_unheld_run(p_run, 'run.cancelled', '{}');
  return 'cancelled';
end $$;

-- Find a run of this user, by the client's id or as the latest of a thread.
create function agent.find_run(p_claims jsonb, p_client_run_id text, p_client_thread_id text) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_run agent.run;
  v_thread text;
  v_position record;
begin
  perform agent.act_as(p_claims);
  select run.* into v_run from agent.run join agent.thread on thread.id = run.thread_id
   where run.owner = auth.uid() and (p_client_run_id is null or run.client_run_id = p_client_run_id)
     and (p_client_thread_id is null or client_thread_id = p_client_thread_id and thread.owner = auth.uid())
   order by run.created_at desc limit 1;
  if not found then
    raise exception using errcode = 'AF001', message = 'run_not_found';
  end if;
  select client_thread_id into v_thread from agent.thread where id = v_run.thread_id;
  perform set_config('role', 'none', true);
  select * into v_position from agent.log_position(v_run.id);
  return jsonb_build_object(
    'run_id', v_run.id, 'client_run_id', v_run.client_run_id, 'client_thread_id', v_thread, 'agent', v_run.agent,
    'client_parent_run_id', v_run.request -> 'client_parent_run_id', 'status', v_run.status, 'ending', v_run.ending,
    'created_at', v_run.created_at,
    'started_at', v_run.started_at, 'ended_at', v_run.ended_at, 'is_pruned', v_run.pruned_at is not null,
    'attempt', coalesce(v_position.attempt, v_run.attempt),
    'last_seq', coalesce(v_position.last_seq, v_run.last_seq), 'is_held', coalesce(v_position.is_held, false)
  );
end $$;

-- The thread as the committed log of a run shows it: its items, the open ones with their content so far, and the
-- position from which a reader continues. The function is `stable`, so all of it is one snapshot.
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
    -- The snapshot of an ended run shows the position before the ending, so that the reader still gets the ending.
    'seq', coalesce(v_position.last_seq, v_run.last_seq - 1)
  );
end $$;

-- The events after given positions, for all runs that a process follows, and rows of two more types:
--   lease.expired: no process holds the run and it could continue now, so the reader's process recovers it;
--   run.gone: the run was deleted.
-- The user's right to these runs was checked when the reader attached.
create function agent.poll_runs(p_reads jsonb)
returns table (reader integer, seq integer, count integer, attempt integer, type text, item_id uuid, data jsonb)
language sql stable security definer set search_path = '' as $$
  select wanted.reader, logged.*
    from jsonb_to_recordset(p_reads) as wanted (reader integer, run_id uuid, after integer),
         lateral (select seq, count, attempt, type, item_id, data from agent.run_event
                   where run_id = wanted.run_id and seq + count - 1 > wanted.after
                   order by seq limit 1000) logged
  union all
  -- One row per run is enough: it only causes a recovery.
  select min(wanted.reader), 0, 0, lease.attempt, 'lease.expired', null, 'null'
    from jsonb_to_recordset(p_reads) as wanted (reader integer, run_id uuid)
    join agent.lease on lease.run_id = wanted.run_id
    join agent.run on run.id = wanted.run_id
   where agent.lease_is_expired(lease.until) and agent.can_continue(run)
   group by lease.run_id, lease.attempt
  union all
  select wanted.reader, 0, 0, 0, 'run.gone', null, 'null'
    from jsonb_to_recordset(p_reads) as wanted (reader integer, run_id uuid)
   where not exists (select from agent.run where id = wanted.run_id)
$$;

-- An ending counts as activity of its thread. A thread that another transaction has locked is active anyway, and that
-- transaction may wait for this run's lease.
create function agent.touch_thread() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update agent.thread set updated_at = now() where id = (
    select id from agent.thread where id = new.thread_id for no key update skip locked
  );
  return null;
end $$;

create trigger touch_thread after update of ended_at on agent.run
  for each row when (old.ended_at is null and new.ended_at is not null) execute function agent.touch_thread();
