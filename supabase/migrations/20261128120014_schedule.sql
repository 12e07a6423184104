-- The schedule, where the database has the extensions: pg_cron looks every minute, and pg_net wakes the functions
-- only when a run waits. Without them nothing is scheduled here; docs/deploy.md has the other ways.

-- Ask the gateway for a sweep if a run waits. Returns what it did. The address and the secret are in Supabase's Vault
-- as `agent_sweep_url` and `agent_sweep_secret`.
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

-- Schedule `wake_runner` every minute. Calling it again changes nothing. For the owner of the schema, after
-- installing the extensions.
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

do $$
begin
  if (select count(*) from pg_available_extensions where name in ('pg_cron', 'pg_net')) = 2 then
    create extension if not exists pg_cron with schema pg_catalog;
    create extension if not exists pg_net;
  end if;
  raise notice 'agent: %', agent.schedule_sweep();
exception when others then
  -- An extension may be available and not allowed, or not preloaded: that must not fail the migration.
  raise notice 'agent: no schedule (%)', sqlerrm;
end $$;
