#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Somebody sees a part of a pool's devices, while a manager has all of them: what
# he may not do he is told, the rest goes through the manager, and both halves
# of a mirror stay the same.  Of hosts: tests/real/part.bats.

load helpers
load served

setup() {
	cfs_setup
	unset CFS_TEST_BESIDE
	unshare -m true 2>/dev/null || skip "needs root"
	export CFS_RUN=$BATS_TEST_TMPDIR/run
	PIDS=()
	mkdir d0 d1
	export CFS_SEARCH=$PWD/d0:$PWD/d1
	head -c 1M /dev/urandom >src
}

# A pool on both devices, with LUNs, and its manager.
both() {
	mkcfs -q --size 64M "$@" d0/p d1/p
	mkcfs -q d0/p:vm0 --lun 4M
	mkcfs -q d0/p:vm1 --lun 4M
	cfscp -q src d0/p:vm0
	start d0/p
}

# What follows, without the second device.
half() {
	# shellcheck disable=SC2016
	unshare -m sh -c 'mount -t tmpfs none d1 && exec "$@"' sh "$@"
}

@test "one who sees half of a mirror owns nothing beside a manager who has all" {
	both --mirror
	run -9 --separate-stderr half cfsd d0/p:vm0
	[[ $stderr == *"d1/p: a device that the manager has is missing here"* ]]
	[ "$(leasectl status --json d0/p | jq -c .delegations)" = "[]" ]
}

@test "what one writes who sees half of a mirror is on both halves" {
	both --mirror
	half cfscp -q d0/p:vm0 back
	cmp -n 1048576 src back
	half cfscp -q src d0/p:vm1
	run -0 cfsck-heal scrub d0/p
	[[ $output != *"left out"* ]]
	kill -TERM "$PID"
	wait "$PID"
	for i in 0 1; do
		rm -f back
		mkdir "only$i"
		cp --sparse=always "d$i/p" "only$i/p"
		CFS_SEARCH='' cfscp -q "only$i/p:vm1" back
		cmp -n 1048576 src back
	done
}

@test "one who sees a part of a plain pool is told which one is missing" {
	both
	for what in "cfsd d0/p:vm0" "cfscp -q d0/p:vm0 back" \
		"slicectl ls d0/p"; do
		# shellcheck disable=SC2086
		run -9 --separate-stderr half $what
		[[ $stderr == *"device 1 of the pool"*"is missing"* ]]
	done
	cfscp -q d0/p:vm0 back
	cmp -n 1048576 src back
}
