#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What is said of space is so: a pool takes as many bytes as df says are free,
# and not many more; a limit is where writes fail.

load helpers

setup() {
	cfs_setup
}

free_bytes() {
	slicectl df --json "$P" | jq .free_bytes
}

# Write to the LUN $1 of $P until that fails, in pieces that get smaller, and
# leave the bytes written in $written.
fill() {
	local piece message

	written=0
	for piece in 1G 128K 4K; do
		while :; do
			message=$(head -c "$piece" /dev/urandom | cfscp -q \
				--offset $written - "$P:$1" 2>&1) &&
				written=$((written + $(numfmt --from=iec \
					"$piece"))) && continue
			# Only for want of space.
			[[ $message =~ "space"|"no free slice"|"limit" ]]
			if [[ $message =~ "the first "([0-9]+)" bytes" ]]; then
				written=$((written + BASH_REMATCH[1]))
			fi
			break
		done
	done
}

# $written is $1, within $2 in a thousand below and as much above; beside a
# manager within 30: who borrows has to keep some for its log and its folds.
is_about() {
	local within=$2

	[ -z "${CFS_TEST_BESIDE-}" ] || within=30
	echo "said $1, written $written"
	[ $((written * 1000)) -ge $(($1 * (1000 - within))) ]
	[ $((written * 1000)) -le $(($1 * (1000 + within))) ]
}

@test "df says after how many bytes writes fail" {
	make_pool
	mkcfs -q "$P:v" --lun 1G
	said=$(free_bytes)
	fill v
	is_about "$said" 5
	[ "$(free_bytes)" -le 131072 ]
	# What deletions need is there.
	run -0 slicectl rm -y "$P:v"
	[ "$(free_bytes)" -ge $((said * 9 / 10)) ]
}

@test "df says it of a mirror of unlike devices" {
	not_beside "it formats several devices"
	truncate -s 64M a.img
	truncate -s 128M b.img
	truncate -s 96M c.img
	mkcfs -q --mirror --slice 1M a.img b.img c.img
	P=a.img
	mkcfs -q "$P:v" --lun 1G
	said=$(free_bytes)
	[ "$said" -gt 115343360 ]
	fill v
	is_about "$said" 5
}

@test "df says it of a mirror that has lost a device, and of one evacuated" {
	not_beside "it formats several devices"
	mkcfs -q --mirror --size 64M a.img b.img
	mkcfs -q a.img:v --lun 1G
	rm b.img
	P=a.img
	said=$(free_bytes 2>/dev/null)
	fill v
	is_about "$said" 5
	mkdir plain && cd plain
	mkcfs -q --size 64M a.img b.img
	mkcfs -q "$P:v" --lun 1G
	slicectl evacuate -q "$P" b.img
	said=$(free_bytes)
	fill v
	is_about "$said" 5
}

@test "volumes have together what df says" {
	make_pool "" 128M
	mkcfs -q "$P:v" --lun 1G
	mkcfs -q "$P:w" --lun 1G
	head -c 40M /dev/urandom | cfscp -q - "$P:v"
	said=$(free_bytes)
	fill w
	first=$written
	off=40M
	while head -c 128K /dev/urandom | cfscp -q --offset $off - "$P:v" \
		2>/dev/null; do
		off=$(($(numfmt --from=iec $off) + 131072))
	done
	written=$((first + $(numfmt --from=iec $off) - 41943040))
	is_about "$said" 10
}

@test "what is provisioned is there when others have filled the pool" {
	make_pool
	mkcfs -q "$P:v" --lun 1G
	mkcfs -q "$P:w" --lun 1G
	run -0 slicectl provision --json "$P:v" 16M
	[ "$(jq_output .provision_bytes)" = 16777216 ]
	run -0 slicectl trim "$P"
	fill w
	[ "$(slicectl df --json "$P" | jq .free_slices)" = 0 ]
	head -c 14M /dev/urandom >src
	run -0 cfscp -q src "$P:v"
	cfscp -q --length 14M "$P:v" - | cmp - src
	run -0 slicectl show --json "$P:v"
	[ "$(jq_output .volume.provision_bytes)" = 16777216 ]
	run -6 --separate-stderr slicectl provision "$P:w" 200M
	[[ $stderr =~ "$P:w: "[0-9]+" bytes ("[0-9]+" slices) more are needed, and "[0-9]+" are free" ]]
	run -2 slicectl provision "$P" 1M
}

@test "what is provisioned and given up goes back" {
	make_pool
	mkcfs -q "$P:v" --lun 1G
	before=$(slicectl df --json "$P" | jq .free_slices)
	run -0 slicectl provision "$P:v" 30M
	[ "$(slicectl df --json "$P" | jq .free_slices)" -le $((before - 28)) ]
	run -0 slicectl provision "$P:v" 10M
	mid=$(slicectl df --json "$P" | jq .free_slices)
	[ "$mid" -gt $((before - 14)) ]
	run -0 slicectl provision "$P:v" none
	[ "$(slicectl df --json "$P" | jq .free_slices)" -ge "$before" ]
	run -0 slicectl provision -n "$P:v" 30M
	[ "$(slicectl df --json "$P" | jq .free_slices)" -ge "$before" ]
	run -0 slicectl set "$P:v" limit=20M
	run -2 slicectl provision "$P:v" 30M
}

@test "a limit is what a container takes of the pool, and where writes fail" {
	make_pool
	mkcfs -q "$P:v" --lun 1G --limit 16M
	fill v
	[ "$written" -ge 13631488 ]
	run -0 slicectl show --json "$P:v"
	[ "$(jq_output .volume.container.used_bytes)" -le 16777216 ]
	[ "$(jq_output .volume.container.used_bytes)" -ge 15204352 ]
	run -0 slicectl set "$P:v" limit=32M
	head -c 8M /dev/urandom | cfscp -q --offset "$written" - "$P:v"
}
