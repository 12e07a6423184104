-- Approvals that expire, limits of a user, and an audit that no caller can forget.

-- What the turns of a run cost. Insert only: a counter per user would have the batches of two processes wait for each
-- other, in either order.
create table agent.turn_usage (
  run_id uuid not null references agent.run (id) on delete cascade,
  seq integer not null,
  owner uuid not null references auth.users (id) on delete cascade,
  model text,
  input_tokens bigint not null default 0,
  output_tokens bigint not null default 0,
  created_at timestamptz not null default now(),
  primary key (run_id, seq)
);
create index turn_usage_of_owner on agent.turn_usage (owner, created_at) include (input_tokens, output_tokens);
alter table agent.turn_usage enable row level security;
create policy read_own on agent.turn_usage for select to authenticated using (owner = (select auth.uid()));
grant select on agent.turn_usage to authenticated;

create function agent.note_usage() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into agent.turn_usage (run_id, seq, owner, model, input_tokens, output_tokens)
  select run.id, new.seq, run.owner, new.data -> 'usage' ->> 'model',
         coalesce((new.data -> 'usage' ->> 'input_tokens')::bigint, 0),
         coalesce((new.data -> 'usage' ->> 'output_tokens')::bigint, 0)
    from agent.run where id = new.run_id;
  return null;
end $$;

create trigger note_usage after insert on agent.run_event
  for each row when (new.type = 'turn.finished') execute function agent.note_usage();

-- Every call of a tool that was started leaves a row once it is over: ok, error, denied, refused, unknown, or aborted.
create function agent.audit_tool_call() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  v_result jsonb := new.data -> 'item';
  v_call_id text := v_result ->> 'call_id';
begin
  if new.type = 'item.aborted' then
    v_call_id := (
      select data ->> 'call_id' from agent.run_event
       where run_id = new.run_id and item_id = new.item_id and type = 'item.started' and data ->> 'kind' = 'tool_result'
    );
  end if;
  insert into agent.audit_event (owner, action, outcome, run_id, request_id, subject, arguments_hash)
  select run.owner, 'tool.call',
         case new.type when 'item.aborted' then new.data ->> 'reason' else coalesce(v_result ->> 'status', 'ok') end,
         run.id, run.request ->> 'request_id', call.data ->> 'name',
         encode(sha256(convert_to(coalesce(v_result ->> 'arguments', call.data ->> 'arguments'), 'UTF8')), 'hex')
    from agent.run join agent.item call on call.thread_id = run.thread_id and call.kind = 'tool_call'
   where run.id = new.run_id and call.key = v_call_id
   order by call.superseded_at desc nulls first limit 1;
  return null;
end $$;

create trigger audit_tool_call after insert on agent.run_event
  for each row when (
    new.type = 'item.aborted' or new.type = 'item.completed' and new.data ->> 'kind' = 'tool_result'
  ) execute function agent.audit_tool_call();

-- And so does every answer to a question.
create function agent.audit_answer() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into agent.audit_event (owner, action, outcome, run_id, request_id, subject)
  select new.owner, 'interrupt.answer',
         case when new.payload -> 'expired' = 'true' then 'expired' else new.status end,
         new.run_id, run.request ->> 'request_id', new.id::text
    from agent.run where id = new.resolved_by;
  return null;
end $$;

create trigger audit_answer after update of status on agent.interrupt
  for each row when (old.status = 'open' and new.status <> 'open') execute function agent.audit_answer();

-- Write the run of a request, behind its plan. Null: this runId is taken. The request keeps its id, for the audit.
create or replace function agent.insert_run(p_claims jsonb, p_thread uuid, p_request jsonb, p_plan record) returns uuid
language plpgsql set search_path = '' as $$
declare
  v_run uuid;
begin
  perform agent.act_as(p_claims);
  insert into agent.run (thread_id, owner, key, request, request_hash)
  values (
    p_thread, auth.uid(), p_request ->> 'client_run_id',
    p_request - array['client_run_id', 'client_thread_id', 'hash', 'messages', 'rewind_to']
      || jsonb_build_object('said', p_plan.said, 'rewind', p_plan.rewind),
    p_request ->> 'hash'
  )
  on conflict (owner, key) do nothing returning id into v_run;
  update agent.thread set updated_at = now() where id = p_thread and v_run is not null;
  perform set_config('role', 'none', true);
  return v_run;
end $$;

-- Answer the thread's open interrupts: all of them, each once. Unknown ids are ignored. One that expired is answered by
-- whichever run comes next: it was not approved.
create or replace function agent.resolve_interrupts(p_claims jsonb, p_thread uuid, p_run uuid, p_resume jsonb)
returns void
language plpgsql set search_path = '' as $$
begin
  perform agent.act_as(p_claims);
  if exists (
    select from agent.interrupt join jsonb_array_elements(p_resume) answer on answer ->> 'interrupt_id' = id::text
     where thread_id = p_thread and status <> 'open'
  ) then
    raise exception using errcode = 'AF001', message = 'interrupt_resolved';
  end if;
  if exists (
    select from agent.interrupt join jsonb_array_elements(p_resume) answer on answer ->> 'interrupt_id' = id::text
     where thread_id = p_thread and status = 'open' and expires_at < now()
  ) then
    raise exception using errcode = 'AF001', message = 'interrupt_expired';
  end if;
  update agent.interrupt
     set status = 'cancelled', payload = '{"expired": true}', resolved_by = p_run, resolved_at = now()
   where thread_id = p_thread and status = 'open' and expires_at < now();
  update agent.interrupt
     set status = answer ->> 'status', payload = answer -> 'payload', resolved_by = p_run, resolved_at = now()
    from jsonb_array_elements(p_resume) answer
   where thread_id = p_thread and agent.interrupt.status = 'open' and answer ->> 'interrupt_id' = id::text;
  if exists (select from agent.interrupt where thread_id = p_thread and status = 'open') then
    raise exception using errcode = 'AF001', message = 'interrupt_open';
  end if;
  perform set_config('role', 'none', true);
