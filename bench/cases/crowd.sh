# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Many clients with many leases each, which they renew: what that costs the
# manager.  Each client is a connection of its own; all of them are in one
# process.

CASE_TITLE='1,000 clients with 100 leases each, renewed'
CROWD_CLIENTS=${CROWD_CLIENTS:-1000}
CROWD_LEASES=${CROWD_LEASES:-100}
CROWD_SECONDS=${CROWD_SECONDS:-20}
CROWD_ROUNDS=${CROWD_ROUNDS:-3}

crowd_cfs()
{
	local out

	! is_broken cfs || return 0
	out=$(lease-bench crowd "$WORK/pool" "$CROWD_CLIENTS" "$CROWD_LEASES" \
		"$CROWD_SECONDS" "$SERVED_PID" 2>"$WORK/err") || {
		failed cfs
		return
	}
	sample cpu cfs "$1" "$(field cpu_percent <<<"$out")"
	# Those that are gone are waited out before the next.
	sleep 11
}

run_case()
{
	measure cpu % lower - 'processor time of the manager, of one core'
	aim cpu cfs '<' 10
	need cfs mkcfs cfsd lease-bench || return 0
	ulimit -n "$(ulimit -H -n)"
	quietly mkcfs -q --size 64M "$WORK/pool" &&
	quietly mkcfs -q "$WORK/pool:vm0" --lun 4M &&
	serve_pool "$WORK/pool" || {
		failed cfs
		return
	}
	rounds "$CROWD_ROUNDS" crowd_cfs
}
