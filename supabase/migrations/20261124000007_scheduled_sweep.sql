-- The schedule, where the database has one: pg_cron looks every minute, and pg_net wakes the functions only when a run
-- waits. Without these extensions nothing is scheduled here; docs/deploy.md has the other ways.

-- Whether `sweep_runs` would find a run.
create function agent.has_waiting_runs() returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (
    select from agent.lease join agent.run on run.id = lease.run_id
     where until < now() and coalesce(dispatched_at < now() - interval '60 seconds', true) and agent.is_next(run)
  )
$$;

-- Ask the gateway for a sweep if a run waits. Says in a word what it did. Address and secret are in Supabase's Vault as
-- `agent_sweep_url` and `agent_sweep_secret`.
create function agent.wake_runner() returns text
language plpgsql security definer set search_path = '' as $$
declare
  v_url text;
  v_secret text;
begin
  if not agent.has_waiting_runs() then
    return 'nothing waits';
  end if;
  if to_regclass('vault.decrypted_secrets') is null or to_regnamespace('net') is null then
    return 'pg_net or the vault is missing';
  end if;
  execute 'select max(decrypted_secret) filter (where name = $1), max(decrypted_secret) filter (where name = $2)'
          ' from vault.decrypted_secrets'
     into v_url, v_secret using 'agent_sweep_url', 'agent_sweep_secret';
  if v_url is null or v_secret is null then
    return 'agent_sweep_url or agent_sweep_secret is missing';
  end if;
  execute 'select net.http_post(url := $1, headers := $2, timeout_milliseconds := 60000)'
    using v_url, jsonb_build_object('x-sweep-secret', v_secret, 'content-type', 'application/json');
  return 'woken';
end $$;

-- Look every minute from now on; again changes nothing. For whoever owns the schema, after installing the extensions.
create function agent.schedule_sweep() returns text
language plpgsql set search_path = '' as $$
begin
  if to_regnamespace('cron') is null or to_regnamespace('net') is null then
    return 'pg_cron or pg_net is missing';
  end if;
  execute 'select cron.schedule($1, $2, $3)'
    using 'agent-sweep', '* * * * *', 'select agent.wake_runner()';
  return 'scheduled';
end $$;

revoke execute on all functions in schema agent from public, anon, authenticated;
grant execute on all functions in schema agent to agent_api;

do $$
begin
  if (select count(*) from pg_available_extensions where name in ('pg_cron', 'pg_net')) = 2 then
    create extension if not exists pg_cron with schema pg_catalog;
    create extension if not exists pg_net;
  end if;
  raise notice 'agent: %', agent.schedule_sweep();
exception when others then
  -- Available and not allowed, or not preloaded: the migration must not fail over its schedule.
  raise notice 'agent: no schedule (%)', sqlerrm;
end $$;
