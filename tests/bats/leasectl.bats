#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# leasectl: leases exclude each other and the tools, end as they should, and
# whoever asks is told.

load helpers

setup() {
	cfs_setup
	# A socket's path has 107 bytes.
	CFS_RUN=$(mktemp -d /tmp/cfs-lease.XXXXXX)
	export CFS_RUN
	make_pool
	make_lun vm0 8M 16
	mkcfs -q "$P:home" --tree
	echo in | cfscp -q - "$P:home:/inbox"
}

# Nothing that a test has started is left: managers end with their leases.
teardown() {
	local job

	release_pools
	for job in $(jobs -p); do
		kill -KILL "$job" 2>/dev/null || :
	done
	for job in $(manager_pids); do
		kill -TERM "$job" 2>/dev/null || :
	done
	rm -rf "$CFS_RUN"
}

# Those of this test's pools.
manager_pids() {
	local pid

	for pid in /proc/[0-9]*; do
		tr '\0' ' ' <"$pid/cmdline" |
			grep -q "leasectl serve.*$BATS_TEST_TMPDIR/" &&
			echo "${pid##*/}"
	done 2>/dev/null
	:
}

# Wait, for at most ten seconds, until the command succeeds.
until_true() {
	local i

	for ((i = 0; i < 200; i++)); do
		"$@" >/dev/null 2>&1 && return
		sleep 0.05
	done
	echo "never true: $*"
	return 1
}

leases() {
	leasectl status --json "$P" | jq -r "${1:-.leases[].id}"
}

has_leases() {
	[ "$(leases '.leases | length')" = "$1" ]
}

nobody_manages() {
	# A cfsd stays.
	[ -z "${CFS_TEST_BESIDE-}" ] || { has_leases 0; return; }
	[ "$(leases '.manager')" = null ]
}

# The process $2 ends with the status $1.
ends_with() {
	local got=0

	wait "$2" || got=$?
	[ "$got" = "$1" ] || { echo "status $got, not $1"; false; }
}

# Gone, or not yet taken away by its parent.
is_dead() {
	[[ $(ps -o stat= -p "$1") =~ ^(Z|$) ]]
}

# Run the rest in the background under a lease, and wait until it is held.
# `go` in its directory lets a command end that waits for it.
hold() {
	rm -f go
	leasectl run "$@" -- sh -c 'until [ -e go ]; do sleep 0.05; done' \
		2>hold.err 3>&- &
	HOLDER=$!
	until_true has_leases 1
}

@test "run ends with the command's status" {
	for status in 0 1 5 77; do
		run leasectl run "$P:vm0" -- sh -c "exit $status"
		[ "$status" = "$status" ]
	done
	run -5 leasectl run "$P:vm0" -- sh -c 'exit 5'
	run -143 leasectl run "$P:vm0" -- sh -c 'kill -TERM $$'
	run -127 leasectl run "$P:vm0" -- ./there-is-none
	run -126 leasectl run "$P:vm0" -- ./vm0.src
}

@test "run gives its input and output to the command" {
	run -0 --separate-stderr leasectl run "$P:vm0" -- \
		sh -c 'cat; echo err >&2' <<<"some text"
	[ "$output" = "some text" ]
	says err
}

@test "two runs on a volume exclude each other" {
	hold "$P:vm0"
	run -4 --separate-stderr leasectl run --wait 0 "$P:vm0" -- echo no
	[ -z "$output" ]
	says "leasectl: $P:vm0: leased by leasectl run, process $HOLDER on \
$(leases '.clients[0].host')"
	run -4 leasectl run --wait 200ms --shared "$P:vm0" -- echo no
	run -75 leasectl run --wait 0 -E 75 "$P:vm0" -- echo no
	run -0 leasectl run --wait 0 -E 75 "$P:home" -- true
	touch go
	wait "$HOLDER"
}

