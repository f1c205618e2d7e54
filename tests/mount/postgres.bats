#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PostgreSQL on a mount: pgbench's books are right, and nothing that was
# committed is gone, after the server is killed and after the mount is.

load mount

setup() {
	need_fuse
	BIN=$(printf '%s\n' /usr/lib/postgresql/*/bin | tail -n 1)
	[ -x "$BIN/postgres" ] || skip "no PostgreSQL"
	command -v pgbench >/dev/null || skip "no pgbench"
	getent passwd postgres >/dev/null || skip "no user for PostgreSQL"
	mount_setup 1G
	# Where its user may go, and short enough for a socket.
	D=$(mktemp -d /tmp/cfs-pg.XXXXXX)
	chmod 755 "$D"
	mkdir "$D/sock"
	chown postgres "$D/sock"
	export PGHOST=$D/sock PGUSER=postgres PGDATABASE=postgres
	mount_pg
}

teardown() {
	kill_server
	! mountpoint -q "$D/m" || umount -l "$D/m"
	rm -rf --one-file-system "$D"
	release_pools
}

mount_pg() {
	mkdir -p "$D/m"
	timeout 60 cfsmount --wait 30 "$P:t" "$D/m"
	MOUNT_PID=$(pid_of "$D/m")
	chmod 755 "$D/m"
}

as_postgres() {
	(cd / && setpriv --reuid=postgres --regid=postgres --init-groups -- "$@")
}

init_server() {
	mkdir "$D/m/data"
	chown postgres "$D/m/data"
	chmod 700 "$D/m/data"
	as_postgres "$BIN/initdb" -D "$D/m/data" --wal-segsize=4 -A trust \
		--data-checksums --no-locale -E UTF8 >initdb.log
	cat >>"$D/m/data/postgresql.conf" <<-END
	listen_addresses = ''
	unix_socket_directories = '$D/sock'
	shared_buffers = 16MB
	min_wal_size = 16MB
	max_wal_size = 64MB
	END
}

start_server() {
	as_postgres "$BIN/postgres" -D "$D/m/data" >>server.log 2>&1 \
		</dev/null 3>&- &
	for _ in {1..600}; do
		! psql -qAtc 'SELECT 1' >/dev/null 2>&1 || break
		sleep 0.1
	done
	# The processes of it: the postmaster is the oldest.
	SERVER=$(head -n 1 "$D/m/data/postmaster.pid")
	[ -n "$SERVER" ]
}

# All its processes at once, as a power cut would.
kill_server() {
	local all

	[ -n "${SERVER-}" ] || return 0
	kill -STOP "$SERVER" 2>/dev/null || return 0
	all=$(pgrep -P "$SERVER" || :)
	# shellcheck disable=SC2086 # one word for each process
	kill -KILL "$SERVER" $all 2>/dev/null || :
	for _ in {1..200}; do
		kill -0 "$SERVER" 2>/dev/null || break
		sleep 0.05
	done
	SERVER=
}

# pgbench for longer than anybody waits; its log has a line for each commit
# that was acknowledged.
start_bench() {
	rm -f bench.*
	pgbench -n -c 4 -j 2 -T 600 -l --log-prefix=bench >pgbench.log 2>&1 \
		</dev/null 3>&- &
	BENCH=$!
}

ask() {
	psql -qAtc "$1"
}

# Pgbench has ended; its books are right, and have all that it was told.
check_books() {
	local known

	wait "$BENCH" || :
	known=$(cat bench.* 2>/dev/null | wc -l)
	[ "$known" -gt 0 ]
	PAID=$((${PAID:-0} + known))
	echo "$PAID acknowledged, $(ask 'SELECT count(*) FROM pgbench_history')"
	[ "$(ask "SELECT count(DISTINCT s) FROM (
		SELECT sum(abalance) AS s FROM pgbench_accounts UNION ALL
		SELECT sum(bbalance) FROM pgbench_branches UNION ALL
		SELECT sum(tbalance) FROM pgbench_tellers UNION ALL
		SELECT sum(delta) FROM pgbench_history) AS x")" = 1 ]
	[ "$(ask 'SELECT count(*) FROM pgbench_history')" -ge "$PAID" ]
	# Each index says what its table does, each page what it was written as.
	ask 'CREATE EXTENSION IF NOT EXISTS amcheck' 2>/dev/null &&
		ask "SELECT bt_index_check('pgbench_accounts_pkey', true)"
	ask 'VACUUM FULL pgbench_history' && ask 'CHECKPOINT'
}

@test "pgbench's books are right after its server, and its mount, are killed" {
	local round rounds=1 seconds=3 scale=1

	[ -z "${CFS_LONG-}" ] || rounds=4 seconds=20 scale=10
	init_server
	start_server
	pgbench -q -i -s "$scale" >init.log 2>&1
	for round in $(seq "$rounds"); do
		start_bench
		sleep "$seconds"
		kill_server
		start_server
		check_books
		start_bench
		sleep "$seconds"
		kill -KILL "$MOUNT_PID"
		kill_server
		umount -l "$D/m"
		mount_pg
		start_server
		check_books
	done
	kill -INT "$SERVER"
	for _ in {1..300}; do
		kill -0 "$SERVER" 2>/dev/null || break
		sleep 0.1
	done
	SERVER=
	unmount "$D/m"
	check_pool
}
