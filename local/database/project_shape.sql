-- What a Supabase project has and this database lacks. It needs no right.
select 'role ' || role as missing from unnest(array['anon', 'authenticated']) as role
where not exists (select from pg_roles where rolname = role)
union all
select 'auth.' || part from unnest(array['users', 'sessions', 'uid', 'jwt']) as part
where not exists (
  select relname from pg_class join pg_namespace on pg_namespace.oid = relnamespace
  where nspname = 'auth' and relname = part
  union all
  select proname from pg_proc join pg_namespace on pg_namespace.oid = pronamespace
  where nspname = 'auth' and proname = part
)
