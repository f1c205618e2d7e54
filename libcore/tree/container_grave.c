/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gravestones: setting those of others, reading our own. */
#include "tree/container_grave.h"

#include "base/cleanup.h"
#include "ondisk/client.h"
#include "tree/container_takeover.h"

#include <inttypes.h>
#include <stdlib.h>

#define ALIVE_SEQ 1u
#define DEAD_SEQ  3u

static int write_page(struct cfs_container *c, uint64_t vaddr, uint64_t log_id,
		      uint64_t seq, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep)
	struct cfs_page_disk *page = cfs_dev_buf_alloc(sizeof(*page));
	/* Neither epoch nor stamp: two who set it write the same. */
	const struct cfs_page head = {
		.kind = CFS_PAGE_GRAVE,
		.seq = seq,
		.pool_lo = cfs_metavolume_pool_lo(c->mv),
		.owner = c->id,
		.address = vaddr,
	};

	if (!page)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	cfs_grave_pack(log_id, page);
	cfs_page_pack(&head, page);
	return cfs_container_write_now(c, vaddr, 1, page, err);
}

int cfs_grave_take(struct cfs_container *c, uint64_t root_vaddr,
		   uint64_t *ret_vaddr, struct cfs_err *err)
{
	const uint64_t vaddr = root_vaddr + 2, mask[2] = { 4, 0 };
	const struct cfs_tag tag = {
		.type = CFS_TAG_ROOT,
		.offset = 2,
		.stamp = c->stamp,
	};
	struct open_group *g = cfs_space_group(c, vaddr);
	int r = cfs_space_mark_used(c, g->key, mask, err);

	if (r < 0)
		return r;
	g->allowed[0] &= ~mask[0];
	cfs_space_set_tag(c, vaddr, &tag);
	*ret_vaddr = vaddr;
	return write_page(c, vaddr, 0, ALIVE_SEQ, err);
}

/* A piece that we cannot write, but perhaps its reader can read. */
static int check_reach(struct cfs_container *c, uint64_t vaddr, uint32_t epoch,
		       struct cfs_err *err)
{
	const uint64_t lslice = cfs_vaddr_lslice(vaddr);
	const unsigned int there = cfs_metavolume_readable(c->mv, lslice);
	struct cfs_piece pieces[CFS_PIECES_MAX];

	if (!cfs_metavolume_get(c->mv, lslice, pieces))
		return cfs_err_set(err, -EUCLEAN,
				   "the gravestone is in no "
				   "slice");
	for (unsigned int p = 0; p < CFS_PIECES_MAX; p++) {
		const struct cfs_piece *at = &pieces[p];

		if (!(at->flags & CFS_PIECE_USED) ||
		    at->flags & CFS_PIECE_STALE || there & 1u << p ||
		    !c->fence->may_reach(c->fence->ctx, epoch,
					 at->device_index))
			continue;
		return cfs_err_set(err, -EIO,
				   "device %u is missing, but may "
				   "not be for the host that had the pool: "
				   "attach it, or if that host is dead, say so "
				   "with leasectl gone",
				   at->device_index);
	}
	return 0;
}

int cfs_grave_set(struct cfs_container *c, const struct cfs_root *root,
		  uint32_t epoch, struct cfs_err *err)
{
	bool is_there = false;
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < 2; i++) {
		if (!root->grave_vaddr[i])
			continue;
		is_there = true;
		r = check_reach(c, root->grave_vaddr[i], epoch, err);
		if (r == 0)
			r = write_page(c, root->grave_vaddr[i], root->log_id,
				       DEAD_SEQ, err);
	}
	if (r == 0 && !is_there)
		r = cfs_err_set(err, -ENOTSUP,
				"made by an older version: its "
				"host must close it, or be called gone");
	return r < 0 ? r : cfs_metavolume_flush(c->mv, err);
}

/* The log that is dead, 0: none; else it cannot be read. */
static int read_copy(struct cfs_container *c, uint64_t vaddr,
		     unsigned int piece, struct cfs_page_disk *page,
		     uint64_t *ret_log_id, struct cfs_err *err)
{
	const struct cfs_page_expect expect = {
		.kind = CFS_PAGE_GRAVE,
		.pool_lo = cfs_metavolume_pool_lo(c->mv),
		.owner = c->id,
		.address = vaddr,
	};
	struct cfs_page head;
	int r = cfs_metavolume_read(c->mv, vaddr, 1, piece, page, err);

	/* A page that is being written says nothing yet. */
	*ret_log_id = r == 0 && cfs_page_unpack(page, &expect, &head, NULL) == 0
			      ? cfs_grave_unpack(page)
			      : 0;
	return r;
}

