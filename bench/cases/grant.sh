# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A lease that nobody else wants, taken and given back, by a process that stays
# connected: of cfs, from a cfsd on this host, in memory; etcd's lock, from one
# node on this host; sanlock's, from its daemon, on a file.  The baseline is a
# message to another process and one back.

CASE_TITLE='A lease that nobody else wants, taken and given back'
GRANT_ROUNDS=${GRANT_ROUNDS:-9}
GRANT_COUNT=${GRANT_COUNT:-20000}
GRANT_RAW='raw: round trip over a Unix socket'
GRANT_ETCD='etcd: lock and unlock'
GRANT_SANLOCK='sanlock: acquire and release'
ETCD_PORT=${ETCD_PORT:-23790}

grant_cfs()
{
	local out

	! is_broken cfs || return 0
	out=$(lease-bench grant "$WORK/pool" vm0 1 "$GRANT_COUNT" \
		2>"$WORK/err") || {
		failed cfs
		return
	}
	sample time "$GRANT_RAW" "$1" "$(field raw_us <<<"$out")"
	sample time cfs "$1" "$(field grant_us <<<"$out")"
}

grant_etcd()
{
	local out

	! is_broken "$GRANT_ETCD" || return 0
	out=$(etcd-bench "$ETCD_PORT" 200 2>"$WORK/err") || {
		failed "$GRANT_ETCD"
		return
	}
	sample time "$GRANT_ETCD" "$1" "$(field lock_us <<<"$out")"
}

grant_sanlock()
{
	local out

	! is_broken "$GRANT_SANLOCK" || return 0
	out=$(SANLOCK_RUN_DIR=$WORK/san sanlock-bench LS R1 "$WORK/san/res" 20 \
		2>"$WORK/err") || {
		failed "$GRANT_SANLOCK"
		return
	}
	sample time "$GRANT_SANLOCK" "$1" "$(field lock_us <<<"$out")"
}

grant_prepare_cfs()
{
	need cfs mkcfs cfsd lease-bench || return
	quietly mkcfs -q --size 64M "$WORK/pool" &&
	quietly mkcfs -q "$WORK/pool:vm0" --lun 4M &&
	serve_pool "$WORK/pool" || {
		failed cfs
		return
	}
	functions+=(grant_cfs)
}

grant_prepare_etcd()
{
	local url=http://127.0.0.1:$ETCD_PORT

	need "$GRANT_ETCD" etcd etcd-bench || return
	start_server etcd --name bench --data-dir "$WORK/etcd" \
		--listen-client-urls "$url" --advertise-client-urls "$url" \
		--listen-peer-urls http://127.0.0.1:$((ETCD_PORT + 1)) \
		--initial-advertise-peer-urls \
		http://127.0.0.1:$((ETCD_PORT + 1)) \
		--initial-cluster "bench=http://127.0.0.1:$((ETCD_PORT + 1))" \
		--initial-cluster-state new
	wait_until 20 "etcd-bench $ETCD_PORT 1" || {
		failed "$GRANT_ETCD"
		return
	}
	first_line etcd etcd --version
	functions+=(grant_etcd)
}

# Its daemon wants to lock its memory, and to be allowed more of it than a
# container allows; it runs as well without.
grant_prepare_sanlock()
{
	local run=$WORK/san

	need "$GRANT_SANLOCK" sanlock sanlock-bench || return
	mkdir -p "$run"
	echo 'int setrlimit(int a, const void *b) { (void)a; (void)b;
		return 0; }' >"$run/shim.c"
	# An io_timeout of 1 s: it only joins sooner.
	quietly "${CC:-gcc}" -shared -fPIC -o "$run/shim.so" "$run/shim.c" &&
	quietly fallocate -l 1M "$run/ls" &&
	quietly fallocate -l 1M "$run/res" &&
	start_server env SANLOCK_RUN_DIR="$run" LD_PRELOAD="$run/shim.so" \
		sanlock daemon -D -w 0 -h 0 -l 0 -o 1 -U root -G root -e bench &&
	wait_until 5 "[ -S $run/sanlock.sock ]" &&
	quietly env SANLOCK_RUN_DIR="$run" sanlock direct init \
		-s "LS:0:$run/ls:0" &&
	quietly env SANLOCK_RUN_DIR="$run" sanlock direct init \
		-r "LS:R1:$run/res:0" &&
	quietly timeout 60 env SANLOCK_RUN_DIR="$run" sanlock client \
		add_lockspace -s "LS:1:$run/ls:0" -o 1 || {
		failed "$GRANT_SANLOCK"
		return
	}
	first_line sanlock sanlock version
	functions+=(grant_sanlock)
}

run_case()
{
	local functions=()

	measure time us lower "$GRANT_RAW" 'time of a lease and its release'
	aim time cfs '<=' 3 "$GRANT_RAW"
	aim time cfs '<=' 0.1 "$GRANT_ETCD"
	aim time cfs '<=' 0.1 "$GRANT_SANLOCK"
	grant_prepare_cfs
	grant_prepare_etcd
	grant_prepare_sanlock
	rounds "$GRANT_ROUNDS" "${functions[@]}"
	note "cfs's and etcd's are in one process's memory or log, sanlock's" \
		"is written to the file each time"
}
