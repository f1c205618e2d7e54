#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Hosts that read and write the devices of a pool that they share, beside its
# manager: that one ends, dies or is taken over from while they write, and they
# carry on with the next.

load ../bats/helpers
load hosts

PERIOD=4

setup() {
	need_namespaces
	command -v openssl >/dev/null || skip "no openssl"
	cfs_setup
	export CFS_IO=direct
}

teardown() {
	[ -e alpha.up ] && tail -n 5 ./*.err ./*.errors 2>/dev/null
	hosts_done
}

world() {
	host_make alpha 1
	host_make beta 2 1000000
	host_make gamma 3 5000
	certs alpha beta gamma
	on alpha mkcfs -q --shared --size 256M "$P"
	serve alpha "$P"
	FIRST=$MANAGER
	# Shorter than what the manager began with: it follows.
	client alpha slicectl set "$P" lease_period=${PERIOD}s
}

# client HOST COMMAND...: there, with its certificate.
client() {
	local host=$1

	shift
	with "$host" on "$host" "$@"
}

# writer HOST LUN FILE: bit by bit, directly, until the file `stop` is there and
# the file has come to its end; its status in HOST.status.
writer() {
	# shellcheck disable=SC2016
	spawn "$1" env CFS_TLS_CERT="$1.crt" CFS_TLS_KEY="$1.key" \
		CFS_TLS_CA=ca.crt CFS_IO=direct sh -c '
		for i in $(seq 0 63); do
			dd if="$3" bs=256K skip="$i" count=1 2>/dev/null
			echo "$i" >"$1.at.new" && mv "$1.at.new" "$1.at"
			[ -e stop ] || sleep 0.3
		done | cfscp -q --wait 60 - "$2" 2>"$1.err"
		echo $? >"$1.status"' sh "$1" "$P:$2" "$3"
	eval "WRITER_$1=$SPAWNED"
}

# The writer of host $1 has come to piece $2.
is_at() {
	wait_for "[ -e $1.at ] && [ \$(cat $1.at) -ge $2 ]" "${3:-30}"
}

# All have ended well, and what they wrote is there, for anybody.
verdict() {
	: >stop
	for host; do
		wait_for "[ -e $host.status ]" 60
		[ "$(cat "$host.status")" = 0 ]
		client alpha cfscp -q --wait 30 "$P:$host" "$host.back"
		cmp "$host.back" "$host.src"
		CFS_IO=forwarded client gamma cfscp -q --wait 30 \
			"$P:$host" "$host.back"
		cmp "$host.back" "$host.src"
	done
	run -0 client beta cfsck-heal check --wait 30 "$P"
}

sources() {
	for host; do
		head -c 16M /dev/urandom >"$host.src"
		client alpha mkcfs -q "$P:$host" --lun 16M
	done
}

@test "hosts write and read the devices beside the manager of another" {
	world
	sources beta gamma
	client beta cfscp -q beta.src "$P:beta"
	client gamma cfscp -q "$P:beta" back
	cmp back beta.src
	client gamma cfscp -q gamma.src "$P:beta"
	client beta cfscp -q "$P:beta" back
	cmp back gamma.src
	CFS_IO=forwarded client alpha cfscp -q "$P:beta" back
	cmp back gamma.src
	run -0 client beta cfsck-heal check "$P"
	run -0 client gamma cfsck-heal scrub "$P"
}

@test "a manager is killed, and those who write carry on with the next" {
	world
	sources beta gamma
	writer beta beta beta.src
	writer gamma gamma gamma.src
	is_at beta 6
	is_at gamma 6
	tree KILL "$FIRST"
	serve beta "$P" 60
	is_at beta 20 60
	is_at gamma 20 60
	verdict beta gamma
}

@test "a manager stands still, is taken over from, and wakes up" {
	world
	sources beta gamma
	writer beta beta beta.src
	writer gamma gamma gamma.src
	is_at beta 6
	is_at gamma 6
	tree STOP "$FIRST"
	serve beta "$P" 60
	is_at gamma 14 60
	tree CONT "$FIRST"
	is_at beta 20 60
	is_at gamma 20 60
	verdict beta gamma
}

@test "one who writes stands still, is sealed, and writes no more" {
	world
	sources beta gamma
	writer beta beta beta.src
	is_at beta 6
	# shellcheck disable=SC2154
	tree STOP "$WRITER_beta"
	# Its lease is over: another one has the LUN, and all that was synced.
	client gamma cfscp -q --wait 60 gamma.src "$P:beta"
	tree CONT "$WRITER_beta"
	: >stop
	wait_for "[ -e beta.status ]" 60
	client alpha cfscp -q --wait 30 "$P:beta" back
	run -0 client gamma cfsck-heal check --wait 30 "$P"
}
