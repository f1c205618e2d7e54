# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What the disk is given to write, for each byte: random blocks of 4 KiB, each
# made durable before the next, all over a volume of 16 GiB that is full; and
# 1 MiB at a time in order.  All that the disk under the directory gets is
# counted, so nothing else should be at work.

CASE_TITLE='Bytes to the disk for each byte that is written'
WEAR_MB=${WEAR_MB:-16384}
WEAR_ROUNDS=${WEAR_ROUNDS:-3}
WEAR_SECONDS=${WEAR_SECONDS:-20}
WEAR_SEQUENTIAL_SECONDS=${WEAR_SEQUENTIAL_SECONDS:-5}

# Sectors written to the disk so far.
wear_sectors()
{
	sync -f "$WORK"
	awk '{ print $7 }' "/sys/dev/block/$WEAR_DEV/stat"
}

# wear_one MEASURE SUBJECT ROUND BYTES COMMAND...: it prints how many writes.
wear_one()
{
	local measure=$1 subject=$2 round=$3 bytes=$4 before count

	shift 4
	! is_broken "$subject" || return 0
	before=$(wear_sectors)
	count=$("$@" 2>"$WORK/err" | jq .ops) && [ "${count:-0}" -gt 0 ] || {
		failed "$subject"
		return
	}
	sample "$measure" "$subject" "$round" "$(awk -v a="$before" \
		-v b="$(wear_sectors)" -v n="$count" -v s="$bytes" \
		'BEGIN { printf "%.3f", (b - a) * 512 / (n * s) }')"
}

wear_cfs()
{
	wear_one hot cfs "$1" 4096 cfs-bench sync "$WORK/pool" bench \
		"$WEAR_SECONDS" "$1"
	wear_one order cfs "$1" 1048576 load-bench "$WORK/pool" bench write \
		1048576 1 0 "$WEAR_SEQUENTIAL_SECONDS" "$1"
}

run_case()
{
	measure hot bytes/byte lower - \
		"4 KiB at random over $((WEAR_MB / 1024)) GiB, each durable"
	measure order bytes/byte lower - '1 MiB in order'
	aim hot cfs '<=' 8
	aim order cfs '<=' 1.05
	need cfs mkcfs cfs-bench load-bench jq || return 0
	need_space cfs $((WEAR_MB * 3 / 2 + 1024)) || return 0
	WEAR_DEV=$(mountpoint -d "$(findmnt -n -o TARGET -T "$WORK")")
	[ -e "/sys/dev/block/$WEAR_DEV/stat" ] || {
		skip cfs 'the kernel counts nothing of this disk'
		return 0
	}
	quietly dd if=/dev/zero of="$WORK/pool" bs=1M \
		count=$((WEAR_MB * 3 / 2)) oflag=direct conv=fsync &&
	quietly mkcfs -q -f "$WORK/pool" &&
	quietly mkcfs -q "$WORK/pool:bench" --lun "${WEAR_MB}M" &&
	quietly cfs-bench fill "$WORK/pool" bench 0 "$WEAR_MB" random || {
		failed cfs
		return
	}
	rounds "$WEAR_ROUNDS" wear_cfs
}
