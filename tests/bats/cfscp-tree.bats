#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# cfscp with trees: what goes in comes out the same, lands where cp -a would
# put it, and never anywhere else.

load helpers
load cfscp

setup()
{
	cfs_setup
	make_pool
	mkcfs -q "$P:t" --tree
}

@test "a directory with all that is difficult comes back the same" {
	make_nasty in
	run -0 --separate-stderr cfscp in "$P:t:/copy"
	[ -z "$output$stderr" ]
	run -0 --separate-stderr cfscp "$P:t:/copy" out
	[ -z "$output$stderr" ]
	same_tree in out
}

@test "holes stay holes, both ways" {
	make_nasty in
	cfscp in "$P:t:/copy"
	cfscp "$P:t:/copy" out
	[ "$(stat -c %b out/allhole)" = 0 ]
	[ "$(stat -c %b out/holes)" -le 64 ]
	[ "$(slicectl show --json "$P:t" | jq .volume.used_bytes)" -lt 8000000 ]
}

@test "into a directory that is there, else it becomes DST" {
	mkdir -p in/a && echo 1 >in/a/f
	cfscp in "$P:t:/new"
	cfscp in "$P:t:/new"
	run -0 cfscp --list -r --json "$P:t:/"
	[ "$(jq_output '[.entries[].path] | sort | join(" ")')" = \
"/new /new/a /new/a/f /new/in /new/in/a /new/in/a/f" ]
	cfscp "$P:t:/new/a" out
	mkdir there
	cfscp "$P:t:/new/a" there
	[ -f out/f ] && [ -f there/a/f ]
}

@test "dir/. and the root are what they hold" {
	mkdir -p in && echo 1 >in/f && mkdir there
	cfscp in/. "$P:t:/"
	cfscp "$P:t:/" there
	[ -f there/f ]
	run -0 cfscp --list --json "$P:t"
	[ "$(jq_output '.entries[].path')" = /f ]
}

@test "several sources go into a directory, and only into one" {
	echo 1 >a && echo 2 >b
	cfscp --mkdir "$P:t:/d"
	cfscp a b "$P:t:/d"
	run -0 cfscp "$P:t:/d/b" -
	[ "$output" = 2 ]
	run -1 cfscp a b "$P:t:/none"
	run -0 cfscp "$P:t:/d/a" "$P:t:/d/b" .
}

@test "of several sources each is tried" {
	echo 1 >a && echo 2 >b
	run -3 --separate-stderr cfscp a missing b "$P:t:/"
	says "cfscp: missing: No such file or directory"
	run -0 cfscp --list --json "$P:t"
	[ "$(jq_output '[.entries[].path] | join(" ")')" = "/a /b" ]
}

@test "a file replaces a file, and never a directory" {
	echo old >f && cfscp f "$P:t:/f"
	echo new >f && cfscp f "$P:t:/f"
	[ "$(cfscp "$P:t:/f" -)" = new ]
	cfscp --mkdir "$P:t:/d" "$P:t:/d/f"
	run -1 cfscp f "$P:t:/d"
	mkdir dir && echo x >dir/x
	run -1 cfscp dir "$P:t:/f"
	[ "$(cfscp "$P:t:/f" -)" = new ]
}

@test "nothing is written through a link that stands in DST" {
	mkdir -p in/link victim out/in
	echo evil >in/link/f
	echo evil >in/file
	cfscp in "$P:t:/in"
	ln -s ../../victim out/in/link
	ln -s ../../victim/f out/in/file
	run -1 --separate-stderr cfscp "$P:t:/in" out
	[[ $stderr == *"/in/link"*"symbolic link link"* ]]
	[ -z "$(ls -A victim)" ]
	# The file took the place of the link.
	[ ! -L out/in/file ] && [ "$(cat out/in/file)" = evil ]
}

@test "DST itself may be a link: it is followed" {
	echo 1 >f && cfscp f "$P:t:/f"
	mkdir real && ln -s real dirlink && ln -s real/target filelink
	cfscp "$P:t:/f" dirlink
	: >real/target
	cfscp "$P:t:/f" filelink
	[ -L filelink ] && [ "$(cat real/f real/target)" = $'1\n1' ]
}

@test "between trees, volumes, clones and pools" {
	make_nasty in
	make_pool other.img
	mkcfs -q other.img:u --tree
	cfscp in "$P:t:/a"
	cfscp "$P:t:/a" "$P:t:/b"
	cfscp "$P:t:/b" other.img:u:/c
	cfscp other.img:u:/c out
	same_tree in out
	run -0 cfscp "$P:t:/b/file" -
	[ "$output" = content ]
}

