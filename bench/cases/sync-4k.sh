# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Random blocks of 4 KiB, each made durable before the next: what a guest's
# database does.  Everything is written in full before, so that raw and the
# peers have nothing to allocate; cfs has its pool once in a file that is
# written in full (as a device is) and once in a sparse one, where the host's
# file system allocates behind each sync.

# shellcheck source=bench/sync.sh
. bench/sync.sh
CASE_TITLE='4 KiB random writes, each made durable, queue depth 1'
# The pool has room for the volume and for what is not yet reused.
SYNC_POOL_MB=$((SYNC_MB * 5 / 2 + 512))

sync_loop()
{
	sync_peer 'loop device on raw' "$1" "$SYNC_LOOP"
}

sync_xfs()
{
	sync_peer 'xfs on a loop device' "$1" "$WORK/xfs/data"
}

sync_btrfs()
{
	sync_peer 'btrfs on a loop device' "$1" "$WORK/btrfs/data"
}

sync_cfs()
{
	sync_cfs_on 'cfs' "$1" "$WORK/pool"
}

sync_cfs_sparse()
{
	sync_cfs_on 'cfs, sparse pool file' "$1" "$WORK/pool-sparse"
}

# The kernel has no client here that all machines have: fio has one.
sync_qcow2()
{
	local subject='qcow2 (qemu-nbd, cache=none)'

	! is_broken "$subject" || return 0
	fio --name=sync --ioengine=nbd --rw=randwrite --bs=4k \
		--iodepth=1 --fsync=1 --time_based \
		--runtime="$SYNC_SECONDS" --randrepeat=0 \
		--uri="nbd+unix:///?socket=$WORK/nbd" \
		--output-format=json --output="$WORK/fio.json" \
		>/dev/null 2>"$WORK/err" || {
		failed "$subject"
		return
	}
	# It may say something before the JSON begins.
	sample rate "$subject" "$1" "$(sed -n '/^{/,$p' "$WORK/fio.json" |
		jq '.jobs[0].write.iops')"
}

prepare_pools()
{
	need cfs mkcfs cfscp cfs-bench || return
	# Zeroes are written, not left out: allocated is allocated.
	if quietly dd if=/dev/zero of="$WORK/pool" bs=1M \
		count="$SYNC_POOL_MB" oflag=direct conv=fsync &&
		quietly mkcfs -q "$WORK/pool"
	then
		! prepare_lun cfs "$WORK/pool" || functions+=(sync_cfs)
	else
		failed cfs
	fi
	if quietly mkcfs -q --size "${SYNC_POOL_MB}M" "$WORK/pool-sparse"; then
		! prepare_lun 'cfs, sparse pool file' "$WORK/pool-sparse" ||
			functions+=(sync_cfs_sparse)
	else
		failed 'cfs, sparse pool file'
	fi
}

run_case()
{
	local functions=(sync_raw)

	sync_measure
	aim rate cfs '>=' 0.95 "$SYNC_RAW"
	aim rate 'cfs, sparse pool file' '>=' 0.95 "$SYNC_RAW"
	need_space '(all)' $((SYNC_MB * 4 + SYNC_POOL_MB + SYNC_MB)) ||
		return 0
	make_data "$WORK/raw" "$SYNC_MB" || return
	prepare_pools
	if need_root 'loop device on raw'; then
		if loop_attach "$WORK/raw"; then
			SYNC_LOOP=$LOOP
			functions+=(sync_loop)
		else
			failed 'loop device on raw'
		fi
	fi
	! fill_fs xfs 'xfs on a loop device' "$SYNC_MB" ||
		functions+=(sync_xfs)
	! fill_fs btrfs 'btrfs on a loop device' "$SYNC_MB" ||
		functions+=(sync_btrfs)
	! serve_qcow2 'qcow2 (qemu-nbd, cache=none)' ||
		functions+=(sync_qcow2)
	drop_caches
	rounds "$SYNC_ROUNDS" "${functions[@]}"
}
