-- Schema `agent`, which PostgREST never exposes, and the login of the Python functions.
--
-- `authenticated` reads and writes a user's own rows under row-level security, and only while a function of this
-- schema, or a session of the Python functions, acts as that user. `agent_api` may execute the functions of this
-- schema and nothing else. No API role can read the tables that hold lease tokens and verified claims.

do $$
begin
  if to_regnamespace('agent') is not null then
    raise exception 'This database has a schema agent of other migrations: docs/deploy.md says under "Starting over" how'
      ' to reset it with "drop schema agent cascade", which deletes all its threads and runs.';
  end if;
end $$;

create schema agent;
revoke all on schema agent from public;

do $$
begin
  if not exists (select from pg_roles where rolname = 'agent_api') then
    -- Without a password nobody can log in; docs/deploy.md sets one.
    create role agent_api noinherit nologin;
  end if;
  if not pg_has_role('agent_api', 'authenticated', 'member') then
    grant authenticated to agent_api;
  end if;
end $$;

grant usage on schema agent to authenticated, agent_api;
