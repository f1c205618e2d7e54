#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A lease on a range or a file keeps tools out of that, and of nothing else,
# whichever way they reach the bytes.

load helpers

setup() {
	cfs_setup
	make_pool
	[ -n "${CFS_TEST_BESIDE-}" ] || serve_pool
	mkcfs -q "$P:vm0" --lun 256M
	mkcfs -q "$P:home" --tree
	pattern 16 first >one
	pattern 16 second >two
	cfscp -q one "$P:vm0"
	cfscp -q one "$P:home:/one"
	cfscp -q one "$P:home:/other"
}

teardown() {
	local pid

	for pid in "${PIDS[@]}"; do
		kill -KILL "$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
	done
	release_pools
}

# A run that lasts until the file "go" is there; its options and place are $@.
hold() {
	rm -f go held
	leasectl run "$@" -- sh -c \
		'touch held; until [ -e go ]; do sleep 0.05; done' 3>&- &
	PIDS+=("$!")
	until [ -e held ]; do sleep 0.05; done
}

# What runs as $1 waits for that, and ends well when it has ended.
waits_for_it() {
	sleep 0.7
	kill -0 "$1"
	touch go
	wait "$1"
}

@test "a range of a LUN" {
	for way in direct forwarded; do
		export CFS_IO=$way
		hold --range 0:1M "$P:vm0"
		SECONDS=0
		cfscp -q --offset 128M two "$P:vm0"
		cfscp -q --offset 128M --length 64K "$P:vm0" - | cmp - two
		[ "$SECONDS" -lt 3 ]
		cfscp -q two "$P:vm0" 3>&- &
		waits_for_it "$!"
		cfscp -q --length 64K "$P:vm0" - | cmp - two
		hold --range 0:1M "$P:vm0"
		cfscp -q --length 64K "$P:vm0" - >out 3>&- &
		waits_for_it "$!"
		cmp out two
		hold --shared --range 0:1M "$P:vm0"
		cfscp -q --length 64K "$P:vm0" - | cmp - two
		cfscp -q one "$P:vm0" 3>&- &
		waits_for_it "$!"
	done
}

@test "a file of a tree" {
	for way in direct forwarded; do
		export CFS_IO=$way
		hold "$P:home:/one"
		SECONDS=0
		cfscp -q two "$P:home:/other"
		cfscp -q "$P:home:/other" - | cmp - two
		[ "$SECONDS" -lt 3 ]
		cfscp -q "$P:home:/one" - >out 3>&- &
		waits_for_it "$!"
		cmp out one
		hold --shared "$P:home:/one"
		cfscp -q "$P:home:/one" - | cmp - one
		touch go
		wait "${PIDS[-1]}"
	done
}

@test "no longer than --wait" {
	for way in direct forwarded; do
		export CFS_IO=$way
		hold --range 0:1M "$P:vm0"
		SECONDS=0
		run -4 --separate-stderr cfscp --wait 1 two "$P:vm0"
		[[ $stderr == *"leased by somebody else"* ]]
		[ "$SECONDS" -lt 5 ]
		touch go
		wait "${PIDS[-1]}"
		hold "$P:home:/one"
		run -4 --separate-stderr cfscp --wait 1 "$P:home:/one" -
		[[ $stderr == *"leased by somebody else"* ]]
		touch go
		wait "${PIDS[-1]}"
	done
}

@test "what a run on a file starts works under its lease" {
	for way in direct forwarded; do
		CFS_IO=$way leasectl run "$P:home:/one" -- \
			cfscp -q "$P:home:/one" - | cmp - one
		CFS_IO=$way leasectl run --range 0:1M "$P:vm0" -- \
			cfscp -q two "$P:vm0"
	done
}

@test "a lease of a script on a file is all gone when it is released" {
	lease=$(leasectl acquire "$P:home:/one")
	run -0 leasectl status --json "$P"
	[ "$(jq_output '.leases | length')" = 1 ]
	[ "$(jq_output '.leases[0].path')" = /one ]
	[ "$(jq_output '.clients[].leases')" = 1 ]
	leasectl release -q "$P" "$lease"
	cfscp -q two "$P:home:/new"
	cfscp -q "$P:home:/one" - | cmp - one
}
