#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Bad days of a mount: kills, a full pool, damage, places that are in use.

load mount

@test "after kill -9 all that was fsynced is there" {
	local i n=0

	mount_setup
	mount_at m1
	for i in 1 2 3; do
		(
			for n in {1..2000}; do
				head -c 5000 /dev/zero | tr '\0' "$i" \
					>"m1/w$i-$n" || exit
				sync "m1/w$i-$n" || exit
				echo "$n" >"$BATS_TEST_TMPDIR/done-$i"
			done
		) 2>/dev/null 3>&- &
	done
	sleep 1.5
	kill -9 "$MOUNT_PID"
	wait
	umount -l m1
	check_pool
	mount_at m1
	for i in 1 2 3; do
		n=$(cat "done-$i")
		[ "$n" -gt 0 ]
		[ "$(tr -d "$i" <"m1/w$i-$n" | wc -c)" = 0 ]
		[ "$(stat -c %s "m1/w$i-$n")" = 5000 ]
		[ "$(stat -c %s "m1/w$i-1")" = 5000 ]
	done
	unmount m1
}

@test "what was written a while ago is there after kill -9, without fsync" {
	mount_setup
	mount_at m1
	echo quiet >m1/f
	sleep 2
	kill -9 "$MOUNT_PID"
	umount -l m1
	mount_at m1
	[ "$(cat m1/f)" = quiet ]
	unmount m1
}

@test "SIGTERM leaves nothing unsaved" {
	mount_setup
	mount_at m1
	head -c 3M /dev/urandom >m1/f
	cp m1/f f
	kill -TERM "$MOUNT_PID"
	wait_gone "$MOUNT_PID"
	! mountpoint -q m1
	cfscp -q "$P:t:/f" back
	cmp f back
	check_pool
}

@test "umount leaves nothing unsaved" {
	mount_setup
	mount_at m1
	head -c 3M /dev/urandom >m1/f
	cp m1/f f
	unmount m1
	cfscp -q "$P:t:/f" back
	cmp f back
}

@test "a full pool says so, and works again when something is removed" {
	mount_setup 96M
	mount_at m1
	echo kept >m1/kept
	run dd if=/dev/zero of=m1/big bs=1M count=200 conv=fsync
	[ "$status" -ne 0 ]
	[[ $output == *"No space left on device"* ]]
	[ "$(cat m1/kept)" = kept ]
	[ "$(stat -f -c %a m1)" -lt 3000 ]
	rm m1/big
	for _ in {1..50}; do
		[ "$(stat -f -c %a m1)" -lt 8000 ] || break
		sleep 0.1
	done
	dd if=/dev/zero of=m1/again bs=1M count=20 conv=fsync status=none
	unmount m1
	check_pool
}

@test "space that is added is there at once" {
	mount_setup 64M
	mount_at m1
	run ! dd if=/dev/zero of=m1/big bs=1M count=150 conv=fsync status=none
	timeout 60 slicectl add -q "$P" --size 256M more.img ||
		{ truncate -s 256M more.img
		  timeout 60 slicectl add -q "$P" more.img; }
	dd if=/dev/zero of=m1/big bs=1M count=150 conv=fsync status=none
	[ "$(stat -c %s m1/big)" = $((150 << 20)) ]
	unmount m1
}

@test "damage is an error of its range alone" {
	local at

	mount_setup
	pattern 256 x >src
	cfscp -q src "$P:t:/f"
	at=$(find_block 100 x)
	flip_byte "$P" $((at + 50))
	mount_at m1
	cmp -n $((100 * 4096)) src m1/f
	run dd if=m1/f of=/dev/null bs=4096 skip=100 count=1
	[ "$status" -ne 0 ]
	[[ $output == *"Input/output error"* ]]
	dd if=m1/f bs=4096 skip=101 count=155 status=none |
		cmp - <(tail -c +$((101 * 4096 + 1)) src)
	# What is written over it is good again.
	dd if=src of=m1/f bs=4096 skip=100 seek=100 count=1 conv=notrunc \
		status=none
	cmp src m1/f
	unmount m1
}

@test "a mount that is in use is not unmounted, and goes on" {
	mount_setup
	mount_at m1
	echo x >m1/f
	exec 5<m1/f
	run umount m1
	[ "$status" -ne 0 ]
	[[ $output == *busy* ]]
	[ "$(cat <&5)" = x ]
	umount -l m1
	[ "$(cat /dev/fd/5)" = x ]
	exec 5<&-
	wait_gone "$MOUNT_PID"
	check_pool
}

@test "what is mounted over a mount stays, and it ends all the same" {
	mount_setup
	mount_at m1
	echo kept >m1/f
	mount -t tmpfs none m1
	echo theirs >m1/g
	kill -TERM "$MOUNT_PID"
	wait_gone "$MOUNT_PID"
	[ "$(cat m1/g)" = theirs ]
	umount m1
	run ! cat m1/f
	[[ $output == *"not connected"* ]]
	umount m1
	check_pool
	mount_at m1
	[ "$(cat m1/f)" = kept ]
	unmount m1
}

