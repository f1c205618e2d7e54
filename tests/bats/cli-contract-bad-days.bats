#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Bad input and bad days: what is not a pool, or no longer one; no space in
# the pool or below it; devices that cannot be written.  Each ends with one
# line, the right status, in bounded time, and loses nothing.

load helpers

setup() {
	cfs_setup
}

teardown() {
	release_pools
	[ -z "${LOOP-}" ] || losetup -d "$LOOP"
	[ ! -d mnt ] || umount -l mnt 2>/dev/null || true
	[ ! -e ro.img ] || chattr -i ro.img 2>/dev/null || true
}

# One line of standard error, nothing on the other, no crash, and soon.
is_clean_failure() {
	[ "$output" = "" ]
	[ "${#stderr_lines[@]}" = 1 ]
	[ "$status" -ge 1 ] && [ "$status" -le 32 ]
	[ "$SECONDS" -lt 20 ]
}

# Readers of a pool that are to fail with $1.
readers_fail_with() {
	local cmd

	for cmd in "slicectl ls" "slicectl show" "slicectl df" \
			"slicectl map" "snapctl ls" "snapctl tree"; do
		SECONDS=0
		# shellcheck disable=SC2086
		run --separate-stderr timeout 30 $cmd "$P"
		[ "$status" = "$1" ] || { echo "$cmd: $status $stderr"; false; }
		is_clean_failure
		[[ $stderr == "${cmd%% *}: $P: "* ]]
	done
}

# ---------------------------------------------------------- what is no pool

@test "an empty file is not cfs" {
	: >"$P"
	readers_fail_with 8
	run -8 cfsck-heal check "$P"
}

@test "zeroes are not cfs" {
	truncate -s 64M "$P"
	readers_fail_with 8
}

@test "noise is not cfs" {
	head -c 1M /dev/urandom >"$P"
	readers_fail_with 8
}

@test "an ext4 is not cfs" {
	command -v mkfs.ext4 >/dev/null || skip "no mkfs.ext4"
	truncate -s 64M "$P"
	mkfs.ext4 -q "$P"
	readers_fail_with 8
}

@test "writers refuse what is not cfs, and leave it alone" {
	head -c 1M /dev/urandom >"$P"
	before=$(sum_of "$P")
	run -8 mkcfs "$P:a" --lun 4M
	run -8 slicectl set "$P" label=x
	run -8 slicectl trim "$P"
	run -8 snapctl take "$P:a@b"
	[ "$(sum_of "$P")" = "$before" ]
}

# -------------------------------------------------------- what was a pool

@test "a truncated pool is refused, wherever it was cut" {
	make_pool whole.img
	P=whole.img make_lun vm0 16M 2048
	for size in 4096 65536 1M 8M 33M 63M; do
		cp --sparse=always whole.img "$P"
		truncate -s $size "$P"
		SECONDS=0
		run --separate-stderr slicectl ls "$P"
		case $status in 7|8|9) ;; *) false ;; esac
		is_clean_failure
		run --separate-stderr timeout 30 cfsck-heal check "$P"
		case $status in 4|8) ;; *) false ;; esac
	done
}

@test "the first MiB zeroed: the labels at the end are enough to look" {
	make_pool
	make_lun vm0 1M 16
	dd if=/dev/zero of="$P" bs=64K count=1 conv=notrunc status=none
	run --separate-stderr slicectl ls "$P"
	case $status in 0|7) ;; *) false ;; esac
}

@test "all label copies damaged: 7 or 8, and nothing is written" {
	make_pool
	size=$(stat -c %s "$P")
	dd if=/dev/urandom of="$P" bs=1M count=1 conv=notrunc status=none
	dd if=/dev/urandom of="$P" bs=1M seek=$((size / 1048576 - 1)) count=1 \
		conv=notrunc status=none
	before=$(sum_of "$P")
	run --separate-stderr slicectl ls "$P"
	case $status in 7|8) ;; *) false ;; esac
	run --separate-stderr slicectl set "$P" label=x
	case $status in 7|8) ;; *) false ;; esac
	[ "$(sum_of "$P")" = "$before" ]
}

