#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A lease from `leasectl acquire` survives its owner, a manager or a secondary:
# who renews it in time has it without a gap, nobody else gets it before its
# period is over, and what was lost or given back stays that.

load helpers
load served
load former

setup() {
	former_setup 256
	make_lun vm0 8M 16
	mkcfs -q "$P:t" --tree
	pattern 16 5 >data
	for i in a b; do
		cfscp -q data "$P:t:/$i"
	done
}

# Somebody who waits for $1, and makes `then` when he has it.
rival() {
	leasectl run --wait 300 "$1" -- sh -c ': >then' 2>errors.rival 3>&- &
	RIVAL=$!
	PIDS+=("$RIVAL")
}

waits() {
	[ "$(leasectl status --json "$P" | jq '[.leases[] | select(.is_waiting)] | length')" -gt 0 ]
}

grace_is_over() {
	[ "$(leasectl status --json "$P" | jq ".manager.grace_ns")" = 0 ]
}

delegations() {
	leasectl status --json "$P" | jq -c "[.delegations[].state]"
}

lost() {
	run -4 --separate-stderr leasectl renew "$P" "$1"
	says "leasectl: $1: the lease is lost"
}

kept() {
	run -0 leasectl renew --wait "${2-10}" "$P" "$1"
	[ "$output" = "$1: renewed" ]
}

# Renewed until the grace is over: the rival has not got it, and does when it is
# given back.
outlasts() {
	until_true "leasectl renew -q \"$P\" $1 && waits && grace_is_over"
	for i in 1 2 3; do
		kept "$1"
		sleep 1
	done
	waits
	kill -0 "$RIVAL"
	[ ! -e then ]
	run -0 leasectl release "$P" "$1"
	wait "$RIVAL"
	[ -e then ]
	[ ! -s errors.rival ]
	lost "$1"
}

@test "who renews has it still of the next cfsd, and a rival that waits has not" {
	period 4s
	manager
	id=$(leasectl acquire "$P:vm0")
	kill_manager
	manager
	kept "$id"
	run -4 leasectl run --wait 0 "$P:vm0" -- true
	rival "$P:vm0"
	outlasts "$id"
}

@test "where nobody manages the pool a renewal starts a manager" {
	period 4s
	id=$(leasectl acquire "$P:vm0")
	pid=$(leasectl status --json "$P" | jq .manager.pid)
	PIDS+=("$pid")
	for i in 1 2; do
		kill -KILL "$pid"
		until_true '[ "$(leasectl status --json "$P" | jq .manager)" = null ]'
		kept "$id"
		pid=$(leasectl status --json "$P" | jq .manager.pid)
		PIDS+=("$pid")
	done
	rival "$P:vm0"
	outlasts "$id"
	# It ends as any does, and nothing is left.
	until_true '[ -z "$(ls "$CFS_RUN")" ]'
}

@test "of a file too, with what that needs of its tree" {
	period 4s
	manager
	one=$(leasectl acquire "$P:t:/a")
	two=$(leasectl acquire --shared --range 0:4096 "$P:t:/b")
	kill_manager
	manager
	kept "$two"
	kept "$one"
	until_true "leasectl renew -q \"$P\" $one && leasectl renew -q \"$P\" $two && grace_is_over"
	run -4 leasectl run --wait 0 "$P:t:/a" -- true
	run -4 leasectl run --wait 0 "$P:t:/b" -- true
	# One who would have the whole tree for himself.
	run -4 env CFS_IO=direct cfscp -q --wait 0 data "$P:t:/a"
	run -0 leasectl run --wait 0 --shared "$P:t:/b" -- true
	run -0 leasectl release "$P" "$one"
	run -0 leasectl release "$P" "$two"
	[ "$(leasectl status --json "$P" | jq '.leases | length')" = 0 ]
}

@test "where nobody renews it is waited for, and then somebody else has it" {
	period 5s
	manager
	begin=${EPOCHREALTIME/./}
	id=$(leasectl acquire "$P:vm0")
	kill_manager
	rival "$P:vm0"
	wait "$RIVAL"
	[ -e then ]
	((${EPOCHREALTIME/./} - begin >= 5000000))
	lost "$id"
}

@test "a renewal that comes too late starts no manager" {
	period 2s
	manager
	id=$(leasectl acquire "$P:vm0")
	kill_manager
	sleep 2.1
	lost "$id"
	[ "$(leasectl status --json "$P" | jq .manager)" = null ]
}

@test "a renewal that a manager answers when the period is over is none" {
	period 2s
	manager
	id=$(leasectl acquire "$P:vm0")
	# Whoever follows waits for the longest one.
	period 60s
	kill_manager
	manager
	kill -STOP "$MANAGER"
	leasectl renew --wait 30 "$P" "$id" 2>errors.renew 3>&- &
	RENEW=$!
	PIDS+=("$RENEW")
	sleep 2.1
	kill -CONT "$MANAGER"
	status=0
	wait "$RENEW" || status=$?
	[ "$status" = 4 ]
	until_true '[ "$(leasectl status --json "$P" | jq ".leases | length")" = 0 ]'
}

