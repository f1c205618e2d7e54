#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A manager has died, and clients of it that live have leases and nothing else:
# tools that answer nobody keep off what is leased, and wait for nobody who is
# dead.

load helpers
load served
load former

setup() {
	former_setup 128
}

volume() {
	make_lun vm0 8M 16
	snapctl take -q "$P:vm0@s"
	pattern 16 5 >data
	period "${1-40s}"
	manager
}

# A lease on all of vm0, as $HOLDER; `go` ends it.
holder() {
	leasectl run "$P:vm0" -- sh -c 'echo $$ >held
		until [ -e go ]; do sleep 0.05; done' 2>errors.holder 3>&- &
	HOLDER=$!
	PIDS+=("$HOLDER")
	until_true '[ -s held ]'
	PIDS+=("$(<held)")
}

# What a manager would keep off the lease says for how long it is that.
kept_off() {
	run -4 --separate-stderr "$@"
	[[ $stderr == *"in grace for another "*" s: clients of a manager that has died may still have leases"* ]]
}

@test "who stands still with a lease is not worked over" {
	volume
	holder
	kill -STOP "$HOLDER"
	kill_manager
	kept_off slicectl rm -r --yes --wait 0 "$P:vm0"
	kept_off snapctl rollback -q --yes --wait 0 "$P:vm0@s"
	kept_off cfscp -q --wait 0 data "$P:vm0"
	# Longer than that, it is said while they wait.
	kept_off slicectl rm -r --yes --wait 2 "$P:vm0"
	[ "$(grep -c "in grace for" <<<"$stderr")" = 2 ]
	# Who only looks wrongs nobody.
	run -0 slicectl ls -q "$P"
	[[ $output == *vm0* ]]
	# It wakes in time, and starts the manager that keeps its lease.
	kill -CONT "$HOLDER"
	until_true '[ "$(leasectl status --json "$P" | jq ".leases | length")" = 1 ]'
	run -4 slicectl rm -r --yes --wait 0 "$P:vm0"
	[[ $output == *"leased by leasectl run"* ]]
	touch go
	wait "$HOLDER"
	[ ! -s errors.holder ]
}

@test "a tool that waits goes on behind the lease, which is not lost" {
	volume
	holder
	kill_manager
	cfscp -q --wait 60 data "$P:vm0" 2>errors.tool 3>&- &
	TOOL=$!
	PIDS+=("$TOOL")
	until_true '[ "$(leasectl status --json "$P" | jq ".leases | length")" -ge 1 ]'
	sleep 1
	kill -0 "$TOOL"
	touch go
	wait "$HOLDER"
	wait "$TOOL"
	[ ! -s errors.holder ]
	cfscp -q "$P:vm0" copy
	cmp -n 65536 data copy
}

@test "a tool that was there first does not keep the next manager away" {
	volume
	holder
	kill -STOP "$HOLDER"
	kill_manager
	cfscp --wait 60 data "$P:vm0" >out.tool 2>errors.tool 3>&- &
	TOOL=$!
	PIDS+=("$TOOL")
	# It has looked, and let go.
	until_true 'grep -q "in grace for" errors.tool'
	kill -CONT "$HOLDER"
	until_true '[ "$(leasectl status --json "$P" | jq ".leases | length")" -ge 1 ]'
	kill -0 "$TOOL"
	touch go
	wait "$HOLDER"
	wait "$TOOL"
	[ ! -s errors.holder ]
}