@test "a run that waits gets the lease when the other one ends" {
	hold "$P:vm0"
	leasectl run "$P:vm0" -- sh -c 'echo second >>order' 3>&- &
	until_true has_leases 2
	echo first >>order
	touch go
	wait "$HOLDER"
	wait "$!"
	[ "$(cat order)" = $'first\nsecond' ]
}

@test "shared runs go together and keep others out" {
	hold --shared "$P:vm0"
	run -0 leasectl run --wait 0 --shared "$P:vm0" -- echo both
	[ "$output" = both ]
	run -4 leasectl run --wait 0 "$P:vm0" -- echo no
	touch go
	wait "$HOLDER"
}

@test "ranges meet in their bytes alone" {
	hold --range 1M:64K "$P:vm0"
	run -0 leasectl run --wait 0 --range 0:1M "$P:vm0" -- true
	run -0 leasectl run --wait 0 --range 1088K:4K "$P:vm0" -- true
	run -4 leasectl run --wait 0 --range 1114111:1 "$P:vm0" -- true
	run -4 leasectl run --wait 0 --range 0:1048577 "$P:vm0" -- true
	run -4 leasectl run --wait 0 "$P:vm0" -- true
	touch go
	wait "$HOLDER"
}

@test "a file is leased by itself, whatever it is called" {
	cfscp -q --mkdir "$P:home:/d"
	echo x | cfscp -q - "$P:home:/d/x"
	hold "$P:home:/d/../inbox"
	[ "$(leases '.leases[].path')" = /inbox ]
	run -0 leasectl run --wait 0 "$P:home:/d/x" -- true
	run -4 leasectl run --wait 0 "$P:home:/inbox" -- true
	run -4 leasectl run --wait 0 "$P:home" -- true
	touch go
	wait "$HOLDER"
}

@test "a run keeps cfscp out, but for what the command starts" {
	hold "$P:vm0"
	run -4 --separate-stderr cfscp --wait 0 vm0.src "$P:vm0"
	[[ $stderr == "cfscp: $P:vm0: leased by leasectl run, process $HOLDER on "* ]]
	run -4 cfscp --wait 0 --length 4K "$P:vm0" -
	# Another volume, and a snapshot, need no lease of this one.
	echo y | cfscp -q --wait 0 - "$P:home:/y"
	snapctl take -q "$P:vm0@s"
	cfscp --wait 0 --length 64K "$P:vm0@s" - | cmp - vm0.src
	run -4 snapctl rollback -y "$P:vm0@s"
	run -4 slicectl rm -r -y "$P:vm0"
	touch go
	wait "$HOLDER"
	pattern 4 new >new
	leasectl run "$P:vm0" -- cfscp -q --wait 0 new "$P:vm0"
	cfscp --length 16K "$P:vm0" - | cmp - new
}

@test "under a shared run volumes are read, not written" {
	hold --shared "$P:vm0"
	cfscp --wait 0 --length 64K "$P:vm0" - | cmp - vm0.src
	run -4 cfscp --wait 0 vm0.src "$P:vm0"
	touch go
	wait "$HOLDER"
}

@test "cfscp waits for a run, and a run for cfscp" {
	hold "$P:vm0"
	cfscp -q vm0.src "$P:vm0" 3>&- &
	sleep 0.2
	kill -0 "$!"
	touch go
	wait "$HOLDER"
	wait "$!"
	mkfifo pipe
	hold "$P:home"		# so that somebody answers
	cfscp -q - "$P:vm0" <pipe 3>&- &
	exec 8>pipe
	until_true has_leases 2
	run -4 leasectl run --wait 0 "$P:vm0" -- true
	exec 8>&-
	wait "$!"
	leasectl run --wait 5 "$P:vm0" -- true
	touch go
	wait "$HOLDER"
}

@test "to leasectl itself a command's lease is another holder" {
	run -4 leasectl run "$P:vm0" -- leasectl run --wait 0 "$P:vm0" -- true
}

