#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Images of earlier versions of the format (tests/images): they open, hold what
# they held, and can be written to.

load helpers

IMAGES=$BATS_TEST_DIRNAME/../images

setup() {
	cfs_setup
	export CFS_RUN=$BATS_TEST_TMPDIR/run
	mkdir -m 700 "$CFS_RUN"
}

# Unpacks all devices of the image $1 under their names.
unpack() {
	local file name

	for file in "$IMAGES/$1"*.zst; do
		name=${file##*/}
		zstd -q -d --sparse "$file" -o "${name%.zst}"
	done
}

# The image $1 is as it was; it is sound, before and after changes.  @$2 is its
# second snapshot that is neither held nor cloned.
is_golden() {
	run -0 cfsck-heal check "$1"
	"$IMAGES/show" "$1" >now.txt
	diff -u "$IMAGES/$1.txt" now.txt
	pattern 20 later >src
	cfscp -q --offset 1M src "$1:vm"
	cfscp -q src "$1:files:/src"
	snapctl take -q "$1:vm@later" "$1:files@later"
	cfscp -q "$1:files@later:/src" back
	cmp src back
	snapctl rm -q -y "$1:vm@a..$2"
	run -3 snapctl rm -y "$1:vm@$2"
	run -1 snapctl take "$1:vm@later"
	snapctl take -q "$1:vm@$2"
	run -0 cfsck-heal scrub "$1"
	run -0 cfsck-heal check "$1"
}

@test "format 1: a plain pool whose holder was killed" {
	unpack v1-plain
	is_golden v1-plain saved
}

@test "format 1 with an index of names, of which some are in the log" {
	unpack v1-names-plain
	is_golden v1-names-plain kept
}

@test "format 1: a mirror, also with a device lost" {
	unpack v1-twin
	mkdir alone
	cp --sparse=always v1-twin1 alone/
	(cd alone && "$IMAGES/show" v1-twin1 2>/dev/null) >now.txt
	diff -u "$IMAGES/v1-twin1.txt" now.txt
	is_golden v1-twin1 saved
}
