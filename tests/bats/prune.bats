#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# snapctl prune: what no rule keeps goes, and nothing else.

load helpers

setup() {
	cfs_setup
	make_pool
	make_lun vm0 1M
	export TZ=UTC
}

# Snapshot $2 of vm0, taken at $1.
taken() {
	faketime -f "@$1" snapctl take -q "$P:vm0@$2"
}

names() {
	snapctl ls --json "$P:vm0" | jq -r '[.snapshots[].name] | join(" ")'
}

@test "prune --keep-last keeps the newest" {
	for i in a b c d; do snapctl take -q "$P:vm0@$i"; done
	run -0 snapctl prune -y --keep-last 2 "$P:vm0"
	[ "$(names)" = "c d" ]
	run -0 snapctl prune -y --keep-last 5 "$P:vm0"
	[ "$(names)" = "c d" ]
}

@test "prune counts periods that have a snapshot, in local time" {
	not_beside "its snapshots have their times of the tool's own clock"
	taken "2026-01-03 22:00:00" a
	taken "2026-01-03 23:30:00" b
	taken "2026-01-04 00:30:00" c
	taken "2026-01-09 12:00:00" d
	taken "2026-02-01 12:00:00" e
	run -0 snapctl prune -n --json --keep-daily 3 "$P:vm0"
	[ "$(jq_output '[.kept[].name] | join(" ")')" = "c d e" ]
	[ "$(jq_output '.kept[0].rule')" = keep-daily ]
	[ "$(jq_output '[.removed[].name] | join(" ")')" = "a b" ]
	[ "$(names)" = "a b c d e" ]
	# An hour to the east b and c are of one day.
	TZ=CET-1 run -0 snapctl prune -n --json --keep-daily 9 "$P:vm0"
	[ "$(jq_output '[.removed[].name] | join(" ")')" = "b" ]
	run -0 snapctl prune -n --json --keep-monthly 2 "$P:vm0"
	[ "$(jq_output '[.kept[].name] | join(" ")')" = "d e" ]
	# The rules add up; 2026-01-03 and 04 are of one week.
	run -0 snapctl prune -y --keep-weekly 3 --keep-hourly 1 "$P:vm0"
	[ "$(names)" = "c d e" ]
}

@test "prune --keep-within goes by the clock" {
	not_beside "its snapshots have their times of the tool's own clock"
	taken "2026-01-03 22:00:00" a
	snapctl take -q "$P:vm0@b"
	run -0 snapctl prune -y --keep-within 1w "$P:vm0"
	[ "$(names)" = b ]
}

@test "prune --prefix neither counts nor removes others" {
	for i in auto-1 mine auto-2 auto-3 z; do
		snapctl take -q "$P:vm0@$i"
	done
	run -0 snapctl prune -y --prefix auto- --keep-last 1 "$P:vm0"
	[ "$(names)" = "mine auto-3 z" ]
}

@test "prune skips and names what is held or has clones" {
	for i in a b c d; do snapctl take -q "$P:vm0@$i"; done
	snapctl hold -q "$P:vm0@a"
	snapctl clone -q "$P:vm0@b" k
	run -0 --separate-stderr snapctl prune -y --json --keep-last 1 "$P:vm0"
	[ "$(jq_output '[.skipped[].name] | join(" ")')" = "a b" ]
	[ "$(jq_output '[.removed[].name] | join(" ")')" = c ]
	[[ $stderr == *"vm0@a: is held: skipped"* ]]
	[ "$(names)" = "a b d" ]
}

@test "prune asks, and wants a rule" {
	snapctl take -q "$P:vm0@a"
	snapctl take -q "$P:vm0@b"
	run -5 snapctl prune --keep-last 1 "$P:vm0"
	run -2 snapctl prune -y "$P:vm0"
	run -2 snapctl prune -y --keep-last 0 "$P:vm0"
	run -3 snapctl prune -y --keep-last 1 "$P:none"
	[ "$(names)" = "a b" ]
}