# Set a feature bit that nobody knows in all labels of $1, and seal them anew.
make_newer() {
	cat >newer.c <<-'C'
	#define XXH_INLINE_ALL
	#include <stdio.h>
	#include <string.h>
	#include <xxhash.h>
	int main(int argc, char **argv)
	{
		static unsigned char page[4096];
		FILE *f = fopen(argv[argc - 1], "r+b");
		unsigned long long sum;
		long size, at, count = 0;
		fseek(f, 0, SEEK_END);
		size = ftell(f);
		for (at = 0; at < size; at += 4096) {
			if (at == 65536)
				at = size - 65536;
			fseek(f, at, SEEK_SET);
			if (fread(page, 4096, 1, f) != 1)
				return 1;
			if (memcmp(page, "CFPG", 4) || page[6] != 1)
				continue;
			page[64 + 128 + 7] |= 0x80;
			memset(page + 56, 0, 8);
			sum = XXH3_64bits(page, 4096);
			memcpy(page + 56, &sum, 8);
			fseek(f, at, SEEK_SET);
			count += fwrite(page, 4096, 1, f);
		}
		return count != 4 || fclose(f);
	}
	C
	gcc -o newer newer.c && ./newer "$1"
}

@test "a newer format is 8, and nothing is written" {
	not_beside "the file is changed behind its back"
	make_pool
	make_newer "$P"
	before=$(sum_of "$P")
	readers_fail_with 8
	[[ $stderr == *newer* ]]
	run -8 mkcfs "$P:a" --lun 4M
	run -8 slicectl set "$P" label=x
	run -8 cfsck-heal check "$P"
	run -8 slicectl pools --json "$P"
	run -5 mkcfs "$P"
	[ "$(sum_of "$P")" = "$before" ]
}

@test "flipped bytes all over: never a crash, never wrong data" {
	make_pool whole.img
	P=whole.img make_lun vm0 16M 256
	mkdir d
	pattern 20 f >d/file
	mkcfs -q whole.img:t --tree --from d
	snapctl take -q whole.img:vm0@a
	used=$(du -k --apparent-size whole.img | cut -f1)
	for seed in {1..40}; do
		cp --sparse=always whole.img "$P"
		RANDOM=$seed
		for i in {1..20}; do
			at=$(((RANDOM * 32768 + RANDOM) % (used * 1024)))
			# Where there is something.
			at=$((at % (8 << 20)))
			flip_byte "$P" $at
		done
		run timeout 60 cfsck-heal check "$P"
		[ "$status" -lt 64 ] || { echo "$seed: $status"; false; }
		run timeout 60 slicectl ls "$P"
		[ "$status" -le 10 ] || { echo "$seed: $status"; false; }
		rm -f out
		run timeout 60 cfscp --length 1M "$P:vm0" out
		[ "$status" -le 10 ] || { echo "$seed: $status"; false; }
		[ "$status" != 0 ] || cmp out vm0.src ||
			{ echo "$seed: wrong data"; false; }
	done
}

@test "a device of another pool is not taken for one of this" {
	mkcfs -q --size 64M a.img b.img
	mkcfs -q --size 64M c.img d.img
	rm b.img
	cp d.img b.img
	run --separate-stderr slicectl ls a.img
	[ "$status" = 9 ]
	is_clean_failure
}

