-- Limits that hold in all processes together, and what is left of each.

-- A call of a user that runs now: a slot of theirs each. It is held as long as the attempt that took it has its run's
-- lease, so that what a process held when it died is free once its run was taken up, and no longer than `until`.
create table agent.call_slot (
  owner uuid not null references auth.users (id) on delete cascade,
  slot smallint not null check (slot > 0),
  run_id uuid not null references agent.run (id) on delete cascade,
  attempt integer not null,
  call_id text not null,
  -- Whose it is: after a takeover the same call may run twice, and each gives back its own.
  token uuid not null,
  until timestamptz not null,
  primary key (owner, slot)
) with (fillfactor = 50);
create index call_slot_of_run on agent.call_slot (run_id);
alter table agent.call_slot enable row level security;

create function agent.is_held(p_slot agent.call_slot) returns boolean
language sql stable set search_path = '' as $$
  select p_slot.until > now() and exists (
    select from agent.lease where run_id = p_slot.run_id and attempt = p_slot.attempt
  )
$$;

-- Take one of a user's slots for a call of a run, under a token to give it back by. False: all are taken, or another call
-- was faster; ask again.
create function agent.take_call_slot(p_run uuid, p_call text, p_token uuid, p_slots integer, p_seconds numeric)
returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  insert into agent.call_slot as taken (owner, slot, run_id, attempt, call_id, token, until)
  select run.owner, free, run.id, lease.attempt, p_call, p_token, now() + make_interval(secs => p_seconds)
    from agent.run join agent.lease on lease.run_id = run.id
         cross join generate_series(1, p_slots) free
   where run.id = p_run
     and not exists (select from agent.call_slot held where held.owner = run.owner and slot = free and agent.is_held(held))
   order by free limit 1
  on conflict (owner, slot) do update
     set run_id = excluded.run_id, attempt = excluded.attempt, call_id = excluded.call_id, token = excluded.token,
         until = excluded.until
   where not agent.is_held(taken);
  return found;
end $$;

create function agent.free_call_slot(p_run uuid, p_token uuid) returns void
language sql security definer set search_path = '' as $$
  delete from agent.call_slot where run_id = p_run and token = p_token
$$;

-- What a run of the user's own has used of its limits: {tool_calls, tokens_left}. Null: there is none.
create function agent.limits_of(p_claims jsonb, p_run uuid, p_limits jsonb) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_owner uuid;
begin
  perform agent.act_as(p_claims);
  select owner into v_owner from agent.run where id = p_run;
  perform set_config('role', 'none', true);
  return case when v_owner is not null then jsonb_build_object(
    'tool_calls', (agent.spent_by(p_run) ->> 'calls')::integer,
    'tokens_left', agent.tokens_left(v_owner, (p_limits ->> 'daily_tokens')::bigint)
  ) end;
end $$;

revoke execute on all functions in schema agent from public, anon, authenticated;
grant execute on all functions in schema agent to agent_api;
