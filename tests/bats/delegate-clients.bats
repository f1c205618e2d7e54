#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Those who work in a container go on when it gets another owner: its secondary
# is killed, frozen or ended, or it is delegated under them.

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
	# Long beside what a busy machine may take for anything.
	slicectl set -q "$P" lease_period=9s
	mkdir -p src/sub
	for i in {1..150}; do
		pattern 1 | head -c $((i * 20)) >"src/f$i"
		echo "$i" >"src/sub/n$i"
	done
	tar -C src -cf src.tar .
	start "$P"
	MANAGER=$PID
}

# The tree src, into the directory $1, in steps of $2 seconds; $MAKER.
maker() {
	: >"steps.$1"
	while dd bs=20K count=1 iflag=fullblock status=none >"chunk.$1" &&
		[ -s "chunk.$1" ]; do
		cat "chunk.$1"
		echo >>"steps.$1"
		sleep "${2:-0.1}"
	done <src.tar | CFS_IO=direct cfscp -q --wait 30 --extract - "$P:t:/$1" \
		2>"errors.$1" 3>&- &
	MAKER=$!
	PIDS+=("$MAKER")
	# More than a pipe holds: it reads.
	until_true "[ \"\$(wc -l <steps.$1)\" -gt 4 ]"
}

# What a maker made is whole, and none of it was lost on the way.
made() {
	wait "$MAKER" || { cat "errors.$1"; false; }
	cfscp -q --wait 30 "$P:t:/$1" "out.$1"
	diff -r src "out.$1"
}

# A lease on the LUN, held by $HOLDER until it is told.
holder() {
	leasectl run "$P:t" --shared -- sh -c ': >held; exec sleep 1000' \
		2>errors.holder 3>&- &
	HOLDER=$!
	PIDS+=("$HOLDER")
	until_true '[ -e held ]'
}

delegations() {
	leasectl status --json "$P" | jq -c "[.delegations[].state]"
}

@test "the secondary is killed: who works in it goes on at the manager" {
	start "$P:t"
	cfscp -q --mkdir "$P:t:/a"
	maker a
	kill -KILL "$PID"
	made a
	[ "$(delegations)" = "[]" ]
	run -0 cfsck-heal check "$P"
}

@test "the secondary is ended: who works in it goes on at the manager" {
	start "$P:t"
	cfscp -q --mkdir "$P:t:/a"
	maker a
	kill -TERM "$PID"
	wait "$PID"
	kill -0 "$MAKER"
	made a
	run -0 cfsck-heal check "$P"
}

@test "a lease of a dead secondary is held on, and others wait for it" {
	start "$P:t"
	mkcfs -q "$P:vm0" --lun 1M
	leasectl run "$P:t" -- sh -c ': >held; exec sleep 1000' \
		2>errors.holder 3>&- &
	HOLDER=$!
	PIDS+=("$HOLDER")
	until_true '[ -e held ]'
	kill -KILL "$PID"
	until_true '[ "$(leasectl status --json "$P" | jq ".leases | map(select(.mode == \"exclusive\")) | length")" = 1 ]'
	run -4 leasectl run --wait 0 "$P:t" -- true
	# The others are not concerned.
	run -0 leasectl run --wait 1 "$P:vm0" -- true
	kill -0 "$HOLDER"
	[ ! -s errors.holder ]
}

@test "a lease that asks for nothing outlives a frozen secondary" {
	start "$P:t"
	holder
	# It renews, and then its owner stands still.
	sleep 1
	kill -STOP "$PID"
	until_true '[ "$(delegations)" = "[\"frozen\"]" ]'
	# Longer than the lease is without anybody.
	sleep 10
	kill -0 "$HOLDER"
	[ ! -s errors.holder ]
	run -4 leasectl run --wait 0 "$P:t" -- true
}

@test "the secondary and who works in it are killed: what was synced is there" {
	start "$P:t"
	cfscp -q src "$P:t:/before"
	cfscp -q --mkdir "$P:t:/a"
	maker a
	cfscp -q src "$P:t:/beside"
	pkill -KILL -P "$MAKER" -x cfscp || kill -KILL "$MAKER"
	kill -KILL "$PID"
	for i in before beside; do
		cfscp -q --wait 30 "$P:t:/$i" "$i"
		diff -r src "$i"
	done
	# Both are gone, and leave nothing.
	until_true '[ "$(slicectl df --json "$P" | jq .frozen_slices)" = 0 ]'
	run -0 cfsck-heal check "$P"
}

