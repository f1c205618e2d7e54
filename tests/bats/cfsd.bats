#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# cfsd: holds a pool, answers, hands it on; what it leaves behind and what it
# refuses.

load helpers

# The tests start the cfsd that they are about.
setup() {
	cfs_setup
	unset CFS_TEST_BESIDE
	export CFS_RUN=$BATS_TEST_TMPDIR/run
	PIDS=()
}

teardown() {
	for pid in "${PIDS[@]}"; do
		kill -KILL "$pid" 2>/dev/null || continue
		wait "$pid" 2>/dev/null || true
	done
}

# cfsd with "$@"; its pid in $PID, ready (its document in the file ready).
start() {
	rm -f ready
	cfsd --json-lines "$@" >ready 2>errors 3>&- &
	PID=$!
	PIDS+=("$PID")
	until_true "[ -s ready ] || ! kill -0 $PID 2>/dev/null"
	[ -s ready ] || { cat errors; false; }
}

# The status of $1, which ends by itself, in $status.
ends() {
	status=0
	wait "$1" || status=$?
}

address() {
	jq -r .manager.address ready
}

@test "it says when it is ready, and ends with 0 on SIGTERM" {
	make_pool
	start "$P"
	[ "$(jq -r .schema ready)" = cfs.cfsd ]
	[ "$(jq .manager.pid ready)" = "$PID" ]
	socket=$(address)
	[[ $socket == unix:"$CFS_RUN"/*.sock ]]
	[ -S "${socket#unix:}" ]
	[ "$(stat -c %a "${socket#unix:}")" = 600 ]
	[ "$(stat -c %a "$CFS_RUN")" = 700 ]
	kill -TERM "$PID"
	ends "$PID"
	[ "$status" = 0 ]
	[ ! -e "${socket#unix:}" ]
	[ ! -s errors ]
}

@test "it ends with 0 on SIGINT too" {
	make_pool
	start "$P"
	kill -INT "$PID"
	ends "$PID"
	[ "$status" = 0 ]
}

@test "its address stands in the pool as long as it answers" {
	make_pool
	start "$P"
	grep -aq "$(address)" "$P"
	kill -TERM "$PID"
	ends "$PID"
	# The newest record has none: a tool holds the pool itself.
	run -0 slicectl df "$P"
}

@test "a tool goes through it" {
	make_pool
	start "$P"
	run -0 mkcfs "$P:vm0" --lun 16M
	run -0 slicectl ls --json "$P"
	[ "$(jq_output '.volumes[0].name')" = vm0 ]
	kill -TERM "$PID"
	ends "$PID"
	[ "$status" = 0 ]
	run -0 slicectl ls --json "$P"
	[ "$(jq_output '.volumes[0].name')" = vm0 ]
}

@test "a second one gives up after --wait" {
	make_pool
	start "$P"
	run -4 --separate-stderr cfsd --wait 1 "$P"
	[[ $stderr == "cfsd: $P: "*"in use by process $PID on this host"* ]]
	[ -z "$output" ]
}

@test "a second one takes over, at once when the first is killed" {
	make_pool
	start "$P"
	first=$PID
	epoch=$(jq -r .manager.epoch ready)
	cfsd --json-lines "$P" >second 2>errors2 3>&- &
	second=$!
	PIDS+=("$second")
	sleep 0.5
	[ ! -s second ]
	kill -KILL "$first"
	until_true "[ -s second ]"
	[ "$(jq -r .manager.pid second)" = "$second" ]
	[ "$(jq -r .manager.epoch second)" -gt "$epoch" ]
	run -0 slicectl df "$P"
	kill -TERM "$second"
	ends "$second"
	[ "$status" = 0 ]
}

@test "one that stands by ends with 0 when it is asked to" {
	make_pool
	start "$P"
	cfsd "$P" >second 2>&1 3>&- &
	second=$!
	PIDS+=("$second")
	sleep 0.3
	kill -TERM "$second"
	ends "$second"
	[ "$status" = 0 ]
	[ ! -s second ]
}

@test "the socket of one that was killed is replaced" {
	make_pool
	start "$P"
	socket=$(address)
	kill -KILL "$PID"
	ends "$PID"
	[ -S "${socket#unix:}" ]
	start "$P"
	[ "$(address)" = "$socket" ]
	run -0 slicectl df "$P"
}

@test "systemd is told" {
	command -v python3 >/dev/null || skip "no python3"
	make_pool
	python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("notify")
open("bound", "w").close()
for i in range(2):
    print(s.recv(100).decode(), flush=True)
' >told 3>&- &
	PIDS+=("$!")
	until_true "[ -e bound ]"
	export NOTIFY_SOCKET=$PWD/notify
	start "$P"
	until_true "grep -qx READY=1 told"
	kill -TERM "$PID"
	ends "$PID"
	[ "$status" = 0 ]
	until_true "grep -qx STOPPING=1 told"
}

@test "it listens on TCP for this host" {
	make_pool
	start --listen tcp:127.0.0.1:0 "$P"
	[[ $(address) == *" tcp:127.0.0.1:"[1-9]* ]]
	port=$(address)
	port=${port##*:}
	exec 9<>"/dev/tcp/127.0.0.1/$port"
	exec 9>&-
}

@test "TCP that leaves this host needs certificates" {
	make_pool
	run -10 --separate-stderr cfsd --listen tcp:0.0.0.0:0 "$P"
	[[ $stderr == "cfsd: $P: tcp:0.0.0.0:0: without TLS only on this "* ]]
	run -3 --separate-stderr cfsd --listen tcp:0.0.0.0:0 \
		--tls-cert none.crt --tls-key none.key --tls-ca none.crt "$P"
	[[ $stderr == *"none.crt: No such file or directory" ]]
	# The pool was closed cleanly, and nothing is left behind.
	[ -z "$(ls "$CFS_RUN")" ]
	run -0 slicectl df "$P"
}

@test "with certificates it listens anywhere" {
	command -v openssl >/dev/null || skip "no openssl"
	make_pool
	openssl req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out c.pem \
		-subj /CN=localhost -days 2 2>/dev/null
	start --listen tcp:0.0.0.0:0 --tls-cert c.pem --tls-key k.pem \
		--tls-ca c.pem "$P"
	[[ $(address) == *" tcp:$(uname -n):"[1-9]* ]]
	kill -TERM "$PID"
	ends "$PID"
	[ "$status" = 0 ]
	CFS_TLS_CERT=c.pem CFS_TLS_KEY=k.pem CFS_TLS_CA=c.pem \
		start --listen tcp:0.0.0.0:0 "$P"
}

@test "addresses that are none are wrong usage" {
	make_pool
	for a in nonsense unix:relative tcp:host tcp:1.2.3.4:99999; do
		run -2 --separate-stderr cfsd --listen "$a" "$P"
		[[ $stderr == "cfsd: --listen: '$a': "* ]]
	done
}

@test "a directory in which others may write is refused" {
	make_pool
	mkdir -m 777 open
	CFS_RUN=$PWD/open run -10 --separate-stderr cfsd "$P"
	[[ $stderr == "cfsd: $P: $PWD/open: others may write there"* ]]
}

@test "a path that is too long for a socket is refused" {
	make_pool
	long=$PWD/$(printf '%0120d' 0)
	CFS_RUN=$long run -2 --separate-stderr cfsd "$P"
	[[ $stderr == *"too long a path for a socket"* ]]
}

@test "a pool that is not there is 3, one that is none 8" {
	run -3 --separate-stderr cfsd none.img
	head -c 1M /dev/urandom >noise.img
	run -8 --separate-stderr cfsd noise.img
}

@test "noise on its socket does it no harm" {
	command -v python3 >/dev/null || skip "no python3"
	make_pool
	start -v "$P"
	socket=$(address)
	python3 -c '
import os, socket, sys
for i in range(100):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect(sys.argv[1])
    try:
        s.send(os.urandom(1 + i * 37))
        s.recv(10)
    except OSError:
        pass
' "${socket#unix:}"
	[ "$(wc -l <errors)" -ge 1 ]
	[ "$(wc -l <errors)" -le 10 ]
	run -0 slicectl df "$P"
	kill -TERM "$PID"
	ends "$PID"
	[ "$status" = 0 ]
}
