/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pool's own container: its leaves say which containers and devices there
 * are, and the headers of the slices whose they are.  Of record and header the
 * one of the later life counts: a slice's header is written before its record
 * when it is lent, and behind it when it comes back.
 */
#include "heal/rebuild_priv.h"

#include "heal/header_priv.h"
#include "pool/metavolume.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct found_slice {
	uint32_t device;
	uint64_t slice;
	uint32_t use; /* enum cfs_slice_use */
	uint32_t generation;
	uint64_t container_id, lslice;
	uint32_t piece;
};

struct found {
	struct cfs_devset *set;
	CFS_VEC(struct found_slice) slices;
};

static int no_memory(struct cfs_err *err)
{
	return cfs_err_set(err, -ENOMEM, "out of memory");
}

static int by_place(const void *a, const void *b)
{
	const struct found_slice *x = a, *y = b;

	if (x->device != y->device)
		return x->device < y->device ? -1 : 1;
	return (x->slice > y->slice) - (x->slice < y->slice);
}

/* By who has it; of two that claim one piece the later life comes first. */
static int by_owner(const void *a, const void *b)
{
	const struct found_slice *x = a, *y = b;

	if (x->container_id != y->container_id)
		return x->container_id < y->container_id ? -1 : 1;
	if (x->lslice != y->lslice)
		return x->lslice < y->lslice ? -1 : 1;
	if (x->piece != y->piece)
		return x->piece < y->piece ? -1 : 1;
	return (x->generation < y->generation) -
	       (x->generation > y->generation);
}

/* ---- headers ----------------------------------------------------------------
 */

static int find_headers(struct found *f, struct cfs_err *err)
{
	for (uint32_t d = 0; d < cfs_devset_count(f->set); d++) {
		uint64_t count = cfs_devset_slice_count(f->set, d);

		if (!cfs_devset_dev(f->set, d))
			continue;
		for (uint64_t i = 0; i < count; i++) {
			struct found_slice s = { .device = d, .slice = i };
			struct cfs_slice_header h;

			if (cfs_header_find(f->set, d, i, &h, &s.generation,
					    NULL) < 0)
				continue;
			if (h.state == CFS_SLICE_OWNED &&
			    h.piece < CFS_PIECES_MAX &&
			    h.lslice <= CFS_LSLICE_MAX) {
				s.use = CFS_SLICE_USE_OWNED;
				s.container_id = h.container_id;
				s.lslice = h.lslice;
				s.piece = h.piece;
			}
			if (cfs_vec_push(&f->slices, s) < 0)
				return no_memory(err);
		}
	}
	return 0;
}

static struct cfs_piece piece_of(const struct found_slice *s)
{
	return (struct cfs_piece){
		.device_index = (uint16_t)s->device,
		.flags = CFS_PIECE_USED,
		.slice_index = (uint32_t)s->slice,
		.generation = s->generation,
	};
}

/* The map of one container: calls @each for each logical slice. */
static int each_mapped(struct found *f,
		       int (*each)(void *arg, uint64_t container_id,
				   uint64_t lslice,
				   const struct cfs_piece *pieces,
				   struct cfs_err *err),
		       void *arg, struct cfs_err *err)
{
	int r = 0;

	if (f->slices.count > 0)
		qsort(f->slices.items, f->slices.count,
		      sizeof(*f->slices.items), by_owner);
	for (size_t i = 0; i < f->slices.count && r == 0;) {
		struct cfs_piece pieces[CFS_PIECES_MAX] = { { .flags = 0 } };
		const struct found_slice *first = &f->slices.items[i];
		bool is_mapped = false;

		for (; i < f->slices.count; i++) {
			struct found_slice *s = &f->slices.items[i];

			if (s->container_id != first->container_id ||
			    s->lslice != first->lslice)
				break;
			if (s->use != CFS_SLICE_USE_OWNED)
				continue;
			/* An older claim: that slice is free. */
			if (pieces[s->piece].flags) {
				s->use = CFS_SLICE_USE_FREE;
				continue;
			}
			pieces[s->piece] = piece_of(s);
			is_mapped = true;
		}
		if (is_mapped)
			r = each(arg, first->container_id, first->lslice,
				 pieces, err);
	}
	return r;
}

static int map_own(void *arg, uint64_t container_id, uint64_t lslice,
		   const struct cfs_piece *pieces, struct cfs_err *err)
{
	return container_id == 0 ? cfs_metavolume_set(arg, lslice, pieces, err)
				 : 0;
}

