# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A container with 100,000 snapshots beside one that has next to none: a
# snapshot more of each, as a call in a process that has the pool open and as a
# command; all of them listed; all of them removed, when nothing is exclusive to
# any.

CASE_TITLE='100,000 snapshots in one container'
MANY_COUNT=${MANY_COUNT:-100000}
MANY_ROUNDS=${MANY_ROUNDS:-7}
# Each copies the pool first.
MANY_RM_ROUNDS=${MANY_RM_ROUNDS:-3}
MANY_CALLS=803
MANY_NONE='cfs, no snapshots'
MANY_ALL="cfs, $MANY_COUNT snapshots"

# many_fill POOL: all snapshots, by commands that take thousands.
many_fill()
{
	local i step=4000

	for ((i = 0; i < MANY_COUNT; i += step)); do
		# shellcheck disable=SC2046
		snapctl take -q $(seq -f "$1:v@n%08.0f" $((i + 1)) \
			$((i + step > MANY_COUNT ? MANY_COUNT : i + step))) \
			2>"$WORK/err" || return
	done
}

# many_take SUBJECT POOL ROUND
many_take()
{
	local out

	! is_broken "$1" || return 0
	out=$(timed snapctl take -q "$2:v@c$3" 2>"$WORK/err") || {
		failed "$1"
		return
	}
	sample command "$1" "$3" "$(field wall_ms <<<"$out")"
	out=$(cfs-bench many "$2" v "$MANY_CALLS" "r$3-" 2>"$WORK/err") || {
		failed "$1"
		return
	}
	sample call "$1" "$3" "$(jq '.last_us / 1000' <<<"$out")"
}

many_take_none()
{
	many_take "$MANY_NONE" "$WORK/none" "$1"
}

many_take_all()
{
	many_take "$MANY_ALL" "$WORK/all" "$1"
}

many_list()
{
	local out

	! is_broken "$MANY_ALL" || return 0
	out=$(timed snapctl ls "$WORK/all:v" 2>"$WORK/err") || {
		failed "$MANY_ALL"
		return
	}
	sample list "$MANY_ALL" "$1" "$(field wall_ms <<<"$out")"
}

many_remove()
{
	local out

	! is_broken "$MANY_ALL" || return 0
	[ "$1" -le "$MANY_RM_ROUNDS" ] || return 0
	quietly cp --sparse=always "$WORK/full" "$WORK/copy" &&
	sync -f "$WORK/copy" &&
	out=$(timed snapctl rm -q -y "$(printf '%s:v@n%08d..n%08d' \
		"$WORK/copy" 1 "$MANY_COUNT")" 2>"$WORK/err") || {
		failed "$MANY_ALL"
		return
	}
	rm -f "$WORK/copy"
	sample remove "$MANY_ALL" "$1" \
		"$(jq "$MANY_COUNT * 1000 / .wall_ms" <<<"$out")"
}

run_case()
{
	local subject=$MANY_ALL pool

	measure call ms lower "$MANY_NONE" 'a snapshot: time of a call, durable'
	measure command ms lower "$MANY_NONE" \
		'a snapshot: time of a command, durable'
	measure list ms lower - 'all listed, with the space of each: a command'
	measure remove 1/s higher - \
		'all removed, as a range: snapshots a second of a command'
	aim call "$subject" '<=' 1.3 "$MANY_NONE"
	aim command "$subject" '<=' 1.3 "$MANY_NONE"
	aim list "$subject" '<=' 1000
	aim remove "$subject" '>=' 50000
	need "$subject" mkcfs snapctl cfs-bench || return 0
	for pool in none all; do
		quietly mkcfs -q --size 2G "$WORK/$pool" &&
		quietly mkcfs -q "$WORK/$pool:v" --lun 64M || {
			failed "$subject"
			return
		}
	done
	many_fill "$WORK/all" || {
		failed "$subject"
		return
	}
	quietly cp --sparse=always "$WORK/all" "$WORK/full"
	rounds "$MANY_ROUNDS" many_take_none many_take_all many_list many_remove
}