@test "a mount whose directory was moved is unmounted where it is" {
	mount_setup
	mkdir a
	mount_at a/m1
	echo kept >a/m1/f
	mv a "b c"
	mkdir -p a/m1
	mount -t tmpfs none a/m1
	MOUNTED+=("$PWD/b c/m1")
	kill -TERM "$MOUNT_PID"
	wait_gone "$MOUNT_PID"
	! mountpoint -q "b c/m1"
	umount a/m1
	[ "$(cfscp -q "$P:t:/f" -)" = kept ]
	check_pool
}

@test "a mount that is gone from the names goes on, and ends by a signal" {
	mount_setup
	mount_at m1
	exec 5>m1/f
	umount -l m1
	rmdir m1
	echo one >&5
	sync /dev/fd/5
	kill -TERM "$MOUNT_PID"
	wait_gone "$MOUNT_PID"
	run ! bash -c 'echo two >&5'
	exec 5>&-
	[ "$(cfscp -q "$P:t:/f" -)" = one ]
	check_pool
}

@test "10,000 files are open at once" {
	mount_setup
	mount_at m1
	mkdir m1/d
	timeout 100 "$POSIX/many" m1/d 10000
	[ -z "$(ls -A m1/d)" ]
	# Nor does anything of them stay behind a kill.
	"$POSIX/many" m1/d 2000 wait >out 2>&1 3>&- &
	for _ in {1..600}; do
		[ ! -s out ] || break
		sleep 0.1
	done
	grep open out
	kill -9 "$MOUNT_PID"
	kill -9 $!
	wait
	umount -l m1
	check_pool
	mount_at m1
	[ "$(find m1/d -type f | wc -l)" = 1000 ]
	unmount m1
}

@test "the manager's mount ends, and the others go on" {
	mount_setup
	mount_at m1
	mount_at m2
	echo one >m2/f
	unmount m1
	echo two >>m2/f
	sleep 12	# a period of the leases
	echo three >>m2/f
	[ "$(wc -l <m2/f)" = 3 ]
	unmount m2
	check_pool
}

@test "handles of files stay good over a new mount" {
	local handle

	mount_setup
	mount_at m1
	mkdir m1/d
	echo bytes >m1/d/f
	handle=$(timeout 10 "$POSIX/handle" m1/d/f)
	unmount m1
	mount_at m1
	[ "$(timeout 10 "$POSIX/handle" m1 "$handle")" = bytes ]
	rm m1/d/f
	run ! timeout 10 "$POSIX/handle" m1 "$handle"
	[[ $output == *"Stale file handle"* ]]
	unmount m1
}

@test "so do those of a mount of the whole pool, also of directories" {
	local files dirs what handle i

	mount_setup
	mkcfs -q "$P:lun" --lun 8M
	mkcfs -q "$P:u" --tree
	snapctl take -q "$P:t@s0"
	snapctl take -q "$P:lun@s0"
	snapctl clone -q "$P:lun@s0" c0
	mkdir m1
	timeout 20 cfsmount "$P" m1
	MOUNTED+=("$PWD/m1")
	mkdir -p m1/t/d/e
	echo in-t >m1/t/d/e/f
	echo in-u >m1/u/f
	echo in-lun | dd of=m1/lun conv=notrunc,fsync status=none
	snapctl take -q "$P:t@s1"
	files=(t/d/e/f u/f lun .snapshots/t/s1/d/e/f .clones/lun/c0
		.snapshots/lun/s0)
	dirs=(t/d/e t u .snapshots/t .snapshots/t/s1/d .snapshots/t/s0 .clones
		.clones/lun .snapshots)
	for what in "${files[@]}" "${dirs[@]}"; do
		"$POSIX/handle" "m1/$what" >>handles
		[ -d "m1/$what" ] || head -c 100 "m1/$what" | md5sum >>sums
	done
	unmount m1
	# Others are opened first, and none by its name.
	timeout 20 cfsmount "$P" m1
	for i in "${!files[@]}"; do
		handle=$(sed -n "$((i + 1))p" handles)
		timeout 10 "$POSIX/handle" m1 "$handle" | head -c 100 | md5sum
	done >sums2
	diff sums sums2
	for ((i = ${#dirs[@]} - 1; i >= 0; i--)); do
		handle=$(sed -n "$((i + 1 + ${#files[@]}))p" handles)
		[ "$(timeout 10 "$POSIX/handle" m1 "$handle")" = \
			"$PWD/m1/${dirs[i]}" ]
	done
	# What nobody uses is closed, and opened by its handle.
	sleep 4
	[ "$(timeout 10 "$POSIX/handle" m1 "$(sed -n 2p handles)")" = in-u ]
	sleep 4
	timeout 10 slicectl rm -q --yes "$P:u"
	run ! timeout 10 "$POSIX/handle" m1 "$(sed -n 2p handles)"
	[[ $output == *"Stale file handle"* ]]
	unmount m1
	check_pool
}
