# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What the cases copy-in and copy-out share: an image of $SIZE_MB that does not
# compress, and a copy of it that is on disk when the clock stops.  Caches are
# dropped before each copy, and each writes to a file that was not there
# before.

SIZE_MB=${SIZE_MB:-4096}
COPY_ROUNDS=${COPY_ROUNDS:-3}

# copy_one SUBJECT ROUND WRITTEN COMMAND...: and an fsync of the file WRITTEN.
copy_one()
{
	local subject=$1 round=$2 written=$3 out
	shift 3

	drop_caches
	out=$(timed -f "$written" "$@" 2>"$WORK/err") || {
		failed "$subject"
		return 1
	}
	sample rate "$subject" "$round" "$(jq --argjson bytes \
		$((SIZE_MB * MB)) '$bytes / 1000 / .durable_ms' <<<"$out")"
}

copy_measure()
{
	measure rate MB/s higher 'raw: dd, direct' 'rate until it is on disk'
	aim rate 'cfs: cfscp' '>=' 0.85 'raw: dd, direct'
	need_space '(all)' $((SIZE_MB * 5)) || return
	make_data "$WORK/image" "$SIZE_MB"
}

# Fast and wrong is no result.
copy_verify()
{
	[ "$2" = "$COPY_ROUNDS" ] || return 0
	quietly cmp "$WORK/image" "$1" && return
	echo 'the copy differs from the image' >"$WORK/err"
	failed 'cfs: cfscp'
}
