#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What files share in which managers are killed, and tools may start the next:
# whoever manages the pool in the end outlives no test.  Behind served.bash.

# former_setup MB: a pool, and a directory of its own for sockets.
former_setup() {
	cfs_setup
	unset CFS_TEST_BESIDE
	# A socket's path has 107 bytes.
	CFS_RUN=$(mktemp -d /tmp/cfs-former.XXXXXX)
	export CFS_RUN
	PIDS=()
	make_pool "$P" "$1M"
}

teardown() {
	for pid in "${PIDS[@]}" $(leasectl status --json "$P" | jq '.manager.pid // empty'); do
		kill -CONT "$pid" 2>/dev/null || true
		kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	rm -rf "$CFS_RUN"
}

period() {
	slicectl set -q "$P" lease_period="$1"
}

manager() {
	start "$P"
	MANAGER=$PID
}

kill_manager() {
	kill -KILL "$MANAGER"
	wait "$MANAGER" || true
}
