#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Tools on one host, the manager on another: over TCP with certificates on
# both sides, and with one line that says why when that fails.

load ../bats/helpers
load hosts

setup() {
	need_namespaces
	command -v openssl >/dev/null || skip "no openssl"
	cfs_setup
	host_make alpha 1
	host_make beta 2
	certs alpha beta
	mkcfs -q --size 64M "$P"
	mkcfs -q "$P:vm0" --lun 4M
	serve alpha "$P"
}

teardown() {
	hosts_done
}

@test "tools on another host reach the manager over TLS" {
	run -0 with beta on beta slicectl ls --json "$P"
	[ "$(jq_output '.volumes[0].name')" = vm0 ]
	pattern 1024 net >in
	run -0 with beta on beta cfscp -q in "$P:vm0"
	run -0 with beta on beta cfscp -q "$P:vm0" out
	cmp in out
	run -0 with beta on beta snapctl take "$P:vm0@a"
	run -0 with beta on beta leasectl status --json "$P"
	[ "$(jq_output .manager.host)" = alpha ]
	end TERM "$MANAGER"
	[ "$status" = 0 ]
	run -0 cfsck-heal check "$P"
}

@test "a lease over TLS keeps others out" {
	spawn beta env CFS_TLS_CERT=beta.crt CFS_TLS_KEY=beta.key \
		CFS_TLS_CA=ca.crt leasectl run "$P:vm0" -- \
		sh -c ': >held; exec sleep 60'
	wait_for '[ -e held ]'
	run -4 on alpha leasectl run --wait 0 "$P:vm0" -- true
	end KILL "$SPAWNED"
	# What is left of it ends with its period.
	run -0 on alpha leasectl run --wait 20 "$P:vm0" -- true
}

@test "without a certificate it says that one is needed" {
	run -10 --separate-stderr on beta slicectl ls "$P"
	says "slicectl: $P: tcp:${HOST_IP[alpha]}:7010: another host is reached with TLS only: give a certificate, its key and a CA (CFS_TLS_CERT, CFS_TLS_KEY, CFS_TLS_CA)"
	run -10 --separate-stderr on beta leasectl status "$P"
	[[ $stderr == "leasectl: $P: tcp:"*"another host is reached with TLS"* ]]
}

@test "files that are not there are named" {
	run -3 --separate-stderr env CFS_TLS_CERT=none.crt CFS_TLS_KEY=beta.key \
		CFS_TLS_CA=ca.crt nsenter -t "${HOST_PID[beta]}" -m -n -u \
		--wdns="$PWD" slicectl ls "$P"
	says "slicectl: $P: none.crt: No such file or directory"
	run --separate-stderr env CFS_TLS_CERT=beta.crt \
		nsenter -t "${HOST_PID[beta]}" -m -n -u --wdns="$PWD" \
		slicectl ls "$P"
	says "slicectl: $P: TLS needs a certificate, a key and a CA"
}

@test "a certificate of another CA is refused, on either side" {
	openssl req -x509 -newkey rsa:2048 -nodes -keyout other.key \
		-out other.crt -subj "/CN=other CA" -days 2 2>/dev/null
	cert stranger DNS:stranger other
	run -10 --separate-stderr with stranger on beta slicectl ls "$P"
	says "slicectl: $P: tcp:${HOST_IP[alpha]}:7010: TLS: the other side refuses our certificate"
	CFS_TLS_CERT=$PWD/beta.crt CFS_TLS_KEY=$PWD/beta.key \
		CFS_TLS_CA=$PWD/other.crt \
		run -10 --separate-stderr on beta slicectl ls "$P"
	says "slicectl: $P: tcp:${HOST_IP[alpha]}:7010: TLS: its certificate is not of our CA"
}

@test "a certificate that names another host is refused" {
	end TERM "$MANAGER"
	cp beta.crt alpha.crt
	cp beta.key alpha.key
	serve alpha "$P"
	run -10 --separate-stderr with beta on beta slicectl ls "$P"
	says "slicectl: $P: tcp:${HOST_IP[alpha]}:7010: TLS: its certificate does not name the host ${HOST_IP[alpha]}"
}

@test "a manager that is gone is waited for, and named with the reason" {
	unplug alpha
	run -4 --separate-stderr with beta on beta slicectl ls --wait 1 "$P"
	[[ $stderr == "slicectl: $P: "*"in use by host alpha"*"tcp:${HOST_IP[alpha]}:7010: "* ]]
	[ "$(wc -l <<<"$stderr")" = 1 ]
	plug alpha
	run -0 with beta on beta slicectl ls "$P"
}
