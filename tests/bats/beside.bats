#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Every tool beside a cfsd that holds the pool: the same lines, the same
# statuses, and what happens when the tool or the manager dies.

load helpers

setup() {
	cfs_setup
	make_pool
	[ -n "${CFS_TEST_BESIDE-}" ] || serve_pool
}

# The manager ends by itself, or by $1; the pool is nobody's then.
end_manager() {
	# shellcheck disable=SC2153
	kill -"${1:-TERM}" "$CFSD"
	wait "$CFSD_TIMER" || true
	# shellcheck disable=SC2034
	CFSDS=()
}

# ------------------------------------------------------------ the essence

@test "volumes are made, shown, changed and removed" {
	mkcfs -q "$P:vm0" --lun 16M
	mkcfs -q "$P:t0" --tree --limit 32M
	run -0 slicectl ls --json "$P"
	[ "$(jq_output '[.volumes[].name] | join(" ")')" = "t0 vm0" ]
	run -0 slicectl show --json "$P:vm0"
	[ "$(jq_output '.. | .size_bytes? // empty' | head -n 1)" = 16777216 ]
	slicectl set -q "$P" label=tank lease_period=20s
	run -0 slicectl show --json "$P"
	[ "$(jq_output '.pool.label // .label')" = tank ]
	slicectl resize -q "$P:vm0" 32M
	slicectl resize -q -y "$P:vm0" 8M
	slicectl rename -q "$P:vm0" vm1
	run -0 slicectl df "$P"
	run -0 slicectl map "$P"
	slicectl rm -q -y "$P:vm1"
	slicectl trim -q "$P"
	run -0 --separate-stderr slicectl ls --json "$P"
	[ "$(jq_output '[.volumes[].name] | join(" ")')" = t0 ]
	# What is there for others is there for whoever comes behind it.
	end_manager
	run -0 slicectl ls --json "$P"
	[ "$(jq_output '[.volumes[].name] | join(" ")')" = t0 ]
	run -0 cfsck-heal check "$P"
}

@test "snapshots, clones and rollbacks" {
	make_lun vm0 4M 64
	snapctl take -q --note before "$P:vm0@a"
	pattern 64 second >other
	cfscp -q other "$P:vm0"
	snapctl take -q "$P:vm0@b"
	snapctl clone -q "$P:vm0@a" c1
	cfscp -q --length 256K "$P:vm0/c1" - | cmp - vm0.src
	snapctl hold -q "$P:vm0@a"
	run -4 snapctl rm -y "$P:vm0@a"
	snapctl release -q "$P:vm0@a"
	run -4 --separate-stderr snapctl rm -y "$P:vm0@a"
	snapctl rename -q "$P:vm0@b" bb
	snapctl rollback -q -y --save s "$P:vm0@a"
	cfscp -q --length 256K "$P:vm0" - | cmp - vm0.src
	cfscp -q --length 256K "$P:vm0@s" - | cmp - other
	run -0 snapctl ls --json "$P:vm0"
	[ "$(jq_output '[.snapshots[].name] | sort | join(" ")')" = "a bb s" ]
	run -0 snapctl tree "$P"
	run -0 cfsck-heal check "$P"
}

@test "trees and archives go in and out" {
	mkdir -p src/sub
	pattern 700 f >src/sub/file
	ln -s sub/file src/link
	for i in {1..300}; do echo "$i" >"src/sub/n$i"; done
	tar -C src -cf src.tar .
	mkcfs -q "$P:t0" --tree --from src.tar
	cfscp -q "$P:t0:/" out
	diff -r src out
	cfscp -q src "$P:t0:/again"
	cfscp -q --archive tar.gz "$P:t0:/again" - | tar -tzf - | grep -q n300
	run -0 cfscp --list "$P:t0:/again/sub"
	[ "${#lines[@]}" -ge 301 ]
	cfscp -q --remove -r "$P:t0:/again"
	run -3 cfscp --list "$P:t0:/again"
	run -0 cfsck-heal check "$P"
}

@test "from one volume to another through a pipe" {
	make_lun A 8M 1500
	mkcfs -q "$P:B" --lun 8M
	cfscp -q "$P:A" - | cfscp -q - "$P:B"
	cfscp -q "$P:B" - | cmp - <(cfscp -q "$P:A" -)
	cfscp -q "$P:B" - | head -c 6144000 | cmp - A.src
}

