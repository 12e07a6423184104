-- Admission: what happens before the first byte of a stream. Each function is one statement for its caller, so one trip.
--
-- Functions that act as a user are `security invoker`: they are entered as the login of the Python functions, become
-- `authenticated` with the verified claims (row-level security decides from there on), and step back to the login
-- before they call what only it may execute. Errors a caller can fix are raised with SQLSTATE AF001 and a stable code as text.

-- Become the user of the claims until the transaction ends.
create function agent.act_as(p_claims jsonb) returns void
language plpgsql set search_path = '' as $$
begin
  -- auth.uid() and auth.jwt() read the legacy settings first, so a left-over one would win.
  perform set_config('role', 'authenticated', true),
          set_config('request.jwt.claims', p_claims::text, true),
          set_config('request.jwt.claim', '', true),
          set_config('request.jwt.claim.sub', '', true);
  if auth.uid() is null then
    raise exception using errcode = 'AF001', message = 'unauthorized';
  end if;
end $$;

create function agent.audit(p_owner uuid, p_action text, p_outcome text, p_run uuid, p_request_id text) returns void
language sql security definer set search_path = '' as $$
  insert into agent.audit_event (owner, action, outcome, run_id, request_id)
  values (p_owner, p_action, p_outcome, p_run, p_request_id)
$$;

-- The other runs of a thread that are queued or live. The caller has locked the thread.
create function agent.unended_runs(p_thread uuid, p_but uuid) returns uuid[]
language sql stable security definer set search_path = '' as $$
  select coalesce(array_agg(id order by created_at), '{}') from agent.run
   where thread_id = p_thread and status in ('queued', 'in_progress') and id <> p_but
$$;

-- Whether a run that nobody holds could go on now: it was live, or it is the first in the queue of a free thread.
create function agent.is_next(p_run agent.run) returns boolean
language sql stable security definer set search_path = '' as $$
  select p_run.status = 'in_progress' or not exists (
    select from agent.run other
     where other.thread_id = p_run.thread_id and other.id <> p_run.id
       and (other.status = 'in_progress'
            or other.status = 'queued' and (other.created_at, other.id) < (p_run.created_at, p_run.id))
  )
$$;

-- The run among these that could go on and that nobody holds: whoever meets it takes it up.
create function agent.orphan_of(p_runs uuid[]) returns uuid
language sql stable security definer set search_path = '' as $$
  select run_id from agent.lease join agent.run on run.id = run_id
   where run_id = any (p_runs) and until < now() and agent.is_next(run) limit 1
$$;

-- The next run of the thread a run belongs to, once that has ended.
create function agent.next_of(p_run uuid) returns uuid
language sql stable security definer set search_path = '' as $$
  select queued.id from agent.run join agent.run queued using (thread_id)
   where run.id = p_run and run.ended_at is not null and queued.status = 'queued'
   order by queued.created_at, queued.id limit 1
$$;

-- Give a run that was just inserted what only its holder may know.
create function agent.admit_run(p_run uuid, p_claims jsonb, p_wait boolean) returns void
language plpgsql security definer set search_path = '' as $$
begin
  insert into agent.run_secret (run_id, claims) values (p_run, p_claims);
  insert into agent.lease (run_id, last_seq) values (p_run, p_wait::integer);
  if p_wait then
    insert into agent.run_event (run_id, seq, attempt, type) values (p_run, 1, 0, 'run.queued');
  end if;
end $$;

