#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# cfsmount on the command line: what it mounts, its options, how it ends.  What
# programs see on a mount is tried in tests/mount.

load helpers
load nbd

setup() {
	need_root
	[ -c /dev/fuse ] || skip "no /dev/fuse"
	cfs_setup
	export CFS_RUN=$BATS_TEST_TMPDIR/run
	mkdir -p -m 700 "$CFS_RUN"
	make_pool "$P" 256M
	mkcfs -q "$P:t" --tree
	mkdir m
}

teardown() {
	! mountpoint -q "$BATS_TEST_TMPDIR/m" ||
		umount -l "$BATS_TEST_TMPDIR/m"
	[ -z "${LOOP-}" ] || losetup -d "$LOOP"
	release_pools
}

# Unmount, and wait for the process.
unmount() {
	local pid

	pid=$(getfattr --absolute-names -n trusted.cfs.pid --only-values m)
	# A loop device lets go of its file in its own time, and others on this
	# machine look at mounts.
	until_true '! mountpoint -q m || umount m'
	for _ in {1..200}; do
		kill -0 "$pid" 2>/dev/null || return 0
		[ "$(ps -o stat= -p "$pid" | cut -c1)" != Z ] || return 0
		sleep 0.05
	done
	return 1
}

# Its process is killed; what it has not made durable is lost.
kill_mount() {
	local pid

	pid=$(getfattr --absolute-names -n trusted.cfs.pid --only-values m)
	kill -KILL "$pid"
	umount -l m
	for _ in {1..600}; do
		[[ $(ps -o stat= -p "$pid") == [!Z]* ]] || return 0
		sleep 0.05
	done
	return 1
}

@test "it returns when the mount works, and says nothing" {
	run --separate-stderr -0 timeout 10 cfsmount "$P:t" m
	[ "$output$stderr" = "" ]
	mountpoint -q m
	grep -q "^$P:t $PWD/m fuse.cfs " /proc/mounts
	echo x >m/f
	unmount
	run -0 cfscp "$P:t:/f" -
	[ "$output" = x ]
}

@test "what cannot be mounted is told, with its status" {
	run --separate-stderr -3 cfsmount "$P:absent" m
	[[ $stderr == "cfsmount: $P:absent: "* ]]
	run --separate-stderr -3 cfsmount "$P:t" nowhere
	[[ $stderr == "cfsmount: "*nowhere*"No such file or directory" ]]
	run -3 cfsmount absent.img:t m
	: >file
	run -1 cfsmount "$P:t" file
	run -3 cfsmount "$P:t@absent" m
	run -2 cfsmount "$P:t"
	run --separate-stderr -2 cfsmount -o nonsense "$P:t" m
	[[ $stderr == *"-o nonsense: unknown option"* ]]
	run -2 cfsmount -o snapdir=x "$P:t" m
	head -c 1M /dev/zero >zeroes
	run -8 cfsmount zeroes m
	! mountpoint -q m
}

@test "--foreground stays, and SIGTERM ends it with 0" {
	timeout 30 cfsmount --foreground "$P:t" m 3>&- &
	pid=$!
	for _ in {1..100}; do
		! mountpoint -q m || break
		sleep 0.05
	done
	echo x >m/f
	pkill -TERM -P $pid cfsmount
	wait $pid
	! mountpoint -q m
	run -0 cfscp "$P:t:/f" -
	[ "$output" = x ]
}

@test "ro refuses every change" {
	echo x >host
	cfscp -q host "$P:t:/f"
	cfsmount -o ro "$P:t" m
	[ "$(cat m/f)" = x ]
	run ! touch m/g
	[[ $output == *"Read-only file system"* ]]
	run ! rm m/f
	unmount
}

@test "a snapshot is mounted read-only" {
	echo old >host
	cfscp -q host "$P:t:/f"
	snapctl take -q "$P:t@s"
	echo new >host
	cfscp -q host "$P:t:/f"
	cfsmount "$P:t@s" m
	[ "$(cat m/f)" = old ]
	run ! touch m/g
	[[ $output == *"Read-only file system"* ]]
	[ ! -e m/.snapshots ]
	unmount
}

