-- Questions to users, and the audit of tool calls and answers, which triggers on the log write so that no caller can
-- forget it.

-- Each tool call that was started leaves a row once it is over: ok, error, denied, refused, unknown, or, if it was
-- taken back, the reason.
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

-- Each answer to a question leaves a row.
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

-- Resolve the thread's open interrupts with the answers that a run brings. Each interrupt must be answered, only once,
-- and at the agent whose run has it: no other agent has the tools that wait. Unknown ids are ignored. An expired interrupt cannot be answered any more: the next run cancels it.
create function agent.resolve_interrupts(p_claims jsonb, p_thread uuid, p_run uuid, p_resume jsonb)
returns void
language plpgsql set search_path = '' as $$
begin
  perform agent.act_as(p_claims);
  if exists (
    select from agent.interrupt join jsonb_array_elements(p_resume) answer on answer ->> 'interrupt_id' = id::text
           join agent.run interrupted on interrupted.id = interrupt.run_id
     where interrupt.thread_id = p_thread
       and interrupted.agent <> (select agent from agent.run where run.id = p_run)
  ) then
    raise exception using errcode = 'AF001', message = 'interrupt_of_another_agent';
  end if;
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

-- Those of these answers that belong to an interrupt of this user.
create function agent.known_answers(p_owner uuid, p_resume jsonb) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(answer order by nth), '[]')
    from jsonb_array_elements(p_resume) with ordinality as received (answer, nth)
   where exists (select from agent.interrupt where owner = p_owner and id::text = answer ->> 'interrupt_id')
$$;

-- The answers that a run brought, each with the question it belongs to.
create function agent.answers_of(p_run uuid) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(jsonb_build_object(
           'interrupt_id', interrupt.id, 'call_id', interrupt.call_id, 'reason', interrupt.reason,
           'status', interrupt.status, 'payload', interrupt.payload, 'state', question -> 'state'
         ) order by nth), '[]')
    from agent.interrupt join agent.run on run.id = interrupt.run_id
         cross join jsonb_array_elements(run.ending -> 'interrupts') with ordinality as listed (question, nth)
   where interrupt.resolved_by = p_run and question ->> 'id' = interrupt.id::text
$$;