-- Close what a run without a holder left open: what was said stays, marked as incomplete; calls are taken back. Returns
-- where the log ends then.
create function agent.close_items(p_run uuid, p_attempt integer, p_last_seq integer) returns integer
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
  ), said as (
    select started.*, data ->> 'kind' as kind, (
      select string_agg(delta, '' order by part.seq, place)
        from agent.run_event part, jsonb_array_elements_text(part.data -> 'deltas') with ordinality as d (delta, place)
       where part.run_id = p_run and part.item_id = started.item_id and part.type = 'item.delta'
    ) as words from started
  ), closed as (
    insert into agent.run_event (run_id, seq, attempt, item_id, type, data)
    select p_run, p_last_seq + nth, p_attempt, item_id,
           case when words is null or kind not in ('message', 'reasoning') then 'item.aborted' else 'item.completed' end,
           case
             when words is null or kind not in ('message', 'reasoning') then '{"reason": "cancelled"}'
             when kind = 'message' then jsonb_build_object('kind', kind, 'item', jsonb_build_object(
               'role', 'assistant', 'content', words, 'status', 'incomplete'))
             else jsonb_build_object('kind', kind, 'item', jsonb_build_object(
               'text', words, 'message_id', data ->> 'message_id', 'status', 'incomplete'))
           end
      from said
    returning seq, item_id, type, data
  ), kept as (
    insert into agent.item (id, thread_id, run_id, owner, key, kind, data)
    select item_id, run.thread_id, run.id, run.owner, item_id::text, closed.data ->> 'kind', closed.data -> 'item'
      from closed join agent.run on run.id = p_run where closed.type = 'item.completed' order by closed.seq
  )
  select max(seq) into v_last from closed;
  return coalesce(v_last, p_last_seq);
end $$;

-- End a run nobody holds. The caller has locked its lease. Its last holder may have sent more than it committed, so the
-- ending is of an attempt of its own: a reader's cursor must not take it for something it has seen.
create function agent.end_unheld(p_run uuid, p_type text, p_data jsonb) returns void
language plpgsql security definer set search_path = '' as $$
declare
  held agent.lease;
  v_attempt integer;
  v_last integer;
begin
  delete from agent.lease where run_id = p_run returning * into held;
  v_attempt := held.attempt + (held.attempt > 0)::integer;
  v_last := agent.close_items(p_run, v_attempt, held.last_seq) + 1;
  insert into agent.run_event (run_id, seq, attempt, type, data) values (p_run, v_last, v_attempt, p_type, p_data);
  update agent.run
     set status = substr(p_type, 5), ending = p_data, ended_at = clock_timestamp(), attempt = v_attempt, last_seq = v_last
   where id = p_run;
end $$;

-- Ask for the end of a run: a flag for its holder's next tick, or the ending itself where nobody holds it.
create function agent.request_cancel(p_run uuid, p_request_id text) returns text
language plpgsql security definer set search_path = '' as $$
declare
  held agent.lease;
  v_run agent.run;
begin
  select * into held from agent.lease where run_id = p_run for update;
  select * into v_run from agent.run where id = p_run;
  if v_run.ended_at is not null then
    return v_run.status;
  end if;
  perform agent.audit(v_run.owner, 'run.cancel', 'accepted', p_run, p_request_id);
  if held.until > now() then
    update agent.lease set cancel_requested_at = coalesce(cancel_requested_at, now()) where run_id = p_run;
    return v_run.status;
  end if;
  perform agent.end_unheld(p_run, 'run.cancelled', '{}');
  return 'cancelled';
end $$;

-- Whether a lease that ran out may be taken. A holder that was only late, as all are when Postgres was away, renews with
-- its next tick: so a lease that was not given back is taken on the second look, `p_grace` seconds after the first.
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

