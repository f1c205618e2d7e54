#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What the bats files share.  A pool is a plain file of 64 MiB in the test's
# own directory, $P; the tools are in PATH (contrib/run-tests), or in
# build/bin when bats is called by hand.

bats_require_minimum_version 1.5.0

if ! command -v mkcfs >/dev/null || [ -z "${CFS_BUILD-}" ]; then
	CFS_SOURCE=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	CFS_BUILD=$CFS_SOURCE/build
	export CFS_SOURCE CFS_BUILD PATH="$CFS_BUILD/bin:$PATH"
fi
export LC_ALL=C.UTF-8
unset CFS_POOL CFS_SEARCH NO_COLOR

# In the test's directory, with no pool yet.
cfs_setup()
{
	cd "$BATS_TEST_TMPDIR" || return
	P=pool.img
}

# A pool of 64 MiB (or $2) in the file $1 (pool.img).  With CFS_TEST_BESIDE=1
# a cfsd holds it from then on, and what the tests do is done beside it.
make_pool()
{
	mkcfs -q --size "${2:-64M}" "${1:-$P}" || return
	[ -z "${CFS_TEST_BESIDE-}" ] || serve_pool "${1:-$P}"
}

# A cfsd holds the pool $1 ($P), and answers.  Its number is in $CFSD.  It ends
# when a test hangs, as late as a test may take (contrib/run-tests).
serve_pool()
{
	local log=$BATS_TEST_TMPDIR/cfsd.$RANDOM limit=300

	[ -z "${CFS_LONG-}" ] || limit=3000
	export CFS_RUN=$BATS_TEST_TMPDIR/run
	mkdir -p -m 700 "$CFS_RUN"
	timeout --foreground "$limit" cfsd "${1:-$P}" >"$log" 2>&1 3>&- &
	CFSD_TIMER=$!
	CFSDS+=("$CFSD_TIMER")
	for _ in {1..500}; do
		[ ! -s "$log" ] || break
		sleep 0.02
	done
	[ -s "$log" ]
	CFSD=$(pgrep -P "$CFSD_TIMER" -x cfsd)
}

# What makes no sense beside a cfsd, for the reason $1.
not_beside()
{
	[ -z "${CFS_TEST_BESIDE-}" ] || skip "beside a cfsd: $1"
}

# All of them end, cleanly.
release_pools()
{
	local pid

	for pid in ${CFSDS[@]+"${CFSDS[@]}"}; do
		kill -TERM "$pid" 2>/dev/null
		wait "$pid"
	done
	CFSDS=()
}

# Files that have a teardown of their own call release_pools in it.
teardown()
{
	release_pools
}

# A LUN $1 of $2 (16M), with $3 blocks of the pattern at its front; these are
# also in the file $1.src.
make_lun()
{
	if [ -n "${3-}" ]; then
		pattern "$3" "$1" >"$1.src"
		mkcfs -q "$P:$1" --lun "${2:-16M}" --from "$1.src"
	else
		mkcfs -q "$P:$1" --lun "${2:-16M}"
	fi
}

# $1 blocks of 4 KiB that say which they are, and of which seed ($2).
pattern()
{
	awk -v n="$1" -v seed="${2:-x}" 'BEGIN {
		for (i = 0; i < n; i++)
			printf "%-4095s\n", "block " i " of " seed " "
	}'
}

# Invert all bits of the byte at $2 of file $1.
flip_byte()
{
	local byte

	byte=$(od -An -tu1 -j "$2" -N 1 "$1")
	printf "\\x$(printf %02x $((byte ^ 255)))" |
		dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# Where block $1 of the pattern with the seed $2 stands in file $3 (the pool),
# in bytes: its first copy.
find_block()
{
	grep -obUa -m 1 "block $1 of $2 " "${3:-$P}" | head -n 1 | cut -d: -f1
}

# The document that was printed, as jq sees it.
jq_output()
{
	jq -r "$@" <<<"$output"
}

# A checksum, to see whether anything was written.
sum_of()
{
	sha256sum <"$1"
}

# $output, the last command's message on standard error, is exactly $1.
says()
{
	[ "$stderr" = "$1" ] && return
	echo "expected: $1"
	echo "     got: $stderr"
	return 1
}

# Tests that need a mount or a loop device are root's.
need_root()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
}

# Until $1 succeeds.
until_true()
{
	local i

	for ((i = 0; i < 600; i++)); do
		eval "$1" && return 0
		sleep 0.05
	done
	echo "not in thirty seconds: $1"
	return 1
}
