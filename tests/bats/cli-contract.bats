#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What every tool promises, whatever it does: usage, help, JSON, streams,
# exit status, names, the pool of the environment.

load helpers

setup() {
	cfs_setup
}

# ---------------------------------------------------------------- usage

@test "no verb is misuse, in one line, with a hint" {
	for tool in slicectl snapctl cfsck-heal; do
		status=0
		run --separate-stderr "$tool"
		[ "$output" = "" ]
		says "$tool: no verb is given: Try '$tool --help'."
	done
}

@test "an unknown verb is misuse" {
	run -2 --separate-stderr slicectl frobnicate
	says "slicectl: unknown verb 'frobnicate': Try 'slicectl --help'."
}

@test "an unknown option is misuse, and the verb's help is named" {
	run -2 --separate-stderr slicectl ls --frob p
	says "slicectl: ls: unknown option '--frob': Try 'slicectl ls --help'."
}

@test "a prefix of an option is not the option" {
	run -2 --separate-stderr slicectl ls --jso p
	[[ $stderr == *"unknown option '--jso'"* ]]
}

@test "cfsck-heal says misuse with fsck's bit" {
	run -16 cfsck-heal frobnicate
	run -16 cfsck-heal check
}

@test "options stand before and after operands, and -- ends them" {
	make_pool
	run -0 slicectl ls --json "$P"
	run -0 slicectl ls "$P" --json
	run -3 --separate-stderr slicectl ls -- --json
	says "slicectl: --json: No such file or directory"
}

@test "--version names the tool and ends with 0" {
	for tool in mkcfs slicectl snapctl cfsck-heal; do
		run -0 "$tool" --version
		[[ $output == "$tool (cfs) "* ]]
	done
}

# ----------------------------------------------------------------- names

@test "a name with a character that is not allowed is misuse" {
	make_pool
	for name in -a .a 'a b' 'ä' "$(printf 'x%.0s' {1..128})"; do
		run -2 --separate-stderr mkcfs "$P:$name" --lun 4M
		[ "$output" = "" ]
		[[ $stderr == mkcfs:\ * ]]
	done
}

@test "a name of 127 bytes works" {
	make_pool
	name=$(printf 'x%.0s' {1..127})
	run -0 mkcfs "$P:$name" --lun 4M
	run -0 slicectl ls --json "$P"
	[ "$(jq_output '.volumes[0].name')" = "$name" ]
}

@test ":NAME is a volume of the pool in CFS_POOL" {
	make_pool
	make_lun vm0
	CFS_POOL=$P run -0 slicectl ls --json :vm0
	[ "$(jq_output '.volumes[0].name')" = vm0 ]
}

@test ":NAME without CFS_POOL is misuse" {
	run -2 --separate-stderr slicectl ls :vm0
	[[ $stderr == *CFS_POOL* ]]
}

@test "a pool whose file name has a colon is named by a URI" {
	make_pool "a:b.img" 2>/dev/null || make_pool "file:a%3Ab.img"
	run -0 slicectl show file:a%3Ab.img
	[ -e "a:b.img" ]
}

@test "POOL:/path is refused where no file is meant" {
	make_pool
	run -2 slicectl ls "$P:vm0:/etc"
}

@test "sizes are refused, not rounded" {
	make_pool
	run -2 mkcfs "$P:a" --lun 4097
	run -2 mkcfs "$P:a" --lun 1.5M
	run -2 mkcfs "$P:a" --lun 20E
	run -2 mkcfs "$P:a" --lun -4M
	run -0 slicectl ls --json "$P"
	[ "$(jq_output '.volumes | length')" = 0 ]
}

@test "KB are powers of 1000 and KiB powers of 1024" {
	make_pool
	mkcfs -q "$P:a" --lun 4096KB
	mkcfs -q "$P:b" --lun 4096KiB
	run -0 slicectl ls --json "$P"
	[ "$(jq_output '.volumes[0].size_bytes')" = 4096000 ]
	[ "$(jq_output '.volumes[1].size_bytes')" = 4194304 ]
}

# ------------------------------------------------------------------ JSON

@test "every reader's --json is one document with schema and version" {
	make_pool
	make_lun vm0
	snapctl take -q "$P:vm0@a"
	while read -r tool verb operand; do
		run -0 --separate-stderr "$tool" "$verb" --json "$operand"
		[ "$(jq -s length <<<"$output")" = 1 ]
		[ "$(jq_output .schema)" = "cfs.$tool.$verb" ]
		[ "$(jq_output .version)" = 1 ]
		[ "$stderr" = "" ]
	done <<-EOF
	slicectl pools $P
	slicectl ls $P
	slicectl show $P
	slicectl show $P:vm0
	slicectl show $P:vm0@a
	slicectl df $P
	slicectl map $P
	snapctl ls $P
	snapctl tree $P
	cfsck-heal check $P
	EOF
}

