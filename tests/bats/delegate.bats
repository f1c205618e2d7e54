#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A container delegated to another cfsd: who serves it, how it comes home, and
# that the other tools need not know.

load helpers
load served

# The tests start the processes that they are about.
setup() {
	cfs_setup
	unset CFS_TEST_BESIDE
	export CFS_RUN=$BATS_TEST_TMPDIR/run
	PIDS=()
}

# The status of $1, which ends by itself, in $status.
ends() {
	until_true "! kill -0 $1 2>/dev/null" || return 1
	status=0
	wait "$1" || status=$?
}

# A pool with a LUN that holds data, a tree, and a manager with leases of three
# seconds.
pool_with_manager() {
	make_pool
	make_lun vm0 16M
	mkcfs -q "$P:files" --tree
	slicectl set "$P" lease_period=6s >/dev/null
	pattern 700 >data
	cfscp -q data "$P:vm0"
	start "$P"
	MANAGER=$PID
}

same_data() {
	cfscp -q "$P:vm0" copy
	cmp -n 2867200 "${1-data}" copy
}

delegation() {
	leasectl status --json "$P" | jq -r ".delegations[0].$1"
}

@test "a container is served by a process of its own, and returned" {
	pool_with_manager
	start "$P:vm0"
	[[ $(jq -r .manager.address ready) == *-1.sock ]]
	[ "$(delegation volume)" = vm0 ]
	[ "$(delegation pid)" = "$PID" ]
	[ "$(delegation state)" = held ]
	run -0 leasectl status "$P"
	[[ $output == *DELEGATED*vm0*held* ]]
	same_data
	kill -TERM "$PID"
	ends "$PID"
	[ "$status" = 0 ]
	[ "$(leasectl status --json "$P" | jq -c .delegations)" = "[]" ]
	same_data
	run -0 cfsck-heal check "$P"
}

@test "all tools work on it without being told" {
	pool_with_manager
	start "$P:vm0"
	pattern 500 7 >other
	cfscp -q other "$P:vm0"
	run -0 slicectl ls --json "$P"
	[ "$(jq -c '[.volumes[].name] | sort' <<<"$output")" = \
		'["files","vm0"]' ]
	run -0 slicectl show "$P:vm0"
	run -0 slicectl df "$P"
	run -0 slicectl map "$P"
	run -0 snapctl take "$P:vm0@a"
	run -0 snapctl clone "$P:vm0@a" c
	run -0 snapctl ls --json "$P"
	[ "$(jq -r '.snapshots[0].name' <<<"$output")" = a ]
	run -0 slicectl ls "$P:vm0"
	[[ $output == *vm0/c* ]]
	run -0 slicectl resize "$P:vm0" 32M
	run -0 slicectl trim "$P"
	run -0 cfsck-heal check "$P"
	[[ $output == *"2 containers"* ]]
	run -0 cfsck-heal check "$P:vm0"
	run -0 cfsck-heal scrub "$P"
	run -0 leasectl run "$P:vm0" -- true
	cfscp -q "$P:vm0" copy
	cmp -n 2048000 other copy
	kill -TERM "$PID"
	ends "$PID"
	run -0 slicectl show --json "$P:vm0"
	[ "$(jq .volume.size_bytes <<<"$output")" = 33554432 ]
	run -0 cfsck-heal check "$P"
}

@test "a secondary that stands still keeps nobody from the rest of the pool" {
	pool_with_manager
	# Nobody takes over from it meanwhile.
	slicectl set -q "$P" lease_period=600s
	start "$P:vm0"
	kill -STOP "$PID"
	cfscp -q --wait 30 data "$P:files:/x"
	CFS_IO=direct cfscp -q --wait 30 "$P:files:/x" copy
	cmp data copy
	run -0 snapctl take -q --wait 30 "$P:files@s"
	run -4 --separate-stderr cfscp -q --wait 1 "$P:vm0" copy
	[[ $stderr == *"vm0 is served by process $PID on "*", which does not answer" ]]
	# What is asked of all containers is asked of that one, too.
	run -4 --separate-stderr slicectl show --wait 1 "$P"
	[[ $stderr == *"vm0 is served by process $PID on "*", which does not answer" ]]
	kill -CONT "$PID"
	same_data
}

