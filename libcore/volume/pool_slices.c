/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The slice table: picking free slices, lending them, taking them back.
 * Container 0's lock is held in all of it.
 */
#include "volume/pool_delegate_priv.h"

#include "base/cleanup.h"
#include "ondisk/slice_header.h"
#include "pool/metavolume.h"
#include "tree/tree.h"

#include <inttypes.h>
#include <stdlib.h>

static struct cfs_key slice_key(uint32_t device, uint64_t slice)
{
	return (struct cfs_key){ { cfs_table_word(CFS_TABLE_SLICE, device),
				   slice, 0 } };
}

static struct cfs_key smap_key(uint64_t container_id, uint64_t lslice)
{
	return (struct cfs_key){ { cfs_table_word(CFS_TABLE_SMAP,
						  container_id), lslice, 0 } };
}

unsigned int cfs_pool_piece_count(const struct cfs_pool *pool)
{
	return pool->is_mirror ? 2 : 1;
}

int cfs_pool_flush_devices(struct cfs_pool *pool, struct cfs_err *err)
{
	for (uint32_t i = 0; i < cfs_devset_count(pool->set); i++) {
		struct cfs_dev *dev = cfs_devset_dev(pool->set, i);
		int r = dev ? cfs_dev_flush(dev, err) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

/* What the records say of each device's slices. */
int cfs_pool_slices_load(struct cfs_pool *pool, struct cfs_err *err)
{
	uint32_t count = cfs_devset_count(pool->set);
	struct device_slices *list = calloc(count, sizeof(*list));
	struct cfs_key from = slice_key(0, 0);
	struct cfs_cursor cur;
	int r;

	if (!list)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (uint32_t i = 0; i < count; i++) {
		struct cfs_device_rec rec;

		list[i].slice_count =
			cfs_devset_label(pool->set, i)->slice_count;
		if (pool->c0 && cfs_pool_device_rec_locked(pool, i, &rec,
							   NULL) == 0) {
			list[i].slice_count = rec.slice_count;
			list[i].is_usable = rec.state == CFS_DEVICE_OK;
		} else {
			list[i].is_usable = true;
		}
		if (!cfs_devset_dev(pool->set, i))
			list[i].is_usable = false;
	}
	free(pool->devices);
	pool->devices = list;
	pool->device_count = count;
	if (!pool->c0)
		return 0;
	r = cfs_cursor_ge(&cur, cfs_container_tree(pool->c0, CFS_TREE_TABLE),
			  &from, err);
	while (r == 0 && cur.key.w[0] >> 56 == CFS_TABLE_SLICE) {
		uint64_t d = cur.key.w[0] & UINT32_MAX;
		struct cfs_slice_rec rec;

		r = cfs_slice_rec_unpack(cur.value, cur.value_bytes, &rec,
					 err);
		if (r == 0 && (d >= count ||
			       cur.key.w[1] >= list[d].slice_count))
			r = cfs_err_set(err, -EUCLEAN,
					"slice table: a slice outside the "
					"devices");
		if (r < 0)
			return r;
		list[d].virgin_from = CFS_MAX(list[d].virgin_from,
					      cur.key.w[1] + 1);
		if (rec.use == CFS_SLICE_USE_FREE)
			list[d].free_used++;
		r = cfs_cursor_next(&cur, err);
	}
	return r == -ENOENT ? 0 : r;
}

static uint64_t device_free(const struct device_slices *d)
{
	if (!d->is_usable)
		return 0;
	return d->slice_count - d->virgin_from + d->free_used;
}

/* A free slice of a device, used once before: the next behind the cursor. */
static int find_free_used(struct cfs_pool *pool, uint32_t device,
			  uint64_t *ret_slice, uint32_t *ret_generation,
			  struct cfs_err *err)
{
	struct device_slices *d = &pool->devices[device];

	for (unsigned int lap = 0; lap < 2; lap++) {
		struct cfs_key from = slice_key(device, lap ? 0 : d->cursor);
		struct cfs_cursor cur;
		int r = cfs_cursor_ge(&cur, cfs_container_tree(pool->c0,
							CFS_TREE_TABLE),
				      &from, err);

		while (r == 0 && cur.key.w[0] == from.w[0]) {
			struct cfs_slice_rec rec;

			r = cfs_slice_rec_unpack(cur.value, cur.value_bytes,
						 &rec, err);
			if (r < 0)
				return r;
			if (rec.use == CFS_SLICE_USE_FREE) {
				*ret_slice = cur.key.w[1];
				*ret_generation = rec.generation;
				d->cursor = cur.key.w[1] + 1;
				return 0;
			}
			r = cfs_cursor_next(&cur, err);
		}
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return cfs_err_set(err, -ENOSPC, "no free slice");
}

/* One slice of @device; it counts as taken from now on. */
static int take_from(struct cfs_pool *pool, uint32_t device,
		     struct cfs_piece *ret, struct cfs_err *err)
{
	struct device_slices *d = &pool->devices[device];
	uint64_t slice = d->virgin_from;
	uint32_t generation = 0;

	if (d->virgin_from < d->slice_count) {
		d->virgin_from++;
	} else {
		int r = find_free_used(pool, device, &slice, &generation, err);

		if (r < 0)
			return r;
		d->free_used--;
	}
	*ret = (struct cfs_piece){
		.device_index = (uint16_t)device,
		.flags = CFS_PIECE_USED,
		.slice_index = (uint32_t)slice,
		.generation = generation + 1,
	};
	return 0;
}

/* The device with the most free slices that none of the pieces is on. */
static uint32_t best_device(const struct cfs_pool *pool,
			    const struct cfs_piece *pieces, unsigned int count)
{
	uint32_t best = UINT32_MAX;
	uint64_t most = 0;

	for (uint32_t i = 0; i < pool->device_count; i++) {
		bool is_taken = false;

		for (unsigned int p = 0; p < count; p++)
			is_taken |= pieces[p].device_index == i;
		if (!is_taken && device_free(&pool->devices[i]) > most) {
			most = device_free(&pool->devices[i]);
			best = i;
		}
	}
	return best;
}

int cfs_pool_slice_pick(struct cfs_pool *pool, struct cfs_piece *pieces,
			struct cfs_err *err)
{
	unsigned int want = cfs_pool_piece_count(pool), got = 0;

	memset(pieces, 0, CFS_PIECES_MAX * sizeof(*pieces));
	while (got < want) {
		uint32_t device = best_device(pool, pieces, got);
		int r;

		if (device == UINT32_MAX)
			break;
		r = take_from(pool, device, &pieces[got], err);
		if (r < 0)
			return r;
		got++;
	}
	/* A mirror that lost a device goes on with one piece. */
	if (got == 0 || (got < want && pool->device_count ==
				       cfs_pool_devices_usable(pool)))
		return cfs_err_set(err, -ENOSPC, "no free slice in the pool");
	return 0;
}

uint32_t cfs_pool_devices_usable(const struct cfs_pool *pool)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < pool->device_count; i++)
		n += pool->devices[i].is_usable;
	return n;
}

/* ---- headers and records ------------------------------------------------- */

int cfs_pool_slice_headers(struct cfs_pool *pool, uint64_t container_id,
			   const uint8_t uuid[16], uint64_t lslice,
			   const struct cfs_piece *pieces, uint32_t state,
			   struct cfs_err *err)
{
	const struct cfs_label *label0 = cfs_devset_label(pool->set, 0);
	CFS_CLEANUP(cfs_freep) struct cfs_page_disk *page =
		cfs_dev_buf_alloc(sizeof(*page));
	struct cfs_slice_geometry geo;
	unsigned int count = 0;
	int r = cfs_slice_geometry_init(label0->slice_bytes, &geo, err);

	if (!page)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++)
		count += (pieces[i].flags & CFS_PIECE_USED) != 0;
	for (unsigned int i = 0; r == 0 && i < CFS_PIECES_MAX; i++) {
		const struct cfs_piece *p = &pieces[i];
		const struct cfs_label *label;
		struct cfs_dev *dev;
		struct cfs_slice_header header = {
			.container_id = container_id,
			.lslice = lslice,
			.slice_bytes = geo.slice_bytes,
			.slice_index = p->slice_index,
			.state = state,
			.piece = i,
			.piece_count = count,
		};
		struct cfs_page head = {
			.kind = CFS_PAGE_SLICE,
			.seq = p->generation,
			.pool_lo = cfs_pool_lo(label0->pool_uuid),
			.owner = container_id,
			.epoch = pool->epoch,
			.generation = p->generation,
		};

		if (!(p->flags & CFS_PIECE_USED))
			continue;
		dev = cfs_devset_dev(pool->set, p->device_index);
		if (!dev)
			continue;
		label = cfs_devset_label(pool->set, p->device_index);
		memcpy(header.container_uuid, uuid, 16);
		memcpy(header.device_uuid, label->device_uuid, 16);
		head.address = label0->slices_offset_bytes +
			       p->slice_index * geo.slice_bytes +
			       (uint64_t)CFS_BLOCK_BYTES *
			       cfs_geometry_header_block(&geo, head.seq & 1);
		cfs_slice_header_pack(&header, page);
		cfs_page_pack(&head, page);
		r = cfs_dev_write(dev, head.address, page, sizeof(*page), err);
	}
	return r;
}

