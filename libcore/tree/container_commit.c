/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The commit.  The order of its writes is told in tree/container.h; here each
 * step is a function of its own.  A failure of any step closes the container
 * for writing: what is in memory can no longer be told from what is on the
 * devices, and the next open finds the last root and the log.
 */
#include "tree/container_client_priv.h"
#include "tree/container_grave.h"
#include "tree/container_gradual.h"
#include "tree/container_priv.h"

#include "base/cleanup.h"
#include "pool/commit_hold.h"

#include <assert.h>
#include <stdlib.h>

#define INO_AHEAD         1024u
#define STAMPS_AHEAD      (UINT64_C(1) << 20)
/* Writes that are begun while more are gathered: 2 MiB. */
#define WRITES_BEHIND_MIN 512u
/* Dirty ones that may stay when nobody is at work. */
#define REST_NODES        1024u

static int by_vaddr(const void *a, const void *b)
{
	const struct cfs_mv_write *x = a, *y = b;

	return (x->vaddr > y->vaddr) - (x->vaddr < y->vaddr);
}

static int behind_end_first(struct cfs_container *c, struct cfs_err *err)
{
	struct cfs_mv_flight *first = c->behind[0];

	c->behind_count--;
	memmove(c->behind, c->behind + 1,
		c->behind_count * sizeof(c->behind[0]));
	return cfs_metavolume_flight_end(first, err);
}

static int behind_end(struct cfs_container *c, struct cfs_err *err)
{
	int first = 0;

	while (c->behind_count > 0) {
		const int r = behind_end_first(c, first < 0 ? NULL : err);

		first = first < 0 ? first : r;
	}
	return first;
}

/* What was gathered and not begun, in the order of addresses, so that
 * neighbours become one request. */
static struct cfs_mv_write *writes_left(struct cfs_container *c,
					size_t *ret_count)
{
	struct cfs_mv_write *from;

	*ret_count = c->write_count - c->writes_begun;
	if (*ret_count == 0)
		return NULL;
	from = c->writes + c->writes_begun;
	qsort(from, *ret_count, sizeof(*from), by_vaddr);
	return from;
}

/*
 * The device works on what is there while the commit goes on: nothing that is
 * gathered changes before its end.  Where it cannot be begun it is left, and
 * who writes all of it finds out why.
 */
static int write_behind(struct cfs_container *c, struct cfs_err *err)
{
	size_t count;
	const struct cfs_mv_write *from;
	int r = 0;

	if (c->behind_count == CFS_WRITES_BEHIND)
		r = behind_end_first(c, err);
	if (r < 0)
		return r;
	from = writes_left(c, &count);
	if (cfs_metavolume_write_start(c->mv, from, count,
				       &c->behind[c->behind_count], NULL) < 0)
		return 0;
	c->behind_count++;
	c->writes_begun = c->write_count;
	return 0;
}

int cfs_container_add_write(struct cfs_container *c, uint64_t vaddr,
			    uint32_t count, const void *buf,
			    struct cfs_err *err)
{
	if (c->write_count == c->write_room) {
		size_t room = c->write_room ? 2 * c->write_room : 256;
		struct cfs_mv_write *list = realloc(c->writes,
						    room * sizeof(*list));

		if (!list)
			return cfs_err_set(err, -ENOMEM, "out of memory");
		c->writes = list;
		c->write_room = room;
	}
	c->writes[c->write_count++] = (struct cfs_mv_write){
		.vaddr = vaddr,
		.count = count,
		.buf = buf,
	};
	return c->is_committing &&
			       c->write_count - c->writes_begun >=
				       (c->gradual.is_on ? c->gradual.write_part
							 : WRITES_BEHIND_MIN)
		       ? write_behind(c, err)
		       : 0;
}

int cfs_container_home_write(struct cfs_container *c, uint64_t vaddr,
			     uint32_t count, const void *buf,
			     struct cfs_err *err)
{
	assert(c->is_committing);
	return cfs_container_add_write(c, vaddr, count, buf, err);
}

int cfs_container_write_now(struct cfs_container *c, uint64_t vaddr,
			    uint32_t count, const void *buf,
			    struct cfs_err *err)
{
	const struct cfs_mv_write w = {
		.vaddr = vaddr,
		.count = count,
		.buf = buf,
	};

	return cfs_metavolume_write(c->mv, &w, 1, err);
}

/* ---- the stages ---------------------------------------------------------- */

/* Each returns 1 when the budget ends before it does, and goes on later. */

static int fold_some(struct cfs_container *c, uint64_t *budget,
		     struct cfs_err *err)
{
	int r = c->hooks ? c->hooks->fold(c->hooks_ctx, budget, err) : 0;

	/* What the log holds behind the position that a gradual commit gives
	 * it may lie on both sides of its end. */
	if (r != 0 || !c->grows_log || c->gradual.is_on)
		return r;
	c->grows_log = false;
	return c->is_sealing ? 0 : cfs_space_log_grow(c, err);
}