-- Take the lease of a run that is queued, or whose holder's lease ran out. Without a token: somebody else has it, it
-- has ended (with that the thread's `next_run`), or it is `suspected` to be abandoned.
--
-- A takeover voids the turn that was not closed: each of its items is aborted, completed or not.
create function agent.take_lease(p_run uuid, p_seconds numeric, p_max_asks integer, p_grace numeric) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  held agent.lease;
  v_run agent.run;
  v_token uuid := gen_random_uuid();
  v_from integer;
begin
  -- Claims of one thread come one by one; the thread is locked before the lease, as in `begin_run`.
  perform from agent.thread where id = (select thread_id from agent.run where id = p_run) for no key update;
  select * into held from agent.lease where run_id = p_run for update skip locked;
  if not found or held.until > now() then
    return null;
  end if;
  if not agent.is_abandoned(held, p_grace) then
    return '{"suspected": true}';
  end if;
  select * into v_run from agent.run where id = p_run;
  if not agent.is_next(v_run) then
    return null;
  end if;
  if held.asks >= p_max_asks then
    perform agent.end_unheld(p_run, 'run.failed', jsonb_build_object(
      'code', 'too_many_attempts', 'message', 'The run was interrupted too often.', 'retryable', true
    ));
    return jsonb_build_object('next_run', agent.next_of(p_run));
  end if;
  v_from := held.last_seq;
  if v_run.status = 'queued' then
    insert into agent.run_event (run_id, seq, attempt, type) values (p_run, v_from + 1, 1, 'run.started');
    update agent.run set status = 'in_progress', started_at = clock_timestamp() where id = p_run;
    held.last_seq := v_from + 1;
  else
    with void as (
      select item_id, row_number() over (order by seq) as nth from agent.run_event started
       where run_id = p_run and type = 'item.started' and seq > held.closed_seq and not exists (
         select from agent.run_event where run_id = p_run and item_id = started.item_id and type = 'item.aborted'
       )
    ), aborted as (
      insert into agent.run_event (run_id, seq, attempt, type, item_id, data)
      select p_run, v_from + nth, held.attempt + 1, 'item.aborted', item_id, '{"reason": "takeover"}' from void
      returning item_id
    ), superseded as (
      update agent.item set superseded_at = now() where id in (select item_id from void) and superseded_at is null
    )
    select v_from + count(*) into held.last_seq from aborted;
  end if;
  update agent.lease
     set token = v_token, until = clock_timestamp() + make_interval(secs => p_seconds), attempt = held.attempt + 1,
         asks = held.asks + 1, last_seq = held.last_seq, dispatched_at = null, suspected_at = null
   where run_id = p_run;
  return jsonb_build_object(
    'token', v_token, 'attempt', held.attempt + 1, 'base', v_from, 'last_seq', held.last_seq,
    'claims', (select claims from agent.run_secret where run_id = p_run)
  );
end $$;

-- The calls of a run that were started and have no result: they may have had their effect.
create function agent.open_results(p_run uuid) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_object_agg(data ->> 'call_id', item_id), '{}') from agent.run_event started
   where run_id = p_run and type = 'item.started' and data ->> 'kind' = 'tool_result' and not exists (
     select from agent.run_event where run_id = p_run and item_id = started.item_id
        and type in ('item.completed', 'item.aborted')
   )
$$;

-- Take a run and become its user: apply what the request asked of the thread (once), and return the history. An answer
-- without a token is that of `take_lease`.
create function agent.claim_run(p_run uuid, p_lease jsonb) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_lease jsonb := agent.take_lease(
    p_run, (p_lease ->> 'seconds')::numeric, (p_lease ->> 'max_asks')::integer,
    coalesce((p_lease ->> 'grace')::numeric, 0)
  );
  v_open jsonb := agent.open_results(p_run);
  v_run agent.run;
  v_items jsonb;
begin
  if v_lease ->> 'token' is null then
    return v_lease;
  end if;
  perform agent.act_as(v_lease -> 'claims');
  select * into strict v_run from agent.run where id = p_run;
  if (v_lease ->> 'attempt')::integer = 1 then
    update agent.item set superseded_at = now()
     where thread_id = v_run.thread_id and superseded_at is null
       and position > (v_run.request ->> 'rewind')::bigint;
    insert into agent.item (thread_id, run_id, owner, key, kind, data)
    select v_run.thread_id, p_run, v_run.owner, said ->> 'key', said ->> 'kind', said -> 'data'
      from jsonb_array_elements(v_run.request -> 'said') with ordinality as fresh (said, nth)
     order by nth
    -- While it waited, another request may have said the same message.
    on conflict (thread_id, key) where superseded_at is null do nothing;
  end if;
  select jsonb_agg(to_jsonb(recent) order by recent.position) into v_items
    from (select id, key, kind, data, position from agent.item
           where thread_id = v_run.thread_id and superseded_at is null
           order by position desc limit (p_lease ->> 'history')::integer) recent;
  return v_lease || jsonb_build_object(
    'outcome', 'leased', 'run_id', p_run, 'client_run_id', v_run.key, 'request', v_run.request,
    'client_thread_id', (select key from agent.thread where id = v_run.thread_id),
    'items', coalesce(v_items, '[]'), 'open_results', v_open,
    'events', (select jsonb_agg(to_jsonb(logged) order by logged.seq)
                 from (select seq, count, attempt, type, item_id, data from agent.run_event
                        where run_id = p_run and seq > (v_lease ->> 'base')::integer) logged)
  );
end $$;

