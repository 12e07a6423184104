-- What the local stack must know about a database that it was given. It needs no right, and no schema.
select
  session_user::text as login,
  (select rolsuper or rolbypassrls from pg_roles where rolname = session_user) as bypasses_rls,
  coalesce((
    select pg_has_role(session_user, oid, 'member') from pg_roles where rolname = 'authenticated'
  ), false) as may_act,
  not exists (
    select from pg_proc join pg_namespace on pg_namespace.oid = pronamespace
    where nspname = 'agent' and not has_function_privilege(session_user, pg_proc.oid, 'execute')
  ) as may_execute,
  coalesce((
    select bool_and(
      has_schema_privilege(session_user, relnamespace, 'usage')
      and has_table_privilege(session_user, pg_class.oid, 'insert')
    )
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where nspname = 'auth' and relname in ('users', 'sessions')
  ), false) as may_add_users,
  (select rolcanlogin from pg_roles where rolname = 'agent_api') as has_password,
  to_regnamespace('agent') is not null as has_schema
