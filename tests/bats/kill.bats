#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Tools killed with SIGKILL at any moment: the next one starts at once, the
# pool is whole, and what is there is old or new, never a mixture.

load helpers

ROUNDS=${ROUNDS:-15}
[ -z "${CFS_LONG-}" ] || ROUNDS=200

setup() {
	cfs_setup
	make_pool
	RANDOM=${SEED:-1}
	echo "# SEED=${SEED:-1}"
}

# Run a tool for 0 to $1 milliseconds, then kill it; it may have ended.
killed_within() {
	local after status=0 pid

	after=$(printf '0.%03d' $((RANDOM % $1 + 1)))
	shift
	"$@" >tool.out 2>tool.err &
	pid=$!
	sleep "$after"
	kill -KILL "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || status=$?
	[ $status -eq 0 ] || [ $status -eq 137 ] || {
		echo "status $status"
		cat tool.err
		return 1
	}
}

# Nothing that one waits for, and nothing broken.
is_whole() {
	cfsck-heal check -q --wait 0 "$P"
}

# Each block of LUN $1 (of the patterns $2 and $3) is one of them.
is_old_or_new() {
	cfscp -q "$P:$1" got
	awk -v a="$2" -v b="$3" '
	{
		want = "block " NR - 1 " of "
		sub(/ *$/, "")
		if ($0 != want a && $0 != want b) {
			print "block " NR - 1 ": " substr($0, 1, 60)
			bad = 1
		}
	}
	END { exit bad || NR == 0 }' got
}

@test "cfscp into a LUN: every block is old or new" {
	make_lun vm0 2M
	pattern 512 old0 >src
	cfscp -q src "$P:vm0"
	for ((i = 1; i <= ROUNDS; i++)); do
		pattern 512 "old$i" >src
		killed_within 40 cfscp -q src "$P:vm0"
		is_whole
		is_old_or_new vm0 "old$((i - 1))" "old$i"
		cfscp -q src "$P:vm0"
		cfscp -q "$P:vm0" - | cmp - src
	done
}

has_snapshot() {
	snapctl ls --json "$P:vm0" |
		jq -e --arg name "$1" '.snapshots | any(.name == $name)' \
			>/dev/null
}

@test "snapctl take and rm: there wholly or not at all" {
	make_lun vm0 1M 256
	snapctl take -q "$P:vm0@keep"
	for ((i = 1; i <= ROUNDS; i++)); do
		killed_within 12 snapctl take -q "$P:vm0@s"
		is_whole
		if has_snapshot s; then
			cfscp -q "$P:vm0@s" - | cmp - vm0.src
			killed_within 12 snapctl rm -q --yes "$P:vm0@s"
			is_whole
			! has_snapshot s || snapctl rm -q --yes "$P:vm0@s"
		fi
		cfscp -q "$P:vm0@keep" - | cmp - vm0.src
	done
}

@test "mkcfs and slicectl rm: a volume is whole or not there" {
	pattern 512 one >src
	for ((i = 1; i <= ROUNDS; i++)); do
		killed_within 30 mkcfs -q "$P:v$i" --lun 2M --from src
		is_whole
		if slicectl show "$P:v$i" >/dev/null 2>&1; then
			cfscp -q "$P:v$i" - | cmp - src
		else
			mkcfs -q "$P:v$i" --lun 2M --from src
		fi
		killed_within 20 slicectl rm -q --yes "$P:v$i"
		is_whole
		! slicectl show "$P:v$i" >/dev/null 2>&1 ||
			slicectl rm -q --yes "$P:v$i"
	done
}

@test "cfscp of a tree: what is there is whole files, and goes on" {
	mkcfs -q "$P:t" --tree
	mkdir -p src/d/e
	for ((i = 0; i < 40; i++)); do
		pattern $((i % 7 + 1)) "file$i" >"src/d/f$i"
		ln "src/d/f$i" "src/d/e/l$i"
	done
	for ((i = 1; i <= ROUNDS; i++)); do
		killed_within 40 cfscp -q src "$P:t:/in"
		is_whole
		cfscp -q src "$P:t:/again"
		rm -rf got
		cfscp -q "$P:t:/again" got
		diff -r src got
		cfscp --remove -q -r "$P:t:/again"
		cfscp -q src "$P:t:/out"
		killed_within 20 cfscp --remove -q -r "$P:t:/out"
		is_whole
		! cfscp --list "$P:t:/out" >/dev/null 2>&1 ||
			cfscp --remove -q -r "$P:t:/out"
	done
}

@test "mkcfs of a pool: killed, it can be made anew" {
	for ((i = 1; i <= ROUNDS; i++)); do
		rm -f new.img
		killed_within 15 mkcfs -q --size 64M new.img
		mkcfs -q -f --yes --size 64M new.img
		cfsck-heal check -q new.img
	done
}

# Start a tool that reads $1 and then waits for more, on its standard input;
# kill it when it has taken that.
killed_waiting() {
	local input=$1 pid reader i

	shift
	rm -f pipe
	mkfifo pipe
	"$@" <pipe >tool.out 2>tool.err &
	pid=$!
	{
		cat "$input"
		exec sleep 60
	} >pipe 3>&- &
	reader=$!
	for ((i = 0; i < 200; i++)); do
		sleep 0.1
		[ "$(awk '/^rchar/ { print $2 }' "/proc/$pid/io")" -lt \
			"$(stat -c %s "$input")" ] || break
	done
	kill -KILL "$pid"
	wait "$pid" 2>/dev/null || true
	kill "$reader"
	wait "$reader" 2>/dev/null || true
	[ "$i" -lt 200 ]
}

# Nothing but /f, which is old, and the space of what was not completed.
has_only_old() {
	is_whole
	run -0 cfscp --list --json "$P:t"
	[ "$(jq_output '.entries[].path')" = /f ]
	[ "$(cfscp "$P:t:/f" -)" = old ]
	# The next writer frees what has no name.
	echo old | cfscp -q - "$P:t:/f"
	run -0 slicectl show --json "$P:t"
	[ "$(jq_output .volume.used_bytes)" -lt 1000000 ]
	is_whole
}

@test "cfscp of a file: killed, it leaves neither a part nor another name" {
	make_pool big.img 256M
	P=big.img
	mkcfs -q "$P:t" --tree
	echo old | cfscp -q - "$P:t:/f"
	# Many small pieces and little memory: much of it is committed.
	slicectl set -q "$P" cache=8M
	awk 'BEGIN {
		zeroes = sprintf("%c", 0)
		while (length(zeroes) < 4096)
			zeroes = zeroes zeroes
		for (i = 0; i < 12000; i++)
			printf "%-4095d\n%s", i, zeroes
	}' >new
	killed_waiting new cfscp -q --sparse - "$P:t:/f"
	has_only_old
	killed_waiting new cfscp -q --sparse - "$P:t:/g"
	has_only_old
	tar -cf new.tar --transform=s/new/f/ new
	head -c 90M new.tar >part.tar
	killed_waiting part.tar cfscp -q --sparse --extract - "$P:t:/"
	has_only_old
	tar -cf new.tar new
	head -c 90M new.tar >part.tar
	killed_waiting part.tar cfscp -q --sparse --extract - "$P:t:/"
	has_only_old
}