@test "a lease of another pool does not count" {
	make_pool other.img
	mkcfs -q other.img:vm0 --lun 8M
	run -0 leasectl run "$P:home" -- cfscp -q vm0.src other.img:vm0
	hold "$P:vm0"
	run -4 leasectl run other.img:vm0 -- cfscp --wait 0 vm0.src "$P:vm0"
	touch go
	wait "$HOLDER"
	hold "$P:home"
	CFS_LEASE=nonsense run -2 cfscp vm0.src "$P:vm0"
	[[ $output == *"CFS_LEASE: not a lease"* ]]
	touch go
}

@test "revoke ends the command by SIGTERM, and by SIGKILL if it must" {
	leasectl run "$P:vm0" -- sh -c 'trap "echo TERM >>got; exit 9" TERM
		while :; do sleep 0.05; done' 2>err 3>&- &
	until_true has_leases 1
	leasectl revoke -q "$P" "$(leases)"
	ends_with 4 "$!"
	[ "$(cat got)" = TERM ]
	grep -qxF "leasectl: $P:vm0: the lease was revoked, and the command \
was ended" err
	leasectl run -E 99 "$P:vm0" -- sh -c 'trap "" TERM
		sh -c "trap \"\" TERM; echo \$\$ >child; while :; do sleep 0.05
			done" &
		while :; do sleep 0.05; done' 2>err 3>&- &
	until_true test -s child
	start=${EPOCHREALTIME/./}
	# By its client.
	leasectl revoke -q "$P" "$(leases '.clients[].id')"
	ends_with 99 "$!"
	((${EPOCHREALTIME/./} - start > 900000))
	until_true is_dead "$(cat child)"
}

@test "signals go to the command's whole process group" {
	leasectl run "$P:vm0" -- sh -c 'trap "echo \$1 >>got" HUP USR1
		trap "echo TERM >>got; exit 3" TERM
		sh -c "trap \"echo child >>got; exit\" TERM; touch ready
			while :; do sleep 0.05; done" &
		while :; do sleep 0.05; done' 3>&- &
	until_true test -e ready
	kill -TERM "$!"
	ends_with 3 "$!"
	until_true grep -qx child got
	grep -qx TERM got
	until_true nobody_manages
}

@test "acquire, renew and release, for scripts" {
	lease=$(leasectl acquire "$P:vm0")
	[ "$lease" = "$(leases)" ]
	[ "$(leases '.leases[] | .volume, .path, .mode')" = \
		$'vm0\nnull\nexclusive' ]
	run -4 leasectl acquire --wait 0 "$P:vm0"
	[ "$(leases '.leases[0].ends_in_ns > 8e9')" = true ]
	sleep 1
	[ "$(leases '.leases[0].ends_in_ns < 93e8')" = true ]
	run -0 leasectl renew "$P" "$lease"
	[ "$output" = "$lease: renewed" ]
	[ "$(leases '.leases[0].ends_in_ns > 95e8')" = true ]
	run -0 leasectl release -n "$P" "$lease"
	has_leases 1
	run -0 leasectl release --json "$P" "$lease"
	[ "$(jq_output .lease.id)" = "$lease" ]
	run -3 --separate-stderr leasectl release "$P" "$lease"
	says "leasectl: $lease: no such lease"
	run -4 --separate-stderr leasectl renew "$P" "$lease"
	says "leasectl: $lease: the lease is lost"
}

