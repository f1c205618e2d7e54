#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Trees that several processes use at once beside a cfsd, each on the devices
# themselves: files by files, their bytes do not pass through the manager.

load helpers

setup() {
	cfs_setup
	make_pool "$P" 256M
	[ -n "${CFS_TEST_BESIDE-}" ] || serve_pool
	export CFS_IO=direct
	mkcfs -q "$P:t" --tree
}

# Bytes that process $1 has read from files, pipes and sockets.
read_by() {
	awk '$1 == "rchar:" { print $2 }' "/proc/$1/io"
}

# $1 files in the new folder $2, with numbers from $3 on as content.
make_files() {
	mkdir "$2"
	seq "$3" $(($3 + $1 - 1)) | split -l 1 -a 4 -d - "$2/file-"
}

@test "what is copied in directly is read forwarded, and the reverse" {
	make_files 300 src 1
	ln src/file-0001 src/hard
	ln -s file-0002 src/soft
	head -c 3M /dev/urandom >src/big
	cfscp -q src "$P:t:/a"
	CFS_IO=forwarded cfscp -q "$P:t:/a" out1
	diff -r src out1
	CFS_IO=forwarded cfscp -q src "$P:t:/b"
	cfscp -q "$P:t:/b" out2
	diff -r src out2
	run -0 cfsck-heal check "$P"
	run -0 cfsck-heal scrub "$P"
}

@test "two copy into one tree at once, and one forwarded beside them" {
	local pids=() i

	make_files 600 src1 1
	make_files 600 src2 10000
	make_files 200 src3 20000
	cfscp -q src1 "$P:t:/one" &
	pids+=($!)
	cfscp -q src2 "$P:t:/two" &
	pids+=($!)
	CFS_IO=forwarded cfscp -q src3 "$P:t:/three" &
	pids+=($!)
	for i in "${pids[@]}"; do
		wait "$i"
	done
	cfscp -q "$P:t:/" out
	diff -r src1 out/one
	diff -r src2 out/two
	diff -r src3 out/three
	run -0 cfsck-heal check "$P"
	run -0 cfsck-heal scrub "$P"
}

@test "two copy into one directory at once" {
	local pids=() i

	mkdir src
	make_files 300 src/1 1
	mkdir src/2
	for i in src/1/*; do
		mv "$i" "src/2/other-${i##*-}"
	done
	make_files 300 src/3 5000
	cfscp -q src/2/. "$P:t:/dir" || cfscp -q -r src/2 "$P:t:/dir"
	cfscp -q src/3/file-000? "$P:t:/dir" &
	pids+=($!)
	cfscp -q src/3/file-001? "$P:t:/dir" &
	pids+=($!)
	for i in "${pids[@]}"; do
		wait "$i"
	done
	for i in src/3/file-000? src/3/file-001?; do
		cfscp -q "$P:t:/dir/${i##*/}" - | cmp - "$i"
	done
	run -0 cfsck-heal check "$P"
}

@test "bytes of files do not pass through the manager" {
	local before

	[ -z "${CFS_TEST_BESIDE-}" ] || skip "the manager is not ours"
	mkdir src
	for i in 1 2 3 4; do
		head -c 10M /dev/urandom >"src/$i"
	done
	before=$(read_by "$CFSD")
	cfscp -q src "$P:t:/src"
	[ $(($(read_by "$CFSD") - before)) -lt 4000000 ]
	cfscp -q "$P:t:/src" out
	diff -r src out
}

@test "one is killed while two copy: the other goes on, and all is whole" {
	local pid

	make_files 2000 src1 1
	make_files 500 src2 10000
	cfscp -q --mkdir "$P:t:/one"
	# Half of an archive: it is in the middle of it until it is killed.
	mkfifo pipe
	cfscp -q --extract - "$P:t:/one" <pipe &
	pid=$!
	exec 9>pipe
	tar -C src1 -c . | head -c 1M >&9
	cfscp -q src2 "$P:t:/two" 9>&- &
	sleep 0.1
	kill -9 "$pid"
	wait "$pid" || true
	exec 9>&-
	wait $!
	cfscp -q "$P:t:/two" out
	diff -r src2 out
	run -0 cfsck-heal check "$P"
	# What is there of the other is whole, and it can be done again.
	cfscp -q src1 "$P:t:/again"
	cfscp -q "$P:t:/again" out1
	diff -r src1 out1
	run -0 cfsck-heal check "$P"
	run -0 cfsck-heal scrub "$P"
}

@test "a snapshot is taken beside one who copies" {
	make_files 800 src 1
	cfscp -q src "$P:t:/a" &
	snapctl -q take "$P:t@s1"
	wait $!
	snapctl -q take "$P:t@s2"
	cfscp -q "$P:t@s2:/a" out
	diff -r src out
	run -0 cfsck-heal check "$P"
}
