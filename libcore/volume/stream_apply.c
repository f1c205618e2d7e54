/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the records of a stream do to a volume.
 *
 * Small ones wait for each other, so that an operation is worth its while; no
 * lock is held between two calls.  Each can be done twice.  What a record says
 * was verified as a record, but not whether it makes sense: what no volume can
 * have is refused here, and whatever else it says concerns this volume alone.
 */
#include "volume/stream_priv.h"

#include "base/xxh.h"
#include "device/device.h"
#include "ondisk/inode.h"
#include "volume/data.h"

#include <inttypes.h>
#include <stdlib.h>

#define FREE_BYTES   (UINT64_C(64) << 20) /* of data, an operation */
#define FREE_RECORDS 256u                 /* of the rest */
#define SMALL_BLOCKS 31u                  /* longer ones go home at once */

static int bad(uint64_t ino, const char *what, struct cfs_err *err)
{
	return cfs_err_set(err, -EUCLEAN, "stream: inode %" PRIu64 ": %s", ino,
			   what);
}

/* ---- what a record may say ----------------------------------------------- */

static int check_dirent(const struct cfs_receiver *r,
			const struct cfs_stream_meta *m, struct cfs_err *err)
{
	struct cfs_dirent entry;
	uint64_t hash;

	if (cfs_dirent_unpack(m->value, m->value_bytes, &entry, NULL) < 0 ||
	    entry.ino >= CFS_STREAM_INO_END)
		return bad(m->ino, "no entry of a directory", err);
	hash = cfs_xxh3_seed(entry.name, entry.name_bytes, r->begin.hash_seed);
	if ((hash >> 8) != (m->word & CFS_MAP_OFF_MASK) >> 4)
		return bad(m->ino, "an entry where no lookup finds it", err);
	return 0;
}

static int check_put(const struct cfs_receiver *r,
		     const struct cfs_stream_meta *m, struct cfs_err *err)
{
	const uint64_t offset = m->word & CFS_MAP_OFF_MASK;
	struct cfs_inode inode;
	struct cfs_xattr xattr;

	switch (m->word >> CFS_MAP_OFF_BITS) {
	case CFS_MAP_INODE:
		if (offset ||
		    cfs_inode_unpack(m->value, m->value_bytes, &inode, NULL) <
			    0 ||
		    m->value_bytes > sizeof(struct cfs_inode_disk) ||
		    inode.flags || inode.nlink == 0)
			return bad(m->ino, "no inode", err);
		return 0;
	case CFS_MAP_DIRENT:
		return check_dirent(r, m, err);
	case CFS_MAP_XATTR:
		if (m->value_bytes > CFS_META_PART_BYTES ||
		    ((offset & 0xff) == 0 &&
		     cfs_xattr_unpack(m->value, m->value_bytes, &xattr, NULL) <
			     0))
			return bad(m->ino, "no attribute", err);
		return 0;
	default:
		if (m->value_bytes > CFS_META_PART_BYTES || offset > 3)
			return bad(m->ino, "no part of a symlink", err);
		return 0;
	}
}

static int check_item(const struct cfs_receiver *r,
		      const struct cfs_stream_item *item, struct cfs_err *err)
{
	const uint64_t end = item->end.word & CFS_MAP_OFF_MASK;

	if (item->type == CFS_STREAM_META && !item->meta.is_delete)
		return check_put(r, &item->meta, err);
	if (item->type == CFS_STREAM_GONE &&
	    item->gone_ino == r->begin.root_ino)
		return bad(item->gone_ino, "a root that is gone", err);
	if (item->type == CFS_STREAM_DATA && r->begin.kind == CFS_VOLUME_LUN &&
	    end > r->begin.size_bytes / CFS_BLOCK_BYTES)
		return bad(item->data.ino, "a block behind the LUN's end", err);
	return 0;
}

/* ---- records in a group -------------------------------------------------- */

static int apply_meta(struct cfs_receiver *r, const struct cfs_stream_meta *m,
		      struct cfs_err *err)
{
	struct cfs_container *c = r->m->container;
	const enum cfs_map_class class = (enum cfs_map_class)(m->word >>
							      CFS_MAP_OFF_BITS);
	int ret = cfs_container_raise_ino(c, m->ino, err);

