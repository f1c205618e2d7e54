# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Random blocks of 4 KiB, each made durable before the next, in the first pass
# after a snapshot, which is taken before each round; the same with 10,000
# snapshots in place; and what others do when they have to keep the old.  cfs
# has its pools in sparse files.

# shellcheck source=bench/sync.sh
. bench/sync.sh
CASE_TITLE='4 KiB random writes, each made durable, right after a snapshot'
SNAP_MANY=${SNAP_MANY:-10000}
SNAP_POOL_MB=$((SYNC_MB * 5 / 2 + 512))
SNAP_ONE='cfs, a snapshot'
SNAP_ALL="cfs, $SNAP_MANY snapshots"
SNAP_XFS='xfs, a reflink copy'
SNAP_BTRFS='btrfs, a snapshot'

# snap_cfs SUBJECT ROUND POOL
snap_cfs()
{
	! is_broken "$1" || return 0
	quietly snapctl take -q "$3:bench@r$2" || {
		failed "$1"
		return
	}
	sync_cfs_on "$1" "$2" "$3"
}

snap_one()
{
	snap_cfs "$SNAP_ONE" "$1" "$WORK/one"
}

snap_all()
{
	snap_cfs "$SNAP_ALL" "$1" "$WORK/all"
}

snap_none()
{
	sync_cfs_on 'cfs, no snapshot' "$1" "$WORK/none"
}

snap_xfs()
{
	! is_broken "$SNAP_XFS" || return 0
	quietly cp --reflink=always "$WORK/xfs/data" "$WORK/xfs/copy" &&
	quietly sync -f "$WORK/xfs" || {
		failed "$SNAP_XFS"
		return
	}
	sync_peer "$SNAP_XFS" "$1" "$WORK/xfs/data"
	rm -f "$WORK/xfs/copy"
	sync -f "$WORK/xfs"
}

snap_btrfs()
{
	! is_broken "$SNAP_BTRFS" || return 0
	quietly btrfs -q subvolume snapshot "$WORK/btrfs" "$WORK/btrfs/s$1" &&
	quietly sync -f "$WORK/btrfs" || {
		failed "$SNAP_BTRFS"
		return
	}
	sync_peer "$SNAP_BTRFS" "$1" "$WORK/btrfs/data"
}

# snap_prepare SUBJECT POOL COUNT FUNCTION: and so many snapshots.
snap_prepare()
{
	local i step=4000

	quietly mkcfs -q --size "${SNAP_POOL_MB}M" "$2" || {
		failed "$1"
		return
	}
	prepare_lun "$1" "$2" || return
	for ((i = 0; i < $3; i += step)); do
		# shellcheck disable=SC2046
		quietly snapctl take -q $(seq -f "$2:bench@n%08.0f" $((i + 1)) \
			$((i + step > $3 ? $3 : i + step))) || {
			failed "$1"
			return
		}
	done
	functions+=("$4")
}

run_case()
{
	local functions=(sync_raw)

	sync_measure
	aim rate "$SNAP_ONE" '>=' 0.85 "$SYNC_RAW"
	aim rate "$SNAP_ALL" '>=' 0.9 "$SNAP_ONE"
	need_space '(all)' $((SYNC_MB * 3 + SNAP_POOL_MB * 3)) || return 0
	make_data "$WORK/raw" "$SYNC_MB" || return
	if need cfs mkcfs cfscp snapctl cfs-bench; then
		snap_prepare 'cfs, no snapshot' "$WORK/none" 0 snap_none
		snap_prepare "$SNAP_ONE" "$WORK/one" 0 snap_one
		snap_prepare "$SNAP_ALL" "$WORK/all" "$SNAP_MANY" snap_all
	fi
	! fill_fs xfs "$SNAP_XFS" "$SYNC_MB" || functions+=(snap_xfs)
	! fill_fs btrfs "$SNAP_BTRFS" "$SYNC_MB" || functions+=(snap_btrfs)
	drop_caches
	rounds "$SYNC_ROUNDS" "${functions[@]}"
}
