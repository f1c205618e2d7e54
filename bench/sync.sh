# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What the cases sync-* share: random blocks of 4 KiB of a volume or file of
# $SYNC_MB that is full of data, each made durable before the next.  A round is
# as long as it takes cfs to go round its log three times and more, with what it
# folds then; in a shorter one most of that is reading what was never read.

SYNC_MB=${SYNC_MB:-4096}
SYNC_ROUNDS=${SYNC_ROUNDS:-5}
SYNC_SECONDS=${SYNC_SECONDS:-7}
SYNC_RAW='raw (O_DIRECT, fdatasync)'

sync_measure()
{
	measure rate 'writes/s' higher "$SYNC_RAW" \
		'durable writes a second'
	measure p99 us lower "$SYNC_RAW" \
		'latency, 99th percentile'
	measure longest us lower "$SYNC_RAW" \
		'latency, the longest of a round'
}

sync_row()
{
	sample rate "$1" "$2" "$(field ops_per_s <<<"$3")"
	sample p99 "$1" "$2" "$(field p99_us <<<"$3")"
	sample longest "$1" "$2" "$(field longest_us <<<"$3")"
}

# sync_peer SUBJECT ROUND FILE
sync_peer()
{
	local out

	! is_broken "$1" || return 0
	out=$(peer-bench sync "$3" "$SYNC_SECONDS" "$2" 2>"$WORK/err") || {
		failed "$1"
		return
	}
	sync_row "$1" "$2" "$out"
}

sync_raw()
{
	sync_peer "$SYNC_RAW" "$1" "$WORK/raw"
}

# sync_cfs_on SUBJECT ROUND POOL
sync_cfs_on()
{
	local out

	! is_broken "$1" || return 0
	out=$(cfs-bench sync "$3" bench "$SYNC_SECONDS" "$2" \
		2>"$WORK/err") || {
		failed "$1"
		return
	}
	sync_row "$1" "$2" "$out"
	sample rate "$1, with the close" "$2" \
		"$(field ops_per_s_with_close <<<"$out")"
}

# prepare_lun SUBJECT POOL: a volume in it, full of data.
prepare_lun()
{
	quietly mkcfs -q "$2:bench" --lun "${SYNC_MB}M" &&
	quietly cfscp -q "$WORK/raw" "$2:bench" || {
		failed "$1"
		return 1
	}
}
