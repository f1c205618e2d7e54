#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What a mount and the exports of a volume of 1 TiB take of memory when nobody
# uses them, behind a time when many did.

load mount
# shellcheck source=tests/bats/nbd.bash
. "$BATS_TEST_DIRNAME/../bats/nbd.bash"

# A pool with a LUN and a tree of 1 TiB; it has room for what is written.
setup() {
	[[ $CFS_BUILD != *san-* ]] || skip "a sanitizer has memory of its own"
	need_fuse
	cfs_setup
	MOUNTED=()
	export P CFS_RUN=$BATS_TEST_TMPDIR/run
	mkdir -p -m 700 "$CFS_RUN"
	mkcfs -q --size 64G "$P"
	mkcfs -q "$P:lun" --lun 1T
	mkcfs -q "$P:t" --tree
}

teardown() {
	local place

	[ -n "${CFS_RUN-}" ] || return 0
	[ -z "${EXPORT-}" ] || end_export
	kill_servers
	for place in ${MOUNTED[@]+"${MOUNTED[@]}"}; do
		! mountpoint -q "$place" || umount -l "$place"
	done
}

# What process $1 alone takes, and its part of what it shares, in KiB.
pss() {
	awk '$1 == "Pss:" { print $2 }' "/proc/$1/smaps_rollup"
}

# It ends its servers and mounts itself.
end_export() {
	kill -TERM "$EXPORT" && wait "$EXPORT"
	EXPORT=
}

# $2 blocks at random in all of file $1, one after the other; then as many are
# read.
use() {
	local how

	for how in randwrite randread; do
		timeout 100 fio --name=use --filename="$1" --rw=$how --bs=4k \
			--size=1T --io_size=$(($2 * 4))k --direct=1 \
			--ioengine=psync --random_generator=tausworthe64 \
			--norandommap --end_fsync=1 >fio.log || {
			cat fio.log
			return 1
		}
	done
}

# Process $1 comes to rest under 100 MB, and under what it took before, $2.
rests() {
	local now

	for _ in {1..150}; do
		now=$(pss "$1")
		[ "$now" -ge 100000 ] || [ "$now" -ge $(($2 - 3000)) ] ||
			return 0
		sleep 0.2
	done
	echo "$now KiB at rest, $2 before"
	return 1
}

@test "a mount comes to rest" {
	command -v fio >/dev/null || skip "no fio"
	mkdir m1
	timeout 20 cfsmount "$P" m1
	MOUNTED+=("$PWD/m1")
	pid=$(pid_of m1)
	[ "$(pss "$pid")" -lt 100000 ]
	use m1/lun 12000
	truncate -s 1T m1/t/f
	use m1/t/f 2000
	used=$(pss "$pid")
	rests "$pid" "$used"
	unmount m1
}

@test "an export over NBD comes to rest" {
	need_programs nbdkit fio
	NBDKIT_OPTIONS=()
	start_nbd "$P"
	[ "$(pss "$NBDKIT")" -lt 100000 ]
	timeout 100 fio --name=use --ioengine=nbd --uri="$(uri lun)" \
		--rw=randwrite --bs=4k --size=1T --io_size=120000k \
		--iodepth=4 --random_generator=tausworthe64 --norandommap \
		--end_fsync=1 >fio.log
	used=$(pss "$NBDKIT")
	rests "$NBDKIT" "$used"
	end_nbd
	[ "$status" = 0 ]
}

@test "an export over iSCSI comes to rest" {
	need_programs tgtd qemu-io
	port=$((20000 + (BASHPID % 1000) * 10))
	cfs-export iscsi "$P" "127.0.0.1:$port" >out 2>errors 3>&- &
	EXPORT=$!
	for _ in {1..400}; do
		[ ! -s out ] && kill -0 "$EXPORT" 2>/dev/null || break
		sleep 0.1
	done
	cat errors
	[ -s out ]
	url=iscsi://127.0.0.1:$port/$(cfs-export iscsi --list "$P" | cut -f1)/1
	commands=()
	for i in {1..2000}; do
		commands+=(-c "aio_write -q $((i * 37 % 2000 * 500))M 4k")
	done
	tgtd=$(pgrep -P "$EXPORT" tgtd)
	timeout 100 qemu-io -f raw -t none "${commands[@]}" -c flush "$url"
	used=$(pss "$tgtd")
	rests "$tgtd" "$used"
	end_export
}
