#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Devices come and go under a mount that is in use: its slices move, and who
# works in it sees nothing of that but the time.

load mount

setup() {
	mount_setup 512M
	truncate -s 512M b.img c.img
}

# Judges that remember what they wrote, again and again until the file `stop` is
# there; their pids in JUDGES.
judges() {
	again "$POSIX/bytes" m1/b 300 >bytes.log 2>&1 3>&- &
	JUDGES=($!)
	again "$POSIX/tree" m1/d 200 3 >tree.log 2>&1 3>&- &
	JUDGES+=($!)
}

# PROGRAM DIRECTORY ARGUMENT..., with a seed between.
again() {
	local seed=0

	while [ ! -e stop ]; do
		seed=$((seed + 1))
		mkdir -p "$2$seed"
		timeout 120 "$1" "$2$seed" "$seed" "${@:3}" || return
		: >"done.${1##*/}.$seed"
	done
}

# Each has ended a round since, and found nothing wrong.
judged() {
	local n what

	for what in bytes tree; do
		n=$(find . -maxdepth 1 -name "done.$what.*" | wc -l)
		until_true "[ -e done.$what.$((n + 2)) ] || ! still"
	done
	still
}

still() {
	kill -0 "${JUDGES[@]}" || {
		tail -n 5 bytes.log tree.log
		return 1
	}
}

@test "a device joins, is emptied, replaced and leaves under a mount" {
	mount_at m1
	head -c 40M /dev/urandom >big
	cp big m1/big
	judges
	run -0 slicectl add "$P" b.img
	run -0 slicectl evacuate "$P" "$P"
	judged
	cmp big m1/big
	run -0 slicectl resize "$P" "$P"
	run -0 slicectl replace -y "$P" b.img c.img
	judged
	cmp big m1/big
	run -0 slicectl evacuate "$P" c.img
	run -0 slicectl remove "$P" c.img
	judged
	cmp big m1/big
	: >stop
	wait "${JUDGES[0]}"
	wait "${JUDGES[1]}"
	unmount m1
	run -0 cfsck-heal check "$P"
	run -0 cfsck-heal scrub "$P"
	cfscp -q "$P:t:/big" out
	cmp big out
}