@test "a directory is not copied into itself" {
	mkdir -p in/sub && cfscp in "$P:t:/in"
	run -1 --separate-stderr cfscp "$P:t:/in" "$P:t:/in/sub"
	says "cfscp: $P:t:/in: cannot be copied into itself, $P:t:/in/sub"
	run -1 cfscp "$P:t:/in" "$P:t:/in"
	run -1 cfscp "$P:t:/" "$P:t:/in"
}

@test "a snapshot is a source, and no destination" {
	echo old >f && cfscp f "$P:t:/f"
	snapctl take -q "$P:t@s"
	echo new >f && cfscp f "$P:t:/f"
	[ "$(cfscp "$P:t@s:/f" -)" = old ]
	cfscp "$P:t@s:/f" "$P:t:/back"
	[ "$(cfscp "$P:t:/back" -)" = old ]
	run -10 cfscp f "$P:t@s:/f"
}

@test "standard input becomes a file when all of it is there" {
	head -c 5000000 /dev/urandom >f
	cfscp - "$P:t:/f" <f
	cfscp "$P:t:/f" - | cmp - f
	run -0 cfscp --list --json "$P:t"
	[ "$(jq_output '[.entries[].path] | join(" ")')" = /f ]
	run -1 --separate-stderr cfscp - "$P:t:/" <f
	says "cfscp: $P:t:/: a directory: name a file in it"
}