/* The records that lend a slice, or take it back, for one frame. */
struct slice_change {
	struct cfs_slice_rec_disk slices[CFS_PIECES_MAX];
	struct cfs_smap_rec_disk smap;
};

/* Appends to @changes; returns how many. */
static size_t slice_changes(const struct cfs_pool *pool, uint64_t container_id,
			    uint64_t lslice, const struct cfs_piece *pieces,
			    bool is_lent, struct slice_change *sc,
			    struct cfs_table_change *changes)
{
	struct cfs_smap_rec smap = {
		.epoch = pool->is_shared ? pool->epoch : 0,
	};
	size_t n = 0;

	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++) {
		const struct cfs_piece *p = &pieces[i];
		struct cfs_slice_rec rec = {
			.use = is_lent ? CFS_SLICE_USE_OWNED :
					 CFS_SLICE_USE_FREE,
			.generation = p->generation,
		};

		smap.pieces[i] = *p;
		if (!(p->flags & CFS_PIECE_USED))
			continue;
		if (is_lent) {
			rec.container_id = container_id;
			rec.lslice = lslice;
			rec.piece = i;
		}
		cfs_slice_rec_pack(&rec, &sc->slices[i]);
		changes[n++] = (struct cfs_table_change){
			.key = slice_key(p->device_index, p->slice_index),
			.value = &sc->slices[i],
			.value_bytes = sizeof(sc->slices[i]),
		};
	}
	cfs_smap_rec_pack(&smap, &sc->smap);
	changes[n++] = (struct cfs_table_change){
		.key = smap_key(container_id, lslice),
		.value = is_lent ? &sc->smap : NULL,
		.value_bytes = is_lent ? sizeof(sc->smap) : 0,
	};
	return n;
}

