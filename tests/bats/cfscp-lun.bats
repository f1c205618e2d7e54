#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# cfscp with LUNs: bytes in and out, by files, pipes and other LUNs.

load helpers
load cfscp

setup()
{
	cfs_setup
	make_pool
}

# The bytes of LUN $1.
lun()
{
	cfscp "$P:$1" -
}

@test "an image in and out, by file and by pipe" {
	make_lun l 16M
	head -c 16777216 /dev/urandom >image
	run -0 --separate-stderr cfscp image "$P:l"
	[ -z "$output$stderr" ]
	cfscp "$P:l" out && cmp image out
	lun l | cmp image -
	make_lun m 16M
	cat image | cfscp - "$P:m"
	lun m | cmp image -
}

@test "holes stay holes, and make holes of what was there" {
	make_lun l 16M 4096
	truncate -s 16M image
	printf data | dd of=image bs=1M seek=5 conv=notrunc status=none
	cfscp image "$P:l"
	lun l | cmp image -
	[ "$(slicectl show --json "$P:l" | jq .volume.used_bytes)" -le 16384 ]
	cfscp "$P:l" out && cmp image out
	[ "$(stat -c %b out)" -le 16 ]
}

@test "--sparse makes holes of zeroes" {
	make_lun l 16M 1
	head -c 16777216 /dev/zero >zeroes
	cfscp --sparse zeroes "$P:l"
	[ "$(slicectl show --json "$P:l" | jq .volume.used_bytes)" -le 4096 ]
	lun l | cmp zeroes -
	make_lun m 16M
	printf x | dd of=zeroes bs=1 seek=9999999 conv=notrunc status=none
	cfscp --sparse - "$P:m" <zeroes
	lun m | cmp zeroes -
}

@test "a shorter source leaves the rest alone, a longer one is refused" {
	make_lun l 16M 4096
	echo short >f
	cfscp f "$P:l"
	{ cat f; tail -c +7 l.src; } >want
	lun l | cmp want -
	truncate -s 16777217 long
	run -6 --separate-stderr cfscp long "$P:l"
	says "cfscp: long: 16777217 bytes, but $P:l has room for 16777216: \
nothing was copied"
	lun l | cmp want -
	run -6 --separate-stderr cfscp - "$P:l" < <(tr '\0' y <long)
	says "cfscp: standard input: it is longer than the destination: the \
first 16777216 bytes were copied, up to offset 16777216 of $P:l"
	head -c 16777216 /dev/zero | tr '\0' y >want
	lun l | cmp want -
}

@test "--offset and --length are the range of the LUN" {
	make_lun l 16M 4096
	head -c 10000 /dev/urandom >f
	cfscp --offset 1000001 f "$P:l"
	cp l.src want
	dd if=f of=want bs=1 seek=1000001 conv=notrunc status=none
	lun l | cmp want -
	cfscp --offset 1000001 --length 10000 "$P:l" out
	cmp f out
	cfscp --offset 4K --length 8K f "$P:l"
	dd if=f of=want bs=4096 seek=1 count=2 conv=notrunc status=none
	lun l | cmp want -
	run -2 cfscp --offset 17M "$P:l" out
	run -6 cfscp --offset 16770000 f "$P:l"
}

@test "of two LUNs the range is of both" {
	make_lun l 16M 4096
	make_lun m 16M
	cfscp --offset 1M --length 12345 "$P:l" "$P:m"
	truncate -s 16M want
	dd if=l.src of=want bs=1 skip=1M seek=1M count=12345 conv=notrunc \
		status=none
	lun m | cmp want -
	cfscp "$P:l" "$P:m"
	lun m | cmp l.src -
	run -1 cfscp "$P:l" "$P:l"
}

@test "snapshots, clones and other pools are sources" {
	make_lun l 16M 4096
	snapctl take -q "$P:l@a"
	snapctl clone -q "$P:l@a" c
	head -c 16777216 /dev/zero >zeroes
	cfscp zeroes "$P:l"
	lun l@a | cmp l.src -
	lun l/c | cmp l.src -
	make_pool other.img
	mkcfs -q other.img:x --lun 20M
	cfscp "$P:l@a" other.img:x
	cfscp --length 16M other.img:x - | cmp l.src -
	cfscp "$P:l@a" "$P:l"
	lun l | cmp l.src -
	run -10 cfscp zeroes "$P:l@a"
}