@test "what only the manager can do is refused with one line" {
	pool_with_manager
	start "$P:vm0"
	run -4 --separate-stderr slicectl rm -y -r "$P:vm0"
	[[ $stderr == *"vm0: not while the container is delegated: end that first, with leasectl revoke" ]]
	run -4 --separate-stderr slicectl rename "$P:vm0" x
	[[ $stderr == *"not while the container is delegated"* ]]
	run -4 --separate-stderr slicectl set "$P:vm0" limit=1G
	run -4 --separate-stderr snapctl take "$P:vm0@b" "$P:files@b"
	[[ $stderr == *"only where one process has them all"* ]]
	truncate -s 64M more.img
	run -4 --separate-stderr slicectl add "$P" more.img
	[[ $stderr == *"not while a container is delegated"* ]]
	# Nothing is done for a dry run, least of all really.
	run -4 --separate-stderr snapctl take -n "$P:vm0@z"
	[[ $stderr == *"cannot be shown" ]]
	run -4 --separate-stderr slicectl resize -n "$P:vm0" 32M
	run -0 snapctl ls "$P:vm0"
	[[ $output != *@z* ]]
	# A second one waits, and gives up.
	run -4 --separate-stderr cfsd --wait 1 "$P:vm0"
	[[ $stderr == *"another process serves it" ]]
	run -3 --separate-stderr cfsd --wait 1 "$P:none"
	run -0 cfsck-heal check "$P"
}

@test "nobody has it while it is in use, or nobody manages the pool" {
	make_pool
	make_lun vm0 16M
	run -4 --separate-stderr cfsd --wait 0 "$P:vm0"
	[[ $stderr == *"nobody manages the pool"* ]]
	start "$P"
	pattern 700 3 >data
	cfscp -q data "$P:vm0"
	snapctl take -q "$P:vm0@a"
	# A stream ends by itself; who only has it open does not matter
	# (delegate-forwarded.bats).
	mkfifo pipe
	snapctl send -q "$P:vm0@a" >pipe 3>&- &
	TOOL=$!
	PIDS+=("$TOOL")
	exec 8<pipe
	head -c 100000 <&8 >stream
	run -4 --separate-stderr cfsd --wait 3 "$P:vm0"
	# Once while it waits, and in the end.
	[[ $stderr == *"vm0: waiting for it: in use by process $TOOL on this host"* ]]
	[ "$(grep -c "in use by" <<<"$stderr")" = 2 ]
	cat <&8 >>stream
	exec 8<&-
	wait "$TOOL"
	start "$P:vm0"
	same_data
	run -0 snapctl recv -q "$P:copy" <stream
}

@test "leases are those of the process that serves it" {
	pool_with_manager
	start "$P:vm0"
	leasectl run "$P:vm0" -- sleep 20 3>&- &
	LEASE=$!
	PIDS+=("$LEASE")
	until_true 'run cfscp -q --wait 0 data "$P:vm0"; [ "$status" = 4 ]'
	[[ $output == *"leased by leasectl run"* ]]
	cfscp -q --wait 0 data "$P:files:/f"
	kill -TERM "$LEASE"
	wait "$LEASE" || true
	cfscp -q data "$P:vm0"
	# Who works under it is let through.
	run -0 leasectl run "$P:vm0" -- cfscp -q data "$P:vm0"
	run -0 leasectl acquire --json "$P:vm0"
	id=$(jq -r .lease.id <<<"$output")
	run -4 cfscp -q --wait 0 data "$P:vm0"
	run -0 leasectl renew "$P" "$id"
	run -0 leasectl release "$P" "$id"
	cfscp -q data "$P:vm0"
}

@test "streams and differences come from it" {
	pool_with_manager
	start "$P:vm0"
	snapctl take -q "$P:vm0@a"
	pattern 700 9 >other
	cfscp -q other "$P:vm0"
	snapctl take -q "$P:vm0@b"
	snapctl send "$P:vm0@b" >stream
	run -0 snapctl recv "$P:copy" <stream
	cfscp -q "$P:copy" back
	cmp -n 2867200 other back
	run -0 snapctl diff --json "$P:vm0@a" "$P:vm0@b"
	[ "$(jq '.ranges | length' <<<"$output")" -gt 0 ]
}

