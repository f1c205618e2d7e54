#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Three hosts count in one LUN of a pool that they share, each under a lease,
# while hosts die, freeze and are cut off, and the manager is killed.  A checker
# of histories has the last word (judge).  With CFS_LONG=1 for minutes.

load ../bats/helpers
load hosts

PERIOD=3

setup() {
	need_namespaces
	command -v openssl >/dev/null || skip "no openssl"
	cfs_setup
	cp "$BATS_TEST_DIRNAME/section" "$BATS_TEST_DIRNAME/judge" .
}

teardown() {
	[ -e history ] && tail -n 3 history ./*.err ./*.errors
	hosts_done
}

# Hosts whose clocks were started at other times; two may manage the pool.
world() {
	host_make alpha 1
	host_make beta 2 1000000
	host_make gamma 3 5000
	certs alpha beta gamma
	on alpha mkcfs -q --shared --size 128M "$P"
	on alpha slicectl set "$P" lease_period=${PERIOD}s
	printf '%020d' 0 >zero
	truncate -s 64K zero
	on alpha mkcfs -q "$P:count" --lun 64K --from zero
	: >history
	serve alpha "$P"
	FIRST=$MANAGER
}

# worker HOST [VARIABLE=VALUE...]
worker() {
	local host=$1

	shift
	spawn "$host" env "$@" CFS_TLS_CERT="$host.crt" \
		CFS_TLS_KEY="$host.key" CFS_TLS_CA=ca.crt \
		./section worker "$host" "$P"
	eval "WORKER_$host=$SPAWNED"
}

acks() {
	grep -c "^ack $1" history || true
}

# Host $1 (any) gets on with its work, within $2 seconds.
gets_on() {
	local before

	before=$(acks "$1")
	wait_for "[ \$(acks '$1') -gt $before ]" "${2:-90}"
}

# All stop, the manager too, and the history is judged.
verdict() {
	: >stop
	for host in alpha beta gamma; do
		eval "pid=\${WORKER_$host-}"
		[ -z "$pid" ] || wait_for "! kill -0 $pid 2>/dev/null" 40
	done
	end TERM "$MANAGER"
	[ "$status" = 0 ]
	on beta cfscp -q --wait 30 "$P:count" last
	echo "last $((10#$(head -c 20 last)))" >>history
	./judge history >wrong
	cat wrong
	[ ! -s wrong ]
	run -0 on gamma cfsck-heal check --wait 30 "$P"
}

@test "the judge finds what is wrong" {
	printf '%s\n' 'ack a 1 0 10 20' 'ack b 1 1 30 40' 'run a 1 10 20' \
		'run b 1 30 40' 'last 2' >history
	[ -z "$(./judge history)" ]
	printf '%s\n' 'ack a 1 0 10 20' 'ack b 1 0 15 40' >history
	[[ $(./judge history) == "two have read 0: b 1, a 1" ]]
	printf '%s\n' 'ack a 1 3 10 20' 'ack b 1 2 30 40' >history
	[[ $(./judge history) == "b 1 has read 2 behind the 4 of a 1" ]]
	printf '%s\n' 'run a 1 10 20' 'run b 1 19 40' >history
	[[ $(./judge history) == "together: b 1, a 1" ]]
	printf '%s\n' 'ack a 1 3 10 20' 'last 3' >history
	[[ $(./judge history) == "at the end it is 3, and a 1 had written 4" ]]
}

@test "hosts that die, freeze and are cut off lose nothing" {
	world
	worker alpha
	worker beta
	worker gamma
	gets_on alpha
	gets_on beta
	gets_on gamma
	# One freezes for three periods, and wakes.
	# shellcheck disable=SC2154
	tree STOP "$WORKER_gamma"
	gets_on beta
	sleep $((PERIOD * 3))
	tree CONT "$WORKER_gamma"
	gets_on gamma
	# One is killed in the middle of it.
	# shellcheck disable=SC2154
	tree KILL "$WORKER_beta"
	gets_on alpha
	worker beta
	gets_on beta
	# One is cut off, and back.
	unplug gamma
	gets_on alpha
	plug gamma
	gets_on gamma
	verdict
}

@test "the manager is killed under load, and another host takes over" {
	PERIOD=6
	world
	on alpha mkcfs -q "$P:kept" --lun 1M
	spawn gamma env CFS_TLS_CERT=gamma.crt CFS_TLS_KEY=gamma.key \
		CFS_TLS_CA=ca.crt leasectl run "$P:kept" -- \
		sh -c ': >kept; sleep 1000'
	kept=$SPAWNED
	wait_for '[ -e kept ]'
	worker beta
	worker gamma
	gets_on beta
	gets_on gamma
	spawn beta env CFS_TLS_CERT=beta.crt CFS_TLS_KEY=beta.key \
		CFS_TLS_CA=ca.crt cfsd -q --listen \
		"tcp:${HOST_IP[beta]}:7010" "$P"
	MANAGER=$SPAWNED
	sleep 1
	tree KILL "$FIRST"
	gets_on beta 30
	gets_on gamma 30
	run -0 with gamma on gamma leasectl status --json "$P"
	[ "$(jq_output .manager.host)" = beta ]
	# What was held is held, for a period and more.
	sleep "$PERIOD"
	kill -0 "$kept"
	run -4 with beta on beta leasectl run --wait 0 "$P:kept" -- true
	tree KILL "$kept"
	verdict
}

@test "packets that are lost and late, and clocks that run apart" {
	fast=()
	on_path=$(find /usr/lib -name libfaketimeMT.so.1 2>/dev/null |
		head -n 1)
	# Within what the pool allows, 0.2 percent.
	[ -z "$on_path" ] || fast=(LD_PRELOAD="$on_path"
		FAKETIME='+3600 x1.001')
	world
	command -v nft >/dev/null || skip "no nft"
	worker beta "${fast[@]}"
	worker gamma
	gets_on beta
	gets_on gamma
	lose gamma 20
	gets_on gamma 60
	gets_on beta
	lose gamma 0
	delay gamma
	gets_on gamma 60
	delay gamma off
	gets_on gamma
	verdict
}

@test "minutes of all of it" {
	[ -n "${CFS_LONG-}" ] || skip "only in check-long"
	world
	worker alpha
	worker beta
	worker gamma
	RANDOM=${SEED:-$$}
	echo "seed ${SEED:-$$}"
	stop_at=$((SECONDS + ${LIFE_SECONDS:-180}))
	here=alpha
	while [ $SECONDS -lt $stop_at ]; do
		host=$(shuf -n 1 -e alpha beta gamma \
			--random-source=<(yes $RANDOM))
		eval "pid=\$WORKER_$host"
		case $((RANDOM % 6)) in
		0)	tree STOP "$pid"
			sleep $((PERIOD * 3))
			tree CONT "$pid" ;;
		1)	tree KILL "$pid"
			worker "$host" ;;
		2)	unplug "$host"
			sleep $((RANDOM % (PERIOD * 3)))
			plug "$host" ;;
		3)	lose "$host" $((RANDOM % 40))
			sleep "$PERIOD"
			lose "$host" 0 ;;
		4)	delay "$host"
			sleep "$PERIOD"
			delay "$host" off ;;
		5)	tree KILL "$MANAGER"
			[ $here = alpha ] && here=beta || here=alpha
			serve $here "$P" 60 ;;
		esac
		sleep $((RANDOM % 3))
	done
	gets_on alpha 60
	gets_on beta 60
	gets_on gamma 60
	verdict
}