/*
 * SLICE and SMAP records in one durable frame.  For container 0 itself the
 * SMAP record is what its log says until its root does.
 */
int cfs_pool_slice_record(struct cfs_pool *pool, uint64_t container_id,
			  uint64_t lslice, const struct cfs_piece *pieces,
			  bool is_lent, struct cfs_err *err)
{
	struct cfs_table_change changes[CFS_PIECES_MAX + 1];
	struct slice_change sc;
	size_t n = slice_changes(pool, container_id, lslice, pieces, is_lent,
				 &sc, changes);

	return cfs_container_put_now(pool->c0, changes, n, err);
}

/* Into the tree alone: a takeover of container 0, and its commit has them. */
int cfs_pool_slice_changes_put(struct cfs_pool *pool, uint64_t container_id,
			       uint64_t lslice, const struct cfs_piece *pieces,
			       struct cfs_err *err)
{
	struct cfs_table_change changes[CFS_PIECES_MAX + 1];
	struct slice_change sc;
	size_t n = slice_changes(pool, container_id, lslice, pieces, true, &sc,
				 changes);
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = cfs_tree_put(cfs_container_tree(pool->c0, CFS_TREE_TABLE),
				 &changes[i].key, changes[i].value,
				 changes[i].value_bytes, NULL, err);
	return r;
}

/* Appends to @changes; returns how many. */
static size_t freeze_changes(const struct cfs_pool *pool,
			     const struct cfs_piece *pieces,
			     struct slice_change *sc,
			     struct cfs_table_change *changes)
{
	size_t n = 0;

	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++) {
		const struct cfs_piece *p = &pieces[i];
		const struct cfs_slice_rec rec = {
			.use = CFS_SLICE_USE_FROZEN,
			.generation = p->generation,
			.lslice = pool->epoch,
		};

		if (!(p->flags & CFS_PIECE_USED))
			continue;
		cfs_slice_rec_pack(&rec, &sc->slices[i]);
		changes[n++] = (struct cfs_table_change){
			.key = slice_key(p->device_index, p->slice_index),
			.value = &sc->slices[i],
			.value_bytes = sizeof(sc->slices[i]),
		};
	}
	return n;
}

