/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copying what another writer's log names: see adopt_priv.h. */
#include "tree/adopt_priv.h"

#include "base/cleanup.h"

#include <string.h>

/* One block of an extent, verified as the record says. */
static int read_block(struct cfs_container *c, const struct cfs_rec *rec,
		      uint64_t i, void *buf, struct cfs_tag *ret_tag)
{
	struct cfs_block_read rd = {
		.vaddr = rec->vaddr + i,
		.count = 1,
		.first = {
			.type = CFS_TAG_DATA,
			.ino = rec->ino,
			.offset = rec->offset + i,
			.stamp = rec->stamp,
			.seq = rec->seq,
			.branch = rec->branch,
		},
		.buf = buf,
	};
	le64 csum;

	memcpy(&csum, rec->csums + 8 * i, sizeof(csum));
	rd.csum = le64_get(csum);
	*ret_tag = rd.first;
	ret_tag->csum = rd.csum;
	return cfs_block_read(c->blocks, &rd, false, NULL, NULL);
}

static int replay_part(struct cfs_container *c, const struct cfs_rec *rec,
		       uint64_t first, uint32_t count, uint64_t vaddr,
		       bool is_copied, const struct cfs_adopt_ops *ops,
		       struct cfs_err *err)
{
	struct cfs_rec part = *rec;

	part.offset += first;
	part.count = count;
	part.csums += 8 * first;
	part.vaddr = vaddr;
	return ops->replay(c, &part, is_copied, err);
}

/* What is free may be in groups that nodes are written to: then there are to be
 * some for data. */
static int alloc(struct cfs_container *c, uint32_t count,
		 const struct cfs_adopt_ops *ops, uint64_t *ret_vaddr,
		 uint32_t *ret_count, struct cfs_err *err)
{
	int r = cfs_space_alloc_data(c, count, ret_vaddr, ret_count, err);

	if (r != -ENOSPC)
		return r;
	r = ops->ensure(c, count + 2 * CFS_TAGS_PER_PAGE, err);
	return r < 0 ? r
		     : cfs_space_alloc_data(c, count, ret_vaddr, ret_count,
					    err);
}

int cfs_adopt_extent(struct cfs_container *c, const struct cfs_rec *rec,
		     const struct cfs_adopt_ops *ops, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep)
	uint8_t *buf = cfs_dev_buf_alloc((size_t)CFS_TAGS_PER_PAGE *
					 CFS_BLOCK_BYTES);
	struct cfs_tag tags[CFS_TAGS_PER_PAGE];
	uint64_t done = 0;
	int r = buf ? ops->ensure(c, rec->count, err)
		    : cfs_err_set(err, -ENOMEM, "out of memory");

	while (r == 0 && done < rec->count) {
		uint32_t want = (uint32_t)CFS_MIN(rec->count - done,
						  CFS_TAGS_PER_PAGE);
		uint32_t n = 0, got;
		uint64_t vaddr;

		while (n < want && read_block(c, rec, done + n,
					      buf + (size_t)n * CFS_BLOCK_BYTES,
					      &tags[n]) == 0)
			n++;
		if (n == 0) {
			r = replay_part(c, rec, done, 1, rec->vaddr + done,
					false, ops, err);
			done++;
			continue;
		}
		r = alloc(c, n, ops, &vaddr, &got, err);
		if (r == 0)
			r = cfs_container_write_now(c, vaddr, got, buf, err);
		for (uint32_t i = 0; r == 0 && i < got; i++)
			cfs_space_set_tag(c, vaddr + i, &tags[i]);
		if (r == 0)
			r = replay_part(c, rec, done, got, vaddr, true, ops,
					err);
		if (r == 0)
			done += got;
	}
	return r;
}
