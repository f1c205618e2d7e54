#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Hosts that are wrong about a pool that they share: one believes that it still
# has it, one sees a part of its devices only.  Both are told so, and nothing is
# lost.

load ../bats/helpers
load hosts

setup() {
	need_namespaces
	cfs_setup
	host_make alpha 1
	host_make beta 2 5000
}

teardown() {
	hosts_done
}

# A tool on alpha that writes LUN $2 of the pool $1 for long, bit by bit, from
# the file src; its end is in alpha.status and alpha.err.
writer() {
	# shellcheck disable=SC2016
	spawn alpha sh -c '
		for i in $(seq 0 15); do
			dd if=src bs=256K skip="$i" count=1 2>/dev/null
			echo "$i" >at.new && mv at.new at
			[ -e stop ] || sleep 0.3
		done | cfscp -q - "$1:$2" 2>alpha.err
		echo $? >alpha.status' sh "$1" "$2"
	WRITER=$SPAWNED
	wait_for '[ -e at ] && [ $(cat at) -ge 4 ]'
}

@test "who wakes up behind another that has taken the pool says so and ends" {
	on alpha mkcfs -q --shared --size 128M "$P"
	on alpha slicectl -q set "$P" lease_period=3s
	on alpha mkcfs -q "$P:kept" --lun 4M
	on alpha mkcfs -q "$P:late" --lun 4M
	head -c 4M /dev/urandom >src
	on alpha cfscp -q src "$P:kept"
	writer "$P" late
	tree STOP "$WRITER"
	# Another one has it, once it has waited, and works.
	on beta cfscp -q --wait 30 "$P:kept" back
	cmp src back
	on beta mkcfs -q "$P:new" --lun 4M
	on beta cfscp -q src "$P:new"
	tree CONT "$WRITER"
	: >stop
	wait_for '[ -e alpha.status ]' 30
	[ "$(cat alpha.status)" != 0 ]
	grep -q 'another host has taken the pool over' alpha.err
	# What the other one did is there, for both.
	for host in alpha beta; do
		for name in kept new; do
			on $host cfscp -q --wait 30 "$P:$name" back
			cmp src back
		done
		run -0 on $host cfsck-heal check --wait 30 "$P"
	done
}

# Host $1 does not see what is in the folder $2, until `see`.
hide() {
	on "$1" mount -t tmpfs none "$PWD/$2"
}

see() {
	on "$1" umount "$PWD/$2"
}

@test "who sees a part of the devices is told what is missing" {
	mkdir d0 d1 d2
	on alpha mkcfs -q --shared --mirror --size 128M d0/p0 d1/p1 d2/p2
	export CFS_SEARCH=$PWD/d0:$PWD/d1:$PWD/d2
	on alpha slicectl -q set d0/p0 lease_period=3s
	on alpha mkcfs -q d0/p0:kept --lun 4M
	on alpha mkcfs -q d0/p0:late --lun 4M
	head -c 4M /dev/urandom >src
	on alpha cfscp -q src d0/p0:kept
	# One of three has no majority, whoever has the pool.
	hide beta d1
	hide beta d2
	run on beta cfscp -q --wait 0 d0/p0:kept back
	[ "$status" -ne 0 ]
	[[ $output = *"only 1 of the 3 devices with seats can be read"*"a shared pool needs 2"* ]]
	see beta d1
	see beta d2
	# Two of three have; but a host that is silent may see the third one.
	writer d0/p0 late
	hide beta d0
	tree STOP "$WRITER"
	run on beta mkcfs -q --wait 20 d1/p1:new --lun 4M
	[ "$status" -ne 0 ]
	[[ $output = *"device 0 is missing, but may not be for the host that had the pool: attach it, or if that host is dead, say so with leasectl gone"* ]]
	see beta d0
	on beta mkcfs -q --wait 20 d0/p0:new --lun 4M
	on beta cfscp -q d0/p0:kept back
	cmp src back
	tree CONT "$WRITER"
	: >stop
	wait_for '[ -e alpha.status ]' 30
	[ "$(cat alpha.status)" != 0 ]
	for host in alpha beta; do
		on $host cfscp -q --wait 30 d0/p0:kept back
		cmp src back
		run -0 on $host cfsck-heal check --wait 30 d0/p0
	done
}