@test "list shows what stat would, in JSON and text" {
	make_nasty in
	cfscp in "$P:t:/"
	run -0 cfscp --list --json "$P:t:/in/file"
	[ "$(jq_output .schema)" = cfs.cfscp.list ]
	[ "$(jq_output '.entries | length')" = 1 ]
	[ "$(jq_output '.entries[0] | .path, .type, .mode, .links, .size_bytes,
		.modified_at' | tr '\n' ' ')" = \
"/in/file file 0644 3 8 2030-01-01T00:00:00.000000001Z " ]
	run -0 cfscp --list --json "$P:t:/in/symlink"
	[ "$(jq_output '.entries[0].target')" = file ]
	run -0 cfscp --list "$P:t:/in/file"
	[ "${lines[0]%% *}" = MODE ]
	[ "${lines[1]%% *}" = -rw-r--r-- ]
	run -0 cfscp --list --json-lines "$P:t:/in/sub/deep"
	[ "${#lines[@]}" = 1 ]
	[ "$(jq_output .path)" = /in/sub/deep/er ]
}

@test "mkdir and remove: one object a call, each tried" {
	cfscp --mkdir "$P:t:/a" "$P:t:/a/b"
	run -1 --separate-stderr cfscp --mkdir "$P:t:/a" "$P:t:/c"
	says "cfscp: $P:t:/a: it exists already"
	run -3 cfscp --mkdir "$P:t:/no/x"
	run -1 --separate-stderr cfscp --remove "$P:t:/a"
	says "cfscp: $P:t:/a: the directory is not empty: remove it with -r"
	run -0 --separate-stderr cfscp --remove -r --json "$P:t:/a"
	[ "$(jq_output .removed_count)" = 2 ]
	run -3 cfscp --remove "$P:t:/a"
	run -0 cfscp --remove "$P:t:/c"
	run -1 cfscp --remove -r "$P:t:/"
}

@test "a dry run tells, and leaves every byte as it was" {
	make_nasty in
	cfscp in "$P:t:/a"
	before=$(sum_of "$P")
	run -0 cfscp -n in "$P:t:/b"
	[[ $output == "would copy in to $P:t:/b: "* ]]
	run -0 cfscp -n --remove -r "$P:t:/a"
	run -0 cfscp -n --mkdir "$P:t:/b"
	run -0 --separate-stderr cfscp -n --json "$P:t:/a" out
	[ "$(jq_output '.copies[0].entry_count')" -gt 150 ]
	[ ! -e out ]
	[ "$(sum_of "$P")" = "$before" ]
}

@test "a full pool: 6, nothing half-done, and what is there stays" {
	echo keep >f && cfscp f "$P:t:/f"
	mkdir in
	for i in $(seq 1 10); do
		head -c 10000000 /dev/urandom >"in/$i"
	done
	run -6 --separate-stderr cfscp in "$P:t:/in"
	[ "${#stderr_lines[@]}" = 1 ]
	run -0 cfscp --list --json "$P:t"
	[ "$(jq_output '.entries[].path')" = /f ]
	head -c 100000000 /dev/zero | tr '\0' x >big
	run -6 cfscp big "$P:t:/big"
	run -6 cfscp - "$P:t:/big" <big
	run -0 cfscp --list --json "$P:t"
	[ "$(jq_output '.entries[].path')" = /f ]
	[ "$(cfscp "$P:t:/f" -)" = keep ]
	cfsck-heal check -q "$P"
	# The space came back.
	rm in/[4-9] in/10
	cfscp in "$P:t:/in"
}

@test "damage: 7, named, the rest is copied, --skip-damaged writes zeroes" {
	pattern 40 seed >bad
	echo fine >good
	mkdir in && mv bad good in
	cfscp in "$P:t:/in"
	flip_byte "$P" $(($(find_block 17 seed) + 100))
	run -7 --separate-stderr cfscp "$P:t:/in" out
	[[ $stderr == "cfscp: $P:t:/in/bad: offset 69632: "* ]]
	[[ $stderr == *": --skip-damaged goes on, with zeroes there" ]]
	[ "${#stderr_lines[@]}" = 1 ]
	[ "$(cat out/good)" = fine ] && [ ! -e out/bad ]
	rm -r out
	run -7 --separate-stderr cfscp "$P:t:/in/bad" out
	[[ $stderr == *": --skip-damaged goes on, with zeroes there" ]]
	[ ! -e out ]
	run -7 --separate-stderr cfscp --json --skip-damaged "$P:t:/in" out
	[ "$(jq_output '.damaged[0] | .volume, .path, .offset_bytes,
		.length_bytes' | tr '\n' ' ')" = "t /in/bad 69632 4096 " ]
	{
		head -c 69632 in/bad
		head -c 4096 /dev/zero
		tail -c +$((69632 + 4097)) in/bad
	} >want
	cmp out/bad want
	run -7 cfscp "$P:t:/in/bad" -
}

@test "damage in a long file is found and passed over as well" {
	make_pool big.img 256M
	mkcfs -q big.img:t --tree
	mkdir in && pattern 4000 seed >in/long && echo fine >in/short
	cfscp in big.img:t:/in
	cfscp big.img:t:/in out && same_tree in out && rm -r out
	at=$(find_block 2345 seed big.img)
	flip_byte big.img $((at + 1))
	flip_byte big.img $((at + 4097))
	run -7 --separate-stderr cfscp big.img:t:/in out
	[[ $stderr == "cfscp: big.img:t:/in/long: offset 9605120: "* ]]
	[ "$(ls out)" = short ] && rm -r out
	run -7 --separate-stderr cfscp --skip-damaged big.img:t:/in out
	says "cfscp: big.img:t:/in/long: offset 9605120: 8192 damaged bytes: \
zeroes are written in their place"
	[ "$(cmp -l in/long out/long | wc -l)" = 8192 ]
	cp -r out back && cfscp --skip-damaged big.img:t:/in big.img:t:/two ||
		[ $? = 7 ]
	cfscp big.img:t:/two/long - | cmp - out/long
}

@test "wrong operands are told apart" {
	echo x >f
	run -2 cfscp f
	run -2 cfscp f g
	run -3 cfscp "$P:none:/x" out
	run -3 cfscp "$P:t:/none" out
	run -3 cfscp f "$P:t:/none/f"
	run -3 cfscp none.img:t:/x out
	run -2 cfscp --offset 4K f "$P:t:/f"
	run -2 cfscp --list --mkdir "$P:t:/"
	run -1 cfscp f "$P:t:/none/"
	run -0 cfscp f "$P:t:/"
}

@test "list shows times of 1970 and before" {
	touch -d '1970-01-01 UTC' zero
	touch -d '1969-12-31 23:59:58.25 UTC' before
	cfscp zero before "$P:t:/"
	run -0 cfscp --list --json "$P:t"
	[ "$(jq_output '.entries[].modified_at' | tr '\n' ' ')" = \
"1969-12-31T23:59:58.250000000Z 1970-01-01T00:00:00.000000000Z " ]
	run -0 cfscp --list "$P:t"
	[[ $output == *" 1969-12-31T23:59:58Z  /before"* ]]
	[[ $output == *" 1970-01-01T00:00:00Z  /zero"* ]]
}

@test "the progress of one file knows its end" {
	head -c 5M /dev/urandom >f
	run -0 --separate-stderr cfscp --progress=json f "$P:t:/"
	[ "$(jq -s -r '.[-1] | .done, .total' <<<"$stderr" | tr '\n' ' ')" = \
		"5242880 5242880 " ]
	run -0 --separate-stderr cfscp --progress=json "$P:t:/f" out
	[ "$(jq -s -r '.[-1] | .done, .total' <<<"$stderr" | tr '\n' ' ')" = \
		"5242880 5242880 " ]
}