int cfs_pool_slice_freeze(struct cfs_pool *pool, uint64_t container_id,
			  uint64_t lslice, const struct cfs_piece *pieces,
			  bool is_mapped, struct cfs_err *err)
{
	struct cfs_table_change changes[CFS_PIECES_MAX + 1];
	struct slice_change sc;
	size_t n;

	if (!pool->is_shared)
		return 0;
	n = freeze_changes(pool, pieces, &sc, changes);
	if (!is_mapped)
		changes[n++] = (struct cfs_table_change){
			.key = smap_key(container_id, lslice),
		};
	return cfs_container_put_now(pool->c0, changes, n, err);
}

/* ---- lending ------------------------------------------------------------- */

/* The lowest logical slice that is a hole. */
uint64_t cfs_pool_free_lslice(const struct cfs_metavolume *mv, uint64_t from)
{
	struct cfs_piece pieces[CFS_PIECES_MAX];

	while (cfs_metavolume_get(mv, from, pieces))
		from++;
	return from;
}

#define LEND_AT_ONCE	64u

struct lending {
	uint64_t	lslice;
	struct cfs_piece pieces[CFS_PIECES_MAX];
	struct slice_change sc;
};

/* The host's space for a slice; a full host file system shows itself here, and
 * not when a commit is under way. */
