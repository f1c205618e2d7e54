# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Hosts for tests: processes in network, mount, UTS and time namespaces of
# their own, with their own /run, host name, boot id and clocks, joined by a
# bridge.  No Unix socket leads from one to another; the files of the test are
# seen by all, as a device on a SAN is.  Each host is held together by one
# process, $HOST_PID[NAME]; when it has ended nothing of the host is left.
#
# What runs on a host is started with `on`, in a cgroup-less way: `spawn` gives
# it a process group of its own, so that all of it can be stopped and killed.

NET=10.119.7

declare -gA HOST_PID=() HOST_IP=()
SWITCH_PID=
STARTED=()

need_namespaces()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	command -v ip >/dev/null || skip "no ip (iproute2)"
	unshare -n -m -u -T true 2>/dev/null || skip "no namespaces here"
	unshare -n ip link add br0 type bridge 2>/dev/null ||
		skip "no bridges here"
}

# In the background, without the test's descriptors.
detached()
{
	"$@" </dev/null 3>&- &
}

# A process that does nothing is the namespace.
switch_make()
{
	detached unshare -n sleep 100000
	SWITCH_PID=$!
	wait_for "[ \"\$(readlink /proc/$SWITCH_PID/ns/net)\" != \
		\"\$(readlink /proc/self/ns/net)\" ]"
	nsenter -t "$SWITCH_PID" -n sh -c '
		ip link set lo up && ip link add br0 type bridge &&
		ip link set br0 up'
}

# host_make NAME NUMBER [SECONDS]: $NET.NUMBER, with clocks that are so much
# ahead.
host_make()
{
	local name=$1 ahead=${3:-0} id

	[ -n "$SWITCH_PID" ] || switch_make
	id=$(cat /proc/sys/kernel/random/uuid)
	echo "$id" >"$name.boot_id"
	printf '127.0.0.1 localhost\n' >"$name.hosts"
	detached unshare -m -n -u -T --boottime "$ahead" --monotonic "$ahead" \
		--propagation private sh -e -c '
		mount --bind "$1.boot_id" /proc/sys/kernel/random/boot_id
		mount --bind "$1.hosts" /etc/hosts
		mount -t tmpfs -o mode=755 tmpfs /run
		hostname "$1"
		ip link set lo up
		: >"$1.up"
		exec sleep 100000' sh "$name"
	HOST_PID[$name]=$!
	HOST_IP[$name]=$NET.$2
	wait_for "[ -e $name.up ]"
	ip link add "v$2" netns "${HOST_PID[$name]}" type veth \
		peer name "p$2" netns "$SWITCH_PID"
	nsenter -t "$SWITCH_PID" -n ip link set "p$2" master br0 up
	on "$name" sh -c "ip addr add $NET.$2/24 dev v$2 && ip link set v$2 up"
	for other in "${!HOST_IP[@]}"; do
		for of in "${!HOST_IP[@]}"; do
			echo "${HOST_IP[$of]} $of"
		done >"$other.hosts"
	done
}

# on NAME COMMAND...: there, in this directory.
on()
{
	local name=$1

	shift
	nsenter -t "${HOST_PID[$name]}" -m -n -u -T --wdns="$PWD" "$@"
}

# spawn NAME COMMAND...: the same in the background, as a process group;
# $SPAWNED is its number, that of the first process.
spawn()
{
	local name=$1

	shift
	detached setsid nsenter -t "${HOST_PID[$name]}" -m -n -u -T \
		--wdns="$PWD" "$@"
	SPAWNED=$!
	STARTED+=("$SPAWNED")
}

# The cable of host NAME is out, and in again.
unplug()
{
	on "$1" ip link set "v${HOST_IP[$1]##*.}" down
}

plug()
{
	on "$1" ip link set "v${HOST_IP[$1]##*.}" up
}

