#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The seats of a device are lost: both slots of the one that a pool of one host
# has, or all of those of a shared pool.

load helpers

setup() {
	cfs_setup
	not_beside
}

# The first $1 KiB of the seats, of what.
lose_seats() {
	dd if="${2:-/dev/zero}" of="$P" bs=4k seek=16 count=$(($1 / 4)) \
		conv=notrunc status=none
}

@test "a pool of one host goes on without its seat, and has one again" {
	mkcfs -q --size 128M "$P"
	slicectl set -q "$P" lease_period=2s
	mkcfs -q "$P:vm0" --lun 8M
	head -c 8M /dev/urandom >src
	cfscp -q src "$P:vm0"
	snapctl -q take "$P:vm0@a"
	lose_seats 16
	run -0 --separate-stderr cfsck-heal check "$P"
	[[ $stderr = *"its seat is lost: the root was found by its slices" ]]
	run -0 --separate-stderr snapctl take "$P:vm0@b"
	# shellcheck disable=SC2154
	[[ $stderr = *", and the seat is written anew"* ]]
	# Nobody knows who had leases.
	[[ $stderr = *"in grace for another "* ]]
	head -c 1M src >more
	cfscp -q more "$P:vm0"
	run -0 --separate-stderr cfscp -q "$P:vm0@a" back
	[ -z "$stderr" ]
	cmp src back
	run -0 cfsck-heal check "$P"
}

@test "what was synced and not committed is there without the seat, too" {
	mkcfs -q --size 128M "$P"
	mkcfs -q "$P:vm0" --lun 8M
	head -c 4M /dev/urandom >src
	serve_pool
	cfscp -q src "$P:vm0"
	kill -KILL "$CFSD"
	wait "$CFSD_TIMER" || true
	# shellcheck disable=SC2034
	CFSDS=()
	lose_seats 16 /dev/urandom
	cfscp -q "$P:vm0" back
	cmp -n 4194304 src back
	run -0 cfsck-heal check "$P"
}

@test "a shared pool without any seat is refused, and says what to do" {
	mkcfs -q --shared --size 128M "$P"
	dd if="$P" of=seats bs=64k skip=1 count=32 status=none
	lose_seats 2048
	run -7 slicectl ls "$P"
	[[ $output = *"no seat is good"*"stop them all and put its seats back (1 MiB at 64 KiB) from a copy of the device" ]]
	dd if=seats of="$P" bs=64k seek=1 conv=notrunc status=none
	run -0 slicectl ls "$P"
}