static int allocate(struct cfs_pool *pool, const struct cfs_piece *pieces,
		    struct cfs_err *err)
{
	const struct cfs_label *label = cfs_devset_label(pool->set, 0);

	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++) {
		const struct cfs_piece *p = &pieces[i];
		struct cfs_dev *dev = cfs_devset_dev(pool->set,
						     p->device_index);
		int r;

		if (!(p->flags & CFS_PIECE_USED) || !dev)
			continue;
		r = cfs_dev_allocate(dev, label->slices_offset_bytes +
				     p->slice_index * label->slice_bytes,
				     label->slice_bytes, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A slice that was picked and is not lent after all. */
static void put_back(struct cfs_pool *pool, const struct cfs_piece *pieces)
{
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++) {
		const struct cfs_piece *p = &pieces[i];
		struct device_slices *d = &pool->devices[p->device_index];

		if (!(p->flags & CFS_PIECE_USED))
			continue;
		/* The last virgin one is virgin again; others have records. */
		if (p->generation == 1 && d->virgin_from == p->slice_index + 1)
			d->virgin_from--;
		else if (p->generation > 1)
			d->free_used++;
	}
}

/* Pick slices; fewer than @count if there are no more. */
static int pick_some(struct cfs_pool *pool, struct cfs_container *c,
		     unsigned int count, struct lending *list,
		     unsigned int *ret_count, struct cfs_err *err)
{
	const struct cfs_metavolume *mv = cfs_container_metavolume(c);
	uint64_t lslice = 0;
	unsigned int n = 0;
	int r = 0;

	for (; n < count; n++, lslice++) {
		lslice = cfs_pool_free_lslice(mv, lslice);
		if (lslice > CFS_LSLICE_MAX) {
			r = cfs_err_set(err, -ENOSPC, "the container is full");
			break;
		}
		list[n].lslice = lslice;
		r = cfs_pool_slice_pick(pool, list[n].pieces, err);
		if (r == 0) {
			r = allocate(pool, list[n].pieces, err);
			if (r < 0)
				put_back(pool, list[n].pieces);
		}
		if (r < 0)
			break;
	}
	*ret_count = n;
	return r == -ENOSPC && n > 0 ? 0 : r;
}

/* Their headers; on a shared pool behind a record that they are ours. */
static int head_some(struct cfs_pool *pool, const struct cfs_container *c,
		     const struct lending *list, unsigned int count,
		     struct slice_change *sc, struct cfs_table_change *changes,
		     struct cfs_err *err)
{
	size_t n = 0;
	int r = 0;

	for (unsigned int i = 0; pool->is_shared && i < count; i++)
		n += freeze_changes(pool, list[i].pieces, &sc[i], changes + n);
	if (n > 0)
		r = cfs_container_put_now(pool->c0, changes, n, err);
	for (unsigned int i = 0; r == 0 && i < count; i++)
		r = cfs_pool_slice_headers(pool, cfs_container_id(c),
					   cfs_container_uuid(c),
					   list[i].lslice, list[i].pieces,
					   CFS_SLICE_OWNED, err);
	return r < 0 ? r : cfs_pool_flush_devices(pool, err);
}

/* Several slices, in two flushes: one behind the headers, one for the frame. */
static int lend_batch(struct cfs_pool *pool, struct cfs_container *c,
		      unsigned int count, unsigned int *ret_count,
		      struct cfs_err *err)
{
	struct cfs_metavolume *mv = cfs_container_metavolume(c);
	struct lending *list = calloc(count, sizeof(*list));
	struct cfs_table_change *changes =
		calloc((size_t)count * (CFS_PIECES_MAX + 1), sizeof(*changes));
	struct slice_change *sc = calloc(count, sizeof(*sc));
	unsigned int n = 0;
	size_t change_count = 0;
	int r = -ENOMEM;

	if (!list || !changes || !sc)
		cfs_err_set(err, r, "out of memory");
	else
		r = pick_some(pool, c, count, list, &n, err);
	if (r == 0)
		r = head_some(pool, c, list, n, sc, changes, err);
	for (unsigned int i = 0; i < n && r == 0; i++)
		change_count += slice_changes(pool, cfs_container_id(c),
					      list[i].lslice, list[i].pieces,
					      true, &list[i].sc,
					      changes + change_count);
	if (r == 0)
		r = cfs_container_put_now(pool->c0, changes, change_count,
					  err);
	for (unsigned int i = 0; i < n && r == 0; i++) {
		/* The hook of container 0 has mapped its own. */
		if (c != pool->c0)
			r = cfs_metavolume_set(mv, list[i].lslice,
					       list[i].pieces, err);
		if (r == 0)
			cfs_container_slice_added(c, list[i].lslice);
	}
	free(list);
	free(changes);
	free(sc);
	if (r == 0)
		*ret_count = n;
	return r;
}

static int lend_some(struct cfs_pool *pool, struct cfs_container *c,
		     unsigned int count, unsigned int *got,
		     struct cfs_err *err)
{
	const bool is_own = c == pool->c0;
	int r = 0;

	/* Container 0 grows for itself with its lock held. */
	if (!is_own)
		cfs_container_lock(pool->c0);
	while (*got < count && r == 0) {
		unsigned int n = 0;

		if (!is_own)
			r = cfs_container_ready(pool->c0, err);
		if (r == 0)
			r = lend_batch(pool, c, CFS_MIN(count - *got,
							LEND_AT_ONCE), &n,
				       err);
		*got += n;
	}
	if (!is_own)
		cfs_container_unlock(pool->c0);
	return r;
}

struct others {
	struct cfs_pool	*pool;
	struct cfs_container *but;
	uint64_t	slices;
};

static int reclaim_other(void *arg, uint64_t id,
			 const struct cfs_container_rec *rec,
			 struct cfs_err *err)
{
	struct others *o = arg;
	struct cfs_member *m;
	uint64_t slices = 0;

	(void)err;
	if (id == cfs_container_id(o->but) || rec->state != CFS_OBJECT_LIVE)
		return 0;
	/* One that cannot be opened has nothing; one that is at work, perhaps
	 * in this very thread, is left alone. */
	if (cfs_pool_member_by_id(o->pool, id, &m, NULL) == 0 &&
	    cfs_container_is_idle(m->container))
		(void)cfs_pool_reclaim(o->pool, m, &slices, NULL);
	o->slices += slices;
	return 0;
}

/*
 * The pool has no free slice: what deletions emptied in other containers comes
 * back now.  We hold one container's lock and take others': that cannot go in
 * a circle, since only one thread at a time does it, and nobody else who holds
 * a container waits for another one.
 */
static bool reclaim_others(struct cfs_pool *pool, struct cfs_container *c)
{
	struct others o = { pool, c, 0 };

	if (pthread_mutex_trylock(&pool->reclaim_lock) != 0)
		return false;
	(void)cfs_pool_containers(pool, reclaim_other, &o, NULL);
	pthread_mutex_unlock(&pool->reclaim_lock);
	return o.slices > 0;
}

static int source_more(void *ctx, struct cfs_container *c, unsigned int count,
		       struct cfs_err *err)
{
	struct cfs_pool *pool = ctx;
	unsigned int got = 0;
	int r;

	if (pool->lender)
		return cfs_pool_delegated_more(pool, c, count, err);
	r = lend_some(pool, c, count, &got, err);
	if (r == -ENOSPC && got == 0 && c != pool->c0 &&
	    reclaim_others(pool, c))
		r = lend_some(pool, c, count, &got, err);
	return got > 0 && r == -ENOSPC ? 0 : r;
}

/* Asked by containers with their own lock held: a moment's answer will do. */
static bool source_has_plenty(void *ctx)
{
	struct cfs_pool *pool = ctx;
	uint64_t left = 0, total = 0;

	if (pool->lender)
		return cfs_pool_delegated_has_plenty(pool);
	cfs_container_lock(pool->c0);
	for (uint32_t i = 0; i < pool->device_count; i++) {
		left += device_free(&pool->devices[i]);
		total += pool->devices[i].slice_count;
	}
	cfs_container_unlock(pool->c0);
	return left >= total / 4;
}

static uint64_t source_spare_blocks(void *ctx)
{
	const struct cfs_label *label;
	struct cfs_pool *pool = ctx;
	uint64_t left = 0;

	if (pool->lender)
		return cfs_pool_delegated_spare(pool);
	cfs_container_lock(pool->c0);
	for (uint32_t i = 0; i < pool->device_count; i++)
		left += device_free(&pool->devices[i]);
	cfs_container_unlock(pool->c0);
	label = cfs_devset_label(pool->set, 0);
	return left * (label->slice_bytes / CFS_BLOCK_BYTES);
}

const struct cfs_slice_source cfs_pool_source = {
	.more = source_more,
	.has_plenty = source_has_plenty,
	.spare_blocks = source_spare_blocks,
};

/* ---- taking back --------------------------------------------------------- */

/* What stands in a slice is of no use: but for its headers, which stay until
 * the tables say otherwise. */
static void discard(struct cfs_pool *pool, const struct cfs_piece *pieces)
{
	const struct cfs_label *label = cfs_devset_label(pool->set, 0);

	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++) {
		const struct cfs_piece *p = &pieces[i];
		struct cfs_dev *dev = cfs_devset_dev(pool->set,
						     p->device_index);

		if (p->flags & CFS_PIECE_USED && dev)
			(void)cfs_dev_discard(dev, label->slices_offset_bytes +
					p->slice_index * label->slice_bytes +
					CFS_BLOCK_BYTES, label->slice_bytes -
					2 * CFS_BLOCK_BYTES, NULL);
	}
}

