/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The slice map in memory is an array indexed by logical slice: 36 bytes a
 * slice, so 600 KiB for a container of 1 TiB in slices of 64 MiB.
 */
#include "pool/metavolume_priv.h"

#include "pool/metavolume_watch.h"

#include <assert.h>
#include <stdlib.h>

#define LSLICES_GROW 64u

static bool entry_is_mapped(const struct map_entry *e)
{
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++)
		if (e->pieces[i].flags & CFS_PIECE_USED)
			return true;
	return false;
}

/* Whoever stops all reads and writes is not kept waiting by new ones. */
static void init_io_lock(pthread_rwlock_t *lock)
{
	pthread_rwlockattr_t attr;

	pthread_rwlockattr_init(&attr);
	(void)pthread_rwlockattr_setkind_np(
		&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(lock, &attr);
	pthread_rwlockattr_destroy(&attr);
}

int cfs_metavolume_new(struct cfs_devset *set, uint64_t container_id,
		       struct cfs_metavolume **ret, struct cfs_err *err)
{
	const struct cfs_label *label = cfs_devset_label(set, 0);
	struct cfs_metavolume *mv;
	int r;

	mv = calloc(1, sizeof(*mv));
	if (!mv)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	mv->set = set;
	mv->container_id = container_id;
	mv->pool_lo = cfs_pool_lo(label->pool_uuid);
	mv->slices_offset_bytes = label->slices_offset_bytes;
	/* Devices may be added while it is open; there are at most 65536. */
	mv->device_room = 65536;
	r = cfs_slice_geometry_init(label->slice_bytes, &mv->geometry, err);
	if (r == 0) {
		mv->written = calloc(mv->device_room, sizeof(*mv->written));
		if (!mv->written)
			r = cfs_err_set(err, -ENOMEM, "out of memory");
	}
	if (r < 0) {
		free(mv);
		return r;
	}
	for (uint32_t i = 0; i < cfs_devset_count(set); i++)
		atomic_init(&mv->written[i], cfs_devset_is_writable(set));
	pthread_rwlock_init(&mv->map_lock, NULL);
	pthread_mutex_init(&mv->flush_lock, NULL);
	pthread_mutex_init(&mv->flights_lock, NULL);
	pthread_mutex_init(&mv->watch_lock, NULL);
	atomic_init(&mv->watch, NULL);
	init_io_lock(&mv->io_lock);
	*ret = mv;
	return 0;
}

void cfs_metavolume_free(struct cfs_metavolume *mv)
{
	if (!mv)
		return;
	assert(!mv->flights);
	pthread_mutex_destroy(&mv->flights_lock);
	pthread_rwlock_destroy(&mv->map_lock);
	pthread_rwlock_destroy(&mv->io_lock);
	cfs_metavolume_watch_end(mv);
	pthread_mutex_destroy(&mv->watch_lock);
	pthread_mutex_destroy(&mv->flush_lock);
	free(mv->map);
	free(mv->written);
	free(mv);
}

uint64_t cfs_metavolume_container_id(const struct cfs_metavolume *mv)
{
	return mv->container_id;
}

uint64_t cfs_metavolume_pool_lo(const struct cfs_metavolume *mv)
{
	return mv->pool_lo;
}

const struct cfs_slice_geometry *cfs_metavolume_geometry(
	const struct cfs_metavolume *mv)
{
	return &mv->geometry;
}

struct cfs_devset *cfs_metavolume_devset(const struct cfs_metavolume *mv)
{
	return mv->set;
}

/*
 * Numbers are given from the lowest that is free, and tables in memory are as
 * long as the highest: one far beyond what the pool has slices for (and it may
 * have had many more) is nobody's.
 */
static uint64_t lslice_end(const struct cfs_devset *set)
{
	uint64_t count = 0;

	for (uint32_t i = 0; i < cfs_devset_count(set); i++)
		if (cfs_devset_dev(set, i))
			count += cfs_devset_slice_count(set, i);
	return CFS_MIN(CFS_LSLICE_MAX + 1, (count + LSLICES_GROW) * 64);
}

int cfs_pieces_check(const struct cfs_devset *set, uint64_t lslice,
		     const struct cfs_piece pieces[CFS_PIECES_MAX],
		     struct cfs_err *err)
{
	bool is_mapped = false;

	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++) {
		const struct cfs_piece *p = &pieces[i];

		if (!(p->flags & CFS_PIECE_USED))
			continue;
		is_mapped = true;
		/* Of a missing device no geometry is known. */
		if (p->device_index >= cfs_devset_count(set) ||
		    (cfs_devset_dev(set, p->device_index) &&
		     p->slice_index >=
			     cfs_devset_slice_count(set, p->device_index)))
			return cfs_err_set(err, -EUCLEAN,
					   "slice map: slice %" PRIu64
					   " lies outside the pool",
					   lslice);
	}
	if (!is_mapped || lslice >= lslice_end(set))
		return cfs_err_set(
			err, -EUCLEAN,
			"slice map: slice %" PRIu64 " makes no sense", lslice);
	return 0;
}

