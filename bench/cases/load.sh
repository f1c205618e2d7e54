# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Reads and writes of a volume of 4 GiB that is full, by size of request and
# depth, with direct I/O; and what the disk is given to write for each byte.
# cfs reads from one pool and writes to another, which ages: it never writes in
# place.  Its random reads are counted when most blocks' checksums have been
# seen; those of 4 GiB fit its cache.  fio sends the requests to raw and to the
# peers; cfs has threads of its own process, as the servers before it have: one
# a request, and for `eight a call` one for eight reads, which it waits for.

CASE_TITLE='Reads and writes by size and depth, direct I/O'
LOAD_MB=${LOAD_MB:-4096}
LOAD_ROUNDS=${LOAD_ROUNDS:-3}
LOAD_SECONDS=${LOAD_SECONDS:-2}
LOAD_WARM=${LOAD_WARM:-8}
LOAD_POOL_MB=$((LOAD_MB * 5 / 2 + 512))
LOAD_RAW='raw (O_DIRECT)'
LOAD_CFS_TOGETHER='cfs, eight a call'
# ID, way, bytes, depth
LOAD_WAYS=('rr1 randread 4096 1' 'rr32 randread 4096 32'
	'rw32 randwrite 4096 32' 'sr read 131072 1' 'sw write 131072 1')

# Sectors written to the disk under $BENCH_DIR so far.
load_written()
{
	sync -f "$WORK"
	awk '{ print $7 }' "/sys/dev/block/$LOAD_DEV/stat" 2>/dev/null
}

# load_one SUBJECT ROUND FUNCTION ARG: all ways; FUNCTION prints requests a
# second and requests in all.
load_one()
{
	local way id rw bytes depth before out after

	! is_broken "$1" || return 0
	for way in "${LOAD_WAYS[@]}"; do
		read -r id rw bytes depth <<<"$way"
		before=$(load_written)
		out=$("$3" "$4" "$rw" "$bytes" "$depth" "$2" 2>"$WORK/err") || {
			failed "$1"
			return
		}
		sample "$id" "$1" "$2" "${out% *}"
		[[ $rw == *write ]] || continue
		after=$(load_written)
		[ -z "$after" ] || sample "$id-disk" "$1" "$2" \
			"$(awk -v a="$before" -v b="$after" -v n="${out#* }" \
			-v s="$bytes" 'BEGIN { printf "%.3f",
			n ? (b - a) * 512 / (n * s) : 0 }')"
	done
}

# load_cfs POOL WAY BYTES DEPTH SEED
load_cfs()
{
	local warm=0 pool=$1

	case $2 in
	randread) warm=$LOAD_WARM ;;
	*write) pool=$1-written ;;
	esac
	load-bench "$pool" bench "$2" "$3" "$4" "$warm" "$LOAD_SECONDS" "$5" \
		"${LOAD_TOGETHER:-1}" |
		jq -r '"\(.ops_per_s) \(.ops)"'
}

# load_fio ENGINE-AND-TARGET WAY BYTES DEPTH SEED
load_fio()
{
	local args

	IFS=' ' read -r -a args <<<"$1"
	fio --name=load "${args[@]}" --rw="$2" --bs="$3" --iodepth="$4" \
		--size="${LOAD_MB}M" --time_based \
		--runtime="$LOAD_SECONDS" --randseed="$5" --end_fsync=1 \
		--norandommap --refill_buffers --output-format=json \
		--output="$WORK/fio.json" >/dev/null || return
	sed -n '/^{/,$p' "$WORK/fio.json" | jq -r '.jobs[0] |
		"\(.read.iops + .write.iops) \(.read.total_ios +
		.write.total_ios)"'
}

load_file()
{
	load_one "$2" "$1" load_fio "--direct=1 --ioengine=io_uring --filename=$3"
}

load_raw()
{
	load_file "$1" "$LOAD_RAW" "$WORK/raw"
}

load_of_cfs()
{
	load_one cfs "$1" load_cfs "$WORK/pool"
}

# Reads at random by those who have several to do.
load_of_cfs_together()
{
	local LOAD_WAYS=('rr32 randread 4096 32') LOAD_TOGETHER=8

	load_one "$LOAD_CFS_TOGETHER" "$1" load_cfs "$WORK/pool"
}

load_xfs()
{
	load_file "$1" 'xfs on a loop device' "$WORK/xfs/data"
}

load_btrfs()
{
	load_file "$1" 'btrfs on a loop device' "$WORK/btrfs/data"
}

load_qcow2()
{
	load_one 'qcow2 (qemu-nbd, cache=none)' "$1" load_fio \
		"--ioengine=nbd --uri=nbd+unix:///?socket=$WORK/nbd"
}

# load_make_pool POOL MB: with a volume in it, full of data.
load_make_pool()
{
	quietly dd if=/dev/zero of="$1" bs=1M count="$2" oflag=direct \
		conv=fsync &&
	quietly mkcfs -q "$1" &&
	quietly mkcfs -q "$1:bench" --lun "${LOAD_MB}M" &&
	quietly cfscp -q "$WORK/raw" "$1:bench"
}

load_prepare_cfs()
{
	need cfs mkcfs cfscp load-bench || return
	load_make_pool "$WORK/pool" $((LOAD_MB * 5 / 4 + 512)) &&
	load_make_pool "$WORK/pool-written" "$LOAD_POOL_MB" || {
		failed cfs
		return
	}
	functions+=(load_of_cfs load_of_cfs_together)
}

run_case()
{
	local functions=(load_raw)

	measure rr1 'reads/s' higher "$LOAD_RAW" \
		'random reads of 4 KiB, one at a time'
	measure rr32 'reads/s' higher "$LOAD_RAW" \
		'random reads of 4 KiB, 32 at a time'
	measure rw32 'writes/s' higher "$LOAD_RAW" \
		'random writes of 4 KiB, 32 at a time'
	measure rw32-disk 'bytes/byte' lower "$LOAD_RAW" \
		'written to the disk for them'
	measure sr 'reads/s' higher "$LOAD_RAW" 'reads of 128 KiB in order'
	measure sw 'writes/s' higher "$LOAD_RAW" 'writes of 128 KiB in order'
	measure sw-disk 'bytes/byte' lower "$LOAD_RAW" \
		'written to the disk for them'
	aim rr1 cfs '>=' 0.95 "$LOAD_RAW"
	aim rr32 cfs '>=' 0.85 "$LOAD_RAW"
	aim rw32 cfs '>=' 0.7 "$LOAD_RAW"
	aim sr cfs '>=' 0.95 "$LOAD_RAW"
	aim sw cfs '>=' 0.85 "$LOAD_RAW"
	need '(all)' fio || return 0
	need_space '(all)' $((LOAD_MB * 11 / 2 + LOAD_POOL_MB)) || return 0
	LOAD_DEV=$(mountpoint -d "$(findmnt -n -o TARGET -T "$WORK")")
	make_data "$WORK/raw" "$LOAD_MB" || return
	load_prepare_cfs
	! fill_fs xfs 'xfs on a loop device' "$LOAD_MB" ||
		functions+=(load_xfs)
	! fill_fs btrfs 'btrfs on a loop device' "$LOAD_MB" ||
		functions+=(load_btrfs)
	! serve_qcow2 'qcow2 (qemu-nbd, cache=none)' ||
		functions+=(load_qcow2)
	drop_caches
	rounds "$LOAD_ROUNDS" "${functions[@]}"
}
