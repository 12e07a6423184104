-- The tables of schema agent by name, and its functions as <name>|<source>. It needs no right.
select relname::text as part
from pg_class join pg_namespace on pg_namespace.oid = relnamespace
where nspname = 'agent' and relkind in ('r', 'p')
union all
select proname::text || '|' || prosrc
from pg_proc join pg_namespace on pg_namespace.oid = pronamespace where nspname = 'agent'
