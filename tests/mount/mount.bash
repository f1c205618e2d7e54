#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What the tests of mounts share: a pool $P with a tree t, mounts m1, m2 ... of
# it, each by a process of its own, and all of that gone in the end.

# shellcheck source=tests/bats/helpers.bash
. "$BATS_TEST_DIRNAME/../bats/helpers.bash"
POSIX=$CFS_BUILD/tests/posix

need_fuse()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	[ -c /dev/fuse ] || skip "no /dev/fuse"
}

mount_setup()
{
	need_fuse
	cfs_setup
	MOUNTED=()
	export CFS_RUN=$BATS_TEST_TMPDIR/run
	mkdir -p -m 700 "$CFS_RUN"
	mkcfs -q --size "${1:-512M}" "$P"
	mkcfs -q "$P:t" --tree
}

# Mount $2 ($P:t) at $1, with options; $MOUNT_PID: its process.
mount_at()
{
	local place=$1

	mkdir -p "$place"
	timeout 20 cfsmount "${@:2}" -- "$P:t" "$place" || return
	MOUNTED+=("$PWD/$place")
	MOUNT_PID=$(pid_of "$place")
	chmod 777 "$place" 2>/dev/null || :
}

# The process behind the mount $1.
pid_of()
{
	getfattr --absolute-names -n trusted.cfs.pid --only-values "$1"
}

# Unmount $1, and wait until all is durable: its process has ended, or stays for
# others alone.
unmount()
{
	local pid

	pid=$(pid_of "$1") || return
	patient_umount "$1" || return
	wait_gone "$pid"
}

# Others on this machine look at all mounts now and then, and a mount is busy for
# as long as a look takes; what has just ended may still be letting go of a file.
patient_umount()
{
	local i

	for i in {1..100}; do
		! umount "$1" || return 0
		mountpoint -q "$1" || return 0
		sleep 0.1
	done
	return 1
}

# The process $1 has ended, or lingers.
wait_gone()
{
	local i comm

	for i in {1..600}; do
		comm=$(cat "/proc/$1/comm" 2>/dev/null) || return 0
		[ "$comm" != cfs-manager ] || return 0
		[ "$(ps -o stat= -p "$1" | cut -c1)" != Z ] || return 0
		sleep 0.05
	done
	return 1
}

teardown()
{
	local place

	for place in ${MOUNTED[@]+"${MOUNTED[@]}"}; do
		if mountpoint -q "$place"; then
			umount -l "$place"
		fi
	done
	release_pools
}

# The pool has no fault.
check_pool()
{
	run timeout 100 cfsck-heal check --wait 60 "$P"
	[ "$status" != 0 ] || return 0
	echo "the check of $P ended with $status: $output"
	return 1
}
