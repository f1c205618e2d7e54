#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# snapctl send, recv, verify, diff: a copy of a snapshot is that snapshot, or
# it is not there.

load helpers

setup() {
	cfs_setup
	make_pool
	Q=other.img
	make_pool "$Q" 128M
}

# LUN $1 of 1 MiB in version $2.
version() {
	pattern 256 "$2" >"v$2"
	cfscp -q "v$2" "$P:$1"
}

# Volume or snapshot $1 of the other pool reads as version $2.
is_version() {
	cfscp -q "$Q:$1" - | cmp - "v$2"
}

names() {
	snapctl ls --json "$Q:$1" | jq -r '[.snapshots[].name] | join(" ")'
}

# vm0 with the snapshots a and b.
two_versions() {
	make_lun vm0 1M
	version vm0 1
	snapctl take -q "$P:vm0@a" --note "the first"
	version vm0 2
	snapctl take -q "$P:vm0@b"
}

# All that a tree shows, as an archive of names, modes, times and content.
listing() {
	cfscp --archive tar "$1:/" - | tar -tv --full-time --numeric-owner |
		sort
}

content() {
	cfscp --archive tar "$1:/" - | tar -xO | sha256sum
}

@test "a LUN, whole and then what changed, through a pipe" {
	two_versions
	snapctl send "$P:vm0@a" | snapctl recv "$Q:vm0"
	is_version vm0 1
	is_version vm0@a 1
	run -0 --separate-stderr bash -c \
		"snapctl send -i @a $P:vm0@b | snapctl recv $Q:vm0"
	[[ $output == "$Q:vm0@b: received, "* ]]
	is_version vm0 2
	is_version vm0@a 1
	[ "$(names vm0)" = "a b" ]
	[ "$(snapctl ls --json "$Q:vm0" | jq -r '.snapshots[0].note')" = \
		"the first" ]
	cfsck-heal check "$Q"
}

@test "a pool of other slices, mirrored" {
	not_beside "it makes pools of its own"
	two_versions
	mkcfs -q --size 128M --slice 4M --mirror m1.img m2.img
	snapctl send "$P:vm0@a" | snapctl recv -q m1.img:vm0
	snapctl send -i @a "$P:vm0@b" | snapctl recv -q m1.img:vm0
	cfscp -q m1.img:vm0@b - | cmp - v2
	cfscp -q m1.img:vm0@a - | cmp - v1
	# And on from there: it is the same snapshot.
	snapctl send m2.img:vm0@a | snapctl recv -q "$Q:vm0"
	snapctl send -i @a "$P:vm0@b" | snapctl recv -q "$Q:vm0"
	is_version vm0@b 2
}

@test "a tree keeps all that files have" {
	mkdir -p src/d/e
	echo one >src/one
	ln src/one src/d/two
	ln -s ../one src/d/link
	mkfifo src/d/pipe
	truncate -s 5M src/sparse
	printf x | dd of=src/sparse bs=1 seek=3000000 conv=notrunc status=none
	chmod 4711 src/one
	touch -d '2001-02-03 04:05:06.123456789' src/one src/d
	setfattr -n user.k -v value src/one || skip "no attributes here"
	mkcfs -q "$P:docs" --tree --from src
	snapctl take -q "$P:docs@a"
	snapctl send "$P:docs@a" | snapctl recv -q "$Q:docs"
	[ "$(listing "$P:docs@a")" = "$(listing "$Q:docs")" ]
	[ "$(content "$P:docs@a")" = "$(content "$Q:docs")" ]
	echo more >src/d/e/three
	cfscp -q src/d/e/three "$P:docs:/d/e/three"
	cfscp --remove "$P:docs:/d/link"
	cfscp --mkdir "$P:docs:/new"
	snapctl take -q "$P:docs@b"
	snapctl send -i @a "$P:docs@b" | snapctl recv -q "$Q:docs"
	[ "$(listing "$P:docs@b")" = "$(listing "$Q:docs@b")" ]
	[ "$(content "$P:docs@b")" = "$(content "$Q:docs")" ]
	cfsck-heal check "$Q"
}

