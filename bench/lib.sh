# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What the cases share: names of results, rounds, file systems on loop devices,
# and the way back from all of that.  Sourced by bench/run.
#
# A case is a file bench/cases/NAME.sh that defines run_case.  It says what it
# measures (measure, aim), then samples.  What cannot run is skipped with its
# reason; the rest goes on.  Whatever a case makes lies in $WORK, and each loop
# device, mount and process is taken down after it, in reverse.

BENCH_DIR=${BENCH_DIR:-${TMPDIR:-/var/tmp}/cfs-bench}
MB=$((1024 * 1024))
WORK=
CASE_NAME=
SERVER_PID=
undo=()

# ------------------------------------------------------------------- results

record()
{
	local IFS=$'\t'

	echo "$*" >>"$TSV"
}

say()
{
	echo "bench: $*" >&2
}

# measure ID UNIT lower|higher BASELINE TITLE; BASELINE '-': there is none.
measure()
{
	record measure "$CASE_NAME" "$@"
}

# aim ID SUBJECT OP VALUE [OF]: the ratio of SUBJECT to OF, or its median.
aim()
{
	record aim "$CASE_NAME" "$1" "$2" "$3" "$4" "${5:--}"
}

# sample ID SUBJECT ROUND VALUE
sample()
{
	record sample "$CASE_NAME" "$@"
}

note()
{
	record note "$CASE_NAME" "$*"
}

# skip SUBJECT REASON
skip()
{
	record skip "$CASE_NAME" "$@"
	say "$CASE_NAME: $1: not run: $2"
}

# The last line that a command left in $WORK/err, for skip.
reason()
{
	local line

	line=$(grep -v '^[[:space:]]*$' "$WORK/err" 2>/dev/null | tail -n 1)
	echo "${line:-failed without a message}" | tr '\t' ' ' | cut -c 1-200
}

# Keep the errors of a command for reason.
quietly()
{
	"$@" >/dev/null 2>"$WORK/err"
}

field()
{
	jq -r ".$1"
}

# ---------------------------------------------------------- programs, machine

build_helpers()
{
	local cc=${CC:-gcc} program
	local flags=(-std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -O2 -g
		-Wall -Wextra -Ilibcore)

	for program in timed peer-bench etcd-bench mount-bench; do
		"$cc" "${flags[@]}" -o "$OUT/bin/$program" \
			"bench/$program.c" || return 1
	done
	for program in cfs-bench load-bench lease-bench direct-bench \
		tree-bench; do
		"$cc" "${flags[@]}" -pthread -o "$OUT/bin/$program" \
			"bench/$program.c" build/libcfs.a -Wl,--as-needed \
			-luring -lblkid -ljansson -ldl -lm \
			2>"$OUT/$program.log" && continue
		rm -f "$OUT/bin/$program"
		say "$program could not be built: build/bench/$program.log"
	done
	# With libnbd, if it is there.
	rm -f "$OUT/bin/nbd-bench"
	"$cc" "${flags[@]}" -o "$OUT/bin/nbd-bench" bench/nbd-bench.c -lnbd \
		2>/dev/null
	# An example of libfuse's, as its package brings it.
	rm -f "$OUT/bin/passthrough_ll"
	"$cc" -O2 -D_FILE_OFFSET_BITS=64 -DHAVE_UTIMENSAT=1 \
		-I/usr/include/fuse3 -o "$OUT/bin/passthrough_ll" \
		/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c \
		-lfuse3 -lpthread 2>/dev/null
	# With the peer's library, if it is there.
	rm -f "$OUT/bin/sanlock-bench"
	"$cc" "${flags[@]}" -o "$OUT/bin/sanlock-bench" \
		bench/sanlock-bench.c -lsanlock_client 2>/dev/null
	return 0
}

peers=(fio qemu-img qemu-nbd nbdkit nbdinfo tgtd mkfs.xfs mkfs.ext4 mkfs.btrfs etcd sanlock jq
	python3)

install_peers()
{
	local program missing=()

	for program in "${peers[@]}"; do
		command -v "$program" >/dev/null || missing+=("$program")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	[ "${BENCH_INSTALL:-yes}" = no ] || contrib/install-deps --bench ||
		say "missing, and left out: ${missing[*]}"
	# Without these there is nothing to work with, or to show.
	command -v jq >/dev/null && command -v python3 >/dev/null || {
		say 'jq and python3 are needed'
		return 1
	}
}

