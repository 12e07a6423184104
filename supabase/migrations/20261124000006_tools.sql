-- What the tools that ship keep: a user's notes, and the weather of a moment ago.

create table agent.note (
  id uuid primary key default gen_random_uuid(),
  owner uuid not null references auth.users (id) on delete cascade,
  -- The key of the call that wrote it: made again, it writes nothing.
  key text not null check (char_length(key) between 1 and 128),
  text text not null check (char_length(text) between 1 and 10000),
  created_at timestamptz not null default now(),
  words tsvector not null generated always as (to_tsvector('simple', text)) stored,
  unique (owner, key)
);
create index note_newest on agent.note (owner, created_at desc, id desc);
create index note_words on agent.note using gin (words);
alter table agent.note enable row level security;
create policy own on agent.note to authenticated
  using (owner = (select auth.uid())) with check (owner = (select auth.uid()));
grant select, insert (owner, key, text), delete on agent.note to authenticated;

-- Nobody's in particular: what a place was asked for is the same for all.
create table agent.weather_cache (
  place text not null check (char_length(place) <= 200),
  unit text not null,
  answer jsonb not null,
  asked_at timestamptz not null default now(),
  primary key (place, unit)
);
create index weather_cache_oldest on agent.weather_cache (asked_at);
alter table agent.weather_cache enable row level security;

create function agent.add_note(p_claims jsonb, p_key text, p_text text) returns jsonb
language plpgsql set search_path = '' as $$
begin
  perform agent.act_as(p_claims);
  insert into agent.note (owner, key, text) values (auth.uid(), p_key, p_text) on conflict (owner, key) do nothing;
  return (select jsonb_build_object('id', id, 'text', text, 'created_at', created_at)
            from agent.note where owner = auth.uid() and key = p_key);
end $$;

-- A page of a user's notes, newest first, behind the one named.
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

-- The notes that hold all of the words, best first.
create function agent.search_notes(p_claims jsonb, p_query text, p_limit integer) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  perform agent.act_as(p_claims);
  return (
    select coalesce(jsonb_agg(to_jsonb(hit) - 'rank' order by hit.rank desc, hit.created_at desc), '[]')
      from (select id, text, created_at, ts_rank(words, query) as rank
              from agent.note, websearch_to_tsquery('simple', p_query) as query
             where owner = auth.uid() and words @@ query
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
  select answer from agent.weather_cache where place = p_place and unit = p_unit and asked_at > now() - p_age
$$;

-- The weather of old places goes with it; what another call is deleting is left to that.
create function agent.keep_weather(p_place text, p_unit text, p_answer jsonb) returns void
language sql security definer set search_path = '' as $$
  insert into agent.weather_cache (place, unit, answer) values (p_place, p_unit, p_answer)
  on conflict (place, unit) do update set answer = excluded.answer, asked_at = now();
  delete from agent.weather_cache where (place, unit) in (
    select place, unit from agent.weather_cache
     where asked_at < now() - interval '1 day' order by asked_at limit 100 for update skip locked
  )
$$;

-- How the bundle does, for admins. Runs and leases of everybody, by number only.
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
    'orphaned_leases', (select count(*) from agent.lease join agent.run on run.id = run_id
                         where until < now() and run.status = 'in_progress'),
    'tokens_today', (select coalesce(sum(input_tokens + output_tokens), 0) from agent.turn_usage
                      where created_at >= date_trunc('day', now(), 'UTC')),
    'database_bytes', pg_database_size(current_database()),
    'table_bytes', (select jsonb_object_agg(relname, pg_total_relation_size(oid))
                      from pg_class where relnamespace = 'agent'::regnamespace and relkind = 'r')
  );
end $$;

-- A call of a tool that no run made, or that was denied.
create function agent.audit_call(
  p_claims jsonb, p_tool text, p_outcome text, p_run uuid, p_request_id text, p_arguments text
) returns void
language sql security definer set search_path = '' as $$
  insert into agent.audit_event (owner, action, outcome, run_id, request_id, subject, arguments_hash)
  values ((p_claims ->> 'sub')::uuid, 'tool.call', p_outcome, p_run, p_request_id, p_tool,
          encode(sha256(convert_to(p_arguments, 'UTF8')), 'hex'))
$$;

revoke execute on all functions in schema agent from public, anon, authenticated;
grant execute on all functions in schema agent to agent_api;
