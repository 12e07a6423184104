-- Admission and claims of runs. Each is one statement for its caller.

-- What the client's messages mean for the stored thread:
--   new_items: those of them that are new;
--   rewind: the position of the item that they follow; null: the thread's last item;
--   previous_role: the role of that item if it is a message, otherwise its kind.
--
-- The stored history counts, and the client's is compared with it. A history that ends in a known message rewinds to
-- that message. A known user message with other content replaces the stored one and all that follows it. New messages
-- follow the last item, unless `rewind_to` names the one they follow. The result of a frontend call is new wherever the
-- client has it: a client puts it after its call, also if the user has spoken since.
--
-- Some clients make new ids for the history with each request. So the client's user messages are also compared with the
-- stored ones by their place, from the start of the thread, as long as each is the same as the stored one. The last one
-- is what the user sends now: it is known only by its id, because users repeat themselves.
--
-- The cost does not depend on the length of the thread: an item is found by its key, and a message that is no item of
-- its own (a turn of tool calls only) among the newest items, which are those the model gets too. Postgres's query
-- plans do not depend on their parameters, and making them in each call took three quarters of its time.
create function agent.compare_history(
  p_claims jsonb, p_thread uuid, p_request jsonb, out new_items jsonb, out rewind bigint, out previous_role text
)
language plpgsql set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
  v_last record;
  v_until bigint;
begin
  perform agent.act_as(p_claims);
  with incoming as (
    select message ->> 'key' as key, message, nth
      from jsonb_array_elements(p_request -> 'messages') with ordinality as received (message, nth)
  ), theirs as (
    select key, message -> 'data' -> 'content' as content, nth, row_number() over (order by nth) as place,
           nth = max(nth) over () as is_last
      from incoming where message ->> 'kind' = 'message'
  ), ours as (
    select key, data -> 'content' as content, position, row_number() over (order by position) as place
      from (
        select key, data, position from agent.item
         where thread_id = p_thread and superseded_at is null and kind = 'message' and data ->> 'role' = 'user'
         order by position limit jsonb_array_length(p_request -> 'messages')
      ) first_ones
  ), aligned as (
    select nth, position, ours.key = theirs.key as has_same_key,
           bool_and(ours.key = theirs.key or not is_last and ours.content is not distinct from theirs.content)
             over (order by place) as is_same
      from theirs join ours using (place)
  ), known as (
    select nth, position, kind = 'message' and data ->> 'role' = 'user'
             and data -> 'content' is distinct from message -> 'data' -> 'content' as edited
      from incoming cross join lateral (
        select position, kind, data from agent.item
         where thread_id = p_thread and item.key = incoming.key and superseded_at is null limit 1
      ) found
    union all
    select nth, position, false
      from incoming join (
        select position, data ->> 'message_id' as message_id from agent.item
         where thread_id = p_thread and superseded_at is null
         order by position desc limit 1000
      ) recent on message_id = incoming.key
    union all
    select nth, position, false from aligned where is_same and not has_same_key
  )
  select * into v_last from known order by nth desc, position desc limit 1;

  if p_request ->> 'rewind_to' is not null then
    select max(position) into rewind from agent.item
     where thread_id = p_thread and superseded_at is null
       and p_request ->> 'rewind_to' in (key, data ->> 'message_id');
    if rewind is null then
      raise exception using errcode = 'AF001', message = 'rewind_target_unknown';
    end if;
  end if;
  if v_last.edited then
    rewind := least(rewind, v_last.position - 1);
  end if;

  select coalesce(jsonb_agg(message order by nth), '[]') into new_items
    from jsonb_array_elements(p_request -> 'messages') with ordinality as incoming (message, nth)
   -- An edited message is itself new.
   where message ->> 'kind' = 'message' and nth > coalesce(v_last.nth, 0) - coalesce(v_last.edited, false)::integer
      or message ->> 'kind' = 'tool_result' and exists (
       select from agent.item call
        where call.thread_id = p_thread and call.superseded_at is null and call.kind = 'tool_call'
          and call.key = message -> 'data' ->> 'call_id' and call.data ->> 'executor' = 'client'
          and (rewind is null or call.position <= rewind)
          and not exists (
            select from agent.item result
             where result.thread_id = p_thread and result.superseded_at is null and result.kind = 'tool_result'
               and result.data ->> 'call_id' = call.key
          )
     );
  if rewind is null and new_items = '[]' then
    rewind := v_last.position;
  end if;

  -- A variable: under row-level security no index serves a condition with a function that might leak other rows.
  v_until := coalesce(rewind, 9223372036854775807);
  select case when kind = 'message' then data ->> 'role' else kind end into previous_role
    from agent.item where thread_id = p_thread and superseded_at is null
     and position <= v_until and kind <> 'summary'
   order by position desc limit 1;
  perform set_config('role', 'none', true);
