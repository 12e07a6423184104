-- The login, its rights, and the functions of schema `agent`. It takes no right, and no schema.
select
  session_user as login,
  pg_is_in_recovery() as is_read_only,
  exists (
    select from pg_roles where rolname = 'authenticated' and pg_has_role(session_user, oid, 'member')
  ) as may_act,
  coalesce(array_agg(proname::text) filter (where proname is not null), '{}') as functions,
  coalesce(array_agg(proname::text) filter (
    where not has_function_privilege(session_user, pg_proc.oid, 'execute')
  ), '{}') as forbidden
from (select) one
left join pg_namespace on nspname = 'agent'
left join pg_proc on pronamespace = pg_namespace.oid
