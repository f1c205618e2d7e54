#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What is appended with direct I/O, by writes that the kernel sends in pieces.

load mount

# Append the file "long", of several pieces, to $1 by one write.
append_long()
{
	timeout 60 dd if=long of="$1" bs=8M iflag=fullblock \
		oflag=append,direct conv=notrunc status=none
}

@test "a long direct write is appended in its order" {
	mount_setup
	mount_at m1
	seq -w 1100000 | head -c 8388608 >long
	for _ in {1..6}; do
		append_long m1/f
		append_long m1/f
		cat long long | cmp - m1/f
		rm m1/f
	done
	unmount m1
	check_pool
}

@test "it is also behind what another mount has appended, or cut" {
	mount_setup
	mount_at m1
	mount_at m2
	seq -w 1100000 | head -c 8388608 >long
	append_long m1/f
	cat long >>m2/f
	append_long m1/f
	cat long long long | cmp - m2/f
	truncate -s 4096 m2/f
	append_long m1/f
	{ head -c 4096 long; cat long; } | cmp - m2/f
	unmount m1
	unmount m2
}
