#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Calls that wait for something, and those that need not wait for them.

load mount

# The mount m1 answers what it knows itself.
answers()
{
	[ "$(timeout 30 getfattr --absolute-names --only-values \
		-n trusted.cfs.pid m1)" = "$MOUNT_PID" ]
}

@test "while calls wait for a manager others are answered" {
	local all_answered=yes waiting=()

	mount_setup
	serve_pool
	mount_at m1
	answers
	kill -STOP "$CFSD"
	# Each asks it by a call of its own, if it does not know the answer yet.
	for _ in {1..50}; do
		stat -f m1 >/dev/null &
		sleep 0.1
		answers || all_answered=no
		[ "$all_answered" = yes ] || break
		! kill -0 $! || waiting+=($!)
		[ "${#waiting[@]}" -lt 3 ] || break
	done
	kill -CONT "$CFSD"
	[ "$all_answered" = yes ]
	[ "${#waiting[@]}" = 3 ]
	wait "${waiting[@]}" || :
	unmount m1
}