@test "an empty list is an empty array" {
	make_pool
	run -0 slicectl ls --json "$P"
	[ "$(jq_output '.volumes == []')" = true ]
	run -0 snapctl ls --json "$P"
	[ "$(jq_output '.snapshots == []')" = true ]
}

@test "--json-lines prints the items alone, one a line" {
	make_pool
	make_lun a
	make_lun b
	run -0 slicectl ls --json-lines "$P"
	[ "${#lines[@]}" = 2 ]
	[ "$(jq -r .name <<<"${lines[1]}")" = b ]
}

@test "keys are snake_case, and byte counts numbers" {
	make_pool
	make_lun vm0 16M 4
	snapctl take -q "$P:vm0@a"
	for cmd in "slicectl ls" "slicectl show" "slicectl df" "slicectl map" \
			"snapctl ls" "snapctl tree" "cfsck-heal check"; do
		# shellcheck disable=SC2086
		run -0 $cmd --json "$P"
		[ "$(jq_output '[.. | objects | keys[]] |
			map(select(test("^[a-z][a-z0-9_]*$") | not)) |
			length')" = 0 ]
		[ "$(jq_output '[.. | objects | to_entries[] |
			select(.key | endswith("_bytes")) | .value |
			select(type != "number" and . != null)] |
			length')" = 0 ]
	done
}

@test "times are RFC 3339 in UTC" {
	make_pool
	run -0 slicectl show --json "$P"
	[[ $(jq_output .pool.created_at) =~ ^20[0-9-]{8}T[0-9:.]+Z$ ]]
}

@test "a command that fails leaves standard output empty" {
	make_pool
	run -3 --separate-stderr slicectl show --json "$P:nothing"
	[ "$output" = "" ]
	says "slicectl: $P:nothing: no such volume"
}

@test "--bytes prints plain numbers" {
	make_pool
	make_lun vm0 16M
	run -0 slicectl ls --bytes "$P"
	[[ ${lines[1]} =~ ^vm0\ +lun\ +16777216\  ]]
	run -0 slicectl ls "$P"
	[[ ${lines[1]} =~ ^vm0\ +lun\ +16\ MiB\  ]]
}

# --------------------------------------------------------------- streams

@test "colour is only for terminals" {
	make_pool
	run -0 slicectl show "$P"
	[[ $output != *$'\e'* ]]
	run -0 slicectl show --color always "$P"
	[[ $output == *$'\e['* ]]
	NO_COLOR=1 run -0 slicectl show --color always "$P"
	[[ $output != *$'\e'* ]]
}

@test "a reader that goes away is not an error" {
	make_pool
	slicectl show "$P" 2>err | true
	[ ! -s err ]
}

@test "a full standard output is one" {
	make_pool
	[ -e /dev/full ] || skip "no /dev/full"
	run -6 bash -c 'slicectl show '"$P"' 2>&1 >/dev/full'
	[ "$output" = \
	  "slicectl: standard output: No space left on device" ]
}

@test "--quiet leaves out what is no error and no result" {
	run -0 --separate-stderr mkcfs -q --size 64M "$P"
	[ "$output$stderr" = "" ]
	run -0 slicectl ls -q "$P"
	[[ $output == NAME* ]]
}

@test "--progress=json writes JSON lines to standard error" {
	make_pool
	pattern 512 >src
	run -0 --separate-stderr mkcfs --progress=json "$P:a" --lun auto \
		--from src
	[ "$(jq -s 'last | .done == 2097152 and .is_done' <<<"$stderr")" = \
	  true ]
}

# ---------------------------------------------------------- what is there

@test "a pool that does not exist is 3" {
	for cmd in "slicectl ls" "slicectl df" "slicectl map" "snapctl ls" \
			"snapctl tree"; do
		# shellcheck disable=SC2086
		run -3 --separate-stderr $cmd nothing.img
		[[ $stderr == "${cmd%% *}: nothing.img: "* ]]
		[ "${#stderr_lines[@]}" = 1 ]
	done
	run -8 cfsck-heal check nothing.img
}

@test "a directory is no pool" {
	mkdir d
	run --separate-stderr slicectl ls d
	[ "$status" -ne 0 ]
	[[ $stderr == "slicectl: d: "* ]]
}

@test "reading leaves every byte of the pool as it was" {
	not_beside "it writes when it likes"
	make_pool
	make_lun vm0 16M 16
	snapctl take -q "$P:vm0@a"
	before=$(sum_of "$P")
	slicectl ls "$P"
	slicectl show "$P:vm0"
	slicectl df "$P"
	slicectl map "$P"
	slicectl pools "$P"
	snapctl ls "$P"
	snapctl tree "$P"
	cfsck-heal check "$P"
	cfsck-heal scrub --no-heal "$P"
	cfsck-heal trace "$P" --bad
	[ "$(sum_of "$P")" = "$before" ]
}

@test "a dry run leaves every byte of the pool as it was" {
	make_pool
	make_lun vm0 16M 16
	snapctl take -q "$P:vm0@a"
	truncate -s 64M more.img
	before=$(sum_of "$P")
	mkcfs -n "$P:vm1" --lun 1G
	mkcfs -n "$P:vm2" --lun auto --from vm0.src
	slicectl set -n "$P" label=x
	slicectl add -n "$P" more.img
	slicectl resize -n "$P:vm0" 4M
	slicectl trim -n "$P"
	slicectl rename -n "$P:vm0" vm9
	snapctl take -n "$P:vm0@b"
	snapctl clone -n "$P:vm0@a" c
	snapctl rollback -n "$P:vm0@a"
	snapctl rename -n "$P:vm0@a" z
	snapctl hold -n "$P:vm0@a"
	snapctl rm -n "$P:vm0@a"
	slicectl rm -n -r "$P:vm0"
	cfsck-heal scrub -n "$P"
	[ "$(sum_of "$P")" = "$before" ]
	[ "$(tr -d '\0' <more.img | wc -c)" = 0 ]
}

@test "a dry run fails as the real thing would" {
	make_pool
	make_lun vm0
	run -1 mkcfs -n "$P:vm0" --lun 4M
	run -3 snapctl take -n "$P:vm1@a"
	run -3 snapctl rm -n "$P:vm0@a"
}

# ---------------------------------------------------------------- several

@test "a second process waits, and then exits with 4" {
	not_beside "nobody waits"
	make_pool
	make_lun vm0 16M
	mkfifo pipe
	mkcfs "$P:held" --lun auto --from - <pipe >/dev/null 3>&- &
	pid=$!
	exec 7>pipe
	printf x >&7
	sleep 0.3
	run -4 --separate-stderr slicectl ls --wait 1 "$P"
	[[ $stderr == "slicectl: $P: "* ]]
	[ "${#stderr_lines[@]}" = 1 ]
	exec 7>&-
	wait "$pid"
	run -0 slicectl ls "$P"
}

@test "a second process that waits long enough gets it" {
	not_beside "nobody waits"
	make_pool
	mkfifo pipe
	mkcfs "$P:held" --lun auto --from - <pipe >/dev/null 3>&- &
	pid=$!
	exec 7>pipe
	printf x >&7
	sleep 0.3
	(sleep 1; printf y) >&7 3>&- &
	exec 7>&-
	run -0 slicectl ls --json --wait 20 "$P"
	[ "$(jq_output '.volumes[0].name')" = held ]
	wait "$pid"
}

@test "a holder that was killed holds nothing" {
	make_pool
	mkfifo pipe
	mkcfs "$P:held" --lun auto --from - <pipe >/dev/null 3>&- &
	pid=$!
	exec 7>pipe
	printf x >&7
	sleep 0.3
	kill -KILL "$pid"
	wait "$pid" || true
	exec 7>&-
	SECONDS=0
	run -0 slicectl ls --json "$P"
	[ "$SECONDS" -lt 3 ]
	[ "$(jq_output '.volumes | length')" = 0 ]
	run -0 cfsck-heal check "$P"
}

@test "SIGINT and SIGTERM end a tool by that signal, and nothing is left" {
	make_pool
	mkfifo pipe
	for signal in INT TERM; do
		# A job of an interactive shell: background ones ignore SIGINT.
		bash -mc 'mkcfs "$1" --lun auto --from - <pipe 2>err & p=$!
			exec 7>pipe; printf x >&7; sleep 0.4
			kill -"$2" $p; wait $p; echo $? >rc' - "$P:a" $signal 3>&-
		[ "$(cat rc)" = $((128 + $(kill -l $signal))) ]
		run -0 slicectl ls --json "$P"
		[ "$(jq_output '.volumes | length')" = 0 ]
		run -0 cfsck-heal check "$P"
	done
}
