#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# cfsck-heal: damage that was made on purpose is found, named and healed.

load helpers

setup() {
	cfs_setup
}

# A mirror of two files, P the first.
make_mirror() {
	mkcfs -q --mirror --size 64M a.img b.img
	P=a.img
}

# Damage block $1 of LUN $2 in file $3.
damage() {
	local at

	at=$(find_block "$1" "$2" "${3:-$P}")
	[ -n "$at" ]
	flip_byte "${3:-$P}" $((at + 2000))
	DAMAGED_AT=$at
}

# ----------------------------------------------------------------- check

@test "check of a sound pool is 0 and says so" {
	make_pool
	make_lun vm0 16M 64
	mkcfs -q "$P:t" --tree
	snapctl take -q "$P:vm0@a"
	run -0 --separate-stderr cfsck-heal check "$P"
	[[ $output == "$P: clean: 2 containers"* ]]
	run -0 cfsck-heal check --json "$P"
	[ "$(jq_output .state)" = clean ]
	[ "$(jq_output '.problems == []')" = true ]
	[ "$(jq_output .checked.containers)" = 2 ]
}

@test "check counts in words: one container, two of them" {
	make_pool
	make_lun vm0
	run -0 cfsck-heal check "$P"
	[[ $output == "$P: clean: 1 container, "*" nodes, "* ]]
	make_lun vm1
	run -0 cfsck-heal check "$P"
	[[ $output == "$P: clean: 2 containers, "* ]]
}

@test "check of one container, and of one that is not there" {
	make_pool
	make_lun vm0 16M 64
	run -0 cfsck-heal check "$P:vm0"
	run -8 --separate-stderr cfsck-heal check "$P:vm1"
	says "cfsck-heal: $P:vm1: no such volume"
}

@test "a damaged label is found by check, and healed by scrub" {
	make_pool
	make_lun vm0 1M
	flip_byte "$P" 5000
	run -4 --separate-stderr cfsck-heal check --json "$P"
	[ "$(jq_output .state)" = damaged ]
	[ "$(jq_output .problem_count)" = 1 ]
	[ "$(jq_output '.problems[0].kind')" = label ]
	[ "$(jq_output '.problems[0].is_healed')" = false ]
	run -1 cfsck-heal scrub --json "$P"
	[ "$(jq_output '.damage[0].kind')" = label ]
	run -0 cfsck-heal check "$P"
}

@test "check changes nothing, also of a damaged pool" {
	not_beside "it writes when it likes"
	make_pool
	make_lun vm0 16M 64
	damage 3 vm0
	before=$(sum_of "$P")
	run cfsck-heal check "$P"
	[ "$(sum_of "$P")" = "$before" ]
}

# ----------------------------------------------------------------- scrub

@test "scrub of a sound pool is 0 and reads what is in use" {
	make_pool
	make_lun vm0 16M 64
	run -0 cfsck-heal scrub --json "$P"
	[ "$(jq_output '.damage == []')" = true ]
	[ "$(jq_output '.verified_blocks >= 64')" = true ]
	[ "$(jq_output '.read_bytes >= 262144')" = true ]
	[ "$(jq_output .bad_blocks)" = 0 ]
}

@test "scrub names volume and offset of a flipped bit, and is 4" {
	make_pool
	make_lun vm0 16M 64
	damage 17 vm0
	run -4 --separate-stderr cfsck-heal scrub --json "$P"
	[ "$(jq_output '.damage | length')" = 1 ]
	[ "$(jq_output '.damage[0].volume')" = vm0 ]
	[ "$(jq_output '.damage[0].path')" = null ]
	[ "$(jq_output '.damage[0].offset_bytes')" = $((17 * 4096)) ]
	[ "$(jq_output '.damage[0].length_bytes')" = 4096 ]
	[ "$(jq_output '.damage[0].device_offset_bytes')" = "$DAMAGED_AT" ]
	[ "$(jq_output '.damage[0].is_healed')" = false ]
	[ "$(jq_output .left_blocks)" = 1 ]
	[ "$stderr" = "" ]
}

@test "scrub names the file in a tree" {
	make_pool
	mkdir -p d/sub
	pattern 50 f >d/sub/file
	mkcfs -q "$P:t" --tree --from d
	damage 20 f
	run -4 cfsck-heal scrub --json "$P"
	[ "$(jq_output '.damage[0].volume')" = t ]
	[ "$(jq_output '.damage[0].path')" = /sub/file ]
	[ "$(jq_output '.damage[0].offset_bytes')" = $((20 * 4096)) ]
}