@test "what changed is small where little did" {
	make_lun vm0 16M
	head -c 16M /dev/urandom >src
	cfscp -q src "$P:vm0"
	snapctl take -q "$P:vm0@a"
	dd if=/dev/urandom of=patch bs=4096 count=2 status=none
	cfscp -q --offset 1M --length 8K patch "$P:vm0"
	snapctl take -q "$P:vm0@b"
	snapctl send -i @a "$P:vm0@b" >ab
	[ "$(stat -c %s ab)" -lt 12000 ]
	run -0 snapctl verify --json <ab
	[ "$(jq_output .data_bytes)" = 8192 ]
}

@test "a clone goes on from what it is a clone of" {
	two_versions
	snapctl clone -q "$P:vm0@a" c
	version vm0/c 3
	snapctl take -q "$P:vm0/c@x"
	snapctl send "$P:vm0@a" | snapctl recv -q "$Q:vm0"
	run -3 bash -c "snapctl send -i @a $P:vm0/c@x | snapctl recv $Q:vm1"
	snapctl send -i @a "$P:vm0/c@x" | snapctl recv -q "$Q:vm0/c"
	is_version vm0/c 3
	is_version vm0/c@x 3
	is_version vm0 1
	version vm0/c 4
	snapctl take -q "$P:vm0/c@y"
	snapctl send -i @x "$P:vm0/c@y" | snapctl recv -q "$Q:vm0/c"
	is_version vm0/c@y 4
	cfsck-heal check "$Q"
}

@test "a stream that is cut is 1, is not seen, and goes on" {
	two_versions
	snapctl send "$P:vm0@a" >a
	head -c 500000 a >cut
	run -1 --separate-stderr snapctl recv "$Q:vm0" <cut
	[[ $stderr == *"snapctl: $Q:vm0: the stream was cut, after 500000 bytes" ]]
	[[ $stderr == *"what has come is kept"* ]]
	[ "$(names vm0)" = "" ]
	run -4 cfscp --wait 0 -q "$Q:vm0" -
	[ "$(slicectl ls --json "$Q" | jq -r '.volumes[0].state')" = receiving ]
	token=$(snapctl recv --token "$Q:vm0")
	snapctl send --resume "$token" "$P:vm0@a" >rest
	[ "$(stat -c %s rest)" -lt "$(stat -c %s a)" ]
	snapctl recv -q "$Q:vm0" <rest
	is_version vm0@a 1
	run -3 snapctl recv --token "$Q:vm0"
}

@test "until an increment is whole the volume is what it was" {
	two_versions
	snapctl send "$P:vm0@a" | snapctl recv -q "$Q:vm0"
	snapctl send -i @a "$P:vm0@b" >ab
	head -c 900000 ab >cut
	run -1 snapctl recv -q "$Q:vm0" <cut
	is_version vm0 1
	[ "$(names vm0)" = a ]
	run -4 --separate-stderr snapctl take --wait 0 "$Q:vm0@x"
	[[ $stderr == *"a stream is being received into it" ]]
	run -4 cfscp --wait 0 -q v2 "$Q:vm0"
	run -4 snapctl rm --wait 0 -y "$Q:vm0@a"
	cfsck-heal check "$Q"
	snapctl recv -q "$Q:vm0" <ab
	is_version vm0 2
}

@test "rollback gives up what has come" {
	two_versions
	snapctl send "$P:vm0@a" | snapctl recv -q "$Q:vm0"
	snapctl send -i @a "$P:vm0@b" | head -c 900000 >cut
	run -1 snapctl recv -q "$Q:vm0" <cut
	snapctl rollback -y -q "$Q:vm0@a"
	is_version vm0 1
	snapctl take -q "$Q:vm0@x"
}

@test "a stream that was altered is 7, anywhere" {
	two_versions
	snapctl send "$P:vm0@a" >a
	for at in 40 300 1000 1010 1040 1100 3500 400000; do
		cp a bad
		flip_byte bad "$at"
		run -7 --separate-stderr snapctl verify <bad
		[ -z "$output" ]
		run -7 snapctl recv "$Q:vm0" <bad
	done
	[ "$(names vm0)" = "" ]
	snapctl recv -q "$Q:vm0" <a
	is_version vm0@a 1
}

