#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What the files about exports share: an nbdkit with our plugin, and clients.

SERVERS=()

need_programs()
{
	local program

	for program; do
		command -v "$program" >/dev/null || skip "no $program"
	done
}

# Python's module of libnbd is Debian's: so is the python that has it.
nbdsh()
{
	PATH=/usr/bin:$PATH command nbdsh "$@"
}

# nbdkit with the plugin and "$@", at the socket $S; its number is in $NBDKIT.
start_nbd()
{
	S=$BATS_TEST_TMPDIR/s
	export CFS_RUN=${CFS_RUN-$BATS_TEST_TMPDIR/run}
	rm -f "$S" pid
	nbdkit -f -U "$S" -P "$PWD/pid" "${NBDKIT_OPTIONS[@]}" \
		"$CFS_BUILD/bin/nbdkit-cfs-plugin.so" "$@" 2>>log 3>&- &
	NBDKIT=$!
	SERVERS+=("$NBDKIT")
	for _ in {1..500}; do
		[ ! -s pid ] || return 0
		kill -0 "$NBDKIT" 2>/dev/null || break
		sleep 0.02
	done
	cat log
	return 1
}

# It ends, by TERM or the signal $1; its status is in $status.
end_nbd()
{
	kill -"${1:-TERM}" "$NBDKIT"
	# shellcheck disable=SC2034
	status=0
	wait "$NBDKIT" || status=$?
}

kill_servers()
{
	local pid

	for pid in "${SERVERS[@]}"; do
		kill -KILL "$pid" 2>/dev/null || continue
		wait "$pid" 2>/dev/null || true
	done
}

# The URI of export $1.
uri()
{
	echo "nbd+unix:///${1-}?socket=$S"
}

# Until $1 succeeds, at most ten seconds.
until_true()
{
	for _ in {1..500}; do
		! eval "$1" || return 0
		sleep 0.02
	done
	echo "not in ten seconds: $1"
	return 1
}
