# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A mount against others of libfuse: passthrough_ll, its own example, which
# hands everything on to the ext4 (or what it is) of this directory, and
# fuse2fs, an ext4 in a file.  Small files are made, looked at, read and
# removed, by one process; cold is behind dropping the host's caches.  One large
# file is read and written with direct I/O; passthrough_ll cannot write so, and
# the host's own file system stands there.
#
# The kernel asks passthrough_ll five times for a file that is made: it checks no
# permissions (the directory's, anew behind each change of it) and has no
# extended attributes (the capabilities that a first write would take away).
# With -o default_permissions,xattr it is asked seven times, as a cfsmount is.

CASE_TITLE='A mount: small files, and direct I/O'
MOUNT_ROUNDS=${MOUNT_ROUNDS:-3}
MOUNT_FILES=${MOUNT_FILES:-4000}
MOUNT_BYTES=${MOUNT_BYTES:-4096}
MOUNT_MB=${MOUNT_MB:-256}
MOUNT_SECONDS=${MOUNT_SECONDS:-3}
MOUNT_PASS='passthrough_ll on the host'
MOUNT_FUSE2FS='fuse2fs'
MOUNT_HOST='the host itself'

mount_drop()
{
	sync
	echo 3 >/proc/sys/vm/drop_caches
}

# mount_phase SUBJECT ROUND ID DIR PHASE
mount_phase()
{
	local rate

	rate=$(mount-bench "$4" "$MOUNT_FILES" "$MOUNT_BYTES" "$5" \
		2>"$WORK/err") || {
		failed "$1"
		return 1
	}
	sample "$3" "$1" "$2" "${rate##* }"
}

# mount_fio SUBJECT ROUND ID DIR WAY BLOCK
mount_fio()
{
	local out

	out=$(fio --name=bench --filename="$4/large" --size="${MOUNT_MB}M" \
		--rw="$5" --bs="$6" --direct=1 --ioengine=psync \
		--time_based --runtime="$MOUNT_SECONDS" \
		--output-format=json 2>"$WORK/err") || {
		# passthrough_ll has no aligned buffers for such writes.
		[ "$1" = "$MOUNT_PASS" ] || failed "$1"
		return 0
	}
	sample "$3" "$1" "$2" \
		"$(jq '.jobs[0] | (.read.bw + .write.bw) / 1024' <<<"$out")"
}

# mount_round SUBJECT ROUND DIR
mount_round()
{
	! is_broken "$1" || return 0
	mount_phase "$1" "$2" create "$3" create || return 0
	mount_drop
	mount_phase "$1" "$2" stat-cold "$3" stat || return 0
	mount_phase "$1" "$2" stat-warm "$3" stat || return 0
	mount_drop
	mount_phase "$1" "$2" read "$3" read || return 0
	mount_phase "$1" "$2" delete "$3" delete || return 0
	mount_large "$@"
}

# The same file by another way, too: what the host itself reaches.
mount_large()
{
	[ -e "$3/large" ] || dd if=/dev/urandom of="$3/large" bs=1M \
		count="$MOUNT_MB" conv=fsync status=none 2>"$WORK/err" || {
		failed "$1"
		return
	}
	mount_fio "$1" "$2" seq-read "$3" read 1M || return 0
	mount_fio "$1" "$2" seq-write "$3" write 1M || return 0
	mount_fio "$1" "$2" rand-read "$3" randread 4k || return 0
	mount_fio "$1" "$2" rand-write "$3" randwrite 4k || return 0
}

mount_passthrough()
{
	mkdir "$WORK/host" "$WORK/pass"
	start_server passthrough_ll -f -o "source=$WORK/host" "$WORK/pass"
	later umount -l "$WORK/pass"
	wait_until 10 "mountpoint -q ${WORK@Q}/pass"
}

mount_fuse2fs()
{
	mkdir "$WORK/e2" &&
	truncate -s $((MOUNT_MB * 4))M "$WORK/e2.img" &&
	quietly mkfs.ext4 -q -N $((MOUNT_FILES * 2)) "$WORK/e2.img" || return 1
	start_server fuse2fs -f "$WORK/e2.img" "$WORK/e2"
	later umount -l "$WORK/e2"
	wait_until 10 "mountpoint -q ${WORK@Q}/e2"
}

mount_cfs()
{
	export CFS_RUN=$WORK/run
	mkdir "$WORK/cfs" &&
	quietly mkcfs -q --size $((MOUNT_MB * 4 + 1024))M "$WORK/pool" &&
	quietly mkcfs -q "$WORK/pool:t" --tree &&
	quietly cfsmount "$WORK/pool:t" "$WORK/cfs" &&
	later umount -l "$WORK/cfs"
}

mount_titles()
{
	local m

	measure create files/s higher "$MOUNT_PASS" \
		"$MOUNT_FILES files of $MOUNT_BYTES bytes made"
	measure stat-cold files/s higher "$MOUNT_PASS" 'looked at, cold'
	measure stat-warm files/s higher "$MOUNT_PASS" 'looked at, warm'
	measure read files/s higher "$MOUNT_PASS" 'read, cold'
	measure delete files/s higher "$MOUNT_PASS" 'removed'
	measure seq-read MB/s higher "$MOUNT_HOST" 'direct, 1 MiB reads'
	measure seq-write MB/s higher "$MOUNT_HOST" 'direct, 1 MiB writes'
	measure rand-read MB/s higher "$MOUNT_HOST" 'direct, 4 KiB random reads'
	measure rand-write MB/s higher "$MOUNT_HOST" \
		'direct, 4 KiB random writes'
	for m in create stat-cold stat-warm read delete; do
		aim $m cfs '>=' 1.3 "$MOUNT_PASS"
		aim $m cfs '>=' 2 "$MOUNT_FUSE2FS"
	done
	for m in seq-read rand-read; do
		aim $m cfs '>=' 0.9 "$MOUNT_PASS"
	done
	for m in seq-write rand-write; do
		aim $m cfs '>=' 0.9 "$MOUNT_HOST"
	done
}

run_case()
{
	local round subjects=(pass fuse2fs cfs) subject i

	mount_titles
	need_root cfs && need_space cfs $((MOUNT_MB * 4)) || return 0
	need cfs cfsmount mkcfs mount-bench fio || return 0
	need "$MOUNT_PASS" passthrough_ll && mount_passthrough ||
		failed "$MOUNT_PASS"
	need "$MOUNT_FUSE2FS" fuse2fs mkfs.ext4 && mount_fuse2fs ||
		failed "$MOUNT_FUSE2FS"
	mount_cfs || failed cfs
	for ((round = 1; round <= MOUNT_ROUNDS; round++)); do
		mount_large "$MOUNT_HOST" $round "$WORK/host"
		for ((i = 0; i < 3; i++)); do
			subject=${subjects[(i + round) % 3]}
			case $subject in
			pass) mount_round "$MOUNT_PASS" $round "$WORK/pass" ;;
			fuse2fs) mount_round "$MOUNT_FUSE2FS" $round \
				"$WORK/e2" ;;
			cfs) mount_round cfs $round "$WORK/cfs" ;;
			esac
		done
	done
	note "one process; $MOUNT_ROUNDS rounds; libfuse's example as Debian" \
		"ships it, built here"
}
