# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# cfsck-heal check of a pool in which 100 GB are referenced, and a million
# blocks of them written at random: it reads metadata alone.  The blocks are
# zeros and are taken out of the file of the pool again, so that it needs little
# space.

CASE_TITLE='Check of a pool with 100 GB'
CHECK_MB=${CHECK_MB:-98304}
CHECK_STEP_MB=${CHECK_STEP_MB:-8192}
CHECK_BLOCKS=${CHECK_BLOCKS:-1000000}
CHECK_ROUNDS=${CHECK_ROUNDS:-3}

check_round()
{
	local out subject="cfs, $2"

	! is_broken "$subject" || return 0
	drop_caches
	out=$(timed cfsck-heal check "$WORK/pool" 2>"$WORK/err") || {
		failed "$subject"
		return
	}
	sample time "$subject" "$1" "$(jq '.wall_ms / 1000' <<<"$out")"
	sample memory "$subject" "$1" "$(field memory_mb <<<"$out")"
}

check_in_order()
{
	check_round "$1" 'written in order'
}

check_at_random()
{
	check_round "$1" "$CHECK_BLOCKS blocks at random"
}

run_case()
{
	local from

	measure time s lower - 'time of the command, cold'
	measure memory MB lower - 'memory'
	aim memory 'cfs, written in order' '<' 200
	aim memory "cfs, $CHECK_BLOCKS blocks at random" '<' 200
	need cfs mkcfs cfs-bench cfsck-heal fallocate jq || return 0
	need_space cfs $((CHECK_STEP_MB * 2 + 8192)) || return 0
	quietly mkcfs -q --size $((CHECK_MB * 21 / 20))M "$WORK/pool" &&
	quietly mkcfs -q "$WORK/pool:bench" --lun "${CHECK_MB}M" || {
		failed cfs
		return
	}
	for ((from = 0; from < CHECK_MB; from += CHECK_STEP_MB)); do
		quietly cfs-bench fill "$WORK/pool" bench $from \
			"$CHECK_STEP_MB" zeros &&
		quietly fallocate --dig-holes "$WORK/pool" || {
			failed cfs
			return
		}
	done
	rounds "$CHECK_ROUNDS" check_in_order
	quietly cfs-bench fragment "$WORK/pool" bench "$CHECK_BLOCKS" || {
		failed cfs
		return
	}
	rounds "$CHECK_ROUNDS" check_at_random
}
