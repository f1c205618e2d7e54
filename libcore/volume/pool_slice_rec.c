/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is written when a slice changes hands: its headers, and the records of
 * container 0.  Container 0's lock is held in all of it.
 */
#include "volume/pool_slices_priv.h"

#include "base/cleanup.h"
#include "ondisk/slice_header.h"
#include "tree/tree.h"

#include <limits.h>

struct cfs_key cfs_pool_slice_key(uint32_t device, uint64_t slice)
{
	return (struct cfs_key){ { cfs_table_word(CFS_TABLE_SLICE, device),
				   slice, 0 } };
}

struct cfs_key cfs_pool_smap_key(uint64_t container_id, uint64_t lslice)
{
	return (struct cfs_key){ { cfs_table_word(CFS_TABLE_SMAP, container_id),
				   lslice, 0 } };
}

int cfs_pool_slice_headers(struct cfs_pool *pool, uint64_t container_id,
			   const uint8_t uuid[16], uint64_t lslice,
			   const struct cfs_piece *pieces, uint32_t state,
			   struct cfs_err *err)
{
	return cfs_pool_slice_headers_of(pool, container_id, uuid, lslice,
					 pieces, UINT_MAX, state, err);
}

int cfs_pool_slice_headers_of(struct cfs_pool *pool, uint64_t container_id,
			      const uint8_t uuid[16], uint64_t lslice,
			      const struct cfs_piece *pieces, unsigned int mask,
			      uint32_t state, struct cfs_err *err)
{
	const struct cfs_label *label0 = cfs_devset_label(pool->set, 0);
	CFS_CLEANUP(cfs_freep)
	struct cfs_page_disk *page = cfs_dev_buf_alloc(sizeof(*page));
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

		if (!(p->flags & CFS_PIECE_USED) || !(mask & 1u << i))
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
				       cfs_geometry_header_block(&geo,
								 head.seq & 1);
		cfs_slice_header_pack(&header, page);
		cfs_page_pack(&head, page);
		r = cfs_dev_write(dev, head.address, page, sizeof(*page), err);
	}
	return r;
}

size_t cfs_pool_slice_changes(const struct cfs_pool *pool,
			      uint64_t container_id, uint64_t lslice,
			      const struct cfs_piece *pieces, bool is_lent,
			      struct slice_change *sc,
			      struct cfs_table_change *changes)
{
	struct cfs_smap_rec smap = {
		.epoch = pool->is_shared ? pool->epoch : 0,
	};
	size_t n = 0;

	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++) {
		const struct cfs_piece *p = &pieces[i];
		struct cfs_slice_rec rec = {
			.use = is_lent ? CFS_SLICE_USE_OWNED
				       : CFS_SLICE_USE_FREE,
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
			.key = cfs_pool_slice_key(p->device_index,
						  p->slice_index),
			.value = &sc->slices[i],
			.value_bytes = sizeof(sc->slices[i]),
		};
	}
	cfs_smap_rec_pack(&smap, &sc->smap);
	changes[n++] = (struct cfs_table_change){
		.key = cfs_pool_smap_key(container_id, lslice),
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
	size_t n = cfs_pool_slice_changes(pool, container_id, lslice, pieces,
					  is_lent, &sc, changes);

	return cfs_container_put_now(pool->c0, changes, n, err);
}

/* Into the tree alone: a takeover of container 0, and its commit has them. */
int cfs_pool_slice_changes_put(struct cfs_pool *pool, uint64_t container_id,
			       uint64_t lslice, const struct cfs_piece *pieces,
			       struct cfs_err *err)
{
	struct cfs_table_change changes[CFS_PIECES_MAX + 1];
	struct slice_change sc;
	size_t n = cfs_pool_slice_changes(pool, container_id, lslice, pieces,
					  true, &sc, changes);
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = cfs_tree_put(cfs_container_tree(pool->c0, CFS_TREE_TABLE),
				 &changes[i].key, changes[i].value,
				 changes[i].value_bytes, NULL, err);
	return r;
}

size_t cfs_pool_freeze_changes(const struct cfs_pool *pool,
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
			.key = cfs_pool_slice_key(p->device_index,
						  p->slice_index),
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
	n = cfs_pool_freeze_changes(pool, pieces, &sc, changes);
	if (!is_mapped)
		changes[n++] = (struct cfs_table_change){
			.key = cfs_pool_smap_key(container_id, lslice),
		};
	return cfs_container_put_now(pool->c0, changes, n, err);
}