-- What the client's messages mean for the stored thread: which are news, and behind which position they belong.
--
-- The stored history is the truth. A history that ends in a known message rewinds to it; a known user message with
-- other content replaces itself and all behind it; news go behind the tail unless `rewind_to` names their parent.
create function agent.plan_request(
  p_claims jsonb, p_thread uuid, p_request jsonb, out said jsonb, out rewind bigint, out tail text
)
language plpgsql set search_path = '' as $$
declare
  v_last record;
begin
  perform agent.act_as(p_claims);
  with incoming as (
    select message ->> 'key' as key, message, nth
      from jsonb_array_elements(p_request -> 'messages') with ordinality as given (message, nth)
  ), stored as (
    select key, kind, data, position from agent.item where thread_id = p_thread and superseded_at is null
  ), known as (
    select nth, position, kind = 'message' and data ->> 'role' = 'user'
             and data -> 'content' is distinct from message -> 'data' -> 'content' as edited
      from incoming join stored using (key)
    union all
    select nth, position, false
      from incoming join stored on data ->> 'message_id' = incoming.key
  )
  select * into v_last from known order by nth desc, position desc limit 1;

  select coalesce(jsonb_agg(message order by nth), '[]') into said
    from jsonb_array_elements(p_request -> 'messages') with ordinality as incoming (message, nth)
   where nth > coalesce(v_last.nth, 0) - coalesce(v_last.edited, false)::integer
     and (message ->> 'kind' = 'message' or message ->> 'kind' = 'tool_result' and exists (
       select from agent.item call
        where call.thread_id = p_thread and call.superseded_at is null and call.kind = 'tool_call'
          and call.key = message -> 'data' ->> 'call_id' and call.data ->> 'executor' = 'client'
          and not exists (
            select from agent.item result
             where result.thread_id = p_thread and result.superseded_at is null and result.kind = 'tool_result'
               and result.data ->> 'call_id' = call.key
          )
     ));

  if p_request ->> 'rewind_to' is not null then
    select max(position) into rewind from agent.item
     where thread_id = p_thread and superseded_at is null
       and p_request ->> 'rewind_to' in (key, data ->> 'message_id');
    if rewind is null then
      raise exception using errcode = 'AF001', message = 'rewind_target_unknown';
    end if;
    if v_last.edited then
      rewind := least(rewind, v_last.position - 1);
    end if;
  elsif v_last.edited then
    rewind := v_last.position - 1;
  elsif said = '[]' then
    rewind := v_last.position;
  end if;

  select case when kind = 'message' then data ->> 'role' else kind end into tail
    from agent.item where thread_id = p_thread and superseded_at is null
     and (rewind is null or position <= rewind)
   order by position desc limit 1;
  perform set_config('role', 'none', true);
end $$;

-- Answer the thread's open interrupts: all of them, each once. Unknown ids are ignored.
create function agent.resolve_interrupts(p_claims jsonb, p_thread uuid, p_run uuid, p_resume jsonb) returns void
language plpgsql set search_path = '' as $$
begin
  perform agent.act_as(p_claims);
  if exists (
    select from agent.interrupt join jsonb_array_elements(p_resume) answer on answer ->> 'interrupt_id' = id::text
     where thread_id = p_thread and status <> 'open'
  ) then
    raise exception using errcode = 'AF001', message = 'interrupt_resolved';
  end if;
  update agent.interrupt
     set status = answer ->> 'status', payload = answer -> 'payload', resolved_by = p_run, resolved_at = now()
    from jsonb_array_elements(p_resume) answer
   where thread_id = p_thread and agent.interrupt.status = 'open' and answer ->> 'interrupt_id' = id::text;
  if exists (select from agent.interrupt where thread_id = p_thread and status = 'open') then
    raise exception using errcode = 'AF001', message = 'interrupt_open';
  end if;
  perform set_config('role', 'none', true);
end $$;

-- Write the run of a request, behind its plan. Null: this runId is taken.
create function agent.insert_run(p_claims jsonb, p_thread uuid, p_request jsonb, p_plan record) returns uuid
language plpgsql set search_path = '' as $$
declare
  v_run uuid;
begin
  perform agent.act_as(p_claims);
  insert into agent.run (thread_id, owner, key, request, request_hash)
  values (
    p_thread, auth.uid(), p_request ->> 'client_run_id',
    p_request - array['client_run_id', 'client_thread_id', 'hash', 'messages', 'rewind_to', 'request_id']
      || jsonb_build_object('said', p_plan.said, 'rewind', p_plan.rewind),
    p_request ->> 'hash'
  )
  on conflict (owner, key) do nothing returning id into v_run;
  update agent.thread set updated_at = now() where id = p_thread and v_run is not null;
  perform set_config('role', 'none', true);
  return v_run;