/*
 * On a shared pool the slice leaves the map first, and is ours alone until its
 * discard and its headers have ended: late ones would hit its next life.
 */
int cfs_pool_slice_return(struct cfs_pool *pool, uint64_t container_id,
			  const uint8_t uuid[16], uint64_t lslice,
			  struct cfs_piece *pieces, struct cfs_err *err)
{
	int r;

	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++)
		pieces[i].generation += (pieces[i].flags & CFS_PIECE_USED) != 0;
	r = cfs_pool_slice_freeze(pool, container_id, lslice, pieces, false,
				  err);
	if (r < 0)
		return r;
	discard(pool, pieces);
	if (pool->is_shared) {
		struct cfs_table_change changes[CFS_PIECES_MAX + 1];
		struct slice_change sc;
		size_t n = slice_changes(pool, container_id, lslice, pieces,
					 false, &sc, changes);

		r = cfs_pool_slice_headers(pool, container_id, uuid, lslice,
					   pieces, CFS_SLICE_FREE, err);
		if (r == 0)
			r = cfs_pool_flush_devices(pool, err);
		/* Without the last one: it is out of the map. */
		if (r == 0)
			r = cfs_container_put_now(pool->c0, changes, n - 1,
						  err);
	} else {
		r = cfs_pool_slice_record(pool, container_id, lslice, pieces,
					  false, err);
		if (r == 0)
			r = cfs_pool_slice_headers(pool, container_id, uuid,
						   lslice, pieces,
						   CFS_SLICE_FREE, err);
	}
	for (unsigned int i = 0; r == 0 && i < CFS_PIECES_MAX; i++)
		if (pieces[i].flags & CFS_PIECE_USED)
			pool->devices[pieces[i].device_index].free_used++;
	return r;
}