	if (ret < 0)
		return ret;
	if (!m->is_delete)
		return cfs_map_put(c, r->branch, m->ino, class,
				   m->word & CFS_MAP_OFF_MASK, m->value,
				   m->value_bytes, err);
	ret = cfs_map_del(c, r->branch, m->ino, class,
			  m->word & CFS_MAP_OFF_MASK, err);
	return ret == -ENOENT ? 0 : ret;
}

static int apply_data(struct cfs_receiver *r,
		      const struct cfs_stream_data *data, const uint8_t *blocks,
		      struct cfs_err *err)
{
	int ret = cfs_container_raise_ino(r->m->container, data->ino, err);

	if (ret < 0)
		return ret;
	return cfs_data_write(r->m->container, r->branch, data->ino,
			      data->offset * CFS_BLOCK_BYTES, blocks,
			      (size_t)data->count * CFS_BLOCK_BYTES, err);
}

static int apply_group(struct cfs_receiver *r, struct cfs_err *err)
{
	struct receive_group *g = &r->group;
	int ret = 0;

	for (size_t i = 0; i < g->count && ret == 0; i++) {
		struct cfs_stream_item *item = &g->items[i];

		if (item->type == CFS_STREAM_META) {
			item->meta.value = g->bytes.data + g->values[i];
			ret = apply_meta(r, &item->meta, err);
		} else {
			ret = apply_data(r, &item->data,
					 g->data + (size_t)g->blocks[i] *
							   CFS_BLOCK_BYTES,
					 err);
		}
	}
	return ret;
}

static int end_op(struct cfs_receiver *r, int ret)
{
	if (ret < 0)
		cfs_op_abort(r->m->container);
	else
		cfs_op_end(r->m->container);
	return ret;
}

int cfs_receive_flush(struct cfs_receiver *r, struct cfs_err *err)
{
	struct receive_group *g = &r->group;
	int ret = cfs_receive_run_drain(r, err);

	if (g->count == 0 || ret < 0)
		return ret;
	ret = cfs_op_begin_for(r->m->container, CFS_OP_NORMAL,
			       64 + g->count / 4 + g->block_count * 17 / 16,
			       err);
	if (ret == 0)
		ret = end_op(r, apply_group(r, err));
	if (ret == 0) {
		r->rec.position = g->items[g->count - 1].end;
		r->rec.received_bytes += (uint64_t)g->block_count *
					 CFS_BLOCK_BYTES;
		r->unkept_bytes += g->bytes.bytes +
				   (uint64_t)g->block_count * CFS_BLOCK_BYTES;
	}
	r->is_broken = r->is_broken || ret < 0;
	g->count = g->block_count = 0;
	g->bytes.bytes = 0;
	return ret;
}

void cfs_receive_group_init(struct cfs_receiver *r)
{
	cfs_receive_run_init(r);
}

void cfs_receive_group_done(struct cfs_receiver *r)
{
	cfs_receive_run_done(r);
	free(r->group.data);
	cfs_buf_donep(&r->group.bytes);
}

static int add_to_group(struct cfs_receiver *r,
			const struct cfs_stream_item *item, struct cfs_err *err)
{
	struct receive_group *g = &r->group;
	const uint32_t blocks = item->blocks ? item->data.count : 0;
	int ret = 0;

	if (g->count == RECEIVE_GROUP_MAX ||
	    g->block_count + blocks > RECEIVE_GROUP_BLOCKS)
		ret = cfs_receive_flush(r, err);
	if (ret == 0 && blocks && !g->data) {
		g->data = cfs_dev_buf_alloc(RECEIVE_GROUP_BLOCKS *
					    CFS_BLOCK_BYTES);
		if (!g->data)
			ret = cfs_err_set(err, -ENOMEM, "out of memory");
	}
	if (ret < 0)
		return ret;
	g->items[g->count] = *item;
	g->values[g->count] = g->bytes.bytes;
	g->blocks[g->count] = g->block_count;
	if (blocks)
		memcpy(g->data + (size_t)g->block_count * CFS_BLOCK_BYTES,
		       item->blocks, (size_t)blocks * CFS_BLOCK_BYTES);
	else if (item->meta.value_bytes &&
		 cfs_buf_append(&g->bytes, item->meta.value,
				item->meta.value_bytes) < 0)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	g->block_count += blocks;
	g->count++;
	return 0;
}

