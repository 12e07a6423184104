-- An expired interrupt may be dismissed. AG-UI's client sends nothing else for it, and no message while one is open.

-- Resolve the thread's open interrupts with the answers that a run brings. Each interrupt must be answered, only once,
-- and at the agent whose run has it: no other agent has the tools that wait. Unknown ids are ignored. An expired
-- interrupt can only be dismissed: the next run cancels it, whether it says so or not.
create or replace function agent.resolve_interrupts(p_claims jsonb, p_thread uuid, p_run uuid, p_resume jsonb)
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
     where thread_id = p_thread and status = 'open' and expires_at < now() and answer ->> 'status' <> 'cancelled'
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
