#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Two mounts of one tree, in two processes: what one does the other sees.

load mount

both() {
	mount_at m1
	mount_at m2
}

@test "two mounts change one file at random, and agree on each byte" {
	mount_setup
	both
	for seed in 11 12; do
		timeout 150 "$POSIX/bytes" m1 $seed "${CFS_LONG:+1}1000" m2
	done
	unmount m2
	unmount m1
	check_pool
}

@test "two mounts change one tree at random, and agree on each name" {
	mount_setup
	both
	for seed in 21 22; do
		mkdir m1/$seed
		timeout 150 "$POSIX/tree" m1/$seed $seed "${CFS_LONG:+1}400" 3 \
			m2/$seed
	done
	unmount m1	# the one that held the pool goes first
	unmount m2
	check_pool
}

@test "two mounts beside a cfsd agree, too" {
	mount_setup
	serve_pool
	both
	timeout 150 "$POSIX/bytes" m1 31 600 m2
	mkdir m1/d
	timeout 150 "$POSIX/tree" m1/d 32 300 3 m2/d
	unmount m1
	unmount m2
}

@test "what one writes the other reads at once, by names and open files" {
	mount_setup
	both
	echo one >m1/f
	[ "$(cat m2/f)" = one ]
	exec 5<m2/f
	echo two >m1/f
	[ "$(cat <&5)" = two ]
	exec 5<&-
	mkdir m2/d
	[ -d m1/d ]
	mv m1/f m1/d/g
	[ ! -e m2/f ]
	[ "$(cat m2/d/g)" = two ]
	chmod 640 m2/d/g
	[ "$(stat -c %a m1/d/g)" = 640 ]
	setfattr -n user.x -v y m1/d/g
	[ "$(getfattr --only-values -n user.x m2/d/g)" = y ]
	rm m2/d/g
	[ ! -e m1/d/g ]
	[ "$(ls m1/d)" = "" ]
}

@test "what both append is all there" {
	local i

	mount_setup
	both
	for i in {1..100}; do
		echo "a $i" >>m1/log
		echo "b $i" >>m2/log
	done
	[ "$(wc -l <m1/log)" = 200 ]
	[ "$(grep -c '^a' m2/log)" = 100 ]
}

@test "a lock on one excludes the other" {
	mount_setup
	both
	: >m1/f
	flock m1/f sleep 2 &
	sleep 0.3
	run ! flock -n m2/f true
	flock -w 10 m2/f true
	wait
}

@test "what one removes the other may still have open" {
	mount_setup
	both
	echo bytes >m1/f
	exec 5<m2/f
	rm m1/f
	[ "$(cat <&5)" = bytes ]
	exec 5<&-
	unmount m1
	unmount m2
	check_pool
}

@test "a mount that is gone stays for one who only asks" {
	local pid asker

	mount_setup
	mount_at m1
	pid=$MOUNT_PID
	leasectl watch "$P" >events 2>&1 3>&- &
	asker=$!
	for _ in {1..100}; do
		CFS_IO=forwarded timeout 30 cfscp -q "$BATS_TEST_FILENAME" \
			"$P:t:/f"
		[ ! -s events ] || break
	done
	patient_umount m1
	sleep 0.5
	[ "$(cat "/proc/$pid/comm")" = cfs-manager ]
	kill -INT "$asker"
	wait "$asker" || :
	for _ in {1..200}; do
		[ -d "/proc/$pid" ] || break
		sleep 0.05
	done
	[ ! -d "/proc/$pid" ]
	check_pool
}

@test "a mount goes on beside cfscp and snapctl" {
	mount_setup
	mount_at m1
	echo one >m1/f
	echo host >host
	timeout 30 cfscp -q host "$P:t:/copied"
	[ "$(cat m1/copied)" = host ]
	timeout 30 snapctl take -q "$P:t@s"
	echo two >m1/f
	[ "$(cat m1/.snapshots/s/f)" = one ]
	[ "$(cat m1/f)" = two ]
	CFS_IO=forwarded timeout 30 cfscp -q "$P:t:/f" back
	[ "$(cat back)" = two ]
	timeout 30 slicectl ls "$P"
	unmount m1
	check_pool
}