int cfs_metavolume_set(struct cfs_metavolume *mv, uint64_t lslice,
		       const struct cfs_piece pieces[CFS_PIECES_MAX],
		       struct cfs_err *err)
{
	int r = cfs_pieces_check(mv->set, lslice, pieces, err);

	if (r < 0)
		return r;
	pthread_rwlock_wrlock(&mv->map_lock);
	if (lslice >= mv->map_room) {
		uint64_t room = CFS_MAX(lslice + LSLICES_GROW,
					mv->map_room + mv->map_room / 2);
		struct map_entry *map = realloc(mv->map, room * sizeof(*map));

		if (!map) {
			pthread_rwlock_unlock(&mv->map_lock);
			return cfs_err_set(err, -ENOMEM, "out of memory");
		}
		memset(map + mv->map_room, 0,
		       (room - mv->map_room) * sizeof(*map));
		mv->map = map;
		mv->map_room = room;
	}
	if (!entry_is_mapped(&mv->map[lslice]))
		mv->slice_count++;
	memcpy(mv->map[lslice].pieces, pieces, sizeof(mv->map[lslice].pieces));
	mv->map_end = CFS_MAX(mv->map_end, lslice + 1);
	pthread_rwlock_unlock(&mv->map_lock);
	return 0;
}

void cfs_metavolume_clear(struct cfs_metavolume *mv, uint64_t lslice)
{
	pthread_rwlock_wrlock(&mv->map_lock);
	if (lslice < mv->map_end && entry_is_mapped(&mv->map[lslice])) {
		memset(&mv->map[lslice], 0, sizeof(mv->map[lslice]));
		mv->slice_count--;
		while (mv->map_end > 0 &&
		       !entry_is_mapped(&mv->map[mv->map_end - 1]))
			mv->map_end--;
	}
	pthread_rwlock_unlock(&mv->map_lock);
}

/* The rwlock is no part of what callers see as constant. */
static pthread_rwlock_t *map_lock(const struct cfs_metavolume *mv)
{
	return (pthread_rwlock_t *)(uintptr_t)&mv->map_lock;
}

bool cfs_metavolume_get(const struct cfs_metavolume *mv, uint64_t lslice,
			struct cfs_piece ret[CFS_PIECES_MAX])
{
	bool is_mapped = false;

	pthread_rwlock_rdlock(map_lock(mv));
	if (lslice < mv->map_end && entry_is_mapped(&mv->map[lslice])) {
		memcpy(ret, mv->map[lslice].pieces,
		       sizeof(mv->map[lslice].pieces));
		is_mapped = true;
	}
	pthread_rwlock_unlock(map_lock(mv));
	return is_mapped;
}

uint64_t cfs_metavolume_end(const struct cfs_metavolume *mv)
{
	uint64_t end;

	pthread_rwlock_rdlock(map_lock(mv));
	end = mv->map_end;
	pthread_rwlock_unlock(map_lock(mv));
	return end;
}

uint64_t cfs_metavolume_slice_count(const struct cfs_metavolume *mv)
{
	uint64_t count;

	pthread_rwlock_rdlock(map_lock(mv));
	count = mv->slice_count;
	pthread_rwlock_unlock(map_lock(mv));
	return count;
}

/* The first piece in use; NULL for a hole. */
static const struct cfs_piece *first_piece(const struct cfs_piece *pieces)
{
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++)
		if (pieces[i].flags & CFS_PIECE_USED)
			return &pieces[i];
	return NULL;
}

uint32_t cfs_metavolume_generation(const struct cfs_metavolume *mv,
				   uint64_t lslice)
{
	struct cfs_piece pieces[CFS_PIECES_MAX];

	if (!cfs_metavolume_get(mv, lslice, pieces))
		return 0;
	return first_piece(pieces)->generation;
}

uint32_t cfs_metavolume_device(const struct cfs_metavolume *mv, uint64_t lslice)
{
	struct cfs_piece pieces[CFS_PIECES_MAX];

	if (!cfs_metavolume_get(mv, lslice, pieces))
		return UINT32_MAX;
	return first_piece(pieces)->device_index;
}

unsigned int cfs_metavolume_readable(const struct cfs_metavolume *mv,
				     uint64_t lslice)
{
	struct cfs_piece pieces[CFS_PIECES_MAX];
	unsigned int mask = 0;

	if (!cfs_metavolume_get(mv, lslice, pieces))
		return 0;
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++)
		if (piece_is_usable(mv, &pieces[i]))
			mask |= 1u << i;
	return mask;
}

bool cfs_metavolume_locate(const struct cfs_metavolume *mv, uint64_t vaddr,
			   unsigned int piece, uint32_t *ret_device,
			   uint64_t *ret_offset_bytes)
{
	struct cfs_piece pieces[CFS_PIECES_MAX];

	if (piece >= CFS_PIECES_MAX ||
	    !cfs_metavolume_get(mv, cfs_vaddr_lslice(vaddr), pieces) ||
	    !(pieces[piece].flags & CFS_PIECE_USED))
		return false;
	*ret_device = pieces[piece].device_index;
	*ret_offset_bytes = piece_offset_bytes(mv, &pieces[piece],
					       cfs_vaddr_block(vaddr));
	return true;
}
