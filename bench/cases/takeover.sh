# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The manager of a shared pool is killed, and one client with it: how long
# until another host manages the pool and the other client has its lease there
# too, and until the lease of the dead one is granted to somebody else.  Three
# hosts, made of namespaces; leases of 10 s, as they are if nobody sets them.

CASE_TITLE='The manager is killed, and another host takes over'
TAKEOVER_ROUNDS=${TAKEOVER_ROUNDS:-2}
TAKEOVER_PERIOD=${TAKEOVER_PERIOD:-10}

takeover_since()
{
	awk -v a="$1" -v b="$(date +%s%N)" -v p="$TAKEOVER_PERIOD" \
		'BEGIN { printf "%.3f", (b - a) / 1e9 / p }'
}

# hold VOLUME: gamma has the lease, and goes on having it.
takeover_hold()
{
	rm -f "held.$1"
	with gamma spawn gamma leasectl run --wait 60 "pool:$1" -- \
		sh -c ": >held.$1; exec sleep 1000"
	wait_for "[ -e held.$1 ]" 60
}

takeover_round()
{
	local begin manager holder dead

	serve alpha pool 60 || return
	manager=$MANAGER
	takeover_hold vm0 || return
	holder=$SPAWNED
	takeover_hold vm1 || return
	dead=$SPAWNED
	with beta spawn beta cfsd -q --listen "tcp:${HOST_IP[beta]}:7010" pool
	MANAGER=$SPAWNED
	sleep 3
	begin=$(date +%s%N)
	tree KILL "$manager"
	tree KILL "$dead"
	wait_for "with gamma on gamma leasectl status --wait 1 --json pool \
		2>/dev/null | jq '.manager.host == \"beta\" and
		any(.leases[]; .volume == \"vm0\")' | grep -q true" 60 ||
		return
	sample time 'cfs: service, and what was held is held' "$1" \
		"$(takeover_since "$begin")"
	with gamma on gamma leasectl run --wait 60 pool:vm1 -- true || return
	sample time 'cfs: a lease of the dead is granted anew' "$1" \
		"$(takeover_since "$begin")"
	kill -0 "$holder" || return
	tree TERM "$holder"
	end TERM "$MANAGER"
}

takeover_cfs()
{
	is_broken cfs || takeover_round "$1" >"$WORK/err" 2>&1 || failed cfs
}

run_case()
{
	measure time periods lower - 'time since the kill, in lease periods'
	aim time 'cfs: service, and what was held is held' '<=' 1.5
	aim time 'cfs: a lease of the dead is granted anew' '<=' 2.5
	need cfs mkcfs cfsd leasectl ip openssl && need_root cfs || return 0
	# shellcheck source=tests/real/hosts.bash
	. tests/real/hosts.bash
	later cd "$PWD"
	later hosts_done
	cd "$WORK" || return
	host_make alpha 1 && host_make beta 2 && host_make gamma 3 &&
	certs alpha beta gamma &&
	quietly on alpha mkcfs -q --shared --size 128M pool &&
	quietly on alpha slicectl set pool "lease_period=${TAKEOVER_PERIOD}s" &&
	quietly on alpha mkcfs -q pool:vm0 --lun 1M &&
	quietly on alpha mkcfs -q pool:vm1 --lun 1M || {
		failed cfs
		return
	}
	rounds "$TAKEOVER_ROUNDS" takeover_cfs
}
