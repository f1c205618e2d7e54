#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Pools that many hosts share.  The hosts are namespaces of this one: a name
# and a boot id of their own are all that tells hosts apart.  Needs root.

load helpers

setup()
{
	cfs_setup
	not_beside
	printf '%s\n' 11111111-1111-4111-8111-111111111111 >a.id
	printf '%s\n' 22222222-2222-4222-8222-222222222222 >b.id
	on a true 2>/dev/null || skip "needs root"
	mkcfs -q --shared --size 128M "$P"
}

# What follows, on host $1.
on()
{
	local host=$1

	shift
	# shellcheck disable=SC2016
	unshare -mu sh -c 'hostname "$0" &&
		mount --bind "$1" /proc/sys/kernel/random/boot_id &&
		shift && exec "$@"' "$host" "$PWD/$host.id" "$@"
}

now_ms()
{
	date +%s%3N
}

@test "a shared pool goes from host to host, and nobody waits" {
	on a mkcfs -q "$P:vm0" --lun 4M
	head -c 1M /dev/urandom >data
	on a cfscp -q data "$P:vm0"
	begin=$(now_ms)
	on b cfscp -q "$P:vm0" copy
	on b mkcfs -q "$P:vm1" --lun 1M
	on a slicectl -q ls "$P" >list
	on a cfscp -q data "$P:vm1"
	[ $(($(now_ms) - begin)) -lt 8000 ]
	cmp -n 1048576 data copy
	grep -q vm1 list
	run -0 on b slicectl show --json "$P"
	[ "$(jq -r .pool.is_shared <<<"$output")" = true ]
	run -0 on b cfsck-heal check "$P"
}

@test "leases that a takeover would not outlast are refused" {
	run -2 on a slicectl set "$P" lease_period=2900ms
	[[ $output = *": from 3s on a shared pool: a host is silent for 1s at least before another one takes over, and leases must outlast that" ]]
	on a slicectl set "$P" lease_period=3s
	run -0 on b slicectl show --json "$P"
	[ "$(jq -r .pool.lease_period_ns <<<"$output")" = 3000000000 ]
}

@test "devices that are added have no vote" {
	on a mkcfs -q "$P:vm0" --lun 4M
	truncate -s 128M second third
	on a slicectl add "$P" second third
	head -c 4M /dev/urandom >data
	on b cfscp -q data "$P:vm0"
	on a cfscp -q "$P:vm0" copy
	cmp data copy
	for device in second third; do
		dd if="$device" bs=64k skip=1 count=32 status=none |
			cmp -n 2097152 - /dev/zero
	done
	run -0 on b cfsck-heal check "$P"
}

@test "a host that has a shared pool is named to the others" {
	sleep 20 | on a mkcfs -q "$P:vm0" --lun 4M --from - &
	for _ in {1..100}; do
		run on b slicectl show --wait 0 "$P"
		[ "$status" -ne 4 ] || break
		sleep 0.1
	done
	pkill -P $$ sleep || true
	wait
	[ "$status" -eq 4 ]
	[[ $output = *"in use by host a since "* ]]
}

left()
{
	on b slicectl df --json "$P" | jq .takeovers_left
}

@test "it is said how many silent hosts more it can be taken over from" {
	on b slicectl set -q "$P" lease_period=3s
	first=$(left)
	[ "$first" -ge 8 ]
	for i in 1 2; do
		rm -f ready
		# shellcheck disable=SC2016
		on a sh -c 'echo $$ >pid; exec cfsd --json-lines "$1"' - "$P" \
			>ready 2>errors 3>&- &
		for ((k = 0; k < 600; k++)); do
			[ -s ready ] && break
			sleep 0.05
		done
		kill -KILL "$(<pid)"
		wait || true
		on b mkcfs -q --wait 60 "$P:vm$i" --lun 1M
	done
	fewer=$(left)
	[ "$fewer" -lt "$first" ]
	says() { on b slicectl df "$P" | grep -q "can be taken over from [0-9]* silent hosts"; }
	says
	run -0 on b leasectl gone "$P" a other
	[ "$output" = "a other: taken for dead" ]
	run -0 on b cfsck-heal check "$P"
}
