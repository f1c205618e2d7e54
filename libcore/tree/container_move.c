/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tree/container_move.h"

#include "pool/metavolume_watch.h"
#include "tree/lend_priv.h"

#include <inttypes.h>

static bool has_part(const struct client_entry *e, uint64_t lslice)
{
	bool has = false;

	for (unsigned int i = 0; i < 2; i++)
		has |= cfs_vaddr_lslice(e->rec.grave_vaddr[i]) == lslice;
	for (uint32_t i = 0; i < e->rec.extent_count; i++)
		has |= cfs_vaddr_lslice(e->rec.extents[i].vaddr) == lslice;
	return has;
}

int cfs_container_may_move(struct cfs_container *c, uint64_t lslice,
			   struct cfs_err *err)
{
	struct client_entry *e, *etmp;
	struct lent_group *g, *gtmp;
	bool is_frozen = false;

	if (!c->lender)
		return 0;
	CFS_LENT_EACH(c->lender, g, gtmp)
		is_frozen |= g->is_frozen && cfs_vaddr_lslice(g->key) == lslice;
	HASH_ITER(hh, c->lender->clients, e, etmp)
		is_frozen |= e->rec.state != CFS_CLIENT_OPEN &&
			     has_part(e, lslice);
	if (is_frozen)
		return cfs_err_set(err, -EBUSY,
				   "a client that is silent may still write to "
				   "slice %" PRIu64,
				   lslice);
	return cfs_container_may_pin(c, err);
}

void cfs_container_touch_lent(struct cfs_container *c, uint64_t lslice)
{
	struct client_entry *e, *etmp;
	struct lent_group *g, *gtmp;

	if (!c->lender)
		return;
	CFS_LENT_EACH(c->lender, g, gtmp)
		if (cfs_vaddr_lslice(g->key) == lslice)
			cfs_lend_touch_group(c, g->key);
	HASH_ITER(hh, c->lender->clients, e, etmp) {
		for (unsigned int i = 0; i < 2; i++)
			cfs_metavolume_touch(c->mv, e->rec.grave_vaddr[i], 1);
		for (uint32_t i = 0; i < e->rec.extent_count; i++)
			cfs_metavolume_touch(c->mv, e->rec.extents[i].vaddr,
					     e->rec.extents[i].block_count);
	}
}

void cfs_container_slice_moved(struct cfs_container *c, uint64_t lslice)
{
	c->map_change++;
	cfs_blocks_forget(c->blocks, lslice);
}

int cfs_container_commit_held(struct cfs_container *c, struct cfs_err *err)
{
	c->forces_commit = true;
	return cfs_container_commit_locked(c, err);
}