end $$;

-- Insert the run of a request. `p_plan`: what `compare_history` returned. Null: this client_run_id is taken.
create function agent.insert_run(p_claims jsonb, p_thread uuid, p_request jsonb, p_plan record) returns uuid
language plpgsql set search_path = '' as $$
declare
  v_run uuid;
begin
  perform agent.act_as(p_claims);
  insert into agent.run (thread_id, owner, client_run_id, agent, agent_hash, request, request_hash)
  values (
    p_thread, auth.uid(), p_request ->> 'client_run_id', p_request ->> 'agent', p_request ->> 'agent_hash',
    p_request - array['agent', 'agent_hash', 'client_run_id', 'client_thread_id', 'hash', 'messages', 'rewind_to']
      || jsonb_build_object('new_items', p_plan.new_items, 'rewind', p_plan.rewind),
    p_request ->> 'hash'
  )
  on conflict (owner, client_run_id) do nothing returning id into v_run;
  update agent.thread set updated_at = now() where id = p_thread and v_run is not null;
  perform set_config('role', 'none', true);
  return v_run;
end $$;

-- Insert the lease of a new run that no process holds yet, and the claims with which the run acts. `p_waits`: another
-- run of its thread comes first, or it starts in the background, so its log begins with `run.queued`. If not `p_waits`,
-- the caller claims it in the same statement.
create function agent.insert_unheld_lease(p_run uuid, p_claims jsonb, p_waits boolean) returns void
language plpgsql security definer set search_path = '' as $$
begin
  insert into agent.run_secret (run_id, claims) values (p_run, p_claims);
  insert into agent.lease (run_id, last_seq) values (p_run, p_waits::integer);
  if p_waits then
    insert into agent.run_event (run_id, seq, attempt, type) values (p_run, 1, 0, 'run.queued');
  end if;
end $$;

-- The calls of a run that were started and have no result, so they may have had their effect: the id of the item that
-- each result would be, by call.
create function agent.unfinished_calls(p_run uuid) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_object_agg(data ->> 'call_id', item_id), '{}') from agent.run_event started
   where run_id = p_run and type = 'item.started' and data ->> 'kind' = 'tool_result' and not exists (
     select from agent.run_event where run_id = p_run and item_id = started.item_id
        and type in ('item.completed', 'item.aborted')
   )
$$;

-- End a run that no process holds, if it must not be executed any more:
--   its thread was deleted after its holder had died;
--   it is older than `p_max_hours`;
--   it was released `p_max_stalled_attempts` times without closing a turn.
-- Returns {next_queued_run} if it ended the run; null if the run may be executed, or if a process holds or claims it.
create function agent.end_unexecutable_run(p_run uuid, p_max_hours numeric, p_max_stalled_attempts integer)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_is_deleted boolean;
  v_is_too_old boolean;
  v_is_stalled boolean;