@test "on a shared pool the next tool goes on with the wait of the last" {
	rm -f "$P"
	mkcfs -q --shared --size 128M "$P"
	volume
	holder
	kill -STOP "$HOLDER"
	kill_manager
	left() {
		kept_off slicectl rm -r --yes "$@" "$P:vm0"
		LEFT=${stderr##*in grace for another }
		LEFT=${LEFT%% s:*}
	}
	left --wait 1
	first=$LEFT
	[ "$first" -le 41 ]
	sleep 2
	left --wait 1
	[ "$LEFT" -lt "$first" ]
	# A manager has no other grace.
	start "$P"
	[ "$(leasectl status --json "$P" | jq '.manager.grace_ns / 1e9 | floor')" -le "$LEFT" ]
}

@test "for the dead nobody waits, not even the second one" {
	volume
	holder
	# Or it would start the next manager.
	kill -STOP "$HOLDER"
	kill_manager
	kill -KILL "$HOLDER" "$(<held)"
	wait "$HOLDER" || true
	run -0 cfscp -q --wait 0 data "$P:vm0"
	run -0 --separate-stderr slicectl rm -r --yes --wait 0 "$P:vm0"
	[ -z "$stderr" ]
}

@test "a period ends for who never wakes" {
	volume 4s
	holder
	kill -STOP "$HOLDER"
	kill_manager
	run -0 --separate-stderr slicectl rm -r --yes --wait 30 "$P:vm0"
	[[ $stderr == *"in grace for another "* ]]
	# And is over for all who come behind.
	run -0 --separate-stderr mkcfs -q --wait 0 "$P:vm1" --lun 1M
	[ -z "$stderr" ]
}

@test "a secondary is not waited for: what it has stands in the pool" {
	volume
	mkcfs -q "$P:vm1" --lun 4M
	start "$P:vm1"
	kill_manager
	run -0 cfscp -q --wait 0 data "$P:vm0"
	run -0 slicectl rm -r --yes --wait 0 "$P:vm0"
	cfscp -q data "$P:vm1"
}

# Nobody is waited for any more, long before a period of ten minutes is over.
grace_ends() {
	until_true '[ "$(leasectl status --wait 30 --json "$P" | jq .manager.grace_ns)" = 0 ]'
}

@test "the grace ends when who has a lease is back with it" {
	volume 600s
	holder
	kill_manager
	# Whoever of both is the manager then.
	until_true '[ "$(leasectl status --json "$P" | jq "[.leases[] | select(.mode == \"exclusive\")] | length")" = 1 ]'
	grace_ends
	run -0 mkcfs -q --wait 30 "$P:vm1" --lun 1M
	run -4 slicectl rm -r --yes --wait 0 "$P:vm0"
	touch go
	wait "$HOLDER"
	[ ! -s errors.holder ]
}

# What comes through the pipe $1, into a directory of that name; $TOOL.
extract() {
	cfscp -q --wait 30 --mkdir "$P:t:/$1"
	mkfifo "$1"
	CFS_IO=direct cfscp -q --wait 60 --extract - "$P:t:/$1" <"$1" \
		2>"errors.$1" 3>&- &
	TOOL=$!
	PIDS+=("$TOOL")
}

@test "the grace ends when each is back or dead" {
	volume 600s
	mkcfs -q "$P:t" --tree
	mkdir src
	pattern 200 3 >src/one
	tar -C src -cf src.tar .
	extract a
	exec 7>a
	A=$TOOL
	extract b
	exec 8>b
	# More than a pipe holds: they have it open.
	head -c 400000 src.tar >&7
	head -c 400000 src.tar >&8
	kill_manager
	kill -KILL "$TOOL"
	wait "$TOOL" || true
	exec 8>&-
	# One is dead, and one stands still.
	kill -STOP "$A"
	start "$P"
	[ "$(leasectl status --json "$P" | jq .manager.grace_ns)" != 0 ]
	run -4 cfscp -q --wait 1 data "$P:vm0"
	kill -CONT "$A"
	grace_ends
	cfscp -q --wait 30 data "$P:vm0"
	tail -c +400001 src.tar >&7
	exec 7>&-
	wait "$A"
	[ ! -s errors.a ]
	cfscp -q "$P:t:/a/one" one
	cmp src/one one
	run -0 cfsck-heal check "$P"
}
