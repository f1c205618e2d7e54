# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A LUN over iSCSI: tgt with our backing store, as cfs-export runs it, against the
# same tgt on a raw file; qemu-img is the initiator.  CFS_ISCSI_STORE=mount
# measures it over a cfsmount.

CASE_TITLE='A LUN over iSCSI'
ISCSI_MB=${ISCSI_MB:-1024}
ISCSI_ROUNDS=${ISCSI_ROUNDS:-5}
ISCSI_PORT=${ISCSI_PORT:-23270}
ISCSI_RAW='raw: tgt on a file'

# What is measured: ID OPTIONS COUNT BYTES DEPTH STEP UNIT TITLE; a step of many
# blocks goes around the volume, and is as good as chance.  In order twice: what
# was written in order, and what then was written at random.
iscsi_measures=(
	'sr - 8000 131072 8 131072 MB/s 128 KiB reads in order, 8 at a time'
	'sw -w 8000 131072 8 131072 MB/s 128 KiB writes in order, 8 at a time, flushed in the end'
	'rr1 - 8000 4096 1 33591296 IOPS 4 KiB scattered reads, one at a time'
	'rr32 - 40000 4096 32 33591296 IOPS 4 KiB scattered reads, 32 at a time'
	'rw32 -w 40000 4096 32 33591296 IOPS 4 KiB scattered writes, 32 at a time, flushed in the end'
	'ar - 8000 131072 8 131072 MB/s 128 KiB reads in order of what was written at random, 8 at a time'
	'aw -w 8000 131072 8 131072 MB/s 128 KiB writes in order to what was written at random, 8 at a time, flushed in the end'
)

# iscsi_run SUBJECT ROUND TARGET
iscsi_run()
{
	local options=() out

	! is_broken "$1" || return 0
	[ "$OPTIONS" = - ] || options=(-w --flush-interval="$COUNT")
	# Another order in each round; in order, it would lead over the end.
	[ "$BYTES" != 4096 ] || options+=(-o $((4096 * $2)))
	sync
	echo 3 >/proc/sys/vm/drop_caches
	out=$(qemu-img bench -f raw -t none -c "$COUNT" -d "$DEPTH" \
		-s "$BYTES" -S "$STEP" "${options[@]}" \
		"iscsi://127.0.0.1:$ISCSI_PORT/$3/1" 2>"$WORK/err") || {
		failed "$1"
		return
	}
	sample "$ID" "$1" "$2" "$(sed -n 's/.* in \([0-9.]*\) sec.*/\1/p' \
		<<<"$out" | awk -v n="$COUNT" -v bytes="$BYTES" -v unit="$UNIT" \
		'{ printf "%.1f", unit == "IOPS" ? n / $1 : n * bytes / 1e6 / $1 }')"
}

iscsi_cfs()
{
	iscsi_run cfs "$1" "iqn.2026-11.io.cfs:$ISCSI_UUID:vm0"
}

iscsi_raw()
{
	iscsi_run "$ISCSI_RAW" "$1" iqn.2026-11.io.cfs:plain
}

iscsi_prepare()
{
	local tgt=(quietly tgtadm -C "$ISCSI_PORT" --lld iscsi)

	dd if=/dev/urandom of="$WORK/raw" bs=1M count="$ISCSI_MB" \
		oflag=direct status=none &&
	dd if=/dev/zero of="$WORK/pool" bs=1M count=$((2 * ISCSI_MB)) \
		oflag=direct status=none &&
	quietly mkcfs -q -y -f "$WORK/pool" &&
	quietly mkcfs -q "$WORK/pool:vm0" --lun "${ISCSI_MB}M" \
		--from "$WORK/raw" || return 1
	ISCSI_UUID=$(slicectl show --json "$WORK/pool" | jq -r .pool.uuid)
	start_server cfs-export iscsi "$WORK/pool" "127.0.0.1:$ISCSI_PORT"
	wait_until 20 "grep -q iscsi ${WORK@Q}/server.log" || return 1
	"${tgt[@]}" --mode target --op new --tid 99 \
		-T iqn.2026-11.io.cfs:plain &&
	"${tgt[@]}" --mode logicalunit --op new --tid 99 --lun 1 \
		-b "$WORK/raw" --bstype rdwr --bsoflags direct &&
	"${tgt[@]}" --mode target --op bind --tid 99 -I ALL
}

run_case()
{
	local line title

	for line in "${iscsi_measures[@]}"; do
		read -r ID OPTIONS COUNT BYTES DEPTH STEP UNIT title <<<"$line"
		measure "$ID" "$UNIT" higher "$ISCSI_RAW" "$title"
		aim "$ID" cfs '>=' 0.9 "$ISCSI_RAW"
	done
	need cfs mkcfs cfsmount tgtd tgtadm qemu-img || return 0
	need_root cfs && need_space cfs $((4 * ISCSI_MB)) || return 0
	export CFS_RUN=$WORK/run
	iscsi_prepare || {
		skip cfs "$(reason)"
		return 0
	}
	for line in "${iscsi_measures[@]}"; do
		read -r ID OPTIONS COUNT BYTES DEPTH STEP UNIT title <<<"$line"
		rounds "$ISCSI_ROUNDS" iscsi_cfs iscsi_raw
	done
}
