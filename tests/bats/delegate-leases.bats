#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Leases that were asked for by name go where their container goes: to a
# secondary, and home again; and nobody waits longer than for those who have
# one.

load helpers
load served

# The tests start the processes that they are about.
setup() {
	cfs_setup
	unset CFS_TEST_BESIDE
	export CFS_RUN=$BATS_TEST_TMPDIR/run
	PIDS=()
	make_pool "$P" 256M
	mkcfs -q "$P:t" --tree
	pattern 20 >data
	for i in a b c; do
		cfscp -q data "$P:t:/$i"
	done
	# Whoever waits for the end of a period waits too long.
	slicectl set -q "$P" lease_period=600s
	start "$P"
	MANAGER=$PID
}

# A lease on the file $1, held by $HOLDER until it is told.
holder() {
	leasectl run --wait 30 "$P:t:/$1" -- \
		sh -c ": >held.$1; exec sleep 1000" 2>"errors.$1" 3>&- &
	HOLDER=$!
	PIDS+=("$HOLDER")
}

ends() {
	kill -TERM "$1"
	status=0
	wait "$1" || status=$?
	[ "$status" = 0 ]
}

delegations() {
	leasectl status --json "$P" | jq -c "[.delegations[].state]"
}

kept_out() {
	run -4 leasectl run --wait 0 "$P:t:/$1" -- true
	[[ $output == *"leased by leasectl $2, process "* ]]
}

@test "a lease that stands by itself goes with its container, and comes home" {
	id=$(leasectl acquire "$P:t:/a")
	for i in 1 2; do
		start "$P:t"
		[ "$(delegations)" = '["held"]' ]
		run -0 leasectl renew "$P" "$id"
		kept_out a acquire
		run -0 leasectl run --wait 30 "$P:t:/b" -- true
		ends "$PID"
		[ "$(delegations)" = '[]' ]
		run -0 leasectl renew "$P" "$id"
		kept_out a acquire
		run -0 leasectl run --wait 30 "$P:t:/b" -- true
	done
	# By its id alone, and where it is.
	start "$P:t"
	run -0 leasectl renew "$P" "${id%@*}"
	run -0 leasectl release "$P" "$id"
	run -0 leasectl run --wait 30 "$P:t:/a" -- true
	run -4 leasectl renew "$P" "$id"
	[[ $output == *"the lease is lost" ]]
	ends "$PID"
	run -0 cfsck-heal check "$P"
}

@test "one that was taken at the secondary comes home, and is revoked there" {
	start "$P:t"
	SECOND=$PID
	one=$(leasectl acquire "$P:t:/a")
	two=$(leasectl acquire "$P:t:/b")
	ends "$SECOND"
	run -0 leasectl renew "$P" "$one"
	kept_out a acquire
	kept_out b acquire
	run -0 leasectl release "$P" "$one"
	run -0 leasectl run --wait 30 "$P:t:/a" -- true
	start "$P:t"
	run -0 leasectl revoke --dry-run "$P" "${two%@*}"
	run -0 leasectl release "$P" "$two"
	run -0 leasectl run --wait 30 "$P:t:/b" -- true
}

@test "a command under a lease, and one that waits for it, go with it" {
	holder a
	A=$HOLDER
	until_true '[ -e held.a ]'
	leasectl run --wait 60 "$P:t:/a" -- sh -c ': >then' 2>errors.then 3>&- &
	THEN=$!
	PIDS+=("$THEN")
	until_true '[ "$(leasectl status --json "$P" | jq "[.leases[] | select(.is_waiting)] | length")" -gt 0 ]'
	start "$P:t"
	# It is there when nobody else is waited for any more.
	run -0 leasectl run --wait 30 "$P:t:/b" -- true
	kept_out a run
	kill -0 "$A"
	kill -0 "$THEN"
	[ ! -e then ]
	kill -TERM "$A"
	wait "$A" || true
	wait "$THEN"
	[ -e then ]
	run ! grep -q . errors.a errors.then
}