static size_t unplaced_count(const struct cfs_container *c)
{
	size_t count = 0;

	for (unsigned int i = 0; i < CFS_TREE_COUNT; i++)
		if (c->trees[i])
			count += cfs_tree_unplaced_count(c->trees[i]);
	return count;
}

/* Addresses for all dirty nodes, until placing them changes nothing more. */
static int place_some(struct cfs_container *c, uint64_t *budget,
		      struct cfs_err *err)
{
	int r = 0;

	while (r == 0) {
		for (unsigned int i = 0; r == 0 && i < CFS_TREE_COUNT; i++)
			if (c->trees[i])
				r = cfs_tree_place(c->trees[i], budget, err);
		if (r == 0 && *budget == 0)
			return 1;
		/* One tree's nodes have made another's dirty. */
		if (r == 0 && unplaced_count(c) > 0)
			continue;
		if (r == 0)
			r = cfs_space_commit_begin(c, err);
		if (r == 0 && unplaced_count(c) == 0)
			return 0;
	}
	return r;
}

static int write_some(struct cfs_container *c, uint64_t *budget,
		      struct cfs_err *err)
{
	for (unsigned int i = 0; i < CFS_TREE_COUNT; i++) {
		int r;

		if (!c->trees[i])
			continue;
		r = cfs_tree_write(c->trees[i], budget, err);
		if (r != 0)
			return r;
	}
	return 0;
}

int cfs_container_commit_some(struct cfs_container *c, uint64_t *budget,
			      struct cfs_err *err)
{
	int r = 0;

	assert(c->is_committing);
	while (r == 0 && c->commit_stage < COMMIT_WRITTEN) {
		switch (c->commit_stage) {
		case COMMIT_FOLDS:
			r = fold_some(c, budget, err);
			break;
		case COMMIT_PLACES:
			r = place_some(c, budget, err);
			break;
		default:
			r = write_some(c, budget, err);
			break;
		}
		if (r == 0)
			c->commit_stage++;
	}
	return r;
}

int cfs_container_write_all(struct cfs_container *c, struct cfs_err *err)
{
	size_t count;
	const struct cfs_mv_write *from = writes_left(c, &count);
	int r = count ? cfs_metavolume_write(c->mv, from, count, err) : 0;
	int r2 = behind_end(c, r < 0 ? NULL : err);

	c->writes_begun = c->write_count;
	if (r == 0)
		r = r2;
	return r < 0 ? r : cfs_metavolume_flush(c->mv, err);
}

/* The root as it will stand: everything but the slice map of container 0. */
static void make_root(const struct cfs_container *c, struct cfs_root *root)
{
	*root = c->root;
	root->stamp = c->commit_stamp;
	root->stamp_ceiling = c->stamp + STAMPS_AHEAD;
	root->next_ino = c->next_ino + CFS_MAX(INO_AHEAD, c->ino_ahead);
	/* Not in the first root: the inode of a LUN is in no data record. */
	if (c->is_sealing && c->root_seq > 0)
		root->next_ino = c->next_ino;
	root->used_blocks = c->used_blocks;
	for (unsigned int i = 0; i < CFS_TREE_COUNT; i++)
		if (c->trees[i])
			cfs_tree_root(c->trees[i], &root->trees[i]);
	root->names_of = c->names_are_whole
				 ? root->trees[CFS_TREE_TABLE - 1].ref.csum
				 : 0;
	cfs_log_to_root(c->log, root);
	if (c->gradual.is_on)
		cfs_gradual_to_root(c, root);
	if (c->new_log_id)
		root->log_id = c->new_log_id;
	if (c->id != 0)
		return;
	root->smap_count = 0;
	for (uint64_t l = 0; l < cfs_metavolume_end(c->mv); l++) {
		struct cfs_smap_entry *e = &root->smap[root->smap_count];

		if (!cfs_metavolume_get(c->mv, l, e->pieces))
			continue;
		e->lslice = l;
		root->smap_count++;
	}
}

/* All copies at once: one by one each would be waited for. */
static int write_root(struct cfs_container *c, const struct cfs_root *root,
		      struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep)
	struct cfs_page_disk *pages = cfs_dev_buf_alloc(CFS_ROOT_PLACES_MAX *
							sizeof(*pages));
	struct cfs_mv_write writes[CFS_ROOT_PLACES_MAX];
	struct cfs_page head = {
		.kind = CFS_PAGE_ROOT,
		.seq = c->root_seq + 1,
		.pool_lo = cfs_metavolume_pool_lo(c->mv),
		.owner = c->id,
		.stamp = root->stamp,
		.epoch = c->epoch,
	};
	size_t count = 0;
	int r;

	if (!pages)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (unsigned int i = 0; i < CFS_ROOT_PLACES_MAX; i++) {
		if (!c->root_vaddr[i])
			continue;
		head.address = c->root_vaddr[i] + (head.seq & 1);
		cfs_root_pack(root, &pages[count]);
		cfs_page_pack(&head, &pages[count]);
		writes[count] = (struct cfs_mv_write){
			.vaddr = head.address,
			.count = 1,
			.buf = &pages[count],
		};
		count++;
	}
	r = cfs_metavolume_write(c->mv, writes, count, err);
	if (r == 0)
		r = cfs_metavolume_flush(c->mv, err);
	if (r == 0)
		__atomic_store_n(&c->root_seq, head.seq, __ATOMIC_RELEASE);
	return r;
}