begin
  -- A look without locks first: nearly every run may be executed.
  select deleted_at is not null, coalesce(run.created_at < now() - make_interval(secs => p_max_hours * 3600), false),
         coalesce(stalled_attempts >= p_max_stalled_attempts, false)
    into v_is_deleted, v_is_too_old, v_is_stalled
    from agent.lease join agent.run on run.id = run_id join agent.thread on thread.id = thread_id
   where run_id = p_run;
  if not found or not (v_is_deleted or v_is_too_old or v_is_stalled) then
    return null;
  end if;
  perform from agent.thread where id = (select thread_id from agent.run where id = p_run) for no key update;
  perform from agent.lease
    where run_id = p_run and agent.lease_is_expired(until)
      -- A turn may have been closed since the look.
      and (v_is_deleted or v_is_too_old or stalled_attempts >= p_max_stalled_attempts)
      for update skip locked;
  if not found then
    return null;
  end if;
  if v_is_too_old then
    perform agent.end_unheld_run(p_run, 'run.failed', jsonb_build_object(
      'code', 'run_too_old', 'message', 'The run waited too long to be answered.', 'retryable', true
    ));
  elsif v_is_deleted then
    perform agent.end_unheld_run(p_run, 'run.cancelled', '{}');
  else
    perform agent.end_unheld_run(p_run, 'run.failed', jsonb_build_object(
      'code', 'run_stalled', 'message', 'The run was moved between processes too often without finishing a turn.',
      'retryable', true
    ));
  end if;
  return jsonb_build_object('next_queued_run', agent.next_queued_run(p_run));
end $$;

-- Claim a run: take its lease, and return the history and all else that executing it takes. The first claim also
-- changes the thread as the run's request says, with the rights of the run's user. If the run cannot be claimed,
-- returns what `take_lease` or `end_unexecutable_run` returned. p_limits: {daily_tokens, max_hours}.
create function agent.claim_run(p_run uuid, p_lease jsonb, p_limits jsonb default '{}') returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_lease jsonb := agent.end_unexecutable_run(
    p_run, (p_limits ->> 'max_hours')::numeric, (p_lease ->> 'max_stalled_attempts')::integer
  );
  v_run agent.run;
  v_client_thread_id text;
  v_items jsonb;
  v_events jsonb;
begin
  if v_lease is not null then
    return v_lease;
  end if;
  v_lease := agent.take_lease(
    p_run, (p_lease ->> 'seconds')::numeric, (p_lease ->> 'max_unfinished_attempts')::integer,
    coalesce((p_lease ->> 'grace')::numeric, 0), p_lease -> 'agents'
  );
  if v_lease ->> 'token' is null then
    return v_lease;
  end if;
  perform agent.act_as(v_lease -> 'claims');
  select * into v_run from agent.run where id = p_run;
  if not found then
    -- Its thread was deleted while this claim waited for it. The next claim cancels the run.
    raise exception using errcode = 'AF001', message = 'run_not_found';
  end if;
  select client_thread_id into strict v_client_thread_id from agent.thread where id = v_run.thread_id;
  if (v_lease ->> 'attempt')::integer = 1 then
    update agent.item set superseded_at = now()
     where thread_id = v_run.thread_id and superseded_at is null
       and position > (v_run.request ->> 'rewind')::bigint;
    insert into agent.item (thread_id, run_id, owner, key, kind, data)
    select v_run.thread_id, p_run, v_run.owner, item ->> 'key', item ->> 'kind', item -> 'data'
      from jsonb_array_elements(v_run.request -> 'new_items') with ordinality as listed (item, nth)
     order by nth
    -- While this run waited, another request may have brought the same message.
    on conflict (thread_id, key) where superseded_at is null do nothing;
  end if;
  select jsonb_agg(to_jsonb(recent) order by recent.position) into v_items
    from (select id, key, kind, data, position from agent.item
           where thread_id = v_run.thread_id and superseded_at is null
           order by position desc limit (p_lease ->> 'history')::integer) recent;
  select jsonb_agg(to_jsonb(logged) order by logged.seq) into v_events
    from (select seq, count, attempt, type, item_id, data from agent.run_event
           where run_id = p_run and seq > (v_lease ->> 'base')::integer) logged;
  perform set_config('role', 'none', true);
  return v_lease || jsonb_build_object(
    'outcome', 'leased', 'run_id', p_run, 'client_run_id', v_run.client_run_id, 'agent', v_run.agent,
    'request', v_run.request, 'client_thread_id', v_client_thread_id, 'items', coalesce(v_items, '[]'),
    'unfinished_calls', agent.unfinished_calls(p_run),
    'events', v_events, 'answers', agent.answers_of(p_run),
    'used', case when (v_lease ->> 'attempt')::integer > 1 then agent.used_by(p_run) end,
    'tokens_left', agent.tokens_left(v_run.owner, (p_limits ->> 'daily_tokens')::bigint)
  );
