# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A LUN over NBD, on one Unix socket: nbdkit with our plugin, against its file
# plugin and qemu-nbd on a raw file of the same size on the same disk, and its
# null plugin, which is what the protocol costs.  Servers are started anew for
# each figure, and the page cache is dropped: all is cold.  Then the first
# writes after a snapshot, against qcow2 with an internal one.

CASE_TITLE='A LUN over NBD'
NBD_MB=${NBD_MB:-2048}
NBD_SECONDS=${NBD_SECONDS:-3}
NBD_ROUNDS=${NBD_ROUNDS:-5}
NBD_FILE='raw: nbdkit file'
NBD_NULL='nbdkit null'
NBD_QEMU='qemu-nbd, raw'
NBD_QCOW2='qemu-nbd, qcow2'

# What is measured: ID WAY BYTES DEPTH UNIT TITLE.  In order twice: what was
# written in order, and what then was written at random.
nbd_measures=(
	'sr read 131072 8 MB/s 128 KiB reads in order, 8 at a time'
	'sw write 131072 8 MB/s 128 KiB writes in order, 8 at a time, flushed in the end'
	'rr1 randread 4096 1 IOPS 4 KiB random reads, one at a time'
	'rr32 randread 4096 32 IOPS 4 KiB random reads, 32 at a time'
	'rw32 randwrite 4096 32 IOPS 4 KiB random writes, 32 at a time, flushed in the end'
	'ar read 131072 8 MB/s 128 KiB reads in order of what was written at random, 8 at a time'
	'aw write 131072 8 MB/s 128 KiB writes in order to what was written at random, 8 at a time, flushed in the end'
	'dw1 durable 4096 1 IOPS 4 KiB random writes, each flushed'
)

# nbd_run SUBJECT ROUND EXPORT SERVER...: what $ID and its like say.
nbd_run()
{
	local subject=$1 round=$2 out key=mb_per_s
	local uri="nbd+unix:///$3?socket=$WORK/s"
	shift 3

	! is_broken "$subject" || return 0
	rm -f "$WORK/s"
	sync
	echo 3 >/proc/sys/vm/drop_caches
	"$@" >"$WORK/server.log" 2>"$WORK/err" </dev/null &
	SERVER_PID=$!
	[ "$UNIT" != IOPS ] || key=iops
	# The seed: another one in each round, the same for all.
	if wait_until 10 "nbdinfo --size ${uri@Q}" &&
		out=$(nbd-bench "$uri" "$WAY" "$BYTES" "$DEPTH" \
			"$NBD_SECONDS" "$round" 2>"$WORK/err")
	then
		sample "$ID" "$subject" "$round" "$(field $key <<<"$out")"
	else
		failed "$subject"
	fi
	stop_server
} 2>/dev/null

nbd_cfs()
{
	nbd_run cfs "$1" vm0 nbdkit -f -U "$WORK/s" \
		"$BIN/nbdkit-cfs-plugin.so" pool="$WORK/pool"
}

nbd_file()
{
	nbd_run "$NBD_FILE" "$1" '' nbdkit -f -U "$WORK/s" file "$WORK/raw"
}

nbd_null()
{
	nbd_run "$NBD_NULL" "$1" '' nbdkit -f -U "$WORK/s" null "${NBD_MB}M"
}

nbd_qemu()
{
	nbd_run "$NBD_QEMU" "$1" x qemu-nbd -k "$WORK/s" -f raw \
		--cache=none -t -x x "$WORK/raw"
}

# First writes after a snapshot of this round.
nbd_cfs_snapshot()
{
	! is_broken cfs || return 0
	quietly snapctl take -q "$WORK/pool:vm0@$ID-$1" || failed cfs
	nbd_cfs "$1"
}

nbd_qcow2_snapshot()
{
	! is_broken "$NBD_QCOW2" || return 0
	quietly qemu-img snapshot -c "$ID-$1" "$WORK/qcow2" ||
		failed "$NBD_QCOW2"
	nbd_run "$NBD_QCOW2" "$1" x qemu-nbd -k "$WORK/s" -f qcow2 \
		--cache=none -t -x x "$WORK/qcow2"
}

# A pool that is written in full, as the raw file is.
nbd_prepare()
{
	dd if=/dev/urandom of="$WORK/raw" bs=1M count="$NBD_MB" oflag=direct \
		status=none &&
	dd if=/dev/zero of="$WORK/pool" bs=1M count=$((3 * NBD_MB)) \
		oflag=direct status=none &&
	quietly mkcfs -q -y -f "$WORK/pool" &&
	quietly mkcfs -q "$WORK/pool:vm0" --lun "${NBD_MB}M" \
		--from "$WORK/raw" || return 1
	# The rest is left out if this cannot be had.
	quietly qemu-img convert -f raw -O qcow2 "$WORK/raw" "$WORK/qcow2" ||
		failed "$NBD_QCOW2"
}

run_case()
{
	local line title

	for line in "${nbd_measures[@]}"; do
		read -r ID WAY BYTES DEPTH UNIT title <<<"$line"
		measure "$ID" "$UNIT" higher "$NBD_FILE" "$title"
		if [ "$ID" = dw1 ]; then
			aim dw1 cfs '>=' 1.0 "$NBD_FILE"
			aim dw1 cfs '>=' 1.2 "$NBD_QEMU"
		else
			aim "$ID" cfs '>=' 0.9 "$NBD_FILE"
			aim "$ID" cfs '>=' 1.3 "$NBD_QEMU"
		fi
	done
	measure s1 IOPS higher "$NBD_QCOW2" \
		'4 KiB random writes, each flushed, after a snapshot'
	measure s32 IOPS higher "$NBD_QCOW2" \
		'4 KiB random writes, 32 at a time, after a snapshot'
	aim s1 cfs '>=' 4 "$NBD_QCOW2"
	aim s32 cfs '>=' 15 "$NBD_QCOW2"

	need cfs mkcfs nbdkit nbd-bench nbdinfo || return 0
	need "$NBD_QEMU" qemu-nbd qemu-img ||
		broken[$CASE_NAME/$NBD_QEMU]=yes
	[ -e "$BIN/nbdkit-cfs-plugin.so" ] || {
		skip cfs 'the plugin is not built'
		return 0
	}
	need_root cfs && need_space cfs $((6 * NBD_MB)) || return 0
	export CFS_RUN=$WORK/run
	nbd_prepare || {
		skip cfs "$(reason)"
		return 0
	}
	for line in "${nbd_measures[@]}"; do
		read -r ID WAY BYTES DEPTH UNIT title <<<"$line"
		rounds "$NBD_ROUNDS" nbd_cfs nbd_file nbd_null nbd_qemu
	done
	BYTES=4096 UNIT=IOPS
	ID=s1 WAY=durable DEPTH=1
	rounds "$NBD_ROUNDS" nbd_cfs_snapshot nbd_qcow2_snapshot
	ID=s32 WAY=randwrite DEPTH=32
	rounds "$NBD_ROUNDS" nbd_cfs_snapshot nbd_qcow2_snapshot
}
