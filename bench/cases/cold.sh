# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Random reads of 4 KiB, verified, of a volume whose checksums fit no cache: 64
# GiB, full.  Each has to read the block's tag as well.  The baseline reads the
# pool's own file, so that both go over the same part of the disk.

CASE_TITLE='Random reads of a volume that no cache knows'
COLD_MB=${COLD_MB:-65536}
COLD_ROUNDS=${COLD_ROUNDS:-3}
COLD_SECONDS=${COLD_SECONDS:-4}
COLD_RAW='raw (O_DIRECT)'

cold_raw()
{
	local depth rate

	for depth in 1 32; do
		drop_caches
		fio --name=cold --direct=1 --ioengine=io_uring \
			--filename="$WORK/pool" --size="${COLD_MB}M" \
			--rw=randread --bs=4096 --iodepth=$depth --time_based \
			--runtime="$COLD_SECONDS" --randseed="$1" \
			--norandommap --output-format=json \
			--output="$WORK/fio.json" >/dev/null 2>"$WORK/err" &&
		rate=$(sed -n '/^{/,$p' "$WORK/fio.json" |
			jq '.jobs[0].read.iops') || {
			failed "$COLD_RAW"
			return
		}
		sample "r$depth" "$COLD_RAW" "$1" "$rate"
	done
}

cold_cfs()
{
	local depth out

	! is_broken cfs || return 0
	for depth in 1 32; do
		drop_caches
		out=$(load-bench "$WORK/pool" bench randread 4096 $depth 0 \
			"$COLD_SECONDS" "$1" 2>"$WORK/err") || {
			failed cfs
			return
		}
		sample "r$depth" cfs "$1" "$(field ops_per_s <<<"$out")"
		sample memory "cfs, $depth at a time" "$1" \
			"$(field memory_mb <<<"$out")"
	done
}

run_case()
{
	measure r1 reads/s higher "$COLD_RAW" \
		'random reads of 4 KiB, one at a time'
	measure r32 reads/s higher "$COLD_RAW" \
		'random reads of 4 KiB, 32 at a time'
	measure memory MB lower - 'memory of the process'
	aim r1 cfs '>=' 0.5 "$COLD_RAW"
	aim r32 cfs '>=' 0.5 "$COLD_RAW"
	need '(all)' fio jq || return 0
	need cfs mkcfs cfs-bench load-bench || return 0
	need_space '(all)' $((COLD_MB + COLD_MB / 20 + 256)) || return 0
	quietly mkcfs -q --size $((COLD_MB + COLD_MB / 20 + 256))M "$WORK/pool" &&
	quietly mkcfs -q "$WORK/pool:bench" --lun "${COLD_MB}M" &&
	quietly cfs-bench fill "$WORK/pool" bench 0 "$COLD_MB" random || {
		failed cfs
		return
	}
	rounds "$COLD_ROUNDS" cold_raw cold_cfs
}
