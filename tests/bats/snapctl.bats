#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# snapctl: a snapshot is what the volume was, whatever happens later.

load helpers

setup() {
	cfs_setup
	make_pool
}

# LUN $1 (vm0) of 1 MiB in version $2.
version() {
	pattern 256 "$2" >"v$2"
	cfscp -q "v$2" "$P:${1:-vm0}"
}

# Volume or snapshot $1 reads as version $2.
is_version() {
	cfscp -q "$P:$1" - | cmp - "v$2"
}

names() {
	snapctl ls --json "$P:$1" | jq -r '[.snapshots[].name] | join(" ")'
}

@test "a snapshot is what was, while the volume goes on" {
	make_lun vm0 1M
	version vm0 1
	run -0 snapctl take "$P:vm0@a"
	version vm0 2
	is_version vm0@a 1
	is_version vm0 2
}

@test "take: JSON names what was taken" {
	make_lun vm0 1M
	run -0 snapctl take --json --note "why not" "$P:vm0@a"
	[ "$(jq_output .schema)" = cfs.snapctl.take ]
	[ "$(jq_output '.snapshots[0].volume')" = vm0 ]
	[ "$(jq_output '.snapshots[0].name')" = a ]
	[ "$(jq_output .note)" = "why not" ]
}

@test "a name that is taken is 1, one volume that is not there 3" {
	make_lun vm0 1M
	snapctl take -q "$P:vm0@a"
	run -1 --separate-stderr snapctl take "$P:vm0@a"
	[[ $stderr == "snapctl: $P:vm0@a: "* ]]
	run -3 snapctl take "$P:vm1@a"
}

@test "several at one moment: all or none" {
	make_lun a 1M
	make_lun b 1M
	run -0 snapctl take "$P:a@1" "$P:b@1"
	run -1 snapctl take "$P:a@2" "$P:b@1"
	[ "$(names a)" = 1 ]
	run -3 snapctl take "$P:a@2" "$P:c@2"
	[ "$(names a)" = 1 ]
}

@test "several of two pools are misuse" {
	make_lun a 1M
	make_pool other.img
	run -2 snapctl take "$P:a@1" other.img:b@1
}

@test "a volume and its clone have name spaces of their own" {
	make_lun vm0 1M
	snapctl take -q "$P:vm0@a"
	snapctl clone -q "$P:vm0@a" c
	run -0 snapctl take "$P:vm0/c@a"
	[ "$(names vm0)" = a ]
	[ "$(names vm0/c)" = a ]
}

@test "a note of 255 bytes is kept, a longer one refused" {
	make_lun vm0 1M
	note=$(printf 'n%.0s' {1..255})
	run -0 snapctl take --note "$note" "$P:vm0@a"
	run -0 snapctl ls --json "$P:vm0"
	[ "$(jq_output '.snapshots[0].note')" = "$note" ]
	run -2 snapctl take --note "${note}x" "$P:vm0@b"
}