@test "the manager that acquire leaves is a daemon and ends by itself" {
	not_beside "it is about who holds the pool"
	lease=$(leasectl acquire "$P:vm0")
	pid=$(leases .manager.pid)
	[ "$(cat "/proc/$pid/comm")" = leasectl ]
	[[ $(tr '\0' ' ' <"/proc/$pid/cmdline") == "leasectl serve "* ]]
	[ "$(readlink "/proc/$pid/cwd")" = / ]
	[ "$(ps -o sid= -p "$pid" | tr -d ' ')" != \
		"$(ps -o sid= -p $$ | tr -d ' ')" ]
	[ "$(ps -o tty= -p "$pid" | tr -d ' ')" = '?' ]
	for fd in 0 1 2; do
		[ "$(readlink "/proc/$pid/fd/$fd")" = /dev/null ]
	done
	# Tools go through it.
	cfscp -q --wait 0 vm0.src "$P:home:/copy"
	leasectl release -q "$P" "$lease"
	until_true nobody_manages
	until_true test ! -e "/proc/$pid"
	[ -z "$(ls "$CFS_RUN")" ]
	cfsck-heal check "$P"
}

# Periods are long beside what a busy machine may pause a process for.
@test "a lease ends with its period, and the manager with it" {
	slicectl set -q "$P" lease_period=4s
	leasectl acquire "$P:vm0"
	run -4 leasectl acquire --wait 0 "$P:vm0"
	start=${EPOCHREALTIME/./}
	lease=$(leasectl acquire --wait 20 "$P:vm0")
	((${EPOCHREALTIME/./} - start > 1000000))
	# Without its renewals it would end in the middle of this.
	for i in 1 2 3; do
		sleep 1.6
		leasectl renew -q "$P" "$lease"
	done
	sleep 4.5
	run -4 leasectl renew "$P" "$lease"
	until_true nobody_manages
}

@test "with cfsd, which has its own opinion of when to end" {
	not_beside "it is about who holds the pool"
	cfsd "$P" >cfsd.out 3>&- &
	until_true test -s cfsd.out
	lease=$(leasectl acquire "$P:vm0")
	[ "$(leases .manager.pid)" = "$!" ]
	[ -z "$(manager_pids)" ]
	run -4 leasectl run --wait 0 "$P:vm0" -- true
	leasectl release -q "$P" "$lease"
	leasectl run --wait 0 "$P:vm0" -- cfscp -q vm0.src "$P:vm0"
	kill -TERM "$!"
	wait "$!"
	nobody_manages
}

@test "a run lives through the death of cfsd" {
	not_beside "it is about who holds the pool"
	cfsd "$P" >cfsd.out 3>&- &
	cfsd=$!
	until_true test -s cfsd.out
	hold "$P:vm0"
	kill -KILL "$cfsd"
	wait "$cfsd" || true
	until_true has_leases 1
	[ "$(leases .manager.pid)" != "$cfsd" ]
	run -4 leasectl run --wait 0 "$P:vm0" -- true
	touch go
	wait "$HOLDER"
	[ ! -s hold.err ]
}

@test "kill -9 of run ends its command, and the lease with its period" {
	slicectl set -q "$P" lease_period=4s
	leasectl run "$P:vm0" -- sh -c 'echo $$ >pid; trap "" TERM
		while :; do sleep 0.05; done' 3>&- &
	until_true has_leases 1
	until_true test -s pid
	kill -KILL "$!"
	run -4 leasectl run --wait 0 "$P:vm0" -- true
	until_true is_dead "$(cat pid)"
	run -0 leasectl run --wait 20 "$P:vm0" -- true
	until_true nobody_manages
}

