#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# snapctl promote: a clone becomes a container of its own, all of it or nothing.

load helpers
load served

setup() {
	cfs_setup
	make_pool
}

# A LUN vm0 of 1 MiB, its snapshot @a, and a clone k with a snapshot @s that
# has gone on.
make_clone() {
	make_lun vm0 1M
	pattern 256 1 >v1
	pattern 256 2 >v2
	pattern 64 3 >part
	cfscp -q v1 "$P:vm0"
	snapctl take -q "$P:vm0@a"
	snapctl clone -q "$P:vm0@a" k
	cfscp -q v2 "$P:vm0"
	cfscp -q part "$P:vm0/k"
	snapctl take -q --note 'why not' "$P:vm0/k@s"
	snapctl hold -q "$P:vm0/k@s"
	cfscp -q "$P:vm0/k" at-s
	cfscp -q --offset 512K part "$P:vm0/k"
	cfscp -q "$P:vm0/k" head
}

volumes() {
	slicectl ls --json "$P" | jq -r '[.volumes[].name] | join(" ")'
}

@test "a clone of a LUN becomes a container, with its snapshots" {
	make_clone
	run -0 snapctl promote --json "$P:vm0/k" new
	[ "$(jq_output .schema)" = cfs.snapctl.promote ]
	[ "$(jq_output '.name + .clone')" = newvm0/k ]
	[ "$(jq_output .copied_bytes)" -ge 1048576 ]
	[ "$(volumes)" = "new vm0" ]
	cfscp -q "$P:new" - | cmp - head
	cfscp -q "$P:new@s" - | cmp - at-s
	cfscp -q "$P:vm0" - | cmp - v2
	run -0 snapctl ls --json "$P:new"
	[ "$(jq_output '[.snapshots[] | .name, .note, .is_held] | join(",")')" \
		= "s,why not,true" ]
	run -0 cfsck-heal check "$P"
}

@test "the origin may go, and the new container stays" {
	make_clone
	snapctl promote -q "$P:vm0/k"
	slicectl rm -q -y -r "$P:vm0"
	[ "$(volumes)" = k ]
	cfscp -q "$P:k" - | cmp - head
}

@test "a clone of a tree keeps names, links, inodes and attributes" {
	mkcfs -q "$P:t" --tree
	mkdir -p d/sub
	echo one >d/a
	ln d/a d/sub/b
	ln -s a d/l
	cfscp -q d "$P:t:/"
	snapctl take -q "$P:t@x"
	snapctl clone -q "$P:t@x" k
	echo two >n
	cfscp -q n "$P:t/k:/d/new"
	cfscp --archive tar "$P:t/k:/" - | tar -tv | sort >before
	snapctl promote -q "$P:t/k" u
	cfscp --archive tar "$P:u:/" - | tar -tv | sort >after
	cmp before after
	[ "$(cfscp -q "$P:u:/d/sub/b" -)" = one ]
	run -0 cfsck-heal check "$P"
}

@test "what is no clone, has clones, or has a name that is taken is refused" {
	make_clone
	snapctl clone -q "$P:vm0/k@s" kk
	run -2 --separate-stderr snapctl promote "$P:vm0"
	run -4 --separate-stderr snapctl promote "$P:vm0/k"
	[ "$stderr" = "snapctl: $P:vm0/k: it has 1 clone of its own: promote or \
remove that first" ]
	slicectl rm -q -y "$P:vm0/kk"
	run -1 --separate-stderr snapctl promote "$P:vm0/k" vm0
	run -3 --separate-stderr snapctl promote "$P:vm0/nothing"
	[ "$(volumes)" = "vm0 vm0/k" ]
}

@test "a dry run counts, and changes nothing" {
	make_clone
	sha256sum "$P" >sums
	run -0 snapctl promote -n --json "$P:vm0/k"
	[ "$(jq_output .is_dry_run)" = true ]
	[ "$(jq_output .copied_bytes)" -ge 1048576 ]
	[ "$(volumes)" = "vm0 vm0/k" ]
}

@test "beside cfsd, in use: refused at the end, and then only the rest" {
	not_beside "it starts one itself"
	local writer

	make_clone
	start "$P"
	mkfifo in
	cfscp -q - "$P:vm0/k" <in 3>&- &
	writer=$!
	exec 7>in
	cat part >&7
	until_true '! slicectl set -q "$P:vm0/k" size=1M 2>/dev/null'
	run -4 --separate-stderr snapctl promote "$P:vm0/k" new
	[[ "$stderr" = *"in use by"*"what was copied is kept"* ]]
	[ "$(volumes)" = "vm0 vm0/k" ]
	exec 7>&-
	wait "$writer"
	cfscp -q "$P:vm0/k" head
	run -0 snapctl promote --json "$P:vm0/k" new
	[ "$(jq_output .copied_bytes)" -le 524288 ]
	cfscp -q "$P:new" - | cmp - head
	[ "$(volumes)" = "new vm0" ]
}

@test "what broke off goes on, also behind a kill, or is given up" {
	not_beside "it starts one itself"
	make_clone
	start "$P"
	mkfifo in
	cfscp -q - "$P:vm0/k" <in 3>&- &
	exec 7>in
	cat part >&7
	until_true '! slicectl set -q "$P:vm0/k" size=1M 2>/dev/null'
	run -4 snapctl promote "$P:vm0/k" new
	kill -KILL "$PID"
	exec 7>&-
	[ "$(volumes)" = "vm0 vm0/k" ]
	run -0 snapctl promote --undo "$P:vm0/k"
	run -0 snapctl ls --json "$P:vm0/k"
	[ "$(jq_output '[.snapshots[].name] | join(",")')" = s ]
	make_lun new 1M
	slicectl rm -q -y "$P:new"
	cfscp -q "$P:vm0/k" head
	run -0 snapctl promote "$P:vm0/k" new
	cfscp -q "$P:new" - | cmp - head
	run -0 cfsck-heal check "$P"
}