@test "a missing device: 9 for a plain pool, a warning for a mirror" {
	mkcfs -q --size 64M a.img b.img
	rm b.img
	run -9 --separate-stderr slicectl ls a.img
	[[ $stderr == "slicectl: a.img: "* ]]
	mkcfs -q --mirror --size 64M m.img n.img
	P=m.img make_lun vm0 1M 16
	rm n.img
	run -0 --separate-stderr slicectl ls m.img
	[[ $stderr == slicectl:\ * ]]
	[ "${#stderr_lines[@]}" = 1 ]
	cfscp -q m.img:vm0 - 2>/dev/null | cmp -n 65536 - vm0.src
}

@test "devices that were moved are found with --search and CFS_SEARCH" {
	mkdir d e
	mkcfs -q --size 64M d/a.img d/b.img
	mv d/b.img e/other.img
	run -9 slicectl ls d/a.img
	run -0 slicectl ls --search e d/a.img
	CFS_SEARCH=$PWD/e run -0 slicectl ls d/a.img
}

# ----------------------------------------------------------------- no space

@test "a full pool: writes are 6, reads go on, deletes give space back" {
	make_pool
	make_lun keep 1M 256
	snapctl take -q "$P:keep@a"
	pattern 2048 >chunk
	n=0
	while mkcfs -q "$P:fill$n" --lun auto --from chunk 2>/dev/null; do
		n=$((n + 1))
		[ $n -lt 20 ]
	done
	[ $n -ge 3 ]
	run -6 --separate-stderr mkcfs "$P:more" --lun auto --from chunk
	[ "${#stderr_lines[@]}" = 1 ]
	cfscp -q "$P:keep" - | cmp - keep.src
	cfscp -q "$P:keep@a" - | cmp - keep.src
	cfscp -q "$P:fill0" - | cmp - chunk
	run -0 cfsck-heal check "$P"
	run -0 slicectl rm -y "$P:fill0"
	run -0 mkcfs "$P:again" --lun auto --from chunk
	run -0 cfsck-heal check "$P"
}

@test "a full pool: overwriting fills, dropping a snapshot gives it back" {
	make_pool
	make_lun vm0 20M 5120
	snapctl take -q "$P:vm0@a"
	pattern 5120 2 >v2
	pattern 5120 3 >v3
	run -0 cfscp v2 "$P:vm0"
	snapctl take -q "$P:vm0@b"
	run -6 cfscp v3 "$P:vm0"
	cfscp -q "$P:vm0@a" - | cmp - vm0.src
	cfscp -q "$P:vm0@b" - | cmp - v2
	run -0 snapctl rm -y "$P:vm0@a"
	run -0 cfscp v3 "$P:vm0"
	cfscp -q "$P:vm0" - | cmp - v3
	cfscp -q "$P:vm0@b" - | cmp - v2
	run -0 cfsck-heal check "$P"
}

@test "a pool on a full host file system: 6, and what was there stays" {
	not_beside "it fills first, and reads no more"
	need_root
	mkdir mnt
	mount -t tmpfs -o size=24M tmpfs mnt || skip "no tmpfs here"
	P=mnt/pool.img
	make_pool
	make_lun keep 1M 256
	pattern 8000 >src
	run --separate-stderr mkcfs "$P:a" --lun auto --from src
	[ "$status" = 6 ] || [ "$status" = 9 ]
	[ "${#stderr_lines[@]}" = 1 ]
	cfscp -q "$P:keep" - | cmp - keep.src
	run -0 cfsck-heal check "$P"
	umount mnt
}

@test "mkcfs on a full host file system is 6 and leaves no file" {
	need_root
	mkdir mnt
	mount -t tmpfs -o size=64k tmpfs mnt || skip "no tmpfs here"
	head -c 60K /dev/zero >mnt/fill || true
	run -6 --separate-stderr mkcfs --size 64M mnt/pool.img
	[ "${#stderr_lines[@]}" = 1 ]
	[ ! -e mnt/pool.img ]
	umount mnt
}

# ------------------------------------------------------------- read-only

