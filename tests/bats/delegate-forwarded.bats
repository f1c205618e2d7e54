#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Who works in a container by way of the manager goes on when it is delegated
# to a process on this host, when it comes home, and when it goes again.

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
	mkcfs -q "$P:vm0" --lun 16M
	# Nobody waits for the end of one, but where the secondary is killed.
	case $BATS_TEST_DESCRIPTION in
	*killed) slicectl set -q "$P" lease_period=6s ;;
	*) slicectl set -q "$P" lease_period=60s ;;
	esac
	start "$P"
	MANAGER=$PID
	mkfifo pipe
}

# cfscp of pipe to $1, by way of the manager; what is written to descriptor 7
# goes through it.  $TOOL.
tool() {
	CFS_IO=forwarded cfscp -q "${@:2}" - "$1" <pipe 2>errors.tool 3>&- &
	TOOL=$!
	PIDS+=("$TOOL")
	exec 7>pipe
}

tool_ends() {
	exec 7>&-
	wait "$TOOL" || { cat errors.tool; false; }
	run ! grep -q . errors.tool
}

# It is a user of vm0 where that is.
is_there() {
	until_true 'run leasectl run --wait 0 "$P:vm0" -- true; [ "$status" = 4 ] && [[ $output == *"leased by"* ]]'
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

@test "who writes to a LUN goes on, there and back" {
	pattern 700 >data
	tool "$P:vm0"
	# More than a pipe holds: it has it open.
	head -c 400000 data >&7
	for round in 1 2; do
		start --wait 30 "$P:vm0"
		[ "$(delegations)" = '["held"]' ]
		tail -c +$((400000 * (2 * round - 1) + 1)) data | head -c 400000 >&7
		# It is a user there, and nobody has it alone.
		is_there
		ends "$PID"
		[ "$(delegations)" = '[]' ]
		run -4 leasectl run --wait 0 "$P:vm0" -- true
		tail -c +$((400000 * 2 * round + 1)) data | head -c 400000 >&7
	done
	tail -c +2000001 data >&7
	tool_ends
	cfscp -q "$P:vm0" copy
	cmp -n "$(stat -c %s data)" data copy
	run -0 cfsck-heal check "$P"
}

@test "who extracts into a tree goes on, there and back" {
	mkdir -p src/sub
	for i in {1..150}; do
		pattern 1 | head -c $((i * 20)) >"src/f$i"
		echo "$i" >"src/sub/n$i"
	done
	tar -C src -cf src.tar .
	cfscp -q --mkdir "$P:t:/out"
	tool "$P:t:/out" --extract
	# In many steps: a file is open for a while.
	while dd bs=20K count=1 iflag=fullblock status=none >chunk &&
		[ -s chunk ]; do
		cat chunk
		echo >>steps
		sleep 0.1
	done <src.tar >&7 &
	FEEDER=$!
	PIDS+=("$FEEDER")
	until_true '[ "$(wc -l <steps)" -gt 8 ]'
	start --wait 60 "$P:t"
	until_true '[ "$(wc -l <steps)" -gt 16 ]'
	ends "$PID"
	start --wait 60 "$P:t"
	wait "$FEEDER"
	tool_ends
	cfscp -q "$P:t:/out" copy
	diff -r src copy
	ends "$PID"
	run -0 cfsck-heal check "$P"
}

# From $1 into a pipe that is read from descriptor 8; $TOOL.
reader() {
	CFS_IO=forwarded cfscp -q "$1" - >pipe 2>errors.tool 3>&- &
	TOOL=$!
	PIDS+=("$TOOL")
	exec 8<pipe
}

reader_goes_on() {
	head -c 1000000 <&8 >copy
	start --wait 30 "${1%%@*}"
	[ -z "${2-}" ] || snapctl rename -q "$1" "$2"
	head -c 1000000 <&8 >>copy
	ends "$PID"
	head -c 1000000 <&8 >>copy
	start --wait 30 "${1%%@*}"
	cat <&8 >>copy
	exec 8<&-
	wait "$TOOL"
	run ! grep -q . errors.tool
	cmp -n "$(stat -c %s data)" data copy
}

@test "who reads a file goes on, there and back" {
	pattern 3000 >data
	cfscp -q data "$P:t:/data"
	reader "$P:t:/data"
	reader_goes_on "$P:t"
}

@test "who reads a snapshot goes on, whatever its name is" {
	pattern 3000 >data
	cfscp -q data "$P:vm0"
	snapctl take -q "$P:vm0@a"
	reader "$P:vm0@a"
	reader_goes_on "$P:vm0@a" b
}

@test "beside one who has a lease, or under it, it is held up" {
	pattern 3000 >data
	cfscp -q data "$P:vm0"
	leasectl run --shared "$P:vm0" -- sh -c ': >held; exec sleep 1000' 3>&- &
	HOLDER=$!
	PIDS+=("$HOLDER")
	until_true '[ -e held ]'
	reader "$P:vm0"
	head -c 1000000 <&8 >copy
	run -4 --separate-stderr cfsd --wait 1 "$P:vm0"
	[[ $stderr == *"in use by process $TOOL on this host, beside others who work in it"* ]]
	kill -TERM "$HOLDER"
	wait "$HOLDER" || true
	start --wait 30 "$P:vm0"
	head -c 1000000 <&8 >>copy
	ends "$PID"
	exec 8<&-
	wait "$TOOL" || true
	cmp -n 2000000 data copy
	# And what works under one.
	CFS_IO=forwarded leasectl run "$P:vm0" -- \
		sh -c 'exec cfscp -q "$1" - >pipe' - "$P:vm0" 3>&- &
	HOLDER=$!
	PIDS+=("$HOLDER")
	exec 8<pipe
	head -c 1000000 <&8 >copy
	run -4 --separate-stderr cfsd --wait 1 "$P:vm0"
	[[ $stderr == *", under a lease"* ]]
	cat <&8 >>copy
	exec 8<&-
	wait "$HOLDER"
	cmp -n "$(stat -c %s data)" data copy
}

@test "who writes is told when its secondary is killed" {
	pattern 700 >data
	tool "$P:vm0"
	head -c 400000 data >&7
	start --wait 30 "$P:vm0"
	head -c 400000 data >&7
	is_there
	kill -KILL "$PID"
	# It is home, and nobody has it open any more.
	run -0 leasectl run --wait 30 "$P:vm0" -- true
	tail -c +800001 data >&7 || true
	exec 7>&-
	status=0
	wait "$TOOL" || status=$?
	[ "$status" != 0 ]
	# In the middle of something, or before the next.
	cat errors.tool
	grep -q "the process that .* is gone" errors.tool
	run -0 cfsck-heal check "$P"
}

@test "a secondary that dies before it serves loses nobody" {
	pattern 700 >data
	tool "$P:vm0"
	head -c 400000 data >&7
	: >nodir
	run ! env CFS_RUN="$PWD/nodir" cfsd "$P:vm0"
	tail -c +400001 data >&7
	tool_ends
	cfscp -q "$P:vm0" copy
	cmp -n "$(stat -c %s data)" data copy
}