@test "status of a pool that nobody serves is told at once, by a reader" {
	not_beside "it is about who holds the pool"
	before=$(sum_of "$P")
	chmod a-w "$P"
	run -0 leasectl status "$P"
	[ "$output" = "nobody manages the pool" ]
	run -0 leasectl status --json "$P"
	[ "$(jq_output '.schema, .version, .manager, .clients, .leases,
		.delegations' | tr '\n' ' ')" = \
		"cfs.leasectl.status 1 null [] [] [] " ]
	[ "$(sum_of "$P")" = "$before" ]
	run -3 leasectl status none.img
}

@test "status shows who holds what, and who waits" {
	hold --range 4K:8K "$P:vm0"
	leasectl run "$P:vm0" -- true 3>&- &
	waiting=$!
	until_true has_leases 2
	run -0 leasectl status --json "$P"
	[ "$(jq_output '.manager | .host, .epoch | type')" = \
		$'string\nstring' ]
	[[ $(jq_output .manager.address) == "unix:$CFS_RUN/"*.sock ]]
	[ "$(jq_output '.clients[0].pid')" = "$HOLDER" ]
	[ "$(jq_output '.leases[0] | .mode, .offset_bytes, .length_bytes,
		.is_waiting' | tr '\n' ' ')" = "exclusive 4096 8192 false " ]
	[ "$(jq_output '.leases[1].is_waiting')" = true ]
	[ "$(jq_output '.leases[0].client == .clients[0].id')" = true ]
	run -0 leasectl status "$P"
	[[ $output == *"process $(leases .manager.pid) on "* ]]
	[[ $output == *" held "*"vm0 4096:8192"* ]]
	[[ $output == *" waits "* ]]
	run -0 leasectl status --json-lines "$P"
	[ "$(wc -l <<<"$output")" = 2 ]
	touch go
	wait "$HOLDER" "$waiting"
}

@test "watch tells what happens, from one manager to the next" {
	not_beside "it is about who holds the pool"
	slicectl set -q "$P" lease_period=3s
	leasectl watch --json-lines "$P" >>events 3>&- &
	watch=$!
	cfsd "$P" >cfsd.out 3>&- &
	cfsd=$!
	until_true leasectl renew -n "$P" 1-1
	# It sees what was granted before it came.
	leasectl acquire "$P:home"
	until_true grep -q grant events
	until_true grep -q expire events
	: >events
	lease=$(leasectl acquire "$P:vm0")
	leasectl renew -q "$P" "$lease"
	leasectl release -q "$P" "$lease"
	until_true grep -q release events
	leasectl acquire --shared "$P:home:/inbox"
	until_true grep -q expire events
	leasectl run "$P:vm0" -- sleep 9 3>&- &
	until_true has_leases 1
	leasectl revoke -q "$P" "$(leases)"
	ends_with 4 "$!"
	until_true eval '[ "$(grep -c release events)" = 2 ]'
	cp events all
	kill -TERM "$cfsd"
	ends_with 0 "$cfsd"
	leasectl acquire "$P:home"
	until_true grep -q takeover events
	until_true eval 'tail -n 1 events | grep -q \"home\"'
	kill -INT "$watch"
	ends_with 0 "$watch"
	[ "$(jq -r 'select(.lease) | .event + " " + .lease.volume +
		(.lease.path // "") + " " + .lease.mode' all)" = \
"grant vm0 exclusive
renew vm0 exclusive
release vm0 exclusive
grant home/inbox shared
expire home/inbox shared
grant vm0 exclusive
revoke vm0 exclusive
release vm0 exclusive" ]
	jq -e -n --arg lease "$lease" '[inputs | select(.event == "renew")] |
		.[0].schema == "cfs.leasectl.watch" and
		.[0].lease.id == $lease and (.[0].at | endswith("Z"))' all
}

@test "gone frees at once what a client held" {
	leasectl acquire "$P:vm0"
	client=$(leases '.clients[].id')
	run -3 --separate-stderr leasectl gone "$P" somebody
	says "leasectl: somebody: no such client or host"
	run -0 leasectl gone -n "$P" "$client"
	has_leases 1
	run -0 leasectl gone "$P" "$client"
	[ "$output" = "$client: taken for dead" ]
	run -0 leasectl acquire --wait 0 "$P:vm0"
	run -0 leasectl gone "$P" "$(leases '.clients[].host')"
	until_true nobody_manages
	run -3 leasectl gone "$P" "$client"
}

@test "what makes no sense is misuse, and named" {
	run -2 --separate-stderr leasectl run "$P:vm0"
	[[ $stderr == "leasectl: run: an operand is missing: "* ]]
	run -2 leasectl run "$P" -- true
	run -2 leasectl run "$P:vm0@snap" -- true
	run -2 leasectl run --range 5 "$P:vm0" -- true
	run -2 leasectl run --range 0:0 "$P:vm0" -- true
	run -2 leasectl run -E 256 "$P:vm0" -- true
	run -2 leasectl run "$P:vm0:/file" -- true
	run -2 leasectl acquire --range 0:1 "$P:home"
	run -2 --separate-stderr leasectl renew "$P" mylease
	[[ $stderr == "leasectl: renew: 'mylease' is no lease: "* ]]
	run -2 leasectl revoke "$P" 12-
	run -3 leasectl run "$P:none" -- true
	run -3 leasectl acquire "$P:home:/none"
	run -3 leasectl revoke "$P" 1-2
	run -8 leasectl acquire vm0.src:vm0
	run -2 leasectl
	run -2 leasectl frobnicate "$P"
	until_true nobody_manages
}

@test "a dry run takes nothing" {
	before=$(sum_of "$P")
	run -0 leasectl acquire -n --json "$P:vm0"
	[ "$(jq_output '.lease | .volume, .mode, .is_dry_run' |
		tr '\n' ' ')" = "vm0 exclusive true " ]
	run -0 leasectl run -n "$P:vm0" -- touch ran
	[ ! -e ran ]
	[ "$(sum_of "$P")" = "$before" ]
	run -3 leasectl acquire -n "$P:none"
}

@test "where the socket cannot be there is one line" {
	not_beside "it is about who holds the pool"
	CFS_RUN=$BATS_TEST_TMPDIR/$(printf '%0100d' 0) \
		run -2 --separate-stderr leasectl acquire "$P:vm0"
	[ "$(wc -l <<<"$stderr")" = 1 ]
	touch file
	CFS_RUN=$PWD/file run -1 --separate-stderr leasectl acquire "$P:vm0"
	[ "$(wc -l <<<"$stderr")" = 1 ]
	nobody_manages
}

@test "the shell takes lines, and the pool is known" {
	not_beside "it begins with no manager"
	run -0 --separate-stderr leasectl shell "$P" <<-'END'
		# a comment

		status
		acquire --shared ":vm0"
		run ':home:/inbox' -- echo 'two words'
		help
		exit
		status --bad
	END
	[ "${lines[0]}" = "nobody manages the pool" ]
	[ "${lines[1]}" = "$(leases)" ]
	[ "${lines[2]}" = "two words" ]
	[[ $output == *"watch     show what happens"* ]]
	run -3 leasectl shell "$P" <<<$'revoke 1-2\nstatus -q'
	run -2 leasectl shell "$P" <<<'status "'
}

@test "the shell completes verbs and volumes at a terminal" {
	not_beside "it begins with no manager"
	command -v script >/dev/null || skip "no script(1)"
	{
		until_true grep -q '> ' typed
		printf 'stat\t\n'
		until_true grep -q "nobody manages the pool" typed
		printf 'acq\t:v\t\n'
		until_true has_leases 1
		printf 'junk'
		until_true grep -q junk typed
		printf '\003'
		until_true grep -q '\^C' typed
		# A command in the foreground has the terminal, and ^C ends it.
		printf 'run :home -- sleep 99\n'
		until_true has_leases 2
		printf '\003'
		until_true has_leases 1
		printf 'run :home -- cat\n'
		until_true has_leases 2
		printf 'typed in\n'
		until_true eval '[ "$(grep -c "^typed in" typed)" = 2 ]'
		printf '\004'
		until_true has_leases 1
		printf 'exit\n'
	# Without a shell between, which ^C would reach too.
	} | TERM=dumb script -fqec "exec leasectl shell $P" typed >/dev/null
	[ "${PIPESTATUS[*]}" = "0 0" ]
	run ! grep -q "unknown verb" typed
}