@test "a LUN must exist, and a file of it appears when it is complete" {
	make_lun l 16M 100
	run -3 cfscp l.src "$P:none"
	echo old >out && chmod 600 out
	cfscp --length 400K "$P:l" out
	cmp out l.src
	[ "$(stat -c %a out)" = 600 ]
	mkdir d
	cfscp "$P:l" d
	[ "$(stat -c %s d/l)" = 16777216 ]
	[ "$(ls -A d)" = l ]
}

@test "between a LUN and a file in a tree" {
	make_pool big.img 256M
	P=big.img
	make_lun l 16M 4096
	mkcfs -q "$P:t" --tree
	cfscp "$P:l" "$P:t:/image"
	cfscp "$P:t:/image" - | cmp l.src -
	make_lun m 16M
	cfscp "$P:t:/image" "$P:m"
	lun m | cmp l.src -
}

@test "damage: 7 with volume and offset, and how far it came" {
	make_lun l 16M 300
	make_lun m 16M
	flip_byte "$P" $(($(find_block 123 l) + 9))
	run -7 --separate-stderr cfscp "$P:l" out
	[[ $stderr == "cfscp: $P:l: offset 503808: "* ]]
	[[ $stderr != *"offset 503808: offset"* ]]
	[ ! -e out ]
	run -7 --separate-stderr cfscp "$P:l" "$P:m"
	[[ $stderr == *"the first 503808 bytes were copied, up to offset \
503808 of $P:m: --skip-damaged goes on, with zeroes there" ]]
	lun m | cmp -n 503808 - l.src
	run -7 --separate-stderr cfscp --skip-damaged --json "$P:l" out
	[ "$(jq_output '.damaged | length')" = 1 ]
	[ "$(jq_output '.damaged[0] | .volume, .path, .offset_bytes,
		.length_bytes' | tr '\n' ' ')" = "l null 503808 4096 " ]
	cp l.src want && truncate -s 16M want
	dd if=/dev/zero of=want bs=4096 seek=123 count=1 conv=notrunc \
		status=none
	cmp want out
}

@test "a full pool: 6, and how far it came" {
	make_lun l 256M
	head -c 100000000 /dev/urandom >big
	run -6 --separate-stderr cfscp big "$P:l"
	[[ $stderr == *" bytes were copied, up to offset "*" of $P:l" ]]
	n=${stderr##*the first }
	n=${n%% *}
	[ "$n" -gt 20000000 ]
	cfscp --length "$n" "$P:l" - | cmp -n "$n" - big
	cfsck-heal check -q "$P"
}

@test "a signal stops it, and says how far it came" {
	make_lun l 16M
	(head -c 8388608 /dev/zero | tr '\0' x; sleep 20) |
		cfscp - "$P:l" 2>log &
	pid=$!
	sleep 1
	kill -TERM "$pid"
	status=0
	wait "$pid" || status=$?
	[ "$status" = 143 ]
	[[ $(<log) == *"the first "*" bytes were copied"* ]]
	# The pool is free at once.
	lun l | head -c 4096 | tr -d x | cmp - /dev/null
}

@test "a dry run tells, and leaves every byte as it was" {
	make_lun l 16M 10
	before=$(sum_of "$P")
	head -c 100000 /dev/urandom >f
	run -0 cfscp -n f "$P:l"
	[ "$output" = "would copy 97.7 KiB from f to $P:l" ]
	run -0 cfscp -n "$P:l" out
	[ ! -e out ]
	[ "$(sum_of "$P")" = "$before" ]
	run -6 cfscp -n --offset 16M f "$P:l"
}

@test "a host file with a colon is a URI" {
	make_lun l 16M
	head -c 5000 /dev/urandom >a:b
	cfscp file:a%3Ab "$P:l"
	cfscp --length 5000 "$P:l" file:c%3Ad
	cmp a:b c:d
}