@test "what was given back stays so" {
	period 30s
	manager
	id=$(leasectl acquire "$P:vm0")
	run -0 leasectl release "$P" "$id"
	other=$(leasectl acquire "$P:vm0")
	kill_manager
	manager
	lost "$id"
	kept "$other"
	# When nobody is there to take it, too.
	kill_manager
	run -0 leasectl release "$P" "$other"
	[ "$output" = "$other: released" ]
	lost "$other"
	[ "$(leasectl status --json "$P" | jq .manager)" = null ]
}

@test "what is given back by another host ends with its period" {
	period 6s
	manager
	id=$(leasectl acquire "$P:vm0")
	run -0 env CFS_RUN="$PWD/none" leasectl release "$P" "$id"
	[ "$output" = "$id: ends with its period" ]
	run -4 leasectl run --wait 0 "$P:vm0" -- true
	lost "$id"
	run -0 leasectl run --wait 60 "$P:vm0" -- true
}

@test "one that ended, and that others have had since, does not come back" {
	period 2s
	manager
	id=$(leasectl acquire "$P:vm0")
	other=$(leasectl acquire --wait 60 "$P:vm0")
	kill_manager
	manager
	lost "$id"
	kept "$other"
	run -0 leasectl release "$P" "$other"
}

@test "a lease that was revoked is not renewed" {
	period 30s
	manager
	id=$(leasectl acquire "$P:vm0")
	run -0 leasectl revoke "$P" "$id"
	lost "$id"
}

@test "a secondary that is killed: who renews has it of the manager" {
	period 6s
	manager
	one=$(leasectl acquire "$P:t:/a") # goes with its container
	start "$P:t"
	two=$(leasectl acquire "$P:t:/b")
	kept "$one"
	kill -KILL "$PID"
	wait "$PID" || true
	kept "$two" 60
	kept "$one" 60
	[ "$(delegations)" = '[]' ]
	rival "$P:t:/a"
	until_true "leasectl renew -q \"$P\" $one && leasectl renew -q \"$P\" $two && waits"
	for i in 1 2 3 4 5 6 7 8; do
		kept "$one"
		kept "$two"
		sleep 1
	done
	kill -0 "$RIVAL"
	[ ! -e then ]
	run -0 leasectl release "$P" "$one"
	wait "$RIVAL"
	run -0 leasectl release "$P" "$two"
}

@test "a secondary that is killed at once, with what it was handed" {
	period 9s
	manager
	id=$(leasectl acquire "$P:t:/a")
	start "$P:t"
	kill -KILL "$PID"
	wait "$PID" || true
	kept "$id" 60
	run -4 leasectl run --wait 0 "$P:t:/a" -- true
	run -0 leasectl release "$P" "$id"
}

@test "one that came home, and whose manager is killed then" {
	period 9s
	manager
	start "$P:t"
	id=$(leasectl acquire "$P:t:/a")
	kill -TERM "$PID"
	wait "$PID"
	[ "$(delegations)" = '[]' ]
	kill_manager
	manager
	kept "$id"
	run -4 leasectl run --wait 0 "$P:t:/a" -- true
	run -0 leasectl release "$P" "$id"
}

@test "a secondary that is killed, and nobody renews" {
	period 6s
	manager
	start "$P:t"
	id=$(leasectl acquire "$P:t:/a")
	begin=${EPOCHREALTIME/./}
	leasectl renew -q "$P" "$id"
	kill -KILL "$PID"
	wait "$PID" || true
	run -0 leasectl run --wait 60 "$P:t:/a" -- true
	((${EPOCHREALTIME/./} - begin >= 6000000))
	lost "$id"
}

@test "tools work under it, and go on doing so" {
	period 9s
	manager
	leasectl acquire --json "$P:vm0" >lease.json
	id=$(jq -r .lease.id lease.json)
	CFS_LEASE=$(jq -r .lease.env lease.json)
	run -4 cfscp -q --wait 0 data "$P:vm0"
	CFS_LEASE=$CFS_LEASE cfscp -q --wait 30 data "$P:vm0"
	kill_manager
	CFS_LEASE=$CFS_LEASE cfscp -q --wait 60 data "$P:vm0" 2>errors.tool 3>&- &
	TOOL=$!
	PIDS+=("$TOOL")
	until_true "leasectl renew -q \"$P\" $id && ! kill -0 $TOOL 2>/dev/null"
	wait "$TOOL"
	run -4 cfscp -q --wait 0 data "$P:vm0"
	kept "$id"
	run -0 leasectl release "$P" "$id"
}