@test "it is wanted back: the client is revoked, and returns it" {
	pool_with_manager
	start "$P:vm0"
	run -0 leasectl revoke "$P" "$(delegation client)"
	ends "$PID"
	[ "$status" = 0 ]
	[[ $(cat errors) == *"the manager of the pool wants it back"* ]]
	[ "$(leasectl status --json "$P" | jq -c .delegations)" = "[]" ]
	same_data
}

@test "it is killed: the container is home at once, with all that was synced" {
	pool_with_manager
	start "$P:vm0"
	pattern 700 3 >other
	cfscp -q other "$P:vm0"
	kill -KILL "$PID"
	SECONDS=0
	same_data other
	# Its clients may have come back in that: a period, and no second one.
	[ "$SECONDS" -le 9 ]
	run -0 cfsck-heal check "$P"
	[ "$(slicectl df --json "$P" | jq .frozen_slices)" = 0 ]
}

@test "it is stopped: taken over behind its period, and harmless when it wakes" {
	pool_with_manager
	start "$P:vm0"
	pattern 700 3 >other
	cfscp -q other "$P:vm0"
	kill -STOP "$PID"
	cfscp -q --wait 20 "$P:vm0" copy
	cmp -n 2867200 other copy
	[ "$(delegation state)" = frozen ]
	cfscp -q data "$P:vm0"
	kill -CONT "$PID"
	ends "$PID"
	[ "$status" != 0 ]
	[[ $(cat errors) == *"taken the container over"* ]]
	same_data
	# It is gone now, and nothing of it is left.
	until_true '[ "$(leasectl status --json "$P" | jq -c .delegations)" = "[]" ]'
	run -0 cfsck-heal check "$P"
	# And it can go again.
	start "$P:vm0"
	same_data
}

@test "the manager dies: it goes on, and the next one finds it" {
	pool_with_manager
	start "$P:vm0"
	SECOND=$PID
	kill -KILL "$MANAGER"
	wait "$MANAGER" || true
	same_data
	pattern 700 5 >other
	cfscp -q other "$P:vm0"
	# Without a manager too, as long as its period and longer.
	sleep 4
	same_data other
	cfscp -q data "$P:vm0"
	start "$P"
	until_true '[ "$(delegation state)" = held ]'
	[ "$(delegation pid)" = "$SECOND" ]
	same_data
	kill -TERM "$SECOND"
	ends "$SECOND"
	[ "$status" = 0 ]
	same_data
	run -0 cfsck-heal check "$P"
}

@test "both die: the next tool has all of it" {
	pool_with_manager
	start "$P:vm0"
	pattern 700 5 >other
	cfscp -q other "$P:vm0"
	kill -KILL "$MANAGER" "$PID"
	wait "$MANAGER" "$PID" || true
	same_data other
	[ "$(leasectl status --json "$P" | jq -c .delegations)" = "[]" ]
	run -0 cfsck-heal check "$P"
}

@test "with nobody there status reads it in the pool" {
	pool_with_manager
	start "$P:vm0"
	kill -KILL "$MANAGER"
	wait "$MANAGER" || true
	run -0 leasectl status "$P"
	[[ $output == *"nobody manages the pool"* ]]
	[[ $output == *vm0*away* ]]
	[ "$(delegation state)" = away ]
	[ "$(delegation pid)" = "$PID" ]
}

@test "on a shared pool a dead one is gone when an operator says so" {
	mkcfs -q --shared --size 128M "$P"
	make_lun vm0 16M
	slicectl set "$P" lease_period=3s >/dev/null
	pattern 700 >data
	start "$P"
	start "$P:vm0"
	cfscp -q data "$P:vm0"
	kill -KILL "$PID"
	cfscp -q --wait 30 "$P:vm0" copy
	cmp -n 2867200 data copy
	[ "$(delegation state)" = frozen ]
	run -0 leasectl gone "$P" "$(uname -n)"
	until_true '[ "$(leasectl status --json "$P" | jq -c .delegations)" = "[]" ]'
	[ "$(slicectl df --json "$P" | jq .frozen_slices)" = 0 ]
	same_data
	run -0 cfsck-heal check "$P"
}
