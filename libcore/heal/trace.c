/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What stands at a place, and the damage that is known. */
#include "heal/trace.h"

#include "base/cleanup.h"
#include "base/vec.h"
#include "heal/bad_priv.h"
#include "heal/trace_priv.h"
#include "pool/metavolume.h"
#include "tree/repair.h"

#include <inttypes.h>
#include <stdlib.h>

static void tracer_freep(struct tracer **t)
{
	cfs_tracer_free(*t);
}

/* ---- outside of slices --------------------------------------------------- */

static const char *kind_outside(const struct cfs_label *label,
				uint64_t offset_bytes)
{
	for (unsigned int i = 0; i < CFS_LABEL_COPIES; i++)
		if (cfs_label_offset_bytes(i, label->size_bytes) ==
		    cfs_align_down(offset_bytes, CFS_BLOCK_BYTES))
			return "label";
	if (offset_bytes >= CFS_SEATS_OFFSET_BYTES &&
	    offset_bytes < cfs_seat_offset_bytes(label->seat_count, 0))
		return "seat";
	return "reserved";
}

/* ---- inside -------------------------------------------------------------- */

static int slice_record(struct cfs_pool *pool, uint32_t device, uint64_t slice,
			struct cfs_slice_rec *ret, struct cfs_err *err)
{
	struct cfs_container *c0 = cfs_pool_container0(pool);
	struct cfs_key key = { { cfs_table_word(CFS_TABLE_SLICE, device), slice,
				 0 } };
	struct cfs_slice_rec_disk disk;
	size_t bytes = 0;
	int r;

	cfs_container_lock(c0);
	r = cfs_container_get(c0, &key, &disk, sizeof(disk), &bytes, err);
	cfs_container_unlock(c0);
	if (r == -ENOENT) {
		*ret = (struct cfs_slice_rec){ .use = CFS_SLICE_USE_FREE };
		return 0;
	}
	return r < 0 ? r
		     : cfs_slice_rec_unpack(&disk, CFS_MIN(bytes, sizeof(disk)),
					    ret, err);
}

/* A data block: in use, and as what? */
static int look_at_block(struct cfs_container *c, uint64_t vaddr,
			 struct trace_place *p, struct cfs_err *err)
{
	struct cfs_metavolume *mv = cfs_container_metavolume(c);
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(mv);
	uint32_t block = cfs_vaddr_block(vaddr);
	uint32_t index = cfs_geometry_index(geo, block);
	struct cfs_err why = CFS_ERR_INIT;
	uint64_t used[2];
	int r;

	cfs_container_lock(c);
	r = cfs_repair_used(c, cfs_vaddr_lslice(vaddr),
			    cfs_geometry_group(geo, block), used, &why);
	/* Where space is damaged the tag alone has to do. */
	if (r == -EUCLEAN)
		used[index / 64] = UINT64_MAX;
	if ((r == 0 || r == -EUCLEAN) && used[index / 64] >> (index % 64) & 1)
		r = cfs_block_tag(cfs_container_blocks(c), vaddr, &p->tag,
				  &why);
	cfs_container_unlock(c);
	if (r == -ENOMEM)
		return cfs_err_set(err, r, "out of memory");
	p->kind = "free";
	if (r == 0 && !cfs_tag_is_free(&p->tag))
		p->kind = cfs_tag_kind_name(p->tag.type);
	else if (r == -EUCLEAN)
		p->cause = "tag";
	return 0;
}

static int look_at_slice(struct cfs_pool *pool, const struct cfs_slice_rec *rec,
			 uint32_t block, struct trace_place *p,
			 struct cfs_err *err)
{
	struct cfs_container *c = cfs_pool_container0(pool);
	const struct cfs_slice_geometry *geo;
	int r;

	if (rec->container_id != 0) {
		r = cfs_pool_member_by_id(pool, rec->container_id, &p->m, err);
		if (r < 0)
			return r;
		c = p->m->container;
	}
	geo = cfs_metavolume_geometry(cfs_container_metavolume(c));
	p->vaddr = cfs_vaddr(rec->lslice, block);
	if (cfs_geometry_is_data(geo, block))
		return look_at_block(c, p->vaddr, p, err);
	if (block == 0 || block == geo->block_count - 1)
		p->kind = "header";
	else if (block <= geo->group_count ||
		 block >= cfs_geometry_tags_block(geo, 0, 1))
		p->kind = "tags";
	else
		p->kind = "free"; /* between the tags and the data */
	return 0;
}

