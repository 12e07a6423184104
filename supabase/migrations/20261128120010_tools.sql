-- What the tools that ship keep: notes, and the weather of a moment ago; the tools that MCP servers listed;
-- diagnostics.

-- Write a note for a call of a run, or, without a run, for the user alone. The same key writes nothing again. The
-- lock on the thread makes a deletion wait for this note, and after the deletion the run is not found.
create function agent.write_note(p_claims jsonb, p_run uuid, p_key text, p_text text) returns jsonb
language plpgsql set search_path = '' as $$
begin
  perform agent.act_as(p_claims);
  if p_run is not null then
    perform from agent.thread where id = (select thread_id from agent.run where id = p_run) for share;
    if not found then
      raise exception using errcode = 'AF001', message = 'run_not_found';
    end if;
  end if;
  insert into agent.note (owner, key, text) values (auth.uid(), p_key, p_text) on conflict (owner, key) do nothing;
  return (select jsonb_build_object('id', id, 'text', text, 'created_at', created_at)
            from agent.note where owner = auth.uid() and key = p_key);
end $$;

-- A page of a user's notes, newest first, after the one with id `p_before`.
create function agent.list_notes(p_claims jsonb, p_before uuid, p_limit integer) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  perform agent.act_as(p_claims);
  return (
    select coalesce(jsonb_agg(to_jsonb(page) order by page.created_at desc, page.id desc), '[]')
      from (select id, text, created_at from agent.note
             where owner = auth.uid() and (p_before is null or (created_at, id) < (
               select created_at, id from agent.note where owner = auth.uid() and id = p_before))
             order by created_at desc, id desc limit p_limit) page
  );
end $$;

-- The notes that contain all of the words, best first.
create function agent.search_notes(p_claims jsonb, p_query text, p_limit integer) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_query tsquery := agent.to_query(p_query);
begin
  perform agent.act_as(p_claims);
  return (
    select coalesce(jsonb_agg(to_jsonb(hit) - 'rank' order by hit.rank desc, hit.created_at desc), '[]')
      from (select id, text, created_at, ts_rank(words, v_query) as rank
              from agent.note where owner = auth.uid() and words @@ v_query
             order by rank desc, created_at desc limit p_limit) hit
  );
end $$;

create function agent.delete_note(p_claims jsonb, p_id uuid) returns boolean
language plpgsql set search_path = '' as $$
begin
  perform agent.act_as(p_claims);
  delete from agent.note where owner = auth.uid() and id = p_id;
  return found;
end $$;

create function agent.cached_weather(p_place text, p_unit text, p_age interval) returns jsonb
language sql stable security definer set search_path = '' as $$
  select answer from agent.weather_cache where place = p_place and unit = p_unit and fetched_at > now() - p_age
$$;

-- Store the weather of a place, and delete some of what is older than a day. Rows that another call is deleting are
-- left to that call.
create function agent.cache_weather(p_place text, p_unit text, p_answer jsonb) returns void
language sql security definer set search_path = '' as $$
  insert into agent.weather_cache (place, unit, answer) values (p_place, p_unit, p_answer)
  on conflict (place, unit) do update set answer = excluded.answer, fetched_at = now();
  delete from agent.weather_cache where (place, unit) in (
    select place, unit from agent.weather_cache
     where fetched_at < now() - interval '1 day' order by fetched_at limit 100 for update skip locked
  )
$$;

-- Store the tools that a server listed for a role.
create function agent.store_tool_list(p_server text, p_role text, p_tools jsonb) returns void
language sql security definer set search_path = '' as $$
  insert into agent.tool_list (server, role, tools) values (p_server, p_role, p_tools)
  on conflict (server, role) do update set tools = excluded.tools, fetched_at = now()
$$;

-- The tools that these servers listed within a week.
create function agent.read_tool_lists(p_servers jsonb) returns table (server text, role text, tools jsonb)
language sql stable security definer set search_path = '' as $$
  select server, role, tools from agent.tool_list
   where server in (select jsonb_array_elements_text(p_servers)) and fetched_at > now() - interval '7 days'
$$;

-- Figures about the runs and leases of all users, for admins.
create function agent.diagnose(p_claims jsonb) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  if p_claims -> 'app_metadata' ->> 'role' is distinct from 'admin' then
    raise exception using errcode = 'AF001', message = 'forbidden';
  end if;
  return jsonb_build_object(
    'runs', (select coalesce(jsonb_object_agg(status, number), '{}')
               from (select status, count(*) as number from agent.run group by status) counted),
    'oldest_queued_seconds', (select extract(epoch from now() - min(created_at))::integer
                                from agent.run where status = 'queued'),
    'expired_leases', (select count(*) from agent.lease join agent.run on run.id = run_id
                         where agent.lease_is_expired(until) and run.status = 'in_progress'),
    'tokens_today', (select coalesce(sum(input_tokens + output_tokens), 0) from agent.turn_usage
                      where created_at >= date_trunc('day', now(), 'UTC')),
    'database_bytes', pg_database_size(current_database()),
    'table_bytes', (select jsonb_object_agg(relname, pg_total_relation_size(oid))
                      from pg_class where relnamespace = 'agent'::regnamespace and relkind = 'r')
  );
end $$;

-- Audit a tool call that belongs to no run, or that was denied.
create function agent.audit_call(
  p_claims jsonb, p_tool text, p_outcome text, p_run uuid, p_request_id text, p_arguments text
) returns void
language sql security definer set search_path = '' as $$
  insert into agent.audit_event (owner, action, outcome, run_id, request_id, subject, arguments_hash)
  values ((p_claims ->> 'sub')::uuid, 'tool.call', p_outcome, p_run, p_request_id, p_tool,
          encode(sha256(convert_to(p_arguments, 'UTF8')), 'hex'))
$$;