@test "check, scrub and trace" {
	make_lun vm0 4M 512
	run -0 cfsck-heal check "$P:vm0"
	run -0 cfsck-heal scrub --json "$P"
	[ "$(jq_output '.. | .verified_blocks? // empty')" -gt 500 ]
	at=$(find_block 7 vm0)
	run -0 cfsck-heal trace --json "$P" --at "$P:$at"
	[ "$(jq_output '.blocks[0].volume')" = vm0 ]
	[ "$(jq_output '.blocks[0].offset_bytes')" = 28672 ]
	flip_byte "$P" "$((at + 100))"
	run -4 cfsck-heal scrub "$P"
	run -4 cfsck-heal trace --json "$P" --bad
	[ "$(jq_output '.damage[0].offset_bytes')" = 28672 ]
	run -7 --separate-stderr cfscp "$P:vm0" out
}

@test "errors are those of a pool that nobody holds" {
	make_lun vm0 4M
	snapctl take -q "$P:vm0@a"
	for command in "slicectl show $P:none" "slicectl rm -y $P:vm0" \
		"slicectl rename $P:vm0 -x" "slicectl set $P colour=red" \
		"snapctl take $P:vm0@a" "snapctl clone $P:vm0@z c" \
		"slicectl resize $P:vm0 4097" "mkcfs $P:vm0 --lun 1M" \
		"cfsck-heal check $P:none" "cfscp $P:none -"; do
		# shellcheck disable=SC2086
		run --separate-stderr $command
		# shellcheck disable=SC2154
		echo "$status $stderr" >>beside
		echo "$command" >>commands
	done
	end_manager
	while read -r command; do
		# shellcheck disable=SC2086
		run --separate-stderr $command
		echo "$status $stderr" >>alone
	done <commands
	diff alone beside
	run ! grep "^0 " beside
}

# -------------------------------------------------------------- dry runs

@test "a dry run does its work, and changes nothing" {
	make_lun vm0 4M 64
	snapctl take -q "$P:vm0@a"
	mkcfs -q "$P:t0" --tree
	run -0 slicectl rm -n -r "$P:vm0"
	run -0 mkcfs -n "$P:new" --lun 4M
	run -1 mkcfs -n "$P:vm0" --lun 4M
	run -0 snapctl rollback -n "$P:vm0@a"
	run -3 snapctl rm -n "$P:vm0@z"
	mkdir d && echo x >d/x
	run -0 cfscp -n d "$P:t0:/d"
	run -0 slicectl ls --json "$P"
	[ "$(jq_output '[.volumes[].name] | join(" ")')" = "t0 vm0" ]
	run -3 cfscp --list "$P:t0:/d"
	# It sees what was written a moment ago.
	pattern 64 moment >now
	cfscp -q now "$P:vm0"
	run -0 slicectl resize -n "$P:vm0" 2M
	cfscp -q --length 256K "$P:vm0" - | cmp - now
	run -0 cfsck-heal check "$P"
}

# ------------------------------------------------------- at the same time

@test "two tools write at once" {
	pattern 1000 first >one
	pattern 1000 second >two
	mkcfs -q "$P:a" --lun auto --from one &
	mkcfs -q "$P:b" --lun auto --from two
	wait $!
	cfscp -q "$P:a" - | cmp - one
	cfscp -q "$P:b" - | cmp - two
	mkcfs -q "$P:t" --tree
	for k in 1 2 3; do
		mkdir -p "d$k"
		for i in {1..40}; do echo "$k $i" >"d$k/$i"; done
		cfscp -q "d$k" "$P:t:/d$k" &
		pids[k]=$!
	done
	for k in 1 2 3; do
		wait "${pids[k]}"
		cfscp -q "$P:t:/d$k" "out$k"
		diff -r "d$k" "out$k"
	done
	run -0 cfsck-heal check "$P"
}

@test "a volume in use is not rolled back, removed or cut: 4, and who it is" {
	make_lun vm0 4M 16
	snapctl take -q "$P:vm0@a"
	mkfifo pipe
	cfscp -q - "$P:vm0" <pipe 3>&- &
	pid=$!
	exec 7>pipe
	printf x >&7
	until_true 'run snapctl rollback -y "$P:vm0@a"; [ "$status" = 4 ]'
	[[ $output == *"in use by process $pid on this host"* ]]
	run -4 slicectl rm -y -r "$P:vm0"
	run -4 slicectl resize -y "$P:vm0" 1M
	snapctl take -q "$P:vm0@b"
	exec 7>&-
	wait "$pid"
	snapctl rollback -q -y "$P:vm0@a"
}

# ------------------------------------------------------------------ deaths

@test "Ctrl-C ends a scrub, and says how far it came" {
	make_lun vm0 32M 6000
	cfsck-heal scrub --rate 1M --json "$P" >out 3>&- &
	pid=$!
	sleep 0.7
	SECONDS=0
	kill -INT "$pid"
	status=0
	wait "$pid" || status=$?
	[ "$status" = 130 ] || [ "$status" = 32 ]
	[ "$SECONDS" -lt 4 ]
	run -0 cfsck-heal check "$P"
}