end $$;

-- The answers a run came with, and what each was the answer to.
create function agent.answers_of(p_run uuid) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(jsonb_build_object(
           'interrupt_id', interrupt.id, 'call_id', interrupt.call_id, 'reason', interrupt.reason,
           'status', interrupt.status, 'payload', interrupt.payload, 'state', asked -> 'state'
         ) order by nth), '[]')
    from agent.interrupt join agent.run on run.id = interrupt.run_id
         cross join jsonb_array_elements(run.ending -> 'interrupts') with ordinality as listed (asked, nth)
   where interrupt.resolved_by = p_run and asked ->> 'id' = interrupt.id::text
$$;

-- What a run that changes hands has spent: the turns it closed, the calls it made.
create function agent.spent_by(p_run uuid) returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object(
    'usage', coalesce(jsonb_agg(data -> 'usage') filter (where type = 'turn.finished'), '[]'),
    'calls', count(*) filter (where type = 'item.started' and data ->> 'kind' = 'tool_result')
  ) from agent.run_event where run_id = p_run and type in ('turn.finished', 'item.started')
$$;

-- What is left of a user's tokens today (UTC). Null: there is no limit.
create function agent.tokens_left(p_owner uuid, p_daily bigint) returns bigint
language sql stable security definer set search_path = '' as $$
  select p_daily - coalesce(sum(input_tokens + output_tokens), 0)::bigint from agent.turn_usage
   where p_daily > 0 and owner = p_owner and created_at >= date_trunc('day', now(), 'UTC')
   having p_daily > 0
$$;

-- A run that was just taken, with all else its holder goes by.
create function agent.with_limits(p_leased jsonb, p_limits jsonb) returns jsonb
language sql stable security definer set search_path = '' as $$
  select case when p_leased ->> 'token' is null then p_leased else p_leased || jsonb_build_object(
    'answers', agent.answers_of((p_leased ->> 'run_id')::uuid),
    'spent', case when (p_leased ->> 'attempt')::integer > 1 then agent.spent_by((p_leased ->> 'run_id')::uuid) end,
    'tokens_left', agent.tokens_left((p_leased -> 'claims' ->> 'sub')::uuid, (p_limits ->> 'daily_tokens')::bigint)
  ) end
$$;

-- The answers that answer something of their user's.
create function agent.known_answers(p_owner uuid, p_resume jsonb) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(answer order by nth), '[]')
    from jsonb_array_elements(p_resume) with ordinality as given (answer, nth)
   where exists (select from agent.interrupt where owner = p_owner and id::text = answer ->> 'interrupt_id')
$$;

-- Admit a run as `begin_run` does, within the limits of its user: {daily_tokens}. A request that only answers what was
-- never asked has nothing to answer.
create function agent.start_run(p_claims jsonb, p_request jsonb, p_lease jsonb, p_limits jsonb) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_begun jsonb;
begin
  if p_request -> 'resume' <> '[]' then
    p_request := jsonb_set(
      p_request, '{resume}', agent.known_answers((p_claims ->> 'sub')::uuid, p_request -> 'resume')
    );
  end if;
  v_begun := agent.begin_run(p_claims, p_request, p_lease);
  perform set_config('role', 'none', true);
  -- What is refused is rolled back whole. Who comes back to a run is not refused.
  if v_begun ->> 'outcome' <> 'attached'
     and agent.tokens_left((p_claims ->> 'sub')::uuid, (p_limits ->> 'daily_tokens')::bigint) <= 0 then
    raise exception using errcode = 'AF001', message = 'budget_exceeded';
  end if;
  return agent.with_limits(v_begun, p_limits);
end $$;

-- End a run that nobody holds and that is too old to be answered. Null: it is not.
create function agent.refuse_old_run(p_run uuid, p_hours numeric) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  held agent.lease;
begin
  if not exists (select from agent.run where id = p_run and ended_at is null
                    and created_at < now() - make_interval(secs => p_hours * 3600)) then
    return null;
  end if;
  perform from agent.thread where id = (select thread_id from agent.run where id = p_run) for no key update;
  select * into held from agent.lease where run_id = p_run for update skip locked;
  if not found or held.until > now() then
    return null;
  end if;
  perform agent.end_unheld(p_run, 'run.failed', jsonb_build_object(
    'code', 'run_too_old', 'message', 'The run waited too long to be answered.', 'retryable', true
  ));
  return jsonb_build_object('next_run', agent.next_of(p_run));
end $$;

-- Take a run as `claim_run` does, within limits: {daily_tokens, max_hours}.
create function agent.take_run(p_run uuid, p_lease jsonb, p_limits jsonb) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_taken jsonb := agent.refuse_old_run(p_run, (p_limits ->> 'max_hours')::numeric);
begin
  if v_taken is not null then
    return v_taken;
  end if;
  v_taken := agent.claim_run(p_run, p_lease);
  perform set_config('role', 'none', true);
  return agent.with_limits(v_taken, p_limits);
end $$;

revoke execute on all functions in schema agent from public, anon, authenticated;
grant execute on all functions in schema agent to agent_api;
