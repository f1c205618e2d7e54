#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Managers that are killed under those who make files on the devices
# themselves: they go on with the next one, and nothing is lost.

load helpers

setup() {
	not_beside "these have managers of their own"
	cfs_setup
	make_pool "$P" 256M
	export CFS_RUN=$BATS_TEST_TMPDIR/run
	mkdir -p -m 700 "$CFS_RUN"
	# Long beside what a busy machine may take to begin another manager.
	slicectl set -q "$P" lease_period=60s
	mkcfs -q "$P:t" --tree
	for k in 1 2; do
		mkdir -p "src$k/sub"
		for i in {1..150}; do
			pattern 1 "$k" | head -c $((i * 20)) >"src$k/f$i"
			echo "$k $i" >"src$k/sub/n$i"
		done
		tar -C "src$k" -cf "src$k.tar" .
	done
}

teardown() {
	local pid

	for pid in "${PIDS[@]}"; do
		kill -KILL "$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
	done
}

# One more manager, which takes over when those before it are gone.
manager() {
	touch cfsd.log
	cfsd "$P" >>cfsd.log 2>&1 3>&- &
	MANAGERS+=("$!")
	PIDS+=("$!")
}

serves() {
	local i

	for ((i = 0; i < 600; i++)); do
		[ "$(grep -c "served at" cfsd.log)" -lt "$1" ] ||
			return 0
		sleep 0.05
	done
	cat cfsd.log
	false
}

# $1, slowly.
trickle() {
	while dd bs=20K count=1 iflag=fullblock status=none >chunk."$1" &&
		[ -s chunk."$1" ]; do
		cat chunk."$1"
		sleep 0.1
	done <"$1.tar"
}

extract() {
	trickle "src$1" | CFS_IO=direct cfscp -q --extract - "$P:t:/$1" 3>&-
}

@test "two who make files go on when the manager is killed, and killed again" {
	manager
	serves 1
	manager
	for k in 1 2; do
		cfscp -q --mkdir "$P:t:/$k"
		extract "$k" 2>errors."$k" &
		pids[k]=$!
		PIDS+=("$!")
	done
	sleep 1
	kill -KILL "${MANAGERS[0]}"
	serves 2
	manager
	sleep 1
	kill -0 "${pids[1]}"	# they are at it still
	kill -KILL "${MANAGERS[1]}"
	serves 3
	for k in 1 2; do
		wait "${pids[k]}" || { cat errors."$k"; false; }
		cfscp -q "$P:t:/$k" "out$k"
		diff -r "src$k" "out$k"
	done
	run -0 cfsck-heal check "$P"
}

@test "what was synced is there when manager and makers are killed together" {
	manager
	serves 1
	mkdir small
	for i in {1..20}; do echo "$i" >"small/$i"; done
	cfscp -q small "$P:t:/small"
	extract 1 &
	PIDS+=("$!")
	sleep 0.5
	# It ended with 0, so all of it is durable, also beside the other one.
	cfscp -q small "$P:t:/again"
	kill -KILL "${MANAGERS[0]}"
	pkill -KILL -P "${PIDS[-1]}" -x cfscp || :
	SECONDS=0
	cfscp -q "$P:t:/again" out
	[ "$SECONDS" -lt 6 ]
	diff -r small out
	cfscp -q "$P:t:/small" out2
	diff -r small out2
	run -0 cfsck-heal check "$P"
}
