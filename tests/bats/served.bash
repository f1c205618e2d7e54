#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What files share that start several cfsds, stop and kill them: their pids are
# in PIDS, and none of them outlives its test.

PIDS=()

teardown() {
	for pid in "${PIDS[@]}"; do
		kill -CONT "$pid" 2>/dev/null || true
		kill -KILL "$pid" 2>/dev/null || continue
		wait "$pid" 2>/dev/null || true
	done
}

# cfsd with "$@", ready; its pid in $PID.
start() {
	rm -f ready
	cfsd --json-lines "$@" >ready 2>>errors 3>&- &
	PID=$!
	PIDS+=("$PID")
	until_true "[ -s ready ] || ! kill -0 $PID 2>/dev/null"
	[ -s ready ] || { cat errors; false; }
}
