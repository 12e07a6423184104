# Read by the Postgres image once, when its data is new: a Supabase-shaped database, and the migrations as its owner.
set -eu
sql=${SQL_FOLDER:-/sql}
psql_() { psql --no-psqlrc --quiet -v ON_ERROR_STOP=1 -d postgres "$@" >/dev/null; }
psql_ -U supabase_admin -f "$sql/bootstrap.sql"
for login in postgres agent_api; do
  psql_ -U supabase_admin -c "alter role $login password '$POSTGRES_PASSWORD'"
done
for file in "$sql"/2*.sql; do
  psql_ -U postgres -1 -f "$file"
done
