# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What the files about iSCSI share: an export in the background.

iscsi_setup()
{
	cfs_setup
	need_root
	need_programs tgtd tgtadm qemu-io qemu-img
	unset CFS_TEST_BESIDE CFS_ISCSI_STORE
	export P CFS_RUN=$BATS_TEST_TMPDIR/run
	PORT=$((20000 + (BASHPID % 1000) * 10))
	make_pool "$P" 256M
}

teardown()
{
	local pid

	for pid in "${SERVERS[@]}"; do
		kill -CONT $(pgrep -P "$pid" tgtd) 2>/dev/null || true
		kill -TERM "$pid" 2>/dev/null || continue
		wait "$pid" 2>/dev/null || true
	done
	! grep "$BATS_TEST_TMPDIR" /proc/mounts
}

# An export of the pool with "$@"; its number is in $SERVER.
start_iscsi()
{
	rm -f out
	cfs-export iscsi "$@" "$P" "127.0.0.1:$PORT" >out 2>errors 3>&- &
	SERVER=$!
	SERVERS+=("$SERVER")
	for _ in {1..4}; do
		until_true '[ -s out ] || ! kill -0 $SERVER 2>/dev/null' ||
			continue
		break
	done
	[ -s out ] || { cat errors; false; }
	UUID=$(slicectl show --json "$P" | jq -r .pool.uuid)
}

end_iscsi()
{
	kill -TERM "$SERVER"
	status=0
	wait "$SERVER" || status=$?
	[ "$status" = 0 ]
}

# The URL of LUN $1.
url()
{
	echo "iscsi://127.0.0.1:$PORT/iqn.2026-11.io.cfs:$UUID:$1/1"
}