# need SUBJECT PROGRAM...: all are there, or SUBJECT is skipped.
need()
{
	local subject=$1 program
	shift

	for program; do
		command -v "$program" >/dev/null && continue
		case $program in
		mkcfs|snapctl|cfscp|cfsd|*-bench)
			skip "$subject" "$program is not built" ;;
		*)	skip "$subject" "$program is not installed" ;;
		esac
		return 1
	done
}

first_line()
{
	record version "$1" "$("${@:2}" 2>&1 | head -n 1 | tr '\t' ' ')"
}

record_machine()
{
	local model

	model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
	record info machine "$(nproc) cores, ${model:-unknown processor}," \
		"$(awk '/MemTotal/ { printf "%.0f GiB", $2 / 2 ^ 20 }' \
		/proc/meminfo)"
	mkdir -p "$BENCH_DIR" || exit 1
	record info directory "$BENCH_DIR," \
		"$(findmnt -n -o FSTYPE -T "$BENCH_DIR") on" \
		"$(findmnt -n -o SOURCE -T "$BENCH_DIR")"
	record info date "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
	record version kernel "$(uname -r)"
	record version cfs "$(git describe --always --dirty 2>/dev/null ||
		echo unknown)"
	! command -v mkcfs >/dev/null || first_line mkcfs mkcfs --version
	! command -v qemu-img >/dev/null ||
		first_line qemu-img qemu-img --version
	! command -v fio >/dev/null || first_line fio fio --version
	! command -v mkfs.xfs >/dev/null || first_line xfsprogs mkfs.xfs -V
	! command -v mkfs.ext4 >/dev/null ||
		first_line e2fsprogs mkfs.ext4 -V
	! command -v mkfs.btrfs >/dev/null ||
		first_line btrfs-progs mkfs.btrfs --version
	first_line coreutils dd --version
}

# Cores that others keep busy, seen while we do nothing for half a second.
other_load()
{
	local a b

	a=$(head -n 1 /proc/stat)
	sleep 0.5
	b=$(head -n 1 /proc/stat)
	echo "$a $b" | awk -v cores="$(nproc)" '{
		for (i = 2; i <= 9; i++) {
			all += $(i + 11) - $i
			if (i == 5 || i == 6)
				idle += $(i + 11) - $i
		}
		printf "%.2f", all ? cores * (all - idle) / all : 0
	}'
}

# --------------------------------------------------------- one case, and back

run_one()
{
	local begin=$SECONDS

	CASE_NAME=$1
	mkdir -p "$BENCH_DIR" &&
	WORK=$(mktemp -d "$BENCH_DIR/$1.XXXXXX") || exit 1
	later rm -rf "$WORK"
	# The case defines run_case; a file that cannot be read must not run
	# the one before it.
	unset -f run_case
	# shellcheck source=/dev/null
	. "bench/cases/$1.sh"
	record case "$1" "$CASE_TITLE"
	record load "$1" "$(other_load)"
	say "$1"
	run_case || skip "(rest)" "the case broke off"
	cleanup
	say "$1: $((SECONDS - begin)) s"
}

# later COMMAND...: to be done when the case is over, the last one first.
later()
{
	undo+=("$(printf '%q ' "$@")")
}