@test "the grace of a container that was returned ends when each is back or dead" {
	start "$P:t"
	holder a
	A=$HOLDER
	holder b
	until_true '[ -e held.a ] && [ -e held.b ]'
	kill -STOP "$HOLDER"
	ends "$PID"
	# One has not been heard of.
	run -4 leasectl run --wait 2 "$P:t:/c" -- true
	kill -KILL "$HOLDER"
	run -0 leasectl run --wait 30 "$P:t:/c" -- true
	kept_out a run
	kill -0 "$A"
	run ! grep -q . errors.a
	run -0 leasectl run --wait 30 "$P:t:/b" -- true
}

@test "who works in a container that was returned is waited for, and no longer" {
	start "$P:t"
	mkdir src
	pattern 400 3 >src/one
	tar -C src -cf src.tar .
	mkfifo pipe
	CFS_IO=direct cfscp -q --wait 60 --extract - "$P:t:/" <pipe \
		2>errors.tool 3>&- &
	TOOL=$!
	PIDS+=("$TOOL")
	exec 7>pipe
	# More than a pipe holds: it has it open.
	head -c 400000 src.tar >&7
	ends "$PID"
	run -0 leasectl run --wait 30 "$P:t:/c" -- true
	tail -c +400001 src.tar >&7
	exec 7>&-
	wait "$TOOL"
	run ! grep -q . errors.tool
	cfscp -q "$P:t:/one" one
	cmp src/one one
	run -0 cfsck-heal check "$P"
}

@test "a secondary that dies before it serves gives leases back" {
	id=$(leasectl acquire "$P:t:/a")
	holder b
	until_true '[ -e held.b ]'
	: >nodir
	run ! env CFS_RUN="$PWD/nodir" cfsd "$P:t"
	until_true '[ "$(delegations)" = "[]" ]'
	run -0 leasectl renew "$P" "$id"
	kept_out a acquire
	run -0 leasectl run --wait 30 "$P:t:/c" -- true
	kept_out b run
	kill -0 "$HOLDER"
	run ! grep -q . errors.b
}

# It has found what it asks for, and stands still before it does.
late() {
	gdb -q -batch -ex "break leasectl_want_take" -ex run \
		-ex "shell : >late; until [ -e go ]; do sleep 0.1; done" \
		-ex continue --args "$(command -v leasectl)" "$@" >"out.late" 2>&1 \
		3>&- &
	LATE=$!
	PIDS+=("$LATE")
	until_true "[ -e late ] || ! kill -0 $LATE 2>/dev/null"
	[ -e late ] || skip "gdb does not stop a program here"
}

@test "who asks late, and at the manager, is sent to who has it" {
	command -v gdb >/dev/null || skip "without gdb"
	late run --wait 0 "$P:t:/a" -- \
		sh -c ': >held.a; until [ -e done ]; do sleep 0.1; done; : >then'
	start "$P:t"
	: >go
	until_true '[ -e held.a ]'
	kept_out a run
	: >done
	wait "$LATE"
	[ -e then ]
	grep -q "exited normally" out.late
	run -0 leasectl run --wait 30 "$P:t:/a" -- true
}

@test "who waits for a lease at a secondary that freezes gets it of who follows" {
	ends "$MANAGER"
	slicectl set -q "$P" lease_period=2s
	start "$P"
	holder a
	until_true '[ -e held.a ]'
	leasectl run --wait 300 "$P:t:/a" -- sh -c ': >then' 2>errors.then 3>&- &
	THEN=$!
	PIDS+=("$THEN")
	until_true '[ "$(leasectl status --json "$P" | jq "[.leases[] | select(.is_waiting)] | length")" -gt 0 ]'
	start "$P:t"
	SECOND=$PID
	run -0 leasectl run --wait 30 "$P:t:/b" -- true
	kill -STOP "$SECOND"
	kill -TERM "$HOLDER"
	until_true '[ -e then ]'
	wait "$THEN"
	run ! grep -q . errors.then
}