@test "what is no stream is 8, nothing too, and makes nothing" {
	echo "something else, and long enough to be seen as such" >text
	run -8 --separate-stderr snapctl recv "$Q:vm0" <text
	[ "$stderr" = "snapctl: $Q:vm0: not a stream of cfs" ]
	run -8 snapctl verify </dev/null
	run -8 snapctl recv "$Q:vm0" </dev/null
	[ "$(slicectl ls --json "$Q" | jq '.volumes | length')" = 0 ]
}

@test "a receiver that is full says so, and blocks nobody" {
	head -c 100M /dev/urandom >src
	mkcfs -q "$Q:big" --lun auto --from src
	snapctl take -q "$Q:big@a"
	snapctl send "$Q:big@a" >big
	make_lun vm0 1M
	version vm0 1
	run -6 --separate-stderr snapctl recv "$P:big" <big
	[[ $stderr == *"what has come is kept"* ]]
	[ "$(snapctl ls --json "$P:big" | jq '.snapshots | length')" = 0 ]
	cfscp -q "$P:vm0" - | cmp - v1
	slicectl rm -y -q "$P:big"
	version vm0 2
	cfsck-heal check "$P"
}

@test "what is newer stands in the way, unless it is forced" {
	two_versions
	snapctl send "$P:vm0@a" | snapctl recv -q "$Q:vm0"
	snapctl send -i @a "$P:vm0@b" >ab
	cfscp -q v2 "$Q:vm0"
	run -5 --separate-stderr snapctl recv "$Q:vm0" <ab
	[[ $stderr == *"it was changed since @a"*"-f"* ]]
	snapctl take -q "$Q:vm0@mine"
	run -5 --separate-stderr snapctl recv "$Q:vm0" <ab
	[[ $stderr == *"@mine is newer than @a"* ]]
	snapctl recv -f -q "$Q:vm0" <ab
	is_version vm0 2
	[ "$(names vm0)" = "a mine b" ]
}

@test "a base that is not there is 3, a snapshot that is 1" {
	two_versions
	snapctl send -i @a "$P:vm0@b" >ab
	run -3 snapctl recv "$Q:vm0" <ab
	snapctl send "$P:vm0@b" | snapctl recv -q "$Q:vm0"
	run -1 snapctl recv "$Q:vm0" <ab
	run -1 snapctl recv "$Q:vm0" < <(snapctl send "$P:vm0@b")
	run -3 snapctl send -i @zzz "$P:vm0@b"
	run -3 snapctl send "$P:vm0@zzz"
	run -2 snapctl send --resume 00 "$P:vm0@b"
}

@test "the base may have another name there" {
	two_versions
	snapctl send "$P:vm0@a" | snapctl recv -q "$Q:vm0"
	snapctl rename -q "$Q:vm0@a" z
	snapctl send -i @a "$P:vm0@b" | snapctl recv -q "$Q:vm0"
	[ "$(names vm0)" = "z b" ]
}

@test "dry runs change nothing and say what would be" {
	two_versions
	snapctl send "$P:vm0@a" >a
	run -0 snapctl send -n --json "$P:vm0@a"
	[ "$(jq_output .stream_bytes)" = "$(stat -c %s a)" ]
	run -0 snapctl recv -n --json "$Q:vm0" <a
	[ "$(jq_output .is_dry_run)" = true ]
	[ "$(jq_output .snapshot.name)" = a ]
	[ "$(jq_output .base)" = null ]
	[ "$(slicectl ls --json "$Q" | jq '.volumes | length')" = 0 ]
	flip_byte a 5000
	run -7 snapctl recv -n "$Q:vm0" <a
}

