#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A container of a shared pool is delegated to another host, and a third one
# counts in it, each step under a lease, while either of the two is cut off,
# frozen or killed.  A checker of histories has the last word (judge).

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

# Alpha manages the pool, beta has the container, gamma works in it.
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
	serve beta "$P:count" 20
	SECOND=$MANAGER
	spawn gamma env CFS_TLS_CERT=gamma.crt CFS_TLS_KEY=gamma.key \
		CFS_TLS_CA=ca.crt ./section worker gamma "$P"
	WORKER=$SPAWNED
	gets_on
}

acks() {
	grep -c "^ack gamma" history || true
}

# The worker gets on, within $1 seconds.
gets_on() {
	local before

	before=$(acks)
	wait_for "[ \$(acks) -gt $before ]" "${1:-30}"
}

delegations() {
	with gamma on gamma leasectl status --json --wait 20 "$P" |
		jq -c "[.delegations[].state]"
}

# All stop; what was acknowledged is what is there.
verdict() {
	: >stop
	wait_for "! kill -0 $WORKER 2>/dev/null" 40
	end TERM "$SECOND"
	end TERM "$FIRST"
	on beta cfscp -q --wait 30 "$P:count" last
	echo "last $((10#$(head -c 20 last)))" >>history
	./judge history >wrong
	cat wrong
	[ ! -s wrong ]
	run -0 on gamma cfsck-heal check --wait 30 "$P"
}

@test "the secondary is cut off, taken over, and comes back as nobody" {
	world
	[ "$(delegations)" = '["held"]' ]
	gets_on
	unplug beta
	gets_on 40
	[ "$(delegations)" = '["frozen"]' ]
	plug beta
	# It writes no more, and says why.
	wait_for "! kill -0 $SECOND 2>/dev/null" 20
	grep -q "taken the container over" beta.errors
	gets_on
	verdict
}

@test "the secondary freezes in the middle, and wakes late" {
	world
	for i in 1 2; do
		tree STOP "$SECOND"
		gets_on 40
		tree CONT "$SECOND"
		wait_for "! kill -0 $SECOND 2>/dev/null" 20
		gets_on
		serve beta "$P:count" 30
		SECOND=$MANAGER
		gets_on 40
	done
	verdict
}

@test "the manager is killed: the container stays where it is" {
	world
	# Nobody else is to be quicker, who does not listen on the network.
	tree STOP "$WORKER"
	tree KILL "$FIRST"
	serve gamma "$P" 40
	FIRST=$MANAGER
	tree CONT "$WORKER"
	gets_on 40
	wait_for '[ "$(delegations)" = "[\"held\"]" ]' 30
	gets_on
	kill -0 "$SECOND"
	tree KILL "$SECOND"
	gets_on 40
	[ "$(delegations)" = '["frozen"]' ]
	verdict
}

# Gamma makes files in $P:t, slowly and directly, under a lease that it has
# alone (MAKER_LEASE=none: without); its number in $MAKER.  What comes of it is in made, or in made.errors.
maker() {
	mkdir src
	for i in {1..200}; do
		head -c $((i * 40)) /dev/zero | tr '\0' "$((i % 10))" >"src/f$i"
	done
	tar -C src -cf src.tar .
	cat >make <<-'END'
	: >making
	while dd bs=20K count=1 iflag=fullblock status=none >chunk &&
		[ -s chunk ]; do
		cat chunk
		sleep 0.3
	done <src.tar | CFS_IO=direct cfscp -q --extract - "$1:t:/" &&
		: >made
	END
	spawn gamma env CFS_TLS_CERT=gamma.crt CFS_TLS_KEY=gamma.key \
		CFS_TLS_CA=ca.crt sh -c \
		'${2:+leasectl run "$1:t" --} sh ./make "$1" 2>made.errors' \
		sh "$P" "$([ -n "${MAKER_LEASE-}" ] || echo alone)"
	MAKER=$SPAWNED
	wait_for "[ -e making ]"
	sleep 2
}

@test "the secondary is killed: its client goes on at the manager, with its lease" {
	host_make alpha 1
	host_make beta 2 1000000
	host_make gamma 3 5000
	certs alpha beta gamma
	on alpha mkcfs -q --shared --size 256M "$P"
	on alpha slicectl set "$P" lease_period=9s
	on alpha mkcfs -q "$P:t" --tree
	serve alpha "$P"
	FIRST=$MANAGER
	serve beta "$P:t" 20
	SECOND=$MANAGER
	maker
	tree KILL "$SECOND"
	wait_for '[ "$(delegations)" = "[\"frozen\"]" ]' 30
	# It is in the middle of it, and nobody else gets in.
	[ ! -e made ]
	run -4 with beta on beta leasectl run --wait 0 "$P:t" -- true
	wait_for '[ -e made ] || ! kill -0 "$MAKER" 2>/dev/null' 60
	cat made.errors
	[ -e made ]
	with beta on beta cfscp -q --wait 40 "$P:t:/" out
	diff -r src out
	run -0 with gamma on gamma leasectl gone "$P" beta
	end TERM "$FIRST"
	run -0 on gamma cfsck-heal check --wait 30 "$P"
}

@test "the container goes to another host and back under a client on a third" {
	host_make alpha 1
	host_make beta 2 1000000
	host_make gamma 3 5000
	certs alpha beta gamma
	on alpha mkcfs -q --shared --size 256M "$P"
	on alpha slicectl set "$P" lease_period=9s
	on alpha mkcfs -q "$P:t" --tree
	serve alpha "$P"
	FIRST=$MANAGER
	MAKER_LEASE=none maker
	serve beta "$P:t" 20
	SECOND=$MANAGER
	[ "$(delegations)" = '["held"]' ]
	[ ! -e made ]
	sleep 1
	end TERM "$SECOND"
	[ "$status" = 0 ]
	[ "$(delegations)" = '[]' ]
	wait_for '[ -e made ] || ! kill -0 "$MAKER" 2>/dev/null' 60
	cat made.errors
	[ -e made ]
	with beta on beta cfscp -q --wait 40 "$P:t:/" out
	diff -r src out
	end TERM "$FIRST"
	run -0 on gamma cfsck-heal check --wait 30 "$P"
}