@test "a tool that is killed leaves nothing behind" {
	mkfifo pipe
	mkcfs -q "$P:half" --lun auto --from - <pipe >/dev/null 3>&- &
	pid=$!
	exec 7>pipe
	pattern 300 >&7
	sleep 0.3
	kill -KILL "$pid"
	exec 7>&-
	wait "$pid" || true
	until_true 'mkcfs -q "$P:half" --lun 4M 2>/dev/null'
	make_lun vm0 4M 16
	snapctl take -q "$P:vm0@a"
	cfscp -q - "$P:vm0" < <(sleep 5) 3>&- &
	pid=$!
	sleep 0.3
	kill -KILL "$pid"
	wait "$pid" || true
	# At once: a connection that is gone holds nothing.
	until_true 'snapctl rollback -q -y "$P:vm0@a" 2>/dev/null'
	run -0 cfsck-heal check "$P"
}

@test "a manager that is killed: the tool says so, and the next one works" {
	make_lun vm0 16M 64
	mkfifo pipe
	CFS_IO=forwarded cfscp -q - "$P:vm0" <pipe 2>errors 3>&- &
	pid=$!
	exec 7>pipe
	pattern 500 >&7
	sleep 0.5
	end_manager KILL
	pattern 500 >&7 || true
	exec 7>&-
	status=0
	wait "$pid" || status=$?
	[ "$status" != 0 ]
	grep -q "the process that held the pool is gone" errors
	run -0 slicectl ls "$P"
	run -0 cfsck-heal check "$P"
}

@test "a manager that does not answer: 4, in the time that was given" {
	make_lun vm0 4M
	kill -STOP "$CFSD"
	SECONDS=0
	run -4 --separate-stderr slicectl ls --wait 2 "$P"
	[ "$SECONDS" -ge 1 ] && [ "$SECONDS" -lt 6 ]
	[[ $stderr == *"in use by process $CFSD on this host: its holder: the manager does not answer" ]]
	kill -CONT "$CFSD"
	run -0 slicectl ls "$P"
}

@test "a check beside writers finds nothing that is not there" {
	mkcfs -q "$P:t" --tree
	mkcfs -q "$P:vm0" --lun 8M
	pattern 1500 x >src
	mkdir d
	for i in {1..60}; do echo "$i" >"d/$i"; done
	(
		while [ ! -e stop ]; do
			cfscp -q src "$P:vm0"
			cfscp -q d "$P:t:/d"
			snapctl take -q "$P:vm0@s" "$P:t@s"
			cfscp -q --remove -r "$P:t:/d"
			snapctl rm -q -y "$P:vm0@s" "$P:t@s"
		done
	) 3>&- &
	for _ in {1..15}; do
		run -0 cfsck-heal check "$P"
	done
	touch stop
	wait $!
}

@test "a volume that is being filled is there for nobody else" {
	mkfifo pipe
	mkcfs -q "$P:new" --lun auto --from - <pipe 3>&- &
	pid=$!
	exec 7>pipe
	pattern 600 >&7
	sleep 0.3
	run -3 slicectl show "$P:new"
	run -3 cfscp -q "$P:new" out
	run -3 snapctl take "$P:new@a"
	run -3 slicectl rm -y "$P:new"
	run -1 mkcfs "$P:new" --lun 1M
	[ "$(slicectl ls --json "$P" | jq -c .volumes)" = "[]" ]
	exec 7>&-
	wait "$pid"
	[ "$(slicectl show --json "$P:new" | jq .volume.size_bytes)" = 2457600 ]
}

@test "what was being filled goes with who is killed" {
	mkfifo pipe
	mkcfs -q "$P:new" --lun auto --from - <pipe 3>&- &
	pid=$!
	exec 7>pipe
	pattern 600 >&7
	sleep 0.3
	kill -KILL "$pid"
	wait "$pid" || true
	exec 7>&-
	pattern 20 >src
	for _ in {1..50}; do
		mkcfs -q "$P:new" --lun auto --from src 2>/dev/null && break
		sleep 0.02
	done
	cfscp -q "$P:new" - | cmp - src
	run -0 cfsck-heal check "$P"
}

@test "a pool can be filled as far as without a manager" {
	mkcfs -q "$P:big" --lun 64M
	pattern 16384 >src
	run -6 --separate-stderr cfscp -q src "$P:big"
	[[ $stderr == *"the first "*" bytes were copied"* ]]
	run -6 slicectl pools --json "$P"
	[ "$(jq_output '.pools[0].state')" = nearly_full ]
	run -0 cfsck-heal check "$P"
}