# lose NAME PERCENT: packets that come in are lost at random, 0: none.
lose()
{
	local rule="numgen random mod 100 < $2 drop"

	on "$1" nft flush ruleset || return
	[ "$2" != 0 ] || return 0
	on "$1" nft "add table inet t; add chain inet t in { type filter hook \
		input priority 0; }; add rule inet t in $rule"
}

# delay NAME: what goes out waits, by netem, or else by a line that is slow;
# delay NAME off.
delay()
{
	local dev=v${HOST_IP[$1]##*.}

	on "$1" tc qdisc del dev "$dev" root 2>/dev/null || true
	[ "${2-}" != off ] || return 0
	on "$1" tc qdisc add dev "$dev" root netem delay 80ms 60ms \
		2>/dev/null ||
		on "$1" tc qdisc add dev "$dev" root tbf rate 256kbit \
			burst 1600 latency 3s
}

# Until $1 succeeds, at most $2 (10) seconds.
wait_for()
{
	local end=$((SECONDS + ${2:-10}))

	until eval "$1"; do
		[ $SECONDS -lt $end ] || {
			echo "not in ${2:-10} seconds: $1"
			return 1
		}
		sleep 0.05
	done
}

# A CA, and a certificate for each host and name: certs NAME...
certs()
{
	local name

	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
		-nodes -keyout ca.key -out ca.crt -subj "/CN=test CA" \
		-days 2 2>/dev/null
	for name; do
		cert "$name" "DNS:$name,IP:${HOST_IP[$name]:-127.0.0.1}"
	done
}

# cert NAME WHAT-IT-NAMES [CA]
cert()
{
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
		-keyout "$1.key" -out "$1.csr" -subj "/CN=$1" 2>/dev/null
	openssl x509 -req -in "$1.csr" -CA "${3:-ca}.crt" \
		-CAkey "${3:-ca}.key" -CAcreateserial -days 2 -out "$1.crt" \
		-extfile <(echo "subjectAltName=$2") 2>/dev/null
}

# with NAME COMMAND...: with the certificate NAME.crt.
with()
{
	local -x CFS_TLS_CERT=$PWD/$1.crt CFS_TLS_KEY=$PWD/$1.key
	local -x CFS_TLS_CA=$PWD/ca.crt

	shift
	"$@"
}

# serve NAME POOL: a cfsd there, reached over TLS; its number in $MANAGER.
serve()
{
	rm -f "$1.ready"
	spawn "$1" env CFS_TLS_CERT="$1.crt" CFS_TLS_KEY="$1.key" \
		CFS_TLS_CA=ca.crt sh -c 'exec cfsd --json-lines \
		--listen "tcp:$1:7010" "$2" >"$3.ready" 2>>"$3.errors"' sh \
		"${HOST_IP[$1]}" "$2" "$1"
	MANAGER=$SPAWNED
	wait_for "[ -s $1.ready ] || ! kill -0 $MANAGER 2>/dev/null" "${3:-10}"
	[ -s "$1.ready" ] || { cat "$1.errors"; return 1; }
}

# end SIGNAL PID: all of what spawn started as PID; its status in $status.
end()
{
	kill -"$1" -- "-$2" 2>/dev/null || true
	kill -CONT -- "-$2" 2>/dev/null || true
	status=0
	wait "$2" || status=$?
}

# A process and all that it has started, the parents first.
tree_of()
{
	local child

	echo "$1"
	for child in $(pgrep -P "$1"); do
		tree_of "$child"
	done
}

# tree SIGNAL PID: to all of them.
tree()
{
	# shellcheck disable=SC2046
	kill -"$1" $(tree_of "$2") 2>/dev/null || true
}

hosts_done()
{
	local pid

	for pid in ${STARTED[@]+"${STARTED[@]}"}; do
		tree KILL "$pid"
		kill -KILL -- "-$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	for pid in "${HOST_PID[@]}" ${SWITCH_PID:+"$SWITCH_PID"}; do
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	STARTED=()
	HOST_PID=()
	SWITCH_PID=
	return 0
}
