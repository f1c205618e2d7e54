#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Tools that read and write the devices themselves beside a cfsd: the bytes do
# not pass through it, the others see them, and it can end at any time.

load helpers

setup() {
	cfs_setup
	make_pool "$P" 256M
	[ -n "${CFS_TEST_BESIDE-}" ] || serve_pool
	export CFS_IO=direct
}

end_manager() {
	# shellcheck disable=SC2153
	kill -"${1:-TERM}" "$CFSD"
	wait "$CFSD_TIMER" || true
	# shellcheck disable=SC2034
	CFSDS=()
}

# Bytes that process $1 has written to files, pipes and sockets.
written_by() {
	awk '$1 == "wchar:" { print $2 }' "/proc/$1/io"
}

# Bytes that it has read from them.
read_by() {
	awk '$1 == "rchar:" { print $2 }' "/proc/$1/io"
}

# Hundredths of a second that it has worked.
worked() {
	awk '{ print $14 + $15 }' "/proc/$1/stat"
}

@test "what is written directly is read forwarded, and the reverse" {
	pattern 5000 >src
	mkcfs -q "$P:a" --lun 32M
	mkcfs -q "$P:b" --lun 32M
	cfscp -q src "$P:a"
	CFS_IO=forwarded cfscp -q "$P:a" - | head -c 20480000 | cmp - src
	CFS_IO=forwarded cfscp -q src "$P:b"
	cfscp -q "$P:b" - | head -c 20480000 | cmp - src
	run -0 cfsck-heal check "$P"
	run -0 cfsck-heal scrub "$P"
	end_manager
	CFS_IO='' cfscp -q "$P:a" - | head -c 20480000 | cmp - src
	run -0 cfsck-heal check "$P"
}

@test "one LUN is piped into another" {
	head -c 48M /dev/urandom >src
	mkcfs -q "$P:a" --lun 48M
	mkcfs -q "$P:b" --lun 48M
	cfscp -q src "$P:a"
	cfscp -q "$P:a" - | cfscp -q - "$P:b"
	cfscp -q "$P:b" - | cmp - src
	run -0 cfsck-heal scrub "$P"
}

@test "bytes do not pass through the manager" {
	head -c 96M /dev/urandom >src
	mkcfs -q "$P:a" --lun 96M
	before_r=$(read_by "$CFSD")
	before_w=$(written_by "$CFSD")
	before_t=$(worked "$CFSD")
	cfscp -q src "$P:a"
	cfscp -q "$P:a" - | cmp - src
	passed_r=$(($(read_by "$CFSD") - before_r))
	passed_w=$(($(written_by "$CFSD") - before_w))
	echo "read $passed_r, written $passed_w, worked" \
		"$(($(worked "$CFSD") - before_t)) / 100 s"
	# Its own pages, in both directions, and the messages.
	[ "$passed_r" -lt 10000000 ]
	[ "$passed_w" -lt 10000000 ]
}

@test "snapshots are taken beside one who writes" {
	head -c 64M /dev/urandom >src
	mkcfs -q "$P:a" --lun 64M
	cfscp -q src "$P:a"
	cfscp -q src "$P:a" 3>&- &
	for i in 1 2 3; do
		snapctl take -q --wait 60 "$P:a@s$i"
	done
	wait "$!"
	for i in 1 2 3; do
		cfscp -q "$P:a@s$i" - | cmp - src
	done
}

@test "a snapshot does not wait for one who has just come" {
	mkcfs -q "$P:a" --lun 4M
	mkfifo pipe
	exec 7<>pipe
	for i in {1..12}; do
		cfscp -q - "$P:a" <pipe 2>/dev/null 3>&- 7>&- &
		pid=$!
		sleep "0.0$((i / 3))"
		timeout 60 snapctl take -q --wait 50 "$P:a@s$i"
		kill -TERM "$pid"
		wait "$pid" || true
	done
	exec 7>&-
}

@test "one who was killed leaves the LUN to the next at once" {
	mkcfs -q "$P:a" --lun 64M
	cfscp -q - "$P:a" < <(head -c 8M /dev/zero; sleep 20) 3>&- &
	pid=$!
	sleep 1
	kill -KILL "$pid"
	wait "$pid" || true
	head -c 64M /dev/urandom >src
	timeout 5 cfscp -q src "$P:a"
	cfscp -q "$P:a" - | cmp - src
	run -0 cfsck-heal check "$P"
	run -0 slicectl df --json "$P"
	[ "$(jq_output '.. | .frozen_slices? // empty' | sort -nr |
		head -n 1)" = 0 ]
}

@test "a manager that was killed is followed by another one" {
	head -c 64M /dev/urandom >src
	mkcfs -q "$P:a" --lun 64M
	(cat src; sleep 3; cat src) | cfscp -q - "$P:a" 3>&- 2>err &
	pid=$!
	sleep 1
	end_manager KILL
	serve_pool
	# It is longer than the LUN: it fails for that and nothing else.
	status=0
	wait "$pid" || status=$?
	[ "$status" != 0 ]
	cat err
	! grep -q "lease" err
	CFS_IO='' timeout 30 cfscp -q "$P:a" - | cmp - src
}

@test "the last blocks are found, and then there are none" {
	mkcfs -q --size 64M full.img
	serve_pool full.img
	mkcfs -q full.img:a --lun 80M
	head -c 80M /dev/urandom >src
	run -6 --separate-stderr cfscp -q src full.img:a
	[[ $stderr == *"no free slice in the pool"* ]]
	run slicectl df full.img
	[[ $output == *nearly_full* ]]
	run -0 cfsck-heal check full.img
	# What is there can be written over, and given up.
	head -c 1M /dev/urandom >small
	slicectl rm -q -y full.img:a
	mkcfs -q full.img:a --lun 1M
	cfscp -q small full.img:a
	cfscp -q full.img:a - | cmp - small
}

@test "a tree beside its manager" {
	mkcfs -q "$P:t" --tree
	unset CFS_IO
	pattern 10 >src
	cfscp -q src "$P:t:/file"
	cfscp -q "$P:t:/file" - | cmp - src
}

@test "a device that is added meanwhile is written to" {
	mkcfs -q "$P:big" --lun 400M
	mkfifo pipe
	cfscp -q - "$P:big" <pipe 3>&- &
	writer=$!
	exec 4>pipe
	head -c 60M /dev/urandom | tee part1 >&4
	truncate -s 512M second.img
	slicectl add -q "$P" second.img
	head -c 280M /dev/urandom | tee part2 >&4
	exec 4>&-
	wait "$writer"
	cat part1 part2 | cmp - <(cfscp -q --length 340M "$P:big" -)
	cfsck-heal check "$P"
}