@test "ls goes from old to new and has the keys that are promised" {
	make_lun vm0 1M
	for name in c a b; do
		version vm0 $name
		snapctl take -q "$P:vm0@$name"
	done
	run -0 snapctl ls --json "$P:vm0"
	[ "$(jq_output '[.snapshots[].name] | join(" ")')" = "c a b" ]
	[ "$(jq_output '.snapshots[0] | has("volume") and has("created_at") and
		has("note") and has("exclusive_bytes") and
		has("shared_bytes") and has("is_held") and
		has("clones")')" = true ]
	[ "$(jq_output '[.snapshots[].created_at] | . == sort')" = true ]
}

@test "exclusive_bytes is what removing would free" {
	make_lun vm0 1M
	version vm0 1
	snapctl take -q "$P:vm0@a"
	run -0 snapctl ls --json "$P:vm0"
	[ "$(jq_output '.snapshots[0].exclusive_bytes')" = 0 ]
	[ "$(jq_output '.snapshots[0].shared_bytes')" = 1048576 ]
	version vm0 2
	run -0 snapctl ls --json "$P:vm0"
	[ "$(jq_output '.snapshots[0].exclusive_bytes')" = 1048576 ]
	run -0 snapctl rm -y --json "$P:vm0@a"
	[ "$(jq_output '.removed[0].freed_bytes')" = 1048576 ]
}

@test "a clone begins as the snapshot, and the two part" {
	make_lun vm0 1M
	version vm0 1
	snapctl take -q "$P:vm0@a"
	run -0 snapctl clone --json "$P:vm0@a" c
	[ "$(jq_output .clone.name)" = vm0/c ]
	[ "$(jq_output .clone.origin)" = vm0@a ]
	is_version vm0/c 1
	version vm0/c 2
	is_version vm0 1
	is_version vm0@a 1
	is_version vm0/c 2
}

@test "a clone of a clone's snapshot" {
	make_lun vm0 1M
	version vm0 1
	snapctl take -q "$P:vm0@a"
	snapctl clone -q "$P:vm0@a" c
	version vm0/c 2
	snapctl take -q "$P:vm0/c@b"
	run -0 snapctl clone "$P:vm0/c@b" d
	version vm0/c 3
	is_version vm0/d 2
}

@test "a clone's name that is taken is 1, a bad one 2" {
	make_lun vm0 1M
	snapctl take -q "$P:vm0@a"
	snapctl clone -q "$P:vm0@a" c
	run -1 snapctl clone "$P:vm0@a" c
	run -2 snapctl clone "$P:vm0@a" .c
	run -3 snapctl clone "$P:vm0@b" d
}

@test "rollback brings back what was, and keeps newer snapshots" {
	make_lun vm0 1M
	version vm0 1
	snapctl take -q "$P:vm0@a"
	version vm0 2
	snapctl take -q "$P:vm0@b"
	version vm0 3
	run -0 snapctl rollback -y "$P:vm0@a"
	is_version vm0 1
	[ "$(names vm0)" = "a b" ]
	is_version vm0@b 2
	run -0 snapctl rollback -y "$P:vm0@b"
	is_version vm0 2
	run -0 cfsck-heal check "$P"
}

@test "rollback asks, but not when what is replaced is saved" {
	make_lun vm0 1M
	version vm0 1
	snapctl take -q "$P:vm0@a"
	version vm0 2
	run -5 --separate-stderr snapctl rollback "$P:vm0@a"
	says "snapctl: $P:vm0@a: this destroys what vm0 holds now: give --yes to\
 do it"
	is_version vm0 2
	run -0 snapctl rollback --save now "$P:vm0@a"
	is_version vm0 1
	is_version vm0@now 2
}

@test "rollback to what is not there is 3 and asks nothing" {
	make_lun vm0 1M
	run -3 snapctl rollback "$P:vm0@a"
}

@test "rollback restores the size of a LUN" {
	make_lun vm0 1M
	snapctl take -q "$P:vm0@a"
	slicectl resize -q "$P:vm0" 2M
	snapctl rollback -q -y "$P:vm0@a"
	run -0 slicectl show --json "$P:vm0"
	[ "$(jq_output .volume.size_bytes)" = 1048576 ]
}

@test "snapshots of a tree see the files of then" {
	mkcfs -q "$P:t" --tree
	echo one >file
	cfscp -q file "$P:t:/"
	snapctl take -q "$P:t@a"
	echo two >file
	cfscp -q file "$P:t:/"
	run -0 cfscp "$P:t@a:/file" -
	[ "$output" = one ]
	snapctl rollback -q -y "$P:t@a"
	run -0 cfscp "$P:t:/file" -
	[ "$output" = one ]
	run -0 cfsck-heal check "$P"
}

# -------------------------------------------------------------------- rm

@test "rm asks, and removes with --yes" {
	make_lun vm0 1M
	snapctl take -q "$P:vm0@a"
	run -5 --separate-stderr snapctl rm "$P:vm0@a"
	says "snapctl: $P:vm0@a: this destroys the snapshot: give --yes to do it"
	[ "$(names vm0)" = a ]
	run -0 snapctl rm -y "$P:vm0@a"
	[ "$(names vm0)" = "" ]
}

@test "rm in any order leaves what the others are" {
	make_lun vm0 1M
	for i in 1 2 3 4 5; do
		version vm0 $i
		snapctl take -q "$P:vm0@s$i"
	done
	version vm0 6
	snapctl rm -q -y "$P:vm0@s3"
	snapctl rm -q -y "$P:vm0@s1" "$P:vm0@s5"
	is_version vm0@s2 2
	is_version vm0@s4 4
	is_version vm0 6
	run -0 cfsck-heal check "$P"
	snapctl rm -q -y "$P:vm0@s2" "$P:vm0@s4"
	is_version vm0 6
	run -0 cfsck-heal check "$P"
}

@test "a snapshot with a clone, or held, cannot be removed" {
	make_lun vm0 1M
	snapctl take -q "$P:vm0@a"
	snapctl take -q "$P:vm0@b"
	snapctl clone -q "$P:vm0@a" c
	snapctl hold -q "$P:vm0@b"
	run -4 --separate-stderr snapctl rm -y "$P:vm0@a"
	says "snapctl: $P:vm0@a: has 1 clone: remove it first"
	run -4 --separate-stderr snapctl rm "$P:vm0@b"
	says "snapctl: $P:vm0@b: is held: release it first"
	snapctl release -q "$P:vm0@b"
	run -0 snapctl rm -y "$P:vm0@b"
}

@test "a range includes both ends, and skips and names what must stay" {
	make_lun vm0 1M
	for i in 1 2 3 4 5 6; do
		snapctl take -q "$P:vm0@s$i"
	done
	snapctl hold -q "$P:vm0@s3"
	snapctl clone -q "$P:vm0@s4" c
	run -0 --separate-stderr snapctl rm -y --json "$P:vm0@s2..s5"
	[ "$(jq_output '[.removed[].name] | join(" ")')" = "s2 s5" ]
	[ "$(jq_output '[.skipped[].name] | join(" ")')" = "s3 s4" ]
	[ "${stderr_lines[0]}" = "snapctl: $P:vm0@s3: is held: skipped" ]
	[ "${stderr_lines[1]}" = "snapctl: $P:vm0@s4: has clones: skipped" ]
	[ "$(names vm0)" = "s1 s3 s4 s6" ]
}

@test "a range's ends stand from old to new, and must be there" {
	make_lun vm0 1M
	snapctl take -q "$P:vm0@a"
	snapctl take -q "$P:vm0@b"
	run -2 --separate-stderr snapctl rm -y "$P:vm0@b..a"
	says "snapctl: $P:vm0@b..a: @b is newer than @a"
	run -3 snapctl rm -y "$P:vm0@a..c"
	[ "$(names vm0)" = "a b" ]
}

@test "of many each is tried, and each failure named" {
	make_lun vm0 1M
	snapctl take -q "$P:vm0@a"
	snapctl take -q "$P:vm0@c"
	run -3 --separate-stderr snapctl rm -y "$P:vm0@a" "$P:vm0@b" "$P:vm0@c"
	says "snapctl: $P:vm0@b: no such snapshot"
	[ "$(names vm0)" = "" ]
}

@test "snapctl cannot remove a volume" {
	make_lun vm0 1M
	run -2 snapctl rm -y "$P:vm0"
	run -0 slicectl show "$P:vm0"
}

# ---------------------------------------------------------------- others

@test "rename keeps the place in time" {
	make_lun vm0 1M
	for name in a b c; do
		snapctl take -q "$P:vm0@$name"
	done
	run -0 snapctl rename "$P:vm0@b" z
	[ "$(names vm0)" = "a z c" ]
	run -1 snapctl rename "$P:vm0@a" c
	run -0 snapctl rename "$P:vm0@a" @y
	[ "$(names vm0)" = "y z c" ]
}

@test "hold and release show in ls" {
	make_lun vm0 1M
	snapctl take -q "$P:vm0@a"
	run -0 snapctl hold --json "$P:vm0@a"
	[ "$(jq_output '.snapshots[0].is_held')" = true ]
	run -0 snapctl ls --json "$P:vm0"
	[ "$(jq_output '.snapshots[0].is_held')" = true ]
	run -0 snapctl release "$P:vm0@a"
	run -0 snapctl ls --json "$P:vm0"
	[ "$(jq_output '.snapshots[0].is_held')" = false ]
}

@test "tree hangs clones on their snapshots" {
	make_lun vm0 1M
	snapctl take -q "$P:vm0@a"
	snapctl take -q "$P:vm0@b"
	snapctl clone -q "$P:vm0@a" c
	snapctl take -q "$P:vm0/c@x"
	run -0 snapctl tree --json "$P"
	[ "$(jq_output '.nodes[] | select(.name == "vm0") | .parent')" = null ]
	[ "$(jq_output '.nodes[] | select(.name == "vm0/c") | .parent')" \
	  = vm0@a ]
	[ "$(jq_output '.nodes[] | select(.name == "vm0/c@x") | .parent')" \
	  = vm0/c ]
	run -0 snapctl tree "$P"
	[[ ${lines[0]} == "vm0  "* ]]
	[[ ${lines[1]} == "├─ vm0@a  "* ]]
	[[ ${lines[2]} == "│  └─ vm0/c  "* ]]
	[[ ${lines[3]} == "│     └─ vm0/c@x  "* ]]
	[[ ${lines[4]} == "└─ vm0@b  "* ]]
}

@test "tree shows a branch after a rollback" {
	make_lun vm0 1M
	snapctl take -q "$P:vm0@a"
	snapctl take -q "$P:vm0@b"
	snapctl rollback -q -y "$P:vm0@a"
	version vm0 1
	snapctl take -q "$P:vm0@c"
	run -0 snapctl tree --json "$P"
	[ "$(jq_output '.nodes[] | select(.name == "vm0@b") | .parent')" = vm0 ]
	[ "$(jq_output '.nodes[] | select(.name == "vm0@c") | .parent')" \
	  = vm0@a ]
}

@test "tree --dot is what Graphviz reads" {
	make_lun vm0 1M
	snapctl take -q "$P:vm0@a"
	run -0 snapctl tree --dot "$P"
	[ "${lines[0]}" = "digraph cfs {" ]
	[[ $output == *'"vm0" -> "vm0@a";'* ]]
	run -2 snapctl tree --dot --json "$P"
	command -v dot >/dev/null || return 0
	snapctl tree --dot "$P" | dot -Tsvg >/dev/null
}

@test "many snapshots of a tiny volume" {
	make_lun vm0 1M
	version vm0 1
	for i in {1..60}; do
		names+=("$P:vm0@s$i")
		snapctl take -q "$P:vm0@s$i"
	done
	run -0 snapctl ls --json "$P:vm0"
	[ "$(jq_output '.snapshots | length')" = 60 ]
	run -0 snapctl rm -y "$P:vm0@s1..s60"
	is_version vm0 1
	run -0 cfsck-heal check "$P"
}

@test "what exists already is named, not what it was made from" {
	make_lun vm0
	make_lun vm1
	snapctl take -q "$P:vm0@a" "$P:vm1@b"
	snapctl clone -q "$P:vm0@a" c
	run -1 --separate-stderr snapctl clone "$P:vm0@a" c
	says "snapctl: $P:vm0@a: c exists already: choose another name"
	snapctl take -q "$P:vm0@z"
	run -1 --separate-stderr snapctl rename "$P:vm0@a" z
	says "snapctl: $P:vm0@a: z exists already: choose another name"
	run -1 --separate-stderr snapctl rollback -y --save z "$P:vm0@a"
	says "snapctl: $P:vm0@a: z exists already: choose another name"
	run -1 --separate-stderr snapctl take "$P:vm0@n" "$P:vm1@b"
	says "snapctl: $P:vm1@b: it exists already"
	run -3 --separate-stderr snapctl take "$P:vm0@n" "$P:vm2@n"
	says "snapctl: $P:vm2@n: no such volume"
	run -2 --separate-stderr snapctl take "$P:vm0@n" "$P:vm0@n"
	says "snapctl: take: '$P:vm0@n' is given twice: \
Try 'snapctl take --help'."
}

@test "a range of hundreds goes in a few steps, and each is named" {
	make_lun vm0 1M
	version vm0 1
	for i in {1..300}; do
		names+=("$P:vm0@s$i")
	done
	snapctl take -q "${names[@]}"
	version vm0 2
	snapctl hold -q "$P:vm0@s150"
	run -0 --separate-stderr snapctl rm -y --json "$P:vm0@s2..s299"
	[ "$(jq_output '.removed | length')" = 297 ]
	[ "$(jq_output '.removed | .[0].name + " " + .[-1].name')" = "s2 s299" ]
	[ "$(jq_output '[.skipped[].name] | join(" ")')" = s150 ]
	[ "$(names vm0)" = "s1 s150 s300" ]
	is_version vm0@s150 1
	is_version vm0 2
	run -0 cfsck-heal check "$P"
	run -0 --separate-stderr snapctl rm -y --json "$P:vm0@s1" "$P:vm0@s300"
	[ "$(jq_output '[.removed[].freed_bytes] | add')" = 0 ]
}
