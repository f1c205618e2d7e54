#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The host's file system below a pool is full while a manager and its clients
# write: each is told so, nobody ends, nothing that was there is lost, and when
# there is room again the work goes on.

load helpers

setup() {
	cfs_setup
	unset CFS_TEST_BESIDE
	[ "$(id -u)" = 0 ] || skip "not root"
	mkdir mnt
	mount -t tmpfs -o size=60M tmpfs mnt || skip "no tmpfs here"
	P=$PWD/mnt/pool.img
}

teardown() {
	release_pools
	umount -l mnt
}

same() {
	cfscp --length 5M -q "$P:lun" - | cmp - small
	cfscp -q "$P:tree:/first" - | cmp - small
}

@test "a full host beside a manager: 6 for all, and then it goes on" {
	head -c 5M /dev/urandom >small
	head -c 120M /dev/urandom >large
	mkcfs -q --size 512M "$P"
	mkcfs -q "$P:lun" --lun 160M
	mkcfs -q "$P:tree" --tree
	serve_pool "$P"
	cfscp -q small "$P:lun"
	cfscp -q small "$P:tree:/first"
	run -6 --separate-stderr cfscp -q --offset 10M large "$P:lun"
	[[ $stderr == *": No space left on device"* ]]
	[ "$(wc -l <<<"$stderr")" = 1 ]
	run -6 --separate-stderr cfscp -q large "$P:tree:/second"
	[ "$(wc -l <<<"$stderr")" = 1 ]
	same
	kill -0 "$CFSD"
	mount -o remount,size=400M mnt
	cfscp -q large "$P:tree:/second"
	cfscp -q --offset 10M large "$P:lun"
	cfscp -q "$P:tree:/second" - | cmp - large
	cfscp -q --offset 10M --length 120M "$P:lun" - | cmp - large
	same
	kill -0 "$CFSD"
	cfsck-heal check "$P"
	cfsck-heal scrub -q "$P"
}
