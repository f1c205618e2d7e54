# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Formatting at a size at which anything in proportion to it shows.  No host
# has such a disk: the device is simulated, in memory, by the library's own,
# which its tests crash and damage.  So it is the call that is measured, and
# it stands beside the same call for small devices; peers cannot format it.

CASE_TITLE='Format a simulated device of 1 PiB'
FORMAT_ROUNDS=${FORMAT_ROUNDS:-11}
# Calls in one process; the first warms it up and is left out.
FORMAT_CALLS=3

# format_simulated ROUND SUBJECT BYTES
format_simulated()
{
	local out i=0 line

	! is_broken "$2" || return 0
	out=$(cfs-bench format "$3" $((FORMAT_CALLS + 1)) 2>"$WORK/err") || {
		failed "$2"
		return
	}
	while read -r line; do
		i=$((i + 1))
		sample time "$2" "$1.$i" "$(field format_ms <<<"$line")"
		sample written "$2" "$1.$i" \
			"$(jq '.written_bytes / 1024' <<<"$line")"
	done < <(tail -n +2 <<<"$out")
}

format_10g()
{
	format_simulated "$1" 'cfs: 10 GiB' $((10 << 30))
}

format_1t()
{
	format_simulated "$1" 'cfs: 1 TiB' $((1 << 40))
}

format_1p()
{
	format_simulated "$1" 'cfs: 1 PiB' $((1 << 50))
}

run_case()
{
	need '(all)' cfs-bench || return
	measure time ms lower 'cfs: 10 GiB' 'time of the call'
	measure written KiB lower - 'given to the device'
	aim time 'cfs: 1 PiB' '<' 10
	aim written 'cfs: 1 PiB' '<' 1024
	rounds "$FORMAT_ROUNDS" format_10g format_1t format_1p
}