end $$;

-- Lock the user's thread, which is made on first use, and look for the run. Rolled back by whatever is refused later.
create function agent.open_thread(
  p_claims jsonb, p_client_thread_id text, p_client_run_id text, out thread_id uuid, out run_id uuid, out run_hash text
)
language plpgsql set search_path = '' as $$
begin
  perform agent.act_as(p_claims);
  insert into agent.thread (owner, key) values (auth.uid(), p_client_thread_id) on conflict (owner, key) do nothing;
  -- "No key": inserting an item or an event of this thread must not wait for an admission.
  select id into strict thread_id from agent.thread
   where owner = auth.uid() and key = p_client_thread_id for no key update;
  select id, request_hash into run_id, run_hash from agent.run where owner = auth.uid() and key = p_client_run_id;
  perform set_config('role', 'none', true);
end $$;

-- Admit a run. Answers `leased` (with all its holder needs), `queued`, or `attached` (this runId is known already).
--
-- p_lease null: leave it queued, whoever can will claim it.
create function agent.begin_run(p_claims jsonb, p_request jsonb, p_lease jsonb) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_open record;
  v_plan record;
  v_run uuid;
  v_others uuid[];
  v_other uuid;
begin
  select * into v_open from agent.open_thread(p_claims, p_request ->> 'client_thread_id', p_request ->> 'client_run_id');
  if v_open.run_id is null then
    select * into v_plan from agent.plan_request(p_claims, v_open.thread_id, p_request);
    if v_plan.said = '[]' and p_request -> 'resume' = '[]'
       and coalesce(v_plan.tail, 'assistant') not in ('user', 'tool_result') then
      raise exception using errcode = 'AF001', message = 'nothing_to_answer';
    end if;
    v_run := agent.insert_run(p_claims, v_open.thread_id, p_request, v_plan);
    if v_run is null then
      -- The same runId was admitted a moment ago, on another thread.
      raise exception using errcode = 'AF001', message = 'run_id_reused';
    end if;
    v_others := agent.unended_runs(v_open.thread_id, v_run);
    if v_others <> '{}' and p_request ->> 'busy' = 'reject' then
      raise exception using errcode = 'AF001', message = 'thread_busy',
        detail = coalesce(agent.orphan_of(v_others)::text, '');
    end if;
    perform agent.resolve_interrupts(p_claims, v_open.thread_id, v_run, p_request -> 'resume');
    if p_request ->> 'busy' = 'cancel_previous' then
      foreach v_other in array v_others loop
        perform agent.request_cancel(v_other, p_request ->> 'request_id');
      end loop;
      v_others := agent.unended_runs(v_open.thread_id, v_run);
    end if;
    perform agent.admit_run(v_run, p_claims, p_lease is null or v_others <> '{}');
    return coalesce(
      case when p_lease is not null and v_others = '{}' then agent.claim_run(v_run, p_lease) end,
      jsonb_build_object('outcome', 'queued', 'run_id', v_run, 'orphan', agent.orphan_of(v_others))
    );
  end if;
  if v_open.run_hash <> p_request ->> 'hash' then
    raise exception using errcode = 'AF001', message = 'run_id_reused';
  end if;
  return jsonb_build_object('outcome', 'attached', 'run_id', v_open.run_id);
end $$;

-- Cancel a run of the user's own. Returns its status; cancelling an ended run changes nothing.
create function agent.cancel_run(p_claims jsonb, p_client_run_id text, p_request_id text) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_run uuid;
  v_status text;
begin
  perform agent.act_as(p_claims);
  select id into v_run from agent.run where owner = auth.uid() and key = p_client_run_id;
  if not found then
    raise exception using errcode = 'AF001', message = 'run_not_found';
  end if;
  perform set_config('role', 'none', true);
  -- A statement of its own: what is stable sees the state before its statement.
  v_status := agent.request_cancel(v_run, p_request_id);
  return jsonb_build_object('run_id', v_run, 'status', v_status, 'next_run', agent.next_of(v_run));
end $$;
