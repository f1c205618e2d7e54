#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Who waits for a lease stands in one queue, whatever it is: a tool, a run of
# leasectl, directly or through the manager.  Nobody who comes later is served
# first.

load helpers

setup() {
	cfs_setup
	make_pool
	[ -n "${CFS_TEST_BESIDE-}" ] || serve_pool
	make_lun vm0 8M 16
	mkcfs -q "$P:home" --tree
	pattern 16 second >other
	mkdir d
	echo in >d/file
}

teardown() {
	touch "$BATS_TEST_TMPDIR/stop"
	wait_for_jobs
	release_pools
}

wait_for_jobs() {
	local pid

	for pid in "${PIDS[@]}"; do
		wait "$pid" || :
	done
	PIDS=()
}

# One lease after the other, three at a time, so that there is always one; each
# with the options given.
stream_of_runs() {
	local i

	for i in 1 2 3; do
		while [ ! -e stop ]; do
			leasectl run "$@" --wait 60 -- sleep 0.3 || :
		done 3>&- &
		PIDS+=("$!")
		sleep 0.1
	done
}

@test "a stream of short readers does not starve a tool that waits to write" {
	stream_of_runs --shared "$P:vm0"
	SECONDS=0
	cfscp -q --wait 30 other "$P:vm0"
	CFS_IO=forwarded cfscp -q --wait 30 other "$P:vm0"
	[ "$SECONDS" -lt 10 ]
	touch stop
	wait_for_jobs
	cfscp -q --length 64K "$P:vm0" - | cmp - other
}

@test "a stream of writers does not starve a tool that waits to read" {
	stream_of_runs "$P:vm0"
	SECONDS=0
	cfscp -q --wait 30 "$P:vm0" - | head -c 65536 | cmp - vm0.src
	CFS_IO=forwarded cfscp -q --wait 30 "$P:vm0" - | head -c 65536 |
		cmp - vm0.src
	[ "$SECONDS" -lt 10 ]
}

@test "a stream of tools that read does not starve a run" {
	local i

	for i in 1 2 3; do
		while [ ! -e stop ]; do
			cfscp -q --wait 60 "$P:vm0" - >/dev/null || :
		done 3>&- &
		PIDS+=("$!")
	done
	SECONDS=0
	for i in 1 2 3 4; do
		leasectl run --wait 30 "$P:vm0" -- true
	done
	[ "$SECONDS" -lt 10 ]
}

@test "who waits longest is served first" {
	local i

	leasectl run "$P:vm0" -- sh -c 'touch first; sleep 3' 3>&- &
	PIDS+=("$!")
	until [ -e first ]; do sleep 0.05; done
	for i in 1 2 3 4; do
		if [ $((i % 2)) = 1 ]; then
			(cfscp -q "$P:vm0" - | head -c 0; echo "$i" >>order) 3>&- &
		else
			leasectl run "$P:vm0" -- \
				sh -c "sleep 0.3; echo $i >>order" 3>&- &
		fi
		PIDS+=("$!")
		sleep 0.5
	done
	wait_for_jobs
	[ "$(tr '\n' ' ' <order)" = "1 2 3 4 " ]
}

@test "a tool that waits keeps nobody from the volume's structure" {
	leasectl run "$P:vm0" -- sh -c 'touch first; sleep 2' 3>&- &
	PIDS+=("$!")
	until [ -e first ]; do sleep 0.05; done
	CFS_IO=forwarded cfscp -q other "$P:vm0" 3>&- &
	PIDS+=("$!")
	sleep 0.3
	SECONDS=0
	mkcfs -q "$P:new" --lun 1M
	slicectl rm -q -y "$P:new"
	slicectl ls "$P"
	snapctl take -q "$P:vm0@a"
	[ "$SECONDS" -lt 2 ]
	wait_for_jobs
}

@test "who gives up waiting is out of the queue" {
	leasectl run "$P:vm0" -- sh -c 'touch first; sleep 4' 3>&- &
	PIDS+=("$!")
	until [ -e first ]; do sleep 0.05; done
	for way in direct forwarded; do
		run -4 --separate-stderr env CFS_IO=$way \
			cfscp --wait 1 other "$P:vm0"
		[[ $stderr == *"leased by leasectl run, process "* ]]
		CFS_IO=$way cfscp -q --wait 60 other "$P:vm0" 3>&- &
		pid=$!
		sleep 0.3
		kill -INT "$pid"
		status=0
		wait "$pid" || status=$?
		[ "$status" = 130 ]
	done
	run -0 leasectl status --json "$P"
	[ "$(jq_output '[.leases[] | select(.is_waiting)] | length')" = 0 ]
	wait_for_jobs
}