@test "damage has the snapshots that see it, and no others" {
	make_pool
	make_lun vm0 1M 8
	snapctl take -q "$P:vm0@a"
	snapctl take -q "$P:vm0@b"
	pattern 8 new >new
	cfscp -q new "$P:vm0"
	snapctl take -q "$P:vm0@c"
	damage 5 vm0
	run -4 cfsck-heal scrub --json "$P"
	[ "$(jq_output '.damage[0].snapshots | join(" ")')" = "a b" ]
}

@test "what is damaged is contained, and writing over it makes it good" {
	make_pool
	make_lun vm0 1M 256
	damage 5 vm0
	run -7 --separate-stderr cfscp "$P:vm0" out
	[[ $stderr == *vm0*20480* ]]
	run -0 cfscp --offset 24K --length 1000K "$P:vm0" out
	tail -c +24577 vm0.src | cmp - out
	pattern 1 again >again
	run -0 cfscp --offset 20K again "$P:vm0"
	run -0 cfsck-heal scrub "$P"
	cfscp -q --offset 20K --length 4K "$P:vm0" - | cmp - again
}

@test "a mirror heals it, the status is 1 and then 0" {
	make_mirror
	make_lun vm0 4M 1024
	for i in 3 500 1000; do
		damage $i vm0 b.img
	done
	run -1 cfsck-heal scrub --json "$P"
	[ "$(jq_output .bad_blocks)" = 3 ]
	[ "$(jq_output .healed_blocks)" = 3 ]
	[ "$(jq_output .left_blocks)" = 0 ]
	[ "$(jq_output '[.damage[].is_healed] | all')" = true ]
	run -0 cfsck-heal scrub --json "$P"
	[ "$(jq_output .bad_blocks)" = 0 ]
	rm a.img
	cfscp -q b.img:vm0 - 2>/dev/null | cmp - vm0.src
}

@test "--no-heal finds, but heals nothing" {
	make_mirror
	make_lun vm0 4M 64
	damage 3 vm0 b.img
	before=$(cat a.img b.img | sha256sum)
	run -4 cfsck-heal scrub --no-heal "$P"
	[ "$(cat a.img b.img | sha256sum)" = "$before" ]
	run -4 cfsck-heal scrub --no-heal "$P"
}

@test "a read heals from the mirror too" {
	make_mirror
	make_lun vm0 4M 64
	damage 3 vm0 a.img
	damage 4 vm0 b.img
	cfscp -q "$P:vm0" - | cmp -n 262144 - vm0.src
}

@test "both halves damaged is damage that is left" {
	make_mirror
	make_lun vm0 4M 64
	damage 3 vm0 a.img
	damage 3 vm0 b.img
	run -4 cfsck-heal scrub --json "$P"
	[ "$(jq_output .left_blocks)" -ge 1 ]
	run -7 cfscp "$P:vm0" out
}

@test "scrub of one container leaves the others out" {
	make_pool
	make_lun vm0 1M 64
	make_lun vm1 1M 64
	damage 3 vm1
	run -0 cfsck-heal scrub "$P:vm0"
	run -4 cfsck-heal scrub "$P:vm1"
}

