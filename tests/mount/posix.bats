#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What POSIX and Linux promise, on a mount that holds its pool, and on one that
# works beside the one who does.

load mount

# One program of tests/posix in m1; its lines say what failed.
try() {
	mkdir -p "m1/$1"
	chmod 777 "m1/$1"
	run timeout 200 "$POSIX/$1" "m1/$1"
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output != *"not ok"* ]]
}

try_all() {
	local program

	for program in names perms files xattrs locks dirs; do
		try "$program"
	done
}

@test "a mount that holds the pool does what POSIX says" {
	mount_setup
	mount_at m1
	try_all
	unmount m1
	check_pool
}

@test "a mount beside a cfsd does what POSIX says" {
	mount_setup
	serve_pool
	CFS_IO=direct mount_at m1
	try_all
	unmount m1
}

@test "a mount through a cfsd does what POSIX says" {
	mount_setup
	serve_pool
	CFS_IO=forwarded mount_at m1
	try_all
	unmount m1
}

@test "a mount without a cache does what POSIX says" {
	mount_setup
	mount_at m1 -o nocache
	try names
	try files
	try dirs
	unmount m1
}

@test "a file changed at random holds what it must" {
	local seed

	mount_setup
	mount_at m1
	for seed in 1 2 3; do
		timeout 100 "$POSIX/bytes" m1 "$seed" "${CFS_LONG:+2}3000"
	done
	unmount m1
	check_pool
}

@test "a tree changed at random holds what it must" {
	local seed

	mount_setup
	mount_at m1
	for seed in 1 2; do
		mkdir "m1/$seed"
		timeout 100 "$POSIX/tree" "m1/$seed" "$seed" \
			"${CFS_LONG:+1}1500" 4
	done
	unmount m1
	check_pool
}
