#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Many versions: thousands of snapshots in one command, and of one volume.

load helpers
load served

setup() {
	cfs_setup
	make_pool
	make_lun vm0 1M
}

# Snapshots $2-1 to $2-$3 of $1, at one moment.
take_many() {
	# shellcheck disable=SC2046
	snapctl take -q $(seq -f "$P:$1@$2-%g" 1 "$3")
}

count() {
	snapctl ls --json "$P:$1" | jq '.snapshots | length'
}

@test "thousands at one moment find room, and the pool opens again" {
	take_many vm0 a 3000
	take_many vm0 b 3000
	[ "$(count vm0)" = 6000 ]
	run -1 snapctl take "$P:vm0@a-1500"
	run -0 cfsck-heal check "$P"
}

@test "thousands go at once, but for those that are held or have clones" {
	take_many vm0 a 6000
	snapctl hold -q "$P:vm0@a-17"
	snapctl clone -q "$P:vm0@a-5000" k
	run -0 --separate-stderr snapctl rm -y "$P:vm0@a-1..a-6000"
	[[ "$stderr" = *"a-17: is held: skipped"* ]]
	[ "$(snapctl ls --json "$P:vm0" | jq -r '[.snapshots[].name] | join(" ")')" \
		= "a-17 a-5000" ]
	run -0 cfsck-heal check "$P"
}

@test "a clone with thousands of snapshots is removed" {
	snapctl take -q "$P:vm0@x"
	snapctl clone -q "$P:vm0@x" k
	take_many vm0/k a 4000
	run -0 slicectl rm -q -y -r "$P:vm0/k"
	[ "$(count vm0)" = 1 ]
	run -0 cfsck-heal check "$P"
}

@test "names are found behind renaming, removing and rolling back" {
	take_many vm0 a 300
	snapctl rename -q "$P:vm0@a-7" z
	run -3 snapctl rm -y "$P:vm0@a-7"
	snapctl take -q "$P:vm0@a-7"
	snapctl rm -q -y "$P:vm0@z"
	snapctl take -q "$P:vm0@z"
	snapctl rollback -q -y "$P:vm0@a-9"
	run -1 snapctl take "$P:vm0@z"
	snapctl take -q "$P:vm0@zz"
	[ "$(count vm0)" = 302 ]
}

@test "beside cfsd thousands go at once too, but for one that is read" {
	not_beside "it starts one itself"
	local reader

	take_many vm0 a 5000
	start "$P"
	mkfifo out
	cfscp -q "$P:vm0@a-4500" - >out 3>&- &
	reader=$!
	exec 7<out
	head -c 4096 <&7 >/dev/null
	run -4 --separate-stderr snapctl rm -y "$P:vm0@a-1..a-4600"
	[[ "$stderr" = *"in use by"* ]]
	exec 7<&-
	wait "$reader" || true
	run -0 snapctl ls --json "$P:vm0"
	[ "$(jq_output '.snapshots[0].name')" = a-4500 ]
	run -0 snapctl rm -q -y "$P:vm0@a-4500..a-5000"
	[ "$(count vm0)" = 0 ]
}

@test "each form of the list shows the same of thousands" {
	take_many vm0 a 700
	snapctl take -q --note 'behind the first' "$P:vm0@noted"
	snapctl hold -q "$P:vm0@a-9"
	snapctl clone -q "$P:vm0@a-11" k
	take_many vm0/k b 5
	snapctl rollback -q -y "$P:vm0@a-13"
	dd if=/dev/urandom bs=64K count=1 status=none | cfscp -q - "$P:vm0"
	take_many vm0 c 600
	snapctl ls --json "$P" | jq -c '.snapshots[]' >doc
	[ "$(wc -l <doc)" = 1306 ]
	[ "$(jq -s '[.[] | select(.branch_of != null)] | length' doc)" = 600 ]
	snapctl ls --json-lines "$P" | jq -c . | cmp - doc
	snapctl ls --bytes "$P" | awk 'NR > 1 { print $1, $3, $4, $5, $6 }' >rows
	jq -r '"\(.volume)@\(.name) \(.exclusive_bytes) \(.shared_bytes) " +
		"\(if .is_held then "held" else "-" end) \(.clones)"' doc |
		cmp - rows
	[ "$(snapctl ls "$P" | sed -n 1p | tr -s ' ')" = \
		"SNAPSHOT CREATED EXCLUSIVE SHARED HELD CLONES NOTE" ]
	[ "$(snapctl ls "$P:vm0" | grep -c '^vm0@noted .* behind the first$')" \
		= 1 ]
	[ "$(snapctl ls "$P" | cut -c1-10 | grep -c '^vm0')" = 1306 ]
}

@test "what dies is kept for the newest snapshot, and for older ones" {
	local i

	for i in 1 2 3; do
		head -c 1M /dev/zero | tr '\0' "$i" >"d$i"
	done
	cfscp -q d1 "$P:vm0"
	take_many vm0 a 40
	cfscp -q d2 "$P:vm0"
	snapctl take -q "$P:vm0@b"
	snapctl take -q "$P:vm0@c"
	# The newest goes, in a process that has seen it as the newest.
	snapctl rm -q -y "$P:vm0@c"
	cfscp -q d3 "$P:vm0"
	cfscp -q "$P:vm0@b" - | cmp - d2
	cfscp -q "$P:vm0@a-40" - | cmp - d1
	snapctl rm -q -y "$P:vm0@b"
	cfscp -q d2 "$P:vm0"
	run -0 snapctl ls --json "$P:vm0"
	[ "$(jq_output '[.snapshots[].exclusive_bytes] | add')" = 0 ]
	[ "$(jq_output '.snapshots[39].shared_bytes')" = 1048576 ]
	cfscp -q "$P:vm0@a-1" - | cmp - d1
	run -0 cfsck-heal check "$P"
}
