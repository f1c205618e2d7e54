# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A directory of ten million files, by a process that has the pool open: what
# the first million takes and the last, and what they are looked up, listed and
# checked at.  The directory is in the order of hashes, so each new name goes
# anywhere: the pool's cache is set to 1 GiB, as somebody would who does this.

CASE_TITLE='A directory of ten million files'
BIG_COUNT=${BIG_COUNT:-10000000}
BIG_STEP=${BIG_STEP:-1000000}
BIG_LOOKS=${BIG_LOOKS:-20000}
BIG_POOL_MB=${BIG_POOL_MB:-16384}
BIG_CACHE=${BIG_CACHE:-1GiB}

big_fill()
{
	local line at

	while read -r line; do
		at=$(field count <<<"$line")
		sample create "cfs, up to $at" 1 \
			"$(field creates_per_s <<<"$line")"
	done < <(tree-bench fill "$WORK/pool" t "$BIG_COUNT" "$BIG_STEP" \
		2>"$WORK/err")
	[ "${at:-0}" = "$BIG_COUNT" ]
}

run_case()
{
	local out

	measure create files/s higher - 'empty files made, durable a million'
	measure look files/s higher - 'looked up at random, cold, with 1 GiB'
	measure walk names/s higher - 'listed'
	measure bytes bytes lower - 'space of a file, with its name, all copies'
	measure check s lower - 'cfsck-heal check of all'
	measure memory MB lower - 'memory of the check'
	need cfs mkcfs slicectl tree-bench cfsck-heal jq || return 0
	need_space cfs "$BIG_POOL_MB" || return 0
	quietly mkcfs -q --size "${BIG_POOL_MB}M" "$WORK/pool" &&
	quietly slicectl set -q "$WORK/pool" cache="$BIG_CACHE" &&
	quietly mkcfs -q "$WORK/pool:t" --tree &&
	big_fill || {
		failed cfs
		return
	}
	sample bytes cfs 1 "$(slicectl show --json "$WORK/pool" |
		jq ".pool.used_bytes / $BIG_COUNT")"
	drop_caches
	out=$(tree-bench look "$WORK/pool" t "$BIG_COUNT" "$BIG_LOOKS" 1 \
		2>"$WORK/err") &&
	sample look cfs 1 "$(field looks_per_s <<<"$out")" &&
	out=$(tree-bench walk "$WORK/pool" t 2>"$WORK/err") &&
	sample walk cfs 1 "$(field entries_per_s <<<"$out")" &&
	out=$(timed cfsck-heal check "$WORK/pool" 2>"$WORK/err") &&
	sample check cfs 1 "$(jq '.wall_ms / 1000' <<<"$out")" &&
	sample memory cfs 1 "$(field memory_mb <<<"$out")" || failed cfs
}
