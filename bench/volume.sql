-- Copies of one real run, for figures of a large database. $1: that run; $2, $3: the numbers of the first and last copy.

-- name: threads
insert into agent.thread (id, owner, client_thread_id, title, metadata, created_at, updated_at)
select md5('thread ' || n)::uuid, thread.owner, 'copy-' || n, title, metadata, run.created_at, run.ended_at
  from agent.run join agent.thread on thread.id = run.thread_id, generate_series($2::int, $3::int) n
 where run.id = $1;

-- name: runs
insert into agent.run (
  id, thread_id, owner, client_run_id, agent, agent_hash, status, request, request_hash, attempt, last_seq, ending,
  ended_by, created_at, started_at, ended_at
)
select md5('run ' || n)::uuid, md5('thread ' || n)::uuid, owner, 'copy-' || n, agent, agent_hash, status, request,
       request_hash, attempt, last_seq, ending, ended_by, created_at, started_at, ended_at
  from agent.run, generate_series($2::int, $3::int) n where id = $1;

-- name: events
insert into agent.run_event (run_id, seq, count, attempt, type, item_id, data, created_at)
select md5('run ' || n)::uuid, seq, count, attempt, type, item_id, data, created_at
  from generate_series($2::int, $3::int) n, agent.run_event where run_id = $1;

-- name: items
insert into agent.item (id, thread_id, run_id, owner, key, kind, data, created_at)
select gen_random_uuid(), md5('thread ' || n)::uuid, md5('run ' || n)::uuid, item.owner, item.key, kind, item.data,
       item.created_at
  from generate_series($2::int, $3::int) n, agent.item join agent.run on run.thread_id = item.thread_id
 where run.id = $1;

-- name: usage
insert into agent.turn_usage (run_id, seq, owner, model, input_tokens, output_tokens, created_at)
select md5('run ' || n)::uuid, seq, owner, model, input_tokens, output_tokens, created_at
  from generate_series($2::int, $3::int) n, agent.turn_usage where run_id = $1;

-- name: rows
select type, count(*), sum(count) as events, sum(pg_column_size(run_event.*))::bigint as bytes
  from agent.run_event where run_id = $1 group by type order by min(seq);

-- name: sizes
select relname as name, n_live_tup as rows, pg_table_size(relid) as heap, pg_indexes_size(relid) as indexes
  from pg_stat_user_tables where schemaname = 'agent' and pg_total_relation_size(relid) > 1000000
 order by pg_total_relation_size(relid) desc;

-- name: age
update agent.run set ended_at = ended_at - interval '2 hours' where pruned_at is null;
