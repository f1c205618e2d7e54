/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bringing a container to rest, for another owner. */
#include "tree/container_rest.h"

#include "base/cleanup.h"
#include "ondisk/client.h"
#include "tree/container_grave.h"
#include "tree/space.h"

#include <stdlib.h>

#define ALIVE_SEQ 1u /* a gravestone that nobody has set */

/* One block of ours, tagged as a gravestone at the root is, saying "alive". */
static int make_grave(struct cfs_container *c, uint64_t *ret_vaddr,
		      struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep)
	struct cfs_page_disk *page = cfs_dev_buf_alloc(sizeof(*page));
	const struct cfs_tag tag = {
		.type = CFS_TAG_ROOT,
		.offset = 2,
		.stamp = c->stamp,
	};
	struct cfs_page head = {
		.kind = CFS_PAGE_GRAVE,
		.seq = ALIVE_SEQ,
		.pool_lo = cfs_metavolume_pool_lo(c->mv),
		.owner = c->id,
	};
	uint32_t got;
	int r;

	if (!page)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	r = cfs_space_alloc_data(c, 1, &head.address, &got, err);
	if (r < 0)
		return r;
	cfs_space_set_tag(c, head.address, &tag);
	cfs_grave_pack(0, page);
	cfs_page_pack(&head, page);
	r = cfs_container_write_now(c, head.address, 1, page, err);
	if (r == 0)
		*ret_vaddr = head.address;
	return r;
}

int cfs_container_make_graves(struct cfs_container *c, struct cfs_err *err)
{
	uint64_t vaddr[2] = { 0, 0 };
	int r;

	/* The root's writer is we, and nobody else changes these. */
	if (c->root.grave_vaddr[0] | c->root.grave_vaddr[1])
		return 0;
	r = cfs_op_begin_for(c, CFS_OP_FREEING, 2, err);
	if (r < 0)
		return r;
	r = cfs_space_promise(c, 2, err);
	for (unsigned int i = 0; i < 2 && r == 0; i++)
		r = make_grave(c, &vaddr[i], err);
	if (r < 0) {
		cfs_op_abort(c);
		return r;
	}
	memcpy(c->root.grave_vaddr, vaddr, sizeof(vaddr));
	c->forces_commit = true;
	cfs_op_end(c);
	return 0;
}

uint64_t cfs_container_free_blocks(struct cfs_container *c)
{
	struct cfs_space_counts counts;

	cfs_container_lock(c);
	cfs_space_counts(c, &counts);
	cfs_container_unlock(c);
	return counts.left_blocks;
}

int cfs_container_look(struct cfs_container *c, struct cfs_err *err)
{
	return cfs_grave_look_beside(c, err);
}