@test "snapshots are under .snapshots, listed or not" {
	cfsmount "$P:t" m
	echo old >m/f
	snapctl take -q "$P:t@a"
	echo new >m/f
	snapctl take -q "$P:t@b"
	[ "$(ls -A m)" = f ]
	[ "$(ls m/.snapshots | xargs)" = "a b" ]
	[ "$(cat m/.snapshots/a/f) $(cat m/.snapshots/b/f)" = "old new" ]
	run ! touch m/.snapshots/a/g
	[[ $output == *"Read-only file system"* ]]
	run ! mkdir m/.snapshots/c
	run ! ls m/.snapshots/absent
	[[ $output == *"No such file or directory"* ]]
	# Nobody is in it any more, so it can go.
	sleep 4
	snapctl rm -qy "$P:t@a"
	[ "$(ls m/.snapshots)" = b ]
	unmount
	cfsmount -o snapdir=visible "$P:t" m
	[ "$(ls -A m | xargs)" = ".snapshots f" ]
	unmount
	cfsmount -o snapdir=off "$P:t" m
	[ ! -e m/.snapshots ]
	mkdir m/.snapshots
	unmount
}

@test "a pool shows trees as directories and LUNs as files" {
	make_lun disk 16M 64
	snapctl take -q "$P:disk@s"
	snapctl clone -q "$P:disk@s" c1
	cfsmount "$P" m
	[ "$(ls m | xargs)" = "disk t" ]
	[ "$(stat -c %s m/disk)" = $((16 << 20)) ]
	cmp -n $((64 * 4096)) disk.src m/disk
	echo x >m/t/f
	[ "$(cat m/t/f)" = x ]
	cmp -n $((64 * 4096)) disk.src m/.snapshots/disk/s
	cmp -n $((64 * 4096)) disk.src m/.clones/disk/c1
	printf changed | dd of=m/disk conv=notrunc,fsync status=none
	[ "$(head -c 7 m/disk)" = changed ]
	[ "$(head -c 5 m/.clones/disk/c1)" = block ]
	run ! touch m/new
	mkcfs -q "$P:later" --tree
	[ -d m/later ]
	unmount
	[ "$(cfscp "$P:disk" - | head -c 7)" = changed ]
}

lun_used() {
	slicectl ls --json "$P" | jq '.volumes[] |
		select(.name == "disk").used_bytes'
}

@test "a loop device on a LUN takes a file system, and discards" {
	make_lun disk 64M
	cfsmount "$P" m
	LOOP=$(losetup -f --show m/disk) || skip "no loop devices"
	mkfs.ext4 -q "$LOOP"
	mkdir ext
	mount "$LOOP" ext
	head -c 20M /dev/urandom >ext/f
	sync ext/f
	# A client says at its next commit what it has taken.
	until_true '[ "$(lun_used)" -gt 20000000 ]'
	rm ext/f
	sync -f ext
	fstrim ext
	umount ext
	blockdev --flushbufs "$LOOP"
	until_true '[ "$(lun_used)" -lt 15000000 ]'
	e2fsck -fn "$LOOP"
	losetup -d "$LOOP"
	LOOP=
	unmount
}

# Of blocks it says no less than it has, and no more than its container.
@test "a LUN's new size is seen at once, and its blocks are told" {
	make_lun disk 16M 64
	cfsmount "$P" m
	exec 5<>m/disk
	blocks=$(stat -c %b m/disk)
	[ "$blocks" -ge 512 ]
	[ "$blocks" -lt 8192 ]
	slicectl resize -q "$P:disk" 32M
	[ "$(stat -c %s m/disk)" = $((32 << 20)) ]
	printf end | dd bs=1 seek=$(((32 << 20) - 3)) conv=notrunc \
		status=none of=/dev/fd/5
	[ "$(tail -c 3 m/disk)" = end ]
	exec 5>&-
	unmount
	make_lun other 16M
	cfsmount "$P" m
	LOOP=$(losetup -f --show m/other) || skip "no loop devices"
	slicectl resize -q "$P:other" 24M
	losetup -c "$LOOP"
	[ "$(blockdev --getsize64 "$LOOP")" = $((24 << 20)) ]
	losetup -d "$LOOP"
	LOOP=
	unmount
}