void cfs_container_drop_writes(struct cfs_container *c)
{
	void **pages = (void **)(void *)c->page_bufs.data;

	(void)behind_end(c, NULL);
	c->writes_begun = 0;
	for (size_t i = 0; i < c->page_bufs.bytes / sizeof(*pages); i++)
		free(pages[i]);
	c->page_bufs.bytes = 0;
	c->write_count = 0;
}

/* All is gathered: the root, and what goes right before it. */
static int finish(struct cfs_container *c, struct cfs_root *root,
		  struct cfs_err *err)
{
	int r = cfs_space_commit_pages(c, err);

	if (r == 0)
		r = cfs_container_write_all(c, err);
	if (r < 0)
		return r;
	make_root(c, root);
	r = write_root(c, root, err);
	/* Before blocks or log space are used again. */
	return r < 0 ? r : cfs_grave_look(c, root->log_id, err);
}

static void committed(struct cfs_container *c, const struct cfs_root *root)
{
	for (unsigned int i = 0; i < CFS_TREE_COUNT; i++)
		if (c->trees[i])
			cfs_tree_committed(c->trees[i]);
	c->root = *root;
	cfs_grave_note(c);
	if (c->new_log_id)
		cfs_log_rename(c->log, c->new_log_id);
	c->new_log_id = 0;
	cfs_log_trim(c->log, root);
	cfs_space_committed(c);
	cfs_space_close_groups(c);
	c->direct_blocks = 0;
	c->data_batch = 0;
	c->lacks_runs = c->grows_for_runs = false;
	/* A gradual one has no part in what came since it began. */
	if (!c->gradual.is_on) {
		c->pending.bytes = 0;
		c->pending_count = 0;
		c->stamp++;
	}
	if (c->hooks)
		c->hooks->folded(c->hooks_ctx);
}

/* Is there anything that the last root does not have? */
static bool has_changes(struct cfs_container *c)
{
	uint64_t blocks = 0, records = 0;

	for (unsigned int i = 0; i < CFS_TREE_COUNT; i++)
		if (c->trees[i] && cfs_tree_dirty_count(c->trees[i]))
			return true;
	if (c->hooks)
		c->hooks->fold_need(c->hooks_ctx, &blocks, &records);
	return blocks || records || c->pending.bytes ||
	       cfs_log_used_blocks(c->log) || c->forces_commit ||
	       (c->is_sealing && c->groups);
}

static struct cfs_commit_holds *holds_of(struct cfs_container *c)
{
	return cfs_devset_holds(cfs_metavolume_devset(c->mv));
}

int cfs_container_commit_rest(struct cfs_container *c, struct cfs_err *err)
{
	struct cfs_err why = CFS_ERR_INIT;
	uint64_t budget = UINT64_MAX;
	struct cfs_root root;
	int r;

	cfs_commit_begin(holds_of(c));
	c->is_committing = true;
	r = cfs_container_frame_wait(c, &why);
	if (r == 0)
		r = cfs_container_commit_some(c, &budget, &why);
	if (r == 0)
		r = finish(c, &root, &why);
	cfs_container_drop_writes(c);
	if (r == 0) {
		committed(c, &root);
	} else {
		cfs_container_poison(c, &why);
		if (err)
			*err = why;
	}
	c->is_committing = false;
	cfs_commit_end(holds_of(c));
	return r;
}

int cfs_container_commit_locked(struct cfs_container *c, struct cfs_err *err)
{
	int r;

	assert(!c->in_op);
	cfs_container_drain_locked(c);
	if (c->client)
		return cfs_client_fold_locked(c, err);
	r = cfs_gradual_end(c, err);
	if (r < 0 || !has_changes(c))
		return r;
	c->forces_commit = false;
	c->commit_stage = COMMIT_FOLDS;
	c->commit_stamp = c->stamp;
	return cfs_container_commit_rest(c, err);
}

void cfs_container_rest_locked(struct cfs_container *c)
{
	size_t dirty = 0;

	for (unsigned int i = 0; i < CFS_TREE_COUNT; i++)
		if (c->trees[i])
			dirty += cfs_tree_dirty_count(c->trees[i]);
	/* A failure is told to whoever changes something next. */
	if ((dirty > REST_NODES || c->pending.bytes > CFS_PENDING_BYTES_MAX ||
	     c->gradual.is_on) &&
	    !c->client && !c->is_readonly && !c->is_frozen)
		(void)cfs_container_commit_locked(c, NULL);
	cfs_node_cache_rest(c->cache);
}