/* ---- records
 * ------------------------------------------------------------------ */

static struct cfs_tree *table_of(struct rebuild *b)
{
	return cfs_container_tree(b->c, CFS_TREE_TABLE);
}

/* Records of the leaves that are of a later life than the header. */
static int take_slice_records(struct rebuild *b, struct found *f)
{
	struct cfs_key from = { { cfs_table_word(CFS_TABLE_SLICE, 0), 0, 0 } };
	size_t count = f->slices.count;
	struct cfs_cursor cur;
	int r;

	if (count > 0)
		qsort(f->slices.items, count, sizeof(*f->slices.items),
		      by_place);
	r = cfs_cursor_ge(&cur, table_of(b), &from, b->err);
	while (r == 0 && cur.key.w[0] >> 56 == CFS_TABLE_SLICE) {
		struct found_slice s = {
			.device = (uint32_t)cur.key.w[0],
			.slice = cur.key.w[1],
		}, *at = NULL;
		struct cfs_slice_rec rec;

		if (cfs_slice_rec_unpack(cur.value, cur.value_bytes, &rec,
					 NULL) == 0) {
			s.use = rec.use;
			s.generation = rec.generation;
			s.container_id = rec.container_id;
			s.lslice = rec.lslice;
			s.piece = CFS_MIN(rec.piece, CFS_PIECES_MAX - 1);
			if (count > 0)
				at = bsearch(&s, f->slices.items, count,
					     sizeof(s), by_place);
			if (at && rec.generation > at->generation)
				*at = s;
			else if (!at && cfs_vec_push(&f->slices, s) < 0)
				return no_memory(b->err);
		}
		r = cfs_cursor_next(&cur, b->err);
	}
	return r == -ENOENT ? 0 : r;
}

static int clear_class(struct rebuild *b, enum cfs_table_class class)
{
	struct cfs_key from = { { cfs_table_word(class, 0), 0, 0 } };
	struct cfs_cursor cur;
	int r;

	while ((r = cfs_cursor_ge(&cur, table_of(b), &from, b->err)) == 0) {
		struct cfs_key key = cur.key;

		if (key.w[0] >> 56 != class)
			return 0;
		r = cfs_tree_del(table_of(b), &key, b->err);
		if (r < 0)
			return r;
	}
	return r == -ENOENT ? 0 : r;
}

static int put_map(void *arg, uint64_t container_id, uint64_t lslice,
		   const struct cfs_piece *pieces, struct cfs_err *err)
{
	struct rebuild *b = arg;
	const struct cfs_key key = {
		{ cfs_table_word(CFS_TABLE_SMAP, container_id), lslice, 0 }
	};
	struct cfs_smap_rec rec = { .epoch = 0 };
	struct cfs_smap_rec_disk disk;

	memcpy(rec.pieces, pieces, sizeof(rec.pieces));
	cfs_smap_rec_pack(&rec, &disk);
	return cfs_tree_put(table_of(b), &key, &disk, sizeof(disk), NULL, err);
}

static int put_slice(struct rebuild *b, const struct found_slice *s)
{
	const struct cfs_key key = {
		{ cfs_table_word(CFS_TABLE_SLICE, s->device), s->slice, 0 }
	};
	struct cfs_slice_rec rec = {
		.use = s->use,
		.generation = s->generation,
	};
	struct cfs_slice_rec_disk disk;

	if (s->use == CFS_SLICE_USE_OWNED) {
		rec.container_id = s->container_id;
		rec.lslice = s->lslice;
		rec.piece = s->piece;
	}
	cfs_slice_rec_pack(&rec, &disk);
	return cfs_tree_put(table_of(b), &key, &disk, sizeof(disk), NULL,
			    b->err);
}