int cfs_pool_trace_at(struct cfs_pool *pool, uint32_t device_index,
		      uint64_t offset_bytes, cfs_damage_each_fn each, void *arg,
		      struct cfs_err *err)
{
	const struct cfs_label *label = cfs_devset_label(cfs_pool_devset(pool),
							 device_index);
	CFS_CLEANUP(tracer_freep) struct tracer *t = NULL;
	struct trace_place p = {
		.cause = "",
		.device_index = device_index,
		.device_offset_bytes = cfs_align_down(offset_bytes,
						      CFS_BLOCK_BYTES),
		.length_bytes = CFS_BLOCK_BYTES,
	};
	const uint64_t size = cfs_devset_size_bytes(cfs_pool_devset(pool),
						    device_index);
	struct cfs_slice_rec rec;
	uint64_t in, slice;
	int r;

	if (offset_bytes >= size)
		return cfs_err_set(err, -EINVAL, "the device ends at %" PRIu64,
				   size);
	p.kind = kind_outside(label, offset_bytes);
	r = cfs_tracer_new(pool, each, arg, &t, err);
	if (r < 0)
		return r;
	in = offset_bytes - label->slices_offset_bytes;
	slice = in / label->slice_bytes;
	if (offset_bytes >= label->slices_offset_bytes &&
	    slice < cfs_devset_slice_count(cfs_pool_devset(pool),
					   device_index)) {
		r = slice_record(pool, device_index, slice, &rec, err);
		p.kind = "free";
		if (r == 0 && (rec.use == CFS_SLICE_USE_OWNED ||
			       rec.use == CFS_SLICE_USE_FROZEN))
			r = look_at_slice(pool, &rec,
					  (uint32_t)(in % label->slice_bytes /
						     CFS_BLOCK_BYTES),
					  &p, err);
	}
	if (r == 0)
		r = cfs_tracer_tell(t, &p, err);
	return r == 0 ? cfs_tracer_flush(t) : r;
}

/* ---- known damage -------------------------------------------------------- */

static int trace_container(struct tracer *t, struct cfs_container *c,
			   struct cfs_member *m, struct cfs_err *err)
{
	struct bad_list bad = { .items = NULL };
	int r = cfs_bad_load(c, &bad, err);

	for (size_t i = 0; i < bad.count && r == 0; i++) {
		struct bad_entry *b = &bad.items[i];
		struct trace_place p = {
			.cause = cfs_cause_name(b->rec.cause),
			.length_bytes = CFS_BLOCK_BYTES,
			.m = m,
			.vaddr = b->vaddr,
			.tag = b->rec.tag,
		};

		p.kind = cfs_tag_kind_name(b->rec.tag.type);
		if (!b->is_current)
			continue;
		if (!cfs_metavolume_locate(
			    cfs_container_metavolume(c), b->vaddr,
			    b->rec.piece_mask ? (unsigned int)__builtin_ctz(
							b->rec.piece_mask)
					      : 0,
			    &p.device_index, &p.device_offset_bytes))
			continue;
		r = cfs_tracer_tell(t, &p, err);
	}
	cfs_vec_done(&bad);
	return r;
}

struct trace_all {
	struct cfs_pool *pool;
	struct tracer *t;
};

static int trace_member(void *arg, uint64_t id,
			const struct cfs_container_rec *rec,
			struct cfs_err *err)
{
	struct trace_all *all = arg;
	struct cfs_member *m;

	/* One that cannot be opened is told by check, the others here. */
	if (rec->state != CFS_OBJECT_LIVE ||
	    cfs_pool_member_by_id(all->pool, id, &m, NULL) < 0)
		return 0;
	return trace_container(all->t, m->container, m, err);
}

int cfs_pool_trace_bad(struct cfs_pool *pool, cfs_damage_each_fn each,
		       void *arg, struct cfs_err *err)
{
	CFS_CLEANUP(tracer_freep) struct tracer *t = NULL;
	struct trace_all all = { .pool = pool };
	int r = cfs_tracer_new(pool, each, arg, &t, err);

	if (r < 0)
		return r;
	all.t = t;
	r = trace_container(t, cfs_pool_container0(pool), NULL, err);
	if (r == 0)
		r = cfs_pool_containers(pool, trace_member, &all, err);
	return r == 0 ? cfs_tracer_flush(t) : r;
}
