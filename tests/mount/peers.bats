#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What others wrote, on a mount: programs that look at every byte they get back.

load mount

# Or the test is left out.
need() {
	command -v "$1" >/dev/null || skip "no $1"
}

@test "git makes, clones and checks a repository" {
	need git
	mount_setup
	mount_at m1
	cd m1
	git init -q one
	cp -r "$CFS_SOURCE/man" "$CFS_SOURCE/libcore" one/
	cd one
	git add .
	git -c user.name=n -c user.email=e@x commit -q -m one
	seq 1000 >more
	git add more
	git -c user.name=n -c user.email=e@x commit -q -m two
	git gc -q
	cd ..
	git clone -q one two
	git -C two fsck --full
	[ "$(git -C two rev-parse HEAD)" = "$(git -C one rev-parse HEAD)" ]
	diff -r --exclude=.git one two
	cd ..
	unmount m1
	check_pool
}

@test "SQLite keeps its promises, in both journal modes, also when killed" {
	local mode kept

	need sqlite3
	mount_setup
	mount_at m1
	for mode in delete wal; do
		sqlite3 "m1/$mode.db" "PRAGMA journal_mode=$mode;
			CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT);" >/dev/null
		(
			# A commit by deleting the journal is a promise for
			# longer than the mount lives only with EXTRA.
			for i in {1..200}; do
				sqlite3 "m1/$mode.db" "PRAGMA synchronous=EXTRA;
					INSERT INTO t(b)
					VALUES(hex(randomblob(500)));" || exit
				echo "$i" >"$BATS_TEST_TMPDIR/$mode"
			done
		) 2>/dev/null 3>&- &
	done
	sleep 2
	kill -9 "$MOUNT_PID"
	wait
	umount -l m1
	mount_at m1
	for mode in delete wal; do
		[ "$(sqlite3 "m1/$mode.db" 'PRAGMA integrity_check;')" = ok ]
		kept=$(sqlite3 "m1/$mode.db" 'SELECT count(*) FROM t;')
		echo "$mode: $kept rows, $(cat "$mode") were promised"
		[ "$kept" -ge "$(cat "$mode")" ]
	done
	unmount m1
	check_pool
}

@test "two SQLites on two mounts do not overwrite each other" {
	need sqlite3
	mount_setup
	mount_at m1
	mount_at m2
	sqlite3 m1/a.db 'CREATE TABLE t(a);'
	for m in m1 m2; do
		(
			for i in {1..30}; do
				sqlite3 -cmd '.timeout 20000' "$m/a.db" \
					"INSERT INTO t VALUES('$m $i');" || exit 1
			done
		) 3>&- &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid"
	done
	[ "$(sqlite3 m1/a.db 'SELECT count(*) FROM t;')" = 60 ]
	[ "$(sqlite3 m2/a.db 'PRAGMA integrity_check;')" = ok ]
}

@test "fio verifies what it writes, buffered and direct" {
	local direct

	need fio
	mount_setup
	mount_at m1
	for direct in 0 1; do
		timeout 100 fio --name=v$direct --directory=m1 --size=24M \
			--rw=randwrite --bsrange=1k-64k --blockalign=4k \
			--direct=$direct --ioengine=psync --verify=xxhash \
			--do_verify=1 --fsync=50 --output=fio.log \
			--bs=4k --norandommap=0
		! grep -i 'verify.*fail\|bad header' fio.log
	done
	unmount m1
	check_pool
}

@test "cp -a and tar bring everything back" {
	# shellcheck source=tests/bats/cfscp.bash
	. "$BATS_TEST_DIRNAME/../bats/cfscp.bash"
	mount_setup
	mount_at m1
	make_nasty nasty
	cp -a nasty m1/copy
	same_tree nasty m1/copy
	tar --xattrs --acls -C m1/copy -cf - . | (mkdir m1/tar &&
		tar --xattrs --acls -C m1/tar -xf -)
	diff <(contents m1/copy) <(contents m1/tar)
	# The tree without the mount is the same.
	unmount m1
	cfscp -q "$P:t:/copy" back
	same_tree nasty back
	check_pool
}
