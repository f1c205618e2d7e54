#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Programs that others wrote to wear file systems out: stress-ng, dbench,
# bonnie++, and git with a repository that has grown over years.  A short taste
# of them in each run, all of it in the long one.

load mount

# Or the test is left out.
need() {
	command -v "$1" >/dev/null || skip "no $1"
}

# Each of the stressors "$@" for $SECONDS_EACH s with two workers, which look
# at what they get back; those that there are no more of in a later version
# are left out.  Not "io": it syncs whatever is mounted on this machine.
stress() {
	local s options

	mkdir -p m1/stress
	for s; do
		options=()
		case $s in
		hdd) options=(--hdd-bytes 16M) ;;
		fallocate) options=(--fallocate-bytes 16M) ;;
		iomix|readahead|revio|sync-file|msync)
			options=("--$s-bytes" 16M) ;;
		mmap) options=(--mmap-file --mmap-bytes 16M) ;;
		seek) options=(--seek-size 16M) ;;
		sendfile) options=(--sendfile-size 4M) ;;
		esac
		stress-ng --help | grep -q -- " --$s N" || continue
		echo "$s"
		timeout 120 stress-ng --temp-path m1/stress "--$s" 2 --verify \
			-t "$SECONDS_EACH" "${options[@]}" >stress.log 2>&1 ||
			{ cat stress.log; return 1; }
		! grep -i 'fail' stress.log
	done
	[ -z "$(ls -A m1/stress)" ]
}

@test "stress-ng's file-system stressors find nothing" {
	need stress-ng
	mount_setup 2G
	mount_at m1
	SECONDS_EACH=1
	stress rename link fpunch dentry fallocate hdd xattr
	[ -n "${CFS_LONG-}" ] || SECONDS_EACH=
	[ -z "$SECONDS_EACH" ] || SECONDS_EACH=3 stress access chattr chdir \
		chmod chown copy-file dentry dir dirdeep dirmany dnotify dup \
		fallocate fanotify fault fcntl fiemap file-ioctl filename \
		flock fpunch fsize fstat getdent handle hdd inode-flags \
		inotify iomix io-uring lease link locka lockf lockofd mknod \
		msync mmap open readahead rename revio seek sendfile splice \
		symlink sync-file touch utime verity xattr aio aiol
	unmount m1
	check_pool
}

@test "dbench on two mounts of one tree ends well" {
	need dbench
	mount_setup 1G
	mount_at m1
	mount_at m2
	for m in m1 m2; do
		mkdir "$m/$m"
		timeout 300 dbench -t "${CFS_LONG:+3}3" -D "$m/$m" 2 \
			>"dbench.$m" 2>&1 3>&- &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid" || { cat dbench.*; false; }
	done
	grep '^Throughput' dbench.*
	! grep -i 'fail\|error' dbench.*
	unmount m1
	unmount m2
	check_pool
}

@test "bonnie++ gets back what it wrote" {
	need bonnie++
	[ -n "${CFS_LONG-}" ] || skip "only in check-long"
	mount_setup 1G
	mount_at m1
	# Without the part that writes byte by byte, for minutes.
	run -0 timeout 600 bonnie++ -f -u root -d m1 -s 256M -r 128 -n 8
	[ -z "$(ls -A m1 | grep -i bonnie)" ]
	unmount m1
	check_pool
}

@test "git clones and checks its own history, also packed anew" {
	need git
	[ -n "${CFS_LONG-}" ] || skip "only in check-long"
	head=$(git -C "$CFS_SOURCE" rev-parse -q --verify HEAD) ||
		skip "these sources are no repository"
	mount_setup 1G
	mount_at m1
	git clone -q --no-local "$CFS_SOURCE" m1/one
	git clone -q --no-hardlinks m1/one m1/two
	git -C m1/two fsck --full --strict
	git -C m1/two repack -q -a -d -f
	git -C m1/two gc -q --prune=now
	unmount m1
	mount_at m1
	git -C m1/two fsck --full --strict
	[ "$(git -C m1/two rev-parse HEAD)" = "$head" ]
	[ -z "$(git -C m1/two status --porcelain)" ]
	git -C m1/one worktree add -q ../three HEAD
	diff -r --exclude=.git m1/two m1/three
	unmount m1
	check_pool
}
