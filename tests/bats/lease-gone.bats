#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# An operator says of a host that it is dead, beside a manager that has taken
# a shared pool over from it: what that host kept is free at once, and no
# restart finds more.  The hosts are namespaces of this one.  Needs root.

load helpers
load served

setup() {
	cfs_setup
	not_beside
	printf '%s\n' 11111111-1111-4111-8111-111111111111 >a.id
	printf '%s\n' 22222222-2222-4222-8222-222222222222 >b.id
	printf '%s\n' 33333333-3333-4333-8333-333333333333 >c.id
	on a true 2>/dev/null || skip "needs root"
	# A socket's path has 107 bytes.
	CFS_RUN=$(mktemp -d /tmp/cfs-gone.XXXXXX)
	export CFS_RUN
	PIDS=()
	mkcfs -q --shared --size 128M "$P"
	on a slicectl set -q "$P" lease_period=3s
}

teardown() {
	for pid in "${PIDS[@]}"; do
		kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	rm -rf "$CFS_RUN"
}

# What follows, on host $1.
on() {
	local host=$1

	shift
	# shellcheck disable=SC2016
	unshare -mu sh -c 'hostname "$0" &&
		mount --bind "$1" /proc/sys/kernel/random/boot_id &&
		shift && exec "$@"' "$host" "$PWD/$host.id" "$@"
}

# A cfsd on host $1, ready; its pid in $PID.
serve() {
	rm -f "$1.ready" "$1.pid"
	# shellcheck disable=SC2016
	on "$1" sh -c 'echo $$ >"$1.pid"; exec cfsd --json-lines "$2"' - \
		"$1" "$P" >"$1.ready" 2>>"$1.errors" 3>&- &
	WAITED=$!
	until_true "[ -s $1.pid ]"
	PID=$(<"$1.pid")
	PIDS+=("$PID")
	until_true "[ -s $1.ready ] || ! kill -0 $PID 2>/dev/null"
	[ -s "$1.ready" ] || { cat "$1.errors"; false; }
}

# It ends with $1, and is waited for.
end() {
	kill -"$1" "$PID"
	wait "$WAITED" || true
}

# What is known of slices, on host b.
counts() {
	on b slicectl df --json "$P" | jq -c '[.total_slices, .free_slices,
		.lent_slices, .frozen_slices, .takeovers_left, .containers,
		[.devices[] | [.free_slices, .lent_slices, .frozen_slices]]]'
}

frozen() {
	on b slicectl df --json "$P" | jq .frozen_slices
}

# Host a has made volumes, and dies, then host $1, if given; host b has the
# pool.
take_over() {
	serve a
	head -c 8M /dev/urandom >one
	head -c 2M /dev/urandom >two
	for name in vm0 vm1 vm2; do
		on a mkcfs -q "$P:$name" --lun 8M
		on a cfscp -q one "$P:$name"
	done
	end KILL
	if [ -n "${1-}" ]; then
		serve "$1"
		on "$1" cfscp -q two "$P:vm1"
		end KILL
	fi
	serve b
}

@test "what a dead host kept is free at once, and no restart finds more" {
	take_over
	# One is written to, one goes, and one is not looked at.
	on b cfscp -q two "$P:vm0"
	on b slicectl rm -qr --yes "$P:vm1"
	[ "$(frozen)" -gt 0 ]
	free=$(on b slicectl df --json "$P" | jq .free_slices)
	run -3 on b leasectl gone "$P" c
	[ "$(frozen)" -gt 0 ]
	run -0 on b leasectl gone "$P" a
	[ "$output" = "a: taken for dead" ]
	[ "$(frozen)" = 0 ]
	[ "$(on b slicectl df --json "$P" | jq .free_slices)" -gt "$free" ]
	# It may be said twice.
	run -0 on b leasectl gone "$P" a
	before=$(counts)
	run -0 on b cfsck-heal check "$P"
	end TERM
	serve b
	[ "$(counts)" = "$before" ]
	run -3 on b leasectl gone "$P" a
	on b cfscp -q "$P:vm0" copy
	cmp -n 2097152 two copy
	cmp -i 2097152 one copy
	on b cfscp -q "$P:vm2" copy
	cmp one copy
	run -0 on b cfsck-heal check "$P"
	end TERM
	run -0 on b cfsck-heal check "$P"
}

@test "what was given back stays so though the manager is killed" {
	# Two hosts, one after the other.
	take_over c
	run -3 on b leasectl gone "$P" a d
	[[ $output == *": d: no such host" ]]
	[ "$(frozen)" -gt 0 ]
	run -0 on b leasectl gone "$P" a c
	[ "$output" = "a c: taken for dead" ]
	[ "$(frozen)" = 0 ]
	on b cfscp -q two "$P:vm0"
	end KILL
	# Of this host all are dead, so nothing is frozen by them.
	serve b
	[ "$(frozen)" = 0 ]
	on b cfscp -q "$P:vm0" copy
	cmp -n 2097152 two copy
	run -0 on b cfsck-heal check "$P"
}

@test "who works beside it goes on meanwhile" {
	take_over
	# shellcheck disable=SC2016
	on b sh -c 'echo $$ >writer.pid
		i=0
		until [ -e stop ]; do
			CFS_IO=direct cfscp -q two "$1:vm0" &&
				cfscp -q one "$1:vm2" || exit 1
			i=$((i + 1))
			echo $i >turns
		done' - "$P" 2>errors.writer 3>&- &
	WRITER=$!
	until_true '[ -s writer.pid ]'
	PIDS+=("$(<writer.pid)")
	until_true '[ -s turns ] || ! kill -0 "$(<writer.pid)"'
	[ "$(frozen)" -gt 0 ]
	run -0 on b leasectl gone "$P" a
	[ "$(frozen)" = 0 ]
	# shellcheck disable=SC2034
	was=$(<turns)
	until_true '[ "$(<turns)" -gt "$((was + 1))" ] || ! kill -0 "$(<writer.pid)"'
	touch stop
	wait "$WRITER"
	[ ! -s errors.writer ]
	for i in 0 2; do
		on b cfscp -q "$P:vm$i" copy
		cmp -n 2097152 "$([ $i = 0 ] && echo two || echo one)" copy
		cmp -i 2097152 one copy
	done
	run -0 on b cfsck-heal check "$P"
}