@test "a LUN alone is mounted on a file" {
	make_lun disk 16M 64
	: >file
	run -1 cfsmount "$P:disk" m
	cfsmount "$P:disk" file
	cmp -n $((64 * 4096)) disk.src file
	umount file
}

@test "mount and umount work by their helpers' names" {
	local name

	for name in mount umount; do
		ln -s "$(command -v cfsmount)" "$name.fuse.cfs"
	done
	./mount.fuse.cfs "$P:t" m -v -o rw,noauto,nofail,_netdev,x-a.b,noatime
	grep "^$P:t $PWD/m fuse.cfs " /proc/mounts
	echo x >m/f
	./umount.fuse.cfs m -v
	! mountpoint -q m
	run -0 --separate-stderr cfscp --wait 0 "$P:t:/f" -
	[ "$output" = x ]
	./mount.fuse.cfs "$P:t" m -f
	! mountpoint -q m
	run -32 ./umount.fuse.cfs m
}

@test "other tools work beside a mount" {
	cfsmount "$P:t" m
	echo x >m/f
	timeout 20 slicectl ls "$P"
	timeout 20 mkcfs -q "$P:other" --lun 8M
	timeout 20 snapctl take -q "$P:t@s"
	timeout 20 cfscp -q "$P:t:/f" out
	[ "$(cat out)" = x ]
	timeout 60 cfsck-heal scrub "$P"
	run -4 timeout 20 leasectl run "$P:t" --wait 0 -- true
	unmount
}

@test "statfs tells what the pool has, or the limit" {
	cfsmount "$P:t" m
	free=$(slicectl show --json "$P" | jq .pool.free_bytes)
	shown=$(($(stat -f -c '%a * %S' m)))
	[ "$((shown > free ? shown - free : free - shown))" -lt 4000000 ]
	unmount
	slicectl set -q "$P:t" limit=32M
	cfsmount "$P:t" m
	[ "$(($(stat -f -c '%b * %S' m)))" = $((32 << 20)) ]
	unmount
}

@test "a mount of a large volume takes little memory" {
	mkcfs -q --size 2T big.img
	mkcfs -q big.img:lun --lun 1T
	mkcfs -q big.img:tree --tree
	cfsmount big.img m
	truncate -s 1T m/tree/f
	echo x >m/tree/g
	dd if=/dev/zero of=m/lun bs=1M count=1 seek=900000 conv=notrunc status=none
	pid=$(getfattr --absolute-names -n trusted.cfs.pid --only-values m)
	rss=$(awk '$1 == "VmRSS:" { print $2 }' "/proc/$pid/status")
	[ "$rss" -lt 100000 ]
	unmount
}

# What was not synced is lost with its process: so what is there was durable.
@test "what syncfs is not told of, a sync of the mount point does" {
	mkcfs -q "$P:t0" --tree
	mkcfs -q "$P:t1" --tree
	make_lun disk 16M
	cfsmount "$P" m
	echo one >m/t0/a
	echo two >m/t1/b
	printf lun | dd of=m/disk conv=notrunc status=none
	sync m
	kill_mount
	[ "$(cfscp -q "$P:t0:/a" -)" = one ]
	[ "$(cfscp -q "$P:t1:/b" -)" = two ]
	[ "$(cfscp -q --length 3 "$P:disk" -)" = lun ]
	cfsmount "$P:t0" m
	mkdir m/d
	echo three >m/d/c
	echo four >m/a
	sync m/d
	kill_mount
	[ "$(cfscp -q "$P:t0:/d/c" -)" = three ]
	[ "$(cfscp -q "$P:t0:/a" -)" = four ]
}