@test "it is delegated while they work in it: they go on at the secondary" {
	cfscp -q --mkdir "$P:t:/a"
	cfscp -q --mkdir "$P:t:/b"
	maker a
	A=$MAKER
	maker b
	sleep 1
	start "$P:t"
	kill -0 "$A"
	kill -0 "$MAKER"
	made b
	MAKER=$A
	made a
	[ "$(delegations)" = '["held"]' ]
	# They were there, and not at the manager, to the end.
	! grep -q . errors.a errors.b
	kill -TERM "$PID"
	wait "$PID"
	run -0 cfsck-heal check "$P"
}

@test "it goes there and back, and there again, under one who works in it" {
	cfscp -q --mkdir "$P:t:/a"
	maker a 1
	for i in 1 2; do
		sleep 1
		start "$P:t" --wait 30
		kill -0 "$MAKER"
		sleep 1
		if [ "$i" = 2 ]; then
			kill -KILL "$PID"
		else
			kill -TERM "$PID"
		fi
		wait "$PID" || true
		# It is nobody's to be delegated while its clients come back.
		until_true '[ "$(delegations)" = "[]" ]'
	done
	made a
	run -0 cfsck-heal check "$P"
}

@test "a secondary that dies before it serves gives its clients back" {
	cfscp -q --mkdir "$P:t:/a"
	maker a
	# It has the container when it looks for its socket's directory.
	: >nodir
	run ! env CFS_RUN="$PWD/nodir" cfsd "$P:t"
	made a
	run -0 cfsck-heal check "$P"
}

# How many seconds a tool says that are left, with --wait $1.
left() {
	run -4 --separate-stderr mkcfs -q --wait "$1" "$P:x" --lun 1M
	[[ $stderr =~ "in grace for another "([0-9]+)" s: clients of a manager" ]]
	LEFT=${BASH_REMATCH[1]}
}

@test "without a manager the next tool goes on with the wait of the last" {
	slicectl set -q "$P" lease_period=40s
	cfscp -q --mkdir "$P:t:/a"
	maker a 1
	sleep 1.5
	# It lives, and does not find that there is nobody.
	kill -STOP "$MAKER"
	kill -KILL "$MANAGER"
	wait "$MANAGER" || true
	left 0
	first=$LEFT
	[ "$first" -le 40 ]
	left 3
	[ "$LEFT" -lt "$first" ]
	second=$LEFT
	left 3
	[ "$LEFT" -lt "$second" ]
	# A manager goes on with it, too.
	start "$P"
	[ "$(leasectl status --json "$P" | jq '.manager.grace_ns / 1e9 | floor')" \
		-lt "$second" ]
	kill -CONT "$MAKER"
	made a
	run -0 cfsck-heal check --wait 60 "$P"
}

# It asks for space, holding what a look at the gravestone once needed, for
# longer than its own period: from then on it looks before it answers.
@test "a secondary that waits for slices renews its clients' leases" {
	start "$P:t"
	cfscp -q --mkdir "$P:t:/a"
	cfscp -q src/f1 "$P:t:/f1"
	leasectl run "$P:t:/f1" --shared -- sh -c ': >held; exec sleep 1000' \
		2>errors.holder 3>&- &
	HOLDER=$!
	PIDS+=("$HOLDER")
	until_true '[ -e held ]'
	# More than it was given to begin with.
	pattern 8000 >big
	tar -cf big.tar big
	# More than a pipe holds: it works there, and needs no manager.
	{
		head -c 200K
		: >there
		until [ -e go ]; do sleep 0.1; done
		cat
	} <big.tar | cfscp -q --extract - "$P:t:/a" 2>errors.big 3>&- &
	PIDS+=("$!")
	until_true '[ -e there ]'
	kill -STOP "$MANAGER"
	: >go
	# Longer than the lease is without an answer.
	sleep 11
	kill -0 "$HOLDER"
	[ ! -s errors.holder ]
}