end $$;

-- Admit a request whose thread is locked, in the general case: {outcome: leased or queued, ...}.
create function agent.admit_request(p_claims jsonb, p_thread uuid, p_request jsonb, p_lease jsonb) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_resume jsonb := agent.known_answers((p_claims ->> 'sub')::uuid, p_request -> 'resume');
  v_plan record;
  v_run uuid;
  v_others uuid[];
  v_other uuid;
begin
  select * into v_plan from agent.compare_history(p_claims, p_thread, p_request);
  if v_plan.new_items = '[]' and v_resume = '[]'
     and coalesce(v_plan.previous_role, 'assistant') not in ('user', 'tool_result') then
    raise exception using errcode = 'AF001', message = 'nothing_to_answer';
  end if;
  v_run := agent.insert_run(p_claims, p_thread, p_request || jsonb_build_object('resume', v_resume), v_plan);
  if v_run is null then
    -- The same client_run_id was admitted a moment ago, in another thread.
    raise exception using errcode = 'AF001', message = 'run_id_reused';
  end if;
  v_others := agent.unended_runs(p_thread, v_run);
  if v_others <> '{}' and p_request ->> 'busy' = 'reject' then
    raise exception using errcode = 'AF001', message = 'thread_busy',
      detail = coalesce(agent.run_to_place(v_others)::text, '');
  end if;
  perform agent.resolve_interrupts(p_claims, p_thread, v_run, v_resume);
  if p_request ->> 'busy' = 'cancel_previous' then
    foreach v_other in array v_others loop
      perform agent.request_cancel(v_other, p_request ->> 'request_id');
    end loop;
    v_others := agent.unended_runs(p_thread, v_run);
  end if;
  perform agent.insert_unheld_lease(v_run, p_claims, p_lease is null or v_others <> '{}');
  return coalesce(
    case when p_lease is not null and v_others = '{}' then agent.claim_run(v_run, p_lease) end,
    jsonb_build_object('outcome', 'queued', 'run_id', v_run, 'run_id_to_place', agent.run_to_place(v_others))
  );
end $$;

-- Insert the lease of a new run that the caller holds from the start, the claims with which the run acts, and the first
-- event of its log, `run.started`.
create function agent.insert_held_lease(p_run uuid, p_token uuid, p_claims jsonb, p_seconds numeric) returns void
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
begin
  with lease as (
    insert into agent.lease (run_id, token, until, attempt, last_seq, unfinished_attempts)
    values (p_run, p_token, clock_timestamp() + make_interval(secs => p_seconds), 1, 1, 1)
  ), secret as (
    insert into agent.run_secret (run_id, claims) values (p_run, p_claims)
  )
  insert into agent.run_event (run_id, seq, attempt, type) values (p_run, 1, 1, 'run.started');
end $$;

-- Admit a run, within the limits of its user: {daily_tokens, max_hours}. p_lease null: the run stays queued, for
-- another process. Returns `outcome`:
--   leased: the caller holds the run; the result has all that executing it takes;
--   queued: the run waits;
--   attached: this client_run_id is known already, and nothing changed.
--
-- Admission is half of the time to the first token, so the plain case has a short way: new messages in a new thread, or
-- one new message at the end of a thread that has no run in progress, no queued run and no open interrupt. It is four
-- statements inside this one: lock the thread; create it, or look at it; insert the run and its items as the user;
-- insert lease, claims and first event as the owner of the schema. Any other case takes the general way in
-- `admit_request`. Assignments and `if` are cheap here, because they do not start Postgres's executor. The body is not
-- split: it acts as the user, and a user may not execute functions of this schema.
create function agent.start_run(p_claims jsonb, p_request jsonb, p_lease jsonb, p_limits jsonb) returns jsonb
language plpgsql set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
  v_owner uuid := agent.act_as(p_claims);
  v_client_thread_id text := p_request ->> 'client_thread_id';
  v_client_run_id text := p_request ->> 'client_run_id';
  v_messages jsonb := p_request -> 'messages';
  v_history integer := (p_lease ->> 'history')::integer;
  v_is_simple boolean := p_lease is not null and p_request -> 'resume' = '[]' and p_request ->> 'rewind_to' is null;
  v_stored jsonb := p_request
    - array['agent', 'agent_hash', 'client_run_id', 'client_thread_id', 'hash', 'messages', 'rewind_to'];
  v_token uuid := gen_random_uuid();
  v_thread uuid;
  v_is_new boolean := false;
  v_known_run uuid;
  v_known_hash text;
  v_new_from bigint := 1;
  v_run uuid;
  v_items jsonb;
  v_new_items jsonb;
  v_answer jsonb;
  v_tokens_left bigint;
  -- For assignments instead of `perform`: see `act_as`.
  v_unused text;