/* Records of devices and of the pool, where their leaf is lost. */
static int put_missing(struct rebuild *b, struct found *f)
{
	const struct cfs_label *label = cfs_devset_label(f->set, 0);
	struct cfs_key key = { { cfs_table_word(CFS_TABLE_POOL, 0), 0, 0 } };
	struct cfs_pool_rec pool = { .next_container = 1 };
	struct cfs_pool_rec_disk pool_disk;
	size_t bytes;
	int r = cfs_tree_get(table_of(b), &key, NULL, 0, &bytes, b->err);

	if (r == -ENOENT) {
		(void)snprintf(pool.name, sizeof(pool.name), "%.63s",
			       label->name);
		for (size_t i = 0; i < f->slices.count; i++)
			pool.next_container = CFS_MAX(
				pool.next_container,
				f->slices.items[i].container_id + 1);
		cfs_pool_rec_pack(&pool, &pool_disk);
		r = cfs_tree_put(table_of(b), &key, &pool_disk,
				 sizeof(pool_disk), NULL, b->err);
	}
	for (uint32_t i = 0; r == 0 && i < cfs_devset_count(f->set); i++) {
		struct cfs_device_rec rec = { .state = CFS_DEVICE_OK };
		struct cfs_device_rec_disk disk;

		label = cfs_devset_label(f->set, i);
		key.w[0] = cfs_table_word(CFS_TABLE_DEVICE, i);
		r = cfs_tree_get(table_of(b), &key, NULL, 0, &bytes, b->err);
		if (r != -ENOENT)
			continue;
		memcpy(rec.uuid, label->device_uuid, 16);
		rec.size_bytes = label->size_bytes;
		rec.slice_count = label->slice_count;
		cfs_device_rec_pack(&rec, &disk);
		r = cfs_tree_put(table_of(b), &key, &disk, sizeof(disk), NULL,
				 b->err);
	}
	return r;
}

static int fill(struct rebuild *b)
{
	struct found *f = b->arg;
	int r = take_slice_records(b, f);

	if (r == 0)
		r = clear_class(b, CFS_TABLE_SLICE);
	if (r == 0)
		r = clear_class(b, CFS_TABLE_SMAP);
	/* One out of an old leaf would undo what was taken long ago. */
	if (r == 0)
		r = clear_class(b, CFS_TABLE_SNAPSET);
	if (r == 0)
		r = each_mapped(f, put_map, b, b->err);
	for (size_t i = 0; r == 0 && i < f->slices.count; i++)
		r = put_slice(b, &f->slices.items[i]);
	return r == 0 ? put_missing(b, f) : r;
}

/* ---- all of it
 * ------------------------------------------------------------------ */

static int run(struct rebuild *b, struct found *f, uint32_t epoch,
	       const struct cfs_place roots[CFS_ROOT_PLACES_MAX])
{
	const struct cfs_label *label = cfs_devset_label(f->set, 0);
	unsigned int n = 0;
	int r = cfs_metavolume_new(f->set, 0, &b->mv, b->err);

	if (r == 0)
		r = find_headers(f, b->err);
	if (r == 0)
		r = each_mapped(f, map_own, b->mv, b->err);
	if (r < 0)
		return r;
	if (cfs_metavolume_slice_count(b->mv) == 0)
		return cfs_err_set(b->err, -EUCLEAN,
				   "no slice says that it is"
				   " of the pool's own container");
	b->config = (struct cfs_container_config){
		.mv = b->mv,
		.epoch = epoch,
		.copies = label->flags & CFS_POOL_FLAG_MIRROR ? 1 : 2,
		.cache_bytes = UINT64_C(16) << 20,
	};
	memcpy(b->config.uuid, label->pool_uuid, 16);
	/* Pieces of one place have one address. */
	for (unsigned int i = 0; i < CFS_ROOT_PLACES_MAX; i++) {
		bool is_known = !roots[i].is_used;

		for (unsigned int k = 0; k < n; k++)
			is_known |= b->config.root_vaddr[k] ==
				    roots[i].vaddr[0];
		if (!is_known)
			b->config.root_vaddr[n++] = roots[i].vaddr[0];
	}
	b->fill = fill;
	b->arg = f;
	return cfs_rebuild_run(b);
}

int cfs_rebuild_pool(struct cfs_devset *set, uint32_t epoch,
		     const struct cfs_place roots[CFS_ROOT_PLACES_MAX],
		     struct cfs_rebuild_result *ret, struct cfs_err *err)
{
	struct rebuild *b = calloc(1, sizeof(*b));
	struct found f = { .set = set };
	int r;

	if (!b)
		return no_memory(err);
	memset(ret, 0, sizeof(*ret));
	b->result = ret;
	b->err = err;
	r = run(b, &f, epoch, roots);
	if (r < 0)
		cfs_err_wrap(err, r, "pool");
	cfs_rebuild_done(b);
	cfs_vec_done(&f.slices);
	free(b);
	return r;
}
