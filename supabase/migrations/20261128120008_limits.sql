-- Limits that hold across all processes, and what is left of each.

-- Each closed turn leaves a row with its tokens.
create function agent.record_usage() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into agent.turn_usage (run_id, seq, owner, model, input_tokens, output_tokens)
  select run.id, new.seq, run.owner, new.data -> 'usage' ->> 'model',
         coalesce((new.data -> 'usage' ->> 'input_tokens')::bigint, 0),
         coalesce((new.data -> 'usage' ->> 'output_tokens')::bigint, 0)
    from agent.run where id = new.run_id;
  return null;
end $$;

create trigger record_usage after insert on agent.run_event
  for each row when (new.type = 'turn.finished') execute function agent.record_usage();

-- What a run has used, in all its attempts: the usage of the closed turns, and how many tool calls were started.
create function agent.used_by(p_run uuid) returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object(
    'usage', coalesce(jsonb_agg(data -> 'usage') filter (where type = 'turn.finished'), '[]'),
    'calls', count(*) filter (where type = 'item.started' and data ->> 'kind' = 'tool_result')
  ) from agent.run_event where run_id = p_run and type in ('turn.finished', 'item.started')
$$;

-- What is left of a user's tokens today (UTC). Null: there is no limit.
create function agent.tokens_left(p_owner uuid, p_daily bigint) returns bigint
language sql stable security definer set search_path = '' as $$
  select p_daily - coalesce(sum(input_tokens + output_tokens), 0)::bigint - coalesce((
           select tokens from agent.day_usage where owner = p_owner and day = (now() at time zone 'UTC')::date
         ), 0)
    from agent.turn_usage
   where p_daily > 0 and owner = p_owner and created_at >= date_trunc('day', now(), 'UTC')
   having p_daily > 0
$$;

-- How many tool calls a run of this user has started, and how many tokens the user has left today: {tool_calls,
-- tokens_left}. Null: there is no such run.
create function agent.limit_usage(p_claims jsonb, p_run uuid, p_limits jsonb) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_owner uuid;
begin
  perform agent.act_as(p_claims);
  select owner into v_owner from agent.run where id = p_run;
  perform set_config('role', 'none', true);
  return case when v_owner is not null then jsonb_build_object(
    'tool_calls', (agent.used_by(p_run) ->> 'calls')::integer,
    'tokens_left', agent.tokens_left(v_owner, (p_limits ->> 'daily_tokens')::bigint)
  ) end;
end $$;

-- Whether the call that took a slot may still run.
create function agent.is_in_use(p_slot agent.call_slot) returns boolean
language sql stable set search_path = '' as $$
  select p_slot.until > now() and exists (
    select from agent.lease where run_id = p_slot.run_id and attempt = p_slot.attempt
  )
$$;

-- Take one of a user's slots for a call of a run, under a token that frees it again. False: all are in use, or another
-- call was faster; the caller tries again.
create function agent.take_call_slot(p_run uuid, p_call text, p_token uuid, p_slots integer, p_seconds numeric)
returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  insert into agent.call_slot as taken (owner, slot, run_id, attempt, call_id, token, until)
  select run.owner, free, run.id, lease.attempt, p_call, p_token, now() + make_interval(secs => p_seconds)
    from agent.run join agent.lease on lease.run_id = run.id
         cross join generate_series(1, p_slots) free
   where run.id = p_run
     and not exists (
       select from agent.call_slot other where other.owner = run.owner and slot = free and agent.is_in_use(other)
     )
   order by free limit 1
  on conflict (owner, slot) do update
     set run_id = excluded.run_id, attempt = excluded.attempt, call_id = excluded.call_id, token = excluded.token,
         until = excluded.until
   where not agent.is_in_use(taken);
  return found;
end $$;

create function agent.free_call_slot(p_run uuid, p_token uuid) returns void
language sql security definer set search_path = '' as $$
  delete from agent.call_slot where run_id = p_run and token = p_token
$$;
