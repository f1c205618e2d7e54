# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A LUN that is written and read in order beside a cfsd, directly, against the
# same by the process that holds the pool itself; what that costs the manager;
# and many small files.  Both use the same volumes of the same pool, in turn, and
# what is read was written once: where it lies on the disk makes a difference of
# a third here.

CASE_TITLE='Direct access beside a manager, and alone'
DIRECT_MB=${DIRECT_MB:-512}
DIRECT_POOL_MB=${DIRECT_POOL_MB:-16384}
DIRECT_SECONDS=${DIRECT_SECONDS:-5}
DIRECT_ROUNDS=${DIRECT_ROUNDS:-7}
DIRECT_FILES=${DIRECT_FILES:-4000}
DIRECT_DIES_MB=${DIRECT_DIES_MB:-128}
DIRECT_ALONE='raw: cfs, by the process that holds the pool'

# direct_alone WAY ROUND
direct_alone()
{
	local out

	! is_broken cfs || return 0
	out=$(direct-bench stream "$WORK/pool" "$1" "$DIRECT_SECONDS" "$1" 0 \
		2>"$WORK/err") || {
		failed "$DIRECT_ALONE"
		return
	}
	sample "$1" "$DIRECT_ALONE" "$2" "$(field mb_per_s <<<"$out")"
}

# direct_beside WAY ROUND
direct_beside()
{
	local out

	! is_broken cfs || return 0
	out=$(direct-bench stream "$WORK/pool" "$1" "$DIRECT_SECONDS" "$1" \
		"$SERVED_PID" 2>"$WORK/err") || {
		failed cfs
		return
	}
	sample "$1" cfs "$2" "$(field mb_per_s <<<"$out")"
	sample messages "cfs: $1" "$2" "$(field messages_per_64mb <<<"$out")"
	sample cpu "cfs: $1" "$2" "$(field cpu_percent <<<"$out")"
}

received()
{
	direct-bench counters "$WORK/pool" | field received_messages
}

# copy_counted FROM TO: a directory into a new one; how many messages that took.
# One of them is our own question's, with its hello: two.
copy_counted()
{
	local before

	before=$(received)
	CFS_IO=direct quietly cfscp -q "$1" "$WORK/pool:home:$2" || return
	echo $(($(received) - before - 2))
}

# A tool that connects, opens and closes says as much for one file as for many.
direct_files()
{
	local one all

	! is_broken 'cfs: files' || return 0
	one=$(copy_counted "$WORK/one" "/one$1") &&
	all=$(copy_counted "$WORK/files" "/r$1") || {
		failed 'cfs: files'
		return
	}
	sample one 'cfs: files' "$1" "$one"
	sample files 'cfs: files' "$1" "$(awk -v n=$((all - one)) \
		-v files=$((DIRECT_FILES - 1)) \
		'BEGIN { printf "%.3f", n * 1000 / files }')"
}

# event_ns NAME: when the first of them was, in nanoseconds.
event_ns()
{
	date -d "$(jq -r "select(.event == \"$1\").at" "$WORK/events" |
		head -n 1)" +%s%N
}

# What a client had synced and not returned, from the moment that the manager
# knows of its death until it has all of it.
direct_recovery()
{
	local watch

	! is_broken 'cfs: recovery' || return 0
	leasectl watch --json-lines "$WORK/pool" >"$WORK/events" \
		2>/dev/null &
	watch=$!
	sleep 0.5
	direct-bench die "$WORK/pool" write "$DIRECT_DIES_MB" \
		>/dev/null 2>"$WORK/err"
	if wait_until 40 "grep -q '\"sealed\"' $WORK/events"; then
		sample recovery 'cfs: recovery' "$1" "$(awk \
			-v ns=$(($(event_ns sealed) - $(event_ns gone))) \
			-v mb="$DIRECT_DIES_MB" \
			'BEGIN { print mb * 1.048576 / (ns / 1e9) }')"
	else
		failed 'cfs: recovery'
	fi
	kill "$watch"
	wait "$watch"
} 2>/dev/null

# direct_served ROUND STEP...: each is called with the round behind it.
direct_served()
{
	local round=$1 step

	shift
	serve_pool "$WORK/pool" || {
		failed cfs
		return
	}
	for step; do
		# A step and its argument, which have no blanks in them.
		# shellcheck disable=SC2086
		$step "$round"
	done
	unserve_pool
}

read_alone()
{
	direct_alone read "$1"
}

read_beside()
{
	direct_served "$1" 'direct_beside read'
}

write_alone()
{
	direct_alone write "$1"
}

write_beside()
{
	direct_served "$1" 'direct_beside write' direct_files direct_recovery
}

run_case()
{
	local i

	measure write MB/s higher "$DIRECT_ALONE" 'written in order'
	measure read MB/s higher "$DIRECT_ALONE" 'read in order'
	measure messages messages lower - 'messages to the manager per 64 MB'
	measure cpu % lower - 'processor time of the manager, of one core'
	measure files messages lower - \
		'messages to the manager per 1,000 files that are created'
	measure one messages lower - \
		'messages to the manager of a tool that creates one'
	measure recovery MB/s higher - \
		'recovery of what a dead client had synced'
	aim recovery 'cfs: recovery' '>=' 500
	aim write cfs '>=' 0.95 "$DIRECT_ALONE"
	aim read cfs '>=' 0.95 "$DIRECT_ALONE"
	for i in read write; do
		aim messages "cfs: $i" '<=' 1
		aim cpu "cfs: $i" '<' 2
	done
	aim files 'cfs: files' '<=' 1
	export CFS_RUN=$WORK/run
	need cfs mkcfs cfsd cfscp direct-bench || return 0
	need_space '(all)' $((DIRECT_MB * 12)) || return 0
	quietly mkcfs -q --size "${DIRECT_POOL_MB}M" "$WORK/pool" &&
	quietly mkcfs -q "$WORK/pool:write" --lun "${DIRECT_MB}M" &&
	quietly mkcfs -q "$WORK/pool:read" --lun "${DIRECT_MB}M" &&
	quietly direct-bench stream "$WORK/pool" read 2 write 0 || {
		failed cfs
		return
	}
	mkdir "$WORK/files" "$WORK/one" && echo 1 >"$WORK/one/f" &&
	quietly mkcfs -q "$WORK/pool:home" --tree || return
	for ((i = 0; i < DIRECT_FILES; i++)); do
		echo "$i" >"$WORK/files/f$i"
	done
	# All reads come first: for some seconds the disk still works on what
	# was written, and the faster of the writers left it more of that.
	rounds "$DIRECT_ROUNDS" read_alone read_beside
	rounds "$DIRECT_ROUNDS" write_alone write_beside
}