/* ---- records alone ------------------------------------------------------- */

/* The blocks of [from, to), a window of those that are there at a time. */
static int free_blocks(struct cfs_receiver *r, uint64_t ino, uint64_t from,
		       uint64_t to, struct cfs_err *err)
{
	struct cfs_container *c = r->m->container;
	const struct cfs_view head = { c, r->branch, CFS_STAMP_HEAD };
	uint64_t at = from * CFS_BLOCK_BYTES;
	const uint64_t end = to * CFS_BLOCK_BYTES;
	int ret = 0;

	while (ret == 0 && at < end) {
		uint64_t n;

		ret = cfs_op_begin(c, CFS_OP_FREEING, err);
		if (ret < 0)
			break;
		ret = cfs_data_seek(&head, ino, at, true, &at, err);
		n = ret == 0 && at < end ? CFS_MIN(end - at, FREE_BYTES) : 0;
		if (n)
			ret = cfs_data_punch(c, r->branch, ino, at, n, err);
		ret = end_op(r, ret == -ENXIO ? 0 : ret);
		if (n == 0)
			break;
		at += n;
	}
	return ret;
}

/* Some of what an inode has beside data; 1: there is more. */
static int free_some(struct cfs_receiver *r, uint64_t ino, struct cfs_err *err)
{
	static const enum cfs_map_class classes[] = {
		CFS_MAP_DIRENT,
		CFS_MAP_XATTR,
		CFS_MAP_SYMLINK,
		CFS_MAP_INODE,
	};
	struct cfs_container *c = r->m->container;
	const struct cfs_view head = { c, r->branch, CFS_STAMP_HEAD };
	unsigned int left = FREE_RECORDS;

	for (size_t i = 0; i < CFS_ARRAY_COUNT(classes); i++) {
		uint64_t offset = 0;
		int ret;

		while ((ret = cfs_map_next(&head, ino, classes[i], &offset,
					   NULL, 0, NULL, err)) == 0) {
			if (left-- == 0)
				return 1;
			ret = cfs_map_del(c, r->branch, ino, classes[i], offset,
					  err);
			if (ret < 0)
				return ret;
		}
		if (ret != -ENOENT)
			return ret;
	}
	return 0;
}

static int free_inode(struct cfs_receiver *r, uint64_t ino, struct cfs_err *err)
{
	int ret = free_blocks(r, ino, 0, CFS_OFF_MAX, err), more = 1;

	while (ret == 0 && more) {
		ret = cfs_op_begin(r->m->container, CFS_OP_FREEING, err);
		if (ret < 0)
			break;
		more = free_some(r, ino, err);
		ret = end_op(r, CFS_MIN(more, 0));
	}
	return ret;
}

int cfs_receive_apply(struct cfs_receiver *r,
		      const struct cfs_stream_item *item, struct cfs_err *err)
{
	int ret = check_item(r, item, err);

	if (ret < 0)
		return ret;
	if (item->type == CFS_STREAM_META ||
	    (item->type == CFS_STREAM_DATA && item->data.count <= SMALL_BLOCKS))
		return add_to_group(r, item, err);
	if (item->type == CFS_STREAM_DATA) {
		ret = r->group.count ? cfs_receive_flush(r, err) : 0;
		return ret < 0 ? ret : cfs_receive_run_add(r, item, err);
	}
	ret = cfs_receive_flush(r, err);
	if (ret < 0)
		return ret;
	if (item->type == CFS_STREAM_HOLE)
		ret = free_blocks(r, item->hole.ino, item->hole.offset,
				  item->hole.offset + item->hole.count, err);
	else
		ret = free_inode(r, item->gone_ino, err);
	if (ret < 0)
		return ret;
	r->rec.position = item->end;
	r->unkept_bytes += CFS_BLOCK_BYTES;
	return 0;
}