int cfs_grave_is_set(struct cfs_container *c, const uint64_t vaddr[2],
		     uint64_t log_id, uint64_t or_log_id, bool *ret_is_set,
		     struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep)
	struct cfs_page_disk *page = cfs_dev_buf_alloc(sizeof(*page));
	struct cfs_err why = CFS_ERR_INIT;
	bool is_read = false;

	if (!page)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	*ret_is_set = false;
	for (unsigned int i = 0; i < 2 * CFS_PIECES_MAX; i++) {
		const uint64_t at = vaddr[i & 1];
		uint64_t dead;

		if (!at ||
		    !(cfs_metavolume_readable(c->mv, cfs_vaddr_lslice(at)) &
		      1u << i / 2) ||
		    read_copy(c, at, i / 2, page, &dead, &why) < 0)
			continue;
		is_read = true;
		*ret_is_set |= dead && (dead == log_id || dead == or_log_id);
	}
	return is_read ? 0
		       : cfs_err_set(err, -EIO,
				     "the gravestone cannot be "
				     "read: %s",
				     why.msg);
}

static int look(struct cfs_container *c, const uint64_t vaddr[2],
		uint64_t log_id, uint64_t or_log_id, struct cfs_err *err)
{
	bool is_set = false;
	int r = cfs_grave_is_set(c, vaddr, log_id, or_log_id, &is_set, err);

	return r == 0 && is_set ? cfs_err_set(err, -ESTALE,
					      "another host has taken the pool "
					      "over")
				: r;
}

int cfs_grave_look(struct cfs_container *c, uint64_t log_id,
		   struct cfs_err *err)
{
	struct cfs_err why = CFS_ERR_INIT;
	int r;

	if (!c->fence || c->takeover ||
	    !(c->root.grave_vaddr[0] | c->root.grave_vaddr[1]))
		return 0;
	r = look(c, c->root.grave_vaddr, c->root.log_id, log_id, &why);
	if (r < 0) {
		cfs_container_poison(c, &why);
		if (err)
			*err = why;
	}
	return r;
}

void cfs_grave_note(struct cfs_container *c)
{
	pthread_mutex_lock(&c->grave_lock);
	memcpy(c->grave_vaddr, c->root.grave_vaddr, sizeof(c->grave_vaddr));
	c->grave_log_id = c->root.log_id;
	pthread_mutex_unlock(&c->grave_lock);
}

int cfs_grave_look_beside(struct cfs_container *c, struct cfs_err *err)
{
	struct cfs_err why = CFS_ERR_INIT;
	uint64_t vaddr[2], log_id;
	int r;

	if (!c->fence)
		return 0;
	/* The log has its name for as long as we have the container: it gets
	 * one when that is opened, before anybody else sees it. */
	pthread_mutex_lock(&c->grave_lock);
	memcpy(vaddr, c->grave_vaddr, sizeof(vaddr));
	log_id = c->grave_log_id;
	pthread_mutex_unlock(&c->grave_lock);
	if (!(vaddr[0] | vaddr[1]))
		return 0;
	r = look(c, vaddr, log_id, 0, &why);
	if (r < 0 && pthread_mutex_trylock(&c->lock) == 0) {
		cfs_container_poison(c, &why);
		pthread_mutex_unlock(&c->lock);
	}
	if (r < 0 && err)
		*err = why;
	return r;
}

void cfs_container_set_checked(struct cfs_container *c, bool is_checked)
{
	__atomic_store_n(&c->is_checked, is_checked, __ATOMIC_RELAXED);
}

static bool is_checked(const struct cfs_container *c)
{
	return __atomic_load_n(&c->is_checked, __ATOMIC_RELAXED) ||
	       __atomic_load_n(&c->fence->is_checked, __ATOMIC_RELAXED);
}

int cfs_grave_may_ack(struct cfs_container *c, struct cfs_err *err)
{
	if (!c->fence || (!is_checked(c) && c->fence->may_ack(c->fence->ctx)))
		return 0;
	/* The frame was flushed before this look: a successor that has not set
	 * the gravestone yet will find it. */
	return cfs_grave_look(c, 0, err);
}