@test "bad data is not called good because its tag page is lost too" {
	make_pool
	make_lun vm0 1M 100
	damage 17 vm0
	start=$((DAMAGED_AT - DAMAGED_AT % 1048576))
	for at in $((start + 4096)) $((start + 8192)); do
		cfsck-heal trace --json "$P" --at "$P:$at" |
			jq -e '.blocks[0].kind == "tags"'
		flip_byte "$P" $((at + 4000))
	done
	run -4 cfsck-heal scrub --json "$P"
	[ "$(jq_output '.damage[] | select(.kind == "data") |
		.offset_bytes')" = 69632 ]
	# A cfsd has the page in memory, and has written it anew.
	[ -n "${CFS_TEST_BESIDE-}" ] ||
		[ "$(jq_output '.damage[] | select(.kind == "tags") |
			.is_healed')" = true ]
	run -7 cfscp "$P:vm0" out
	cfscp -q --length 68K "$P:vm0" - | cmp -n 69632 - vm0.src
	run -4 cfsck-heal scrub --json "$P"
	[ "$(jq_output '.damage | length')" = 1 ]
}

@test "--rate keeps to a rate" {
	make_pool
	make_lun vm0 16M 1024
	SECONDS=0
	run -0 cfsck-heal scrub --rate 2M "$P"
	[ "$SECONDS" -ge 1 ]
	[ "$SECONDS" -lt 30 ]
}

@test "--full finds nothing in a sound pool" {
	make_pool
	make_lun vm0 16M 64
	run -0 cfsck-heal scrub --full "$P"
}

@test "a scrub that is stopped is 32 and goes on with --continue" {
	make_pool
	make_lun vm0 32M 4096
	bash -mc 'cfsck-heal scrub --rate 4M "$1" 2>err & p=$!
		sleep 1; kill -INT $p; wait $p; echo $? >rc' - "$P" 3>&-
	[ "$(cat rc)" = 32 ]
	[[ $(cat err) == *"scrub --continue goes on"* ]]
	run -0 cfsck-heal scrub --continue --json "$P"
	[ "$(jq_output .bad_blocks)" = 0 ]
}

# ----------------------------------------------------------------- trace

@test "trace --bad lists what a scrub found until it is good again" {
	make_pool
	make_lun vm0 1M 64
	run -0 cfsck-heal trace --json "$P" --bad
	[ "$(jq_output '.damage == []')" = true ]
	damage 9 vm0
	run -4 cfsck-heal scrub "$P"
	run -4 cfsck-heal trace --json "$P" --bad
	[ "$(jq_output '.damage[0].volume')" = vm0 ]
	[ "$(jq_output '.damage[0].offset_bytes')" = 36864 ]
	pattern 1 again >again
	cfscp -q --offset 36K again "$P:vm0"
	run -0 cfsck-heal scrub "$P"
	run -0 cfsck-heal trace --json "$P" --bad
	[ "$(jq_output '.damage == []')" = true ]
}

@test "trace --at says what stands at a byte" {
	make_pool
	mkdir d
	pattern 50 f >d/file
	mkcfs -q "$P:t" --tree --from d
	at=$(find_block 30 f)
	run -0 cfsck-heal trace --json "$P" --at "$P:$((at + 77))"
	[ "$(jq_output '.blocks[0].kind')" = data ]
	[ "$(jq_output '.blocks[0].volume')" = t ]
	[ "$(jq_output '.blocks[0].path')" = /file ]
	[ "$(jq_output '.blocks[0].offset_bytes')" = $((30 * 4096)) ]
	run -0 cfsck-heal trace --json "$P" --at "$P:4096"
	[ "$(jq_output '.blocks[0].kind')" = label ]
}

@test "trace wants one of its two questions" {
	make_pool
	run -16 --separate-stderr cfsck-heal trace "$P"
	says "cfsck-heal: trace: one of these options is needed: --at, --bad: \
Try 'cfsck-heal trace --help'."
	run -16 cfsck-heal trace "$P" --bad --at "$P:0"
	run -16 cfsck-heal trace "$P" --at "$P"
	run -16 cfsck-heal trace "$P" --at "$P:-1"
	run -8 cfsck-heal trace "$P" --at other.img:0
}

# --------------------------------------------------------------- fsck.cfs

@test "fsck.cfs takes the options of fsck(8)" {
	ln -s "$(command -v cfsck-heal)" fsck.cfs
	make_pool
	make_lun vm0 1M 8
	for options in "" -a -p -y -n -f "-C 0" -C0 -T "-a -f -C1"; do
		# shellcheck disable=SC2086
		run -0 ./fsck.cfs $options "$P"
		[[ $output == "$P: clean, 1 container" ]]
	done
	run -16 ./fsck.cfs
	run -16 ./fsck.cfs --frob "$P"
	run -8 ./fsck.cfs nothing.img
}

@test "fsck.cfs checks the pool of two devices once, and several pools" {
	ln -s "$(command -v cfsck-heal)" fsck.cfs
	mkcfs -q --size 64M a.img b.img
	make_pool
	run -0 ./fsck.cfs a.img b.img "$P"
	[ "${#lines[@]}" = 2 ]
}

@test "fsck(8) finds it" {
	need_root
	command -v fsck >/dev/null || skip "no fsck"
	mkdir bin
	ln -s "$(command -v cfsck-heal)" bin/fsck.cfs
	make_pool
	PATH=$PWD/bin:$PATH run -0 fsck -T -t cfs "$P"
}