@test "a file that nobody may write can be read, not written" {
	not_beside "its own writes fail"
	make_pool
	make_lun vm0 1M 16
	need_root
	mv "$P" ro.img
	P=ro.img
	chattr +i ro.img 2>/dev/null || skip "no immutable files here"
	run -0 slicectl ls "$P"
	run -0 cfsck-heal check "$P"
	cfscp -q --length 64K "$P:vm0" - | cmp - vm0.src
	run -10 --separate-stderr mkcfs "$P:a" --lun 4M
	[ "${#stderr_lines[@]}" = 1 ]
	run -10 snapctl take "$P:vm0@a"
}

@test "a read-only loop device can be read, not written" {
	not_beside "the file behind it is held"
	need_root
	make_pool
	make_lun vm0 1M 16
	LOOP=$(losetup -r -f --show "$P") || skip "no loop devices here"
	run -0 slicectl ls --json "$LOOP"
	[ "$(jq_output '.volumes[0].name')" = vm0 ]
	cfscp -q --length 64K "$LOOP:vm0" - | cmp - vm0.src
	run -10 mkcfs "$LOOP:a" --lun 4M
}

@test "a pool left by a killed writer can be read on a read-only device" {
	not_beside "the writer has another holder"
	need_root
	make_pool
	make_lun vm0 1M 16
	mkfifo pipe
	mkcfs "$P:held" --lun auto --from - <pipe >/dev/null 3>&- &
	pid=$!
	exec 7>pipe
	pattern 600 >&7
	sleep 0.3
	kill -KILL $pid
	wait $pid || true
	exec 7>&-
	LOOP=$(losetup -r -f --show "$P") || skip "no loop devices here"
	before=$(sum_of "$P")
	run -0 slicectl ls --json "$LOOP"
	[ "$(jq_output '[.volumes[].name] | join(" ")')" = vm0 ]
	cfscp -q --length 64K "$LOOP:vm0" - | cmp - vm0.src
	[ "$(sum_of "$P")" = "$before" ]
}

@test "another user's pool is 10" {
	need_root
	make_pool
	chmod 600 "$P"
	chmod 755 "$BATS_TEST_TMPDIR" .
	run --separate-stderr setpriv --reuid 65534 --clear-groups \
		--regid 65534 "$(command -v slicectl)" ls "$PWD/$P"
	# The way to it may be closed, too.
	[ "$status" = 10 ] || [ "$status" = 126 ]
}

# -------------------------------------------------------------- any moment

@test "killed at any moment: the pool opens, and what was done stays" {
	make_pool
	make_lun keep 1M 256
	pattern 3000 >src
	for delay in 0.01 0.02 0.04 0.06 0.08 0.1 0.15 0.2; do
		timeout -s KILL $delay mkcfs -q "$P:a" --lun auto --from src ||
			true
		run -0 --separate-stderr slicectl ls --json "$P"
		case $(jq_output '[.volumes[].name] | join(" ")') in
		"a keep")
			cfscp -q "$P:a" - | cmp - src
			slicectl rm -q -y "$P:a"
			;;
		keep) ;;
		*) false ;;
		esac
		cfscp -q "$P:keep" - | cmp - keep.src
		run -0 cfsck-heal check "$P"
	done
}

@test "Ctrl-C of any verb leaves a pool that is sound" {
	make_pool
	make_lun vm0 16M 2048
	for i in 1 2 3; do
		snapctl take -q "$P:vm0@s$i"
	done
	for delay in 0.005 0.01 0.02 0.04; do
		for cmd in "slicectl trim $P" "cfsck-heal scrub $P" \
				"cfsck-heal check $P" \
				"snapctl rm -y $P:vm0@s1" \
				"snapctl rollback -y $P:vm0@s2"; do
			# shellcheck disable=SC2086
			timeout -s INT $delay $cmd >/dev/null 2>&1 || true
		done
		run -0 cfsck-heal check "$P"
		cfscp -q --length 8M "$P:vm0" - | cmp - vm0.src
	done
}