begin
  -- "No key": inserting an item or an event of this thread must not wait for an admission.
  select id into v_thread from agent.thread
   where owner = v_owner and client_thread_id = v_client_thread_id for no key update;
  if v_thread is null then
    insert into agent.thread (owner, client_thread_id) values (v_owner, v_client_thread_id)
    on conflict (owner, client_thread_id) do nothing returning id into v_thread;
    v_is_new := v_thread is not null;
    if not v_is_new then
      -- Another request created it a moment ago, or it was deleted.
      select id into v_thread from agent.thread
       where owner = v_owner and client_thread_id = v_client_thread_id for no key update;
      if v_thread is null then
        raise exception using errcode = 'AF001', message = 'thread_deleted';
      end if;
    end if;
  end if;

  if v_is_new then
    v_is_simple := v_is_simple and not jsonb_path_exists(v_messages, '$[*] ? (@.kind != "message")');
  else
    -- A statement after the one that waited for the lock sees what the lock's last owner did.
    with newest_known as materialized (
      -- The last message that is known by its key, and whether it was edited. From the end, as far as the first hit.
      select nth, kind = 'message' and data ->> 'role' = 'user'
               and data -> 'content' is distinct from message -> 'data' -> 'content' as is_edited
        from (select message, nth from jsonb_array_elements(v_messages) with ordinality as listed (message, nth)
               order by nth desc) incoming
             cross join lateral (
               select kind, data from agent.item
                where thread_id = v_thread and key = message ->> 'key' and superseded_at is null limit 1
             ) stored
       order by nth desc limit 1
    ), state as materialized (
      select known.id as known_run, known.request_hash as known_hash,
             coalesce((select nth from newest_known), 0) + 1 as new_from,
             v_is_simple and known.id is null
               and not coalesce((select is_edited from newest_known), false)
               and not exists (select from agent.run where thread_id = v_thread and status = 'in_progress')
               and not exists (select from agent.run where thread_id = v_thread and status = 'queued')
               and not exists (select from agent.interrupt where thread_id = v_thread and status = 'open')
               -- The result of a frontend call can be new among known messages.
               and not exists (
                 select from jsonb_array_elements(v_messages) message
                  where message ->> 'kind' = 'tool_result' and not exists (
                    select from agent.item
                     where thread_id = v_thread and key = message ->> 'key' and superseded_at is null
                  )
               ) as is_simple
        from (select) one left join agent.run known on known.owner = v_owner and client_run_id = v_client_run_id
    )
    select known_run, known_hash, new_from, is_simple, case when is_simple then (
             select jsonb_agg(to_jsonb(recent) order by recent.position)
               from (select id, key, kind, data, position from agent.item
                      where thread_id = v_thread and superseded_at is null
                      order by position desc
                      limit greatest(v_history - jsonb_array_length(v_messages) - 1 + state.new_from, 0)) recent
           ) end
      into v_known_run, v_known_hash, v_new_from, v_is_simple, v_items from state;
    v_is_simple := v_is_simple
      and not jsonb_path_exists(
        v_messages, '$[$from to last] ? (@.kind != "message")', jsonb_build_object('from', v_new_from - 1)
      )
      -- Several may be known messages with new ids.
      and jsonb_array_length(v_messages) <= v_new_from;
  end if;

  if v_is_simple and jsonb_array_length(v_messages) >= v_new_from then
    -- Makes `status` and `started_at` of the new run default to a started run (tables.sql).
    v_unused := set_config('agent.run_starts', 'true', true);
    with touched as (
      update agent.thread set updated_at = now() where id = v_thread and not v_is_new
    ), started as (
      insert into agent.run (thread_id, owner, client_run_id, agent, agent_hash, request, request_hash)
      values (
        v_thread, v_owner, v_client_run_id, p_request ->> 'agent', p_request ->> 'agent_hash', v_stored,
        p_request ->> 'hash'
      )
      on conflict (owner, client_run_id) do nothing returning id
    ), added as (
      insert into agent.item (thread_id, run_id, owner, key, kind, data)
      select v_thread, started.id, v_owner, message ->> 'key', 'message', message -> 'data'
        from started, jsonb_array_elements(v_messages) with ordinality as listed (message, nth)
       where nth >= v_new_from
       order by nth
      on conflict (thread_id, key) where superseded_at is null do nothing
      returning id, key, kind, data, position
    )
    select started.id, (select jsonb_agg(to_jsonb(added) order by position) from added)
      into v_run, v_new_items from started;
    v_unused := set_config('agent.run_starts', '', true);
    v_unused := set_config('role', 'none', true);
    if v_run is null then
      -- The same client_run_id was admitted a moment ago, in another thread.
      raise exception using errcode = 'AF001', message = 'run_id_reused';
    end if;
    v_unused := agent.insert_held_lease(v_run, v_token, p_claims, (p_lease ->> 'seconds')::numeric);
    v_answer := jsonb_build_object(
      'outcome', 'leased', 'run_id', v_run, 'client_run_id', v_client_run_id, 'client_thread_id', v_client_thread_id,
      'agent', p_request -> 'agent', 'token', v_token, 'attempt', 1, 'base', 0, 'last_seq', 1, 'claims', p_claims, 'request', v_stored,
      'items', coalesce(v_items, '[]') || coalesce(v_new_items, '[]'),
      'events', '[{"seq": 1, "count": 1, "attempt": 1, "type": "run.started", "item_id": null, "data": {}}]'::jsonb,
      'unfinished_calls', '{}'::jsonb, 'answers', '[]'::jsonb, 'used', null
    );
  else
    v_unused := set_config('role', 'none', true);
    if v_known_run is not null then
      if v_known_hash <> p_request ->> 'hash' then
        raise exception using errcode = 'AF001', message = 'run_id_reused';
      end if;
      return jsonb_build_object('outcome', 'attached', 'run_id', v_known_run);
    end if;
    v_answer := agent.admit_request(p_claims, v_thread, p_request, p_lease);
  end if;

  if (p_limits ->> 'daily_tokens')::bigint > 0 then
    v_tokens_left := agent.tokens_left(v_owner, (p_limits ->> 'daily_tokens')::bigint);
    if v_tokens_left <= 0 then
      -- A refusal rolls everything back.
      raise exception using errcode = 'AF001', message = 'budget_exceeded';
    end if;
    v_answer := v_answer || jsonb_build_object('tokens_left', v_tokens_left);
  end if;
  return v_answer;
end $$;

-- Cancel a run of this user. Returns its status; cancelling a run that has ended changes nothing.
create function agent.cancel_run(p_claims jsonb, p_client_run_id text, p_request_id text) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_owner uuid := agent.act_as(p_claims);
  v_run uuid;
  v_status text;
begin
  select id into v_run from agent.run where owner = v_owner and client_run_id = p_client_run_id;
  if not found then
    raise exception using errcode = 'AF001', message = 'run_not_found';
  end if;
  perform set_config('role', 'none', true);
  -- A separate statement, because a stable function sees the state before the statement that calls it.
  v_status := agent.request_cancel(v_run, p_request_id);
  return jsonb_build_object('run_id', v_run, 'status', v_status, 'next_queued_run', agent.next_queued_run(v_run));
end $$;