@test "recv and verify: JSON" {
	two_versions
	snapctl send "$P:vm0@a" | snapctl recv -q "$Q:vm0"
	snapctl send -i @a "$P:vm0@b" >ab
	run -0 snapctl verify --json <ab
	[ "$(jq_output .schema)" = cfs.snapctl.verify ]
	[ "$(jq_output .base.name)" = a ]
	[ "$(jq_output .stream_bytes)" = "$(stat -c %s ab)" ]
	run -0 snapctl recv --json "$Q:vm0" <ab
	[ "$(jq_output .schema)" = cfs.snapctl.recv ]
	[ "$(jq_output .received)" = vm0 ]
	[ "$(jq_output .snapshot.name)" = b ]
}

@test "progress as JSON lines" {
	two_versions
	snapctl send --progress=json "$P:vm0@a" 2>log |
		snapctl recv -q --progress=json "$Q:vm0" 2>log2
	tail -n 1 log | jq -e '.is_done and .task == "send"'
	tail -n 1 log2 | jq -e '.is_done and .task == "recv"'
}

@test "a reader that goes away ends the sender quietly" {
	two_versions
	run -0 --separate-stderr bash -c \
		"snapctl send $P:vm0@a | head -c 2000 | wc -c"
	[ "$output" = 2000 ]
	[ "$stderr" = "" ]
}

@test "killed at any time, it goes on" {
	not_beside "a tool that is killed holds the pool"
	head -c 20M /dev/urandom >src
	mkcfs -q "$P:big" --lun auto --from src
	snapctl take -q "$P:big@a"
	snapctl send "$P:big@a" >big
	for bytes in 1M 9M 17M; do
		{ head -c "$bytes" big; sleep 10; } |
			timeout -s KILL 0.7 snapctl recv -q "$Q:big" || true
		[ "$(names big)" = "" ]
		cfsck-heal check "$Q"
	done
	snapctl recv -q "$Q:big" <big
	cfscp -q "$Q:big@a" - | cmp - src
}

@test "diff: ranges of a LUN, to the block and joined" {
	two_versions
	head -c 8192 /dev/urandom >patch
	cfscp -q --offset 16K --length 8K patch "$P:vm0"
	cfscp -q --offset 24K --length 4K patch "$P:vm0"
	cfscp -q --offset 512K --length 1 patch "$P:vm0"
	run -0 snapctl diff --json "$P:vm0@b"
	[ "$(jq_output -c .ranges)" = '[{"offset_bytes":16384,"length_bytes":12288},{"offset_bytes":524288,"length_bytes":4096}]' ]
	run -0 snapctl diff --json "$P:vm0@a" "$P:vm0@a"
	[ "$(jq_output -c .ranges)" = '[]' ]
	run -0 snapctl diff --json-lines "$P:vm0@a" "$P:vm0@b"
	[ "$(jq_output -c .length_bytes)" = 1048576 ]
	run -3 snapctl diff "$P:vm0@zzz"
}

@test "diff: paths of a tree" {
	mkdir -p src/d src/gone
	for name in same old changed moved gone/x mode; do
		echo "$name" >"src/$name"
	done
	mkcfs -q "$P:docs" --tree --from src
	snapctl take -q "$P:docs@a"
	run -0 snapctl diff --json "$P:docs@a"
	[ "$(jq_output -c .paths)" = '[]' ]
	echo else >src/changed
	cfscp -q src/changed "$P:docs:/changed"
	cfscp -q src/changed "$P:docs:/d/added"
	cfscp --remove "$P:docs:/old"
	cfscp --remove -r "$P:docs:/gone"
	snapctl take -q "$P:docs@b"
	run -0 snapctl diff --json "$P:docs@a" "$P:docs@b"
	[ "$(jq_output -c '[.paths[] | [.path, .change]]')" = \
		'[["/changed","modified"],["/d/added","added"],["/gone","removed"],["/gone/x","removed"],["/old","removed"]]' ]
	run -0 snapctl diff "$P:docs@a" "$P:docs@b"
	[ "${lines[0]}" = "modified  /changed" ]
	# Backwards too.
	run -0 snapctl diff --json "$P:docs@b" "$P:docs@a"
	[ "$(jq_output -c '[.paths[] | .change] | unique')" = \
		'["added","modified","removed"]' ]
}