cleanup()
{
	local i

	for ((i = ${#undo[@]} - 1; i >= 0; i--)); do
		eval "${undo[i]}" >/dev/null 2>&1
	done
	undo=()
	[ -z "$WORK" ] || rmdir "$BENCH_DIR" 2>/dev/null
	WORK=
}

# Bash comes here when the command in front has ended, which at the terminal
# gets the signal as well.
interrupted()
{
	trap - INT TERM HUP
	say "stopped"
	exit "$1"
}

# A process that runs until the case is over; $SERVED_PID.
start_server()
{
	"$@" >"$WORK/server.log" 2>&1 </dev/null &
	SERVED_PID=$!
	later end_server "$SERVED_PID"
}

# sanlock's does not end while it has joined anything.
end_server()
{
	local i

	kill "$1"
	for ((i = 0; i < 200; i++)); do
		kill -0 "$1" || break
		sleep 0.1
	done
	kill -KILL "$1"
	wait "$1"
}

# wait_until SECONDS COMMAND: until it succeeds.
wait_until()
{
	local end=$((SECONDS + $1))

	until eval "$2" >/dev/null 2>"$WORK/err"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}

# serve_pool POOL: a cfsd holds it, and answers.
serve_pool()
{
	export CFS_RUN=$WORK/run
	start_server cfsd "$@"
	# That nobody manages the pool is an answer, too.
	wait_until 10 "grep -q 'served at' ${WORK@Q}/server.log"
}

# End what serve_pool began, where nothing was put off since.
unserve_pool()
{
	end_server "$SERVED_PID"
	unset 'undo[-1]'
} 2>/dev/null

stop_server()
{
	[ -n "$SERVER_PID" ] || return 0
	kill "$SERVER_PID" && wait "$SERVER_PID"
	SERVER_PID=
	return 0
}

need_root()
{
	[ "$(id -u)" = 0 ] && return
	skip "$1" "needs root for loop devices and mounts"
	return 1
}

# need_space SUBJECT MB: room in $BENCH_DIR, with some to spare.
need_space()
{
	local have

	have=$(df -P -m "$BENCH_DIR" | awk 'NR == 2 { print $4 }')
	[ "$have" -ge $(($2 + 2048)) ] && return
	skip "$1" "needs $(($2 + 2048)) MiB in $BENCH_DIR, which has $have"
	return 1
}

# loop_attach FILE: $LOOP is a loop device on it, with direct I/O.
loop_attach()
{
	LOOP=$(losetup --find --show --direct-io=on "$1" 2>"$WORK/err") ||
		return 1
	later losetup -d "$LOOP"
}

# make_fs xfs|btrfs MB: $MNT is such a file system, on a sparse file.
make_fs()
{
	MNT=$WORK/$1
	mkdir -p "$MNT"
	truncate -s "$2M" "$WORK/$1.img" && loop_attach "$WORK/$1.img" ||
		return 1
	case $1 in
	xfs) quietly mkfs.xfs -f -q -m reflink=1 "$LOOP" ;;
	btrfs) quietly mkfs.btrfs -f -q "$LOOP" ;;
	ext4) quietly mkfs.ext4 -F -q "$LOOP" ;;
	esac || return 1
	quietly mount -o noatime "$LOOP" "$MNT" || return 1
	later umount "$MNT"
}

# fill_fs xfs|btrfs SUBJECT MB: such a file system of MB and some, and in it as
# `data` what is in $WORK/raw.
fill_fs()
{
	need_root "$2" && need "$2" "mkfs.$1" || return
	make_fs "$1" $(($3 * 3 / 2 + 1024)) &&
	quietly dd if="$WORK/raw" of="$MNT/data" bs=1M iflag=direct \
		oflag=direct conv=fsync || {
		failed "$2"
		return 1
	}
}

# serve_qcow2 SUBJECT: $WORK/raw as qcow2, by qemu-nbd at $WORK/nbd.
serve_qcow2()
{
	need "$1" qemu-img qemu-nbd fio || return
	quietly qemu-img convert -q -f raw -O qcow2 -t none -T none \
		"$WORK/raw" "$WORK/qcow2" || {
		failed "$1"
		return 1
	}
	qemu-nbd --persistent --shared=0 -f qcow2 --cache=none --aio=threads \
		-k "$WORK/nbd" "$WORK/qcow2" 2>"$WORK/err" &
	SERVER_PID=$!
	later stop_server
	wait_until 5 "test -S ${WORK@Q}/nbd" || failed "$1"
}

# make_data FILE MB: written in full, and nothing that compresses.
make_data()
{
	quietly fio --name=data --filename="$1" --size="$2M" --rw=write \
		--bs=1M --ioengine=psync --direct=1 --refill_buffers \
		--end_fsync=1 --thread && return
	# No fio, or no direct I/O here.
	rm -f "$1"
	head -c $(($2 * MB)) /dev/urandom >"$1" && sync "$1"
}

drop_caches()
{
	sync
	[ ! -w /proc/sys/vm/drop_caches ] || echo 3 >/proc/sys/vm/drop_caches
}

# rounds COUNT SUBJECT...: functions, called with the number of the round; each
# round begins with another, so that none always follows the same one, and
# nothing that one has written is still on its way when the next begins.
rounds()
{
	local count=$1 r i n
	shift
	n=$#
	local functions=("$@")

	for ((r = 1; r <= count; r++)); do
		for ((i = 0; i < n; i++)); do
			sync
			"${functions[(i + r) % n]}" "$r"
		done
	done
}

# failed SUBJECT: it is skipped from now on; the first reason counts.
declare -A broken
failed()
{
	[ -n "${broken[$CASE_NAME/$1]:-}" ] || skip "$1" "$(reason)"
	broken[$CASE_NAME/$1]=yes
}

is_broken()
{
	[ -n "${broken[$CASE_NAME/$1]:-}" ]
}
