/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making, opening, recovering and closing a container. */
#include "tree/container_open.h"

#include "base/cleanup.h"
#include "base/rng.h"
#include "tree/container_client_priv.h"
#include "tree/container_grave.h"
#include "tree/container_priv.h"
#include "tree/container_takeover.h"
#include "tree/lend_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define INO_FIRST        16u /* lower ones are for the volumes themselves */

#define LOG_GROUPS_FIRST 4u /* in each of the first two slices */

static const unsigned int key_words[CFS_TREE_COUNT] = {
	[CFS_TREE_TABLE - 1] = 3,
	[CFS_TREE_LIVE - 1] = 2,
	[CFS_TREE_HISTORY - 1] = 3,
	[CFS_TREE_SPACE - 1] = 2,
};

void cfs_container_drop(struct cfs_container *c)
{
	if (!c)
		return;
	cfs_container_drop_writes(c);
	cfs_client_free(c);
	cfs_lend_free(c);
	if (c->blocks)
		cfs_space_done(c);
	for (unsigned int i = 0; i < CFS_TREE_COUNT; i++)
		cfs_tree_close(c->trees[i]);
	cfs_container_ahead_done(c);
	cfs_node_cache_free(c->cache);
	cfs_log_free(c->log);
	cfs_blocks_free(c->blocks);
	cfs_metavolume_free(c->mv);
	cfs_buf_donep(&c->undo_values);
	cfs_buf_donep(&c->pending);
	cfs_buf_donep(&c->inline_pages);
	cfs_buf_donep(&c->page_bufs);
	free(c->undo);
	free(c->writes);
	free(c->frame_buf);
	pthread_cond_destroy(&c->thawed);
	pthread_cond_destroy(&c->landed);
	pthread_cond_destroy(&c->synced);
	pthread_mutex_destroy(&c->frame_lock);
	pthread_mutex_destroy(&c->grave_lock);
	pthread_cond_destroy(&c->frame_is_back);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static void container_dropp(struct cfs_container **c)
{
	cfs_container_drop(*c);
}

/* It is held for microseconds, mostly: whoever comes looks a few times before
 * it sleeps. */
static void lock_init(pthread_mutex_t *lock)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	(void)pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(lock, &attr);
	pthread_mutexattr_destroy(&attr);
}

/* The object with its parts, before any root is known. */
int cfs_container_object_new(const struct cfs_container_config *config,
			     struct cfs_container **ret, struct cfs_err *err)
{
	CFS_CLEANUP(container_dropp) struct cfs_container *c = NULL;
	int r;

	c = calloc(1, sizeof(*c));
	if (!c) {
		cfs_metavolume_free(config->mv);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	lock_init(&c->lock);
	pthread_cond_init(&c->thawed, NULL);
	pthread_cond_init(&c->landed, NULL);
	pthread_cond_init(&c->synced, NULL);
	pthread_mutex_init(&c->grave_lock, NULL);
	pthread_mutex_init(&c->frame_lock, NULL);
	pthread_cond_init(&c->frame_is_back, NULL);
	c->mv = config->mv;
	c->id = cfs_metavolume_container_id(c->mv);
	memcpy(c->uuid, config->uuid, sizeof(c->uuid));
	c->epoch = config->epoch;
	c->map_change = (uint64_t)config->epoch << 32 | 1;
	c->copies = config->copies;
	c->limit_blocks = config->limit_blocks;
	c->fence = config->fence;
	c->hooks = config->hooks;
	c->hooks_ctx = config->hooks_ctx;
	c->source = config->source;
	c->source_ctx = config->source_ctx;
	memcpy(c->root_vaddr, config->root_vaddr, sizeof(c->root_vaddr));
	c->frame_buf = cfs_dev_buf_alloc_unset(CFS_FRAME_BLOCKS_MAX *
					       (size_t)CFS_BLOCK_BYTES);
	if (!c->frame_buf)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	r = cfs_blocks_new(c->mv, c->uuid, config->cache_bytes / 3, &c->blocks,
			   err);
	if (r == 0)
		r = cfs_node_cache_new(config->cache_bytes, &c->cache, err);
	if (r < 0)
		return r;
	cfs_blocks_set_epoch(c->blocks, c->epoch);
	*ret = CFS_STEAL(c);
	return 0;
}

int cfs_container_open_trees(struct cfs_container *c, struct cfs_err *err)
{
	for (unsigned int i = 0; i < CFS_TREE_COUNT; i++) {
		const struct cfs_tree_config config = {
			.tree_id = i + 1,
			.key_words = key_words[i],
			.container_id = c->id,
			.ops = &cfs_container_tree_ops,
			.ctx = c,
		};
		int r;

		if (!key_words[i])
			continue;
		r = cfs_tree_open(&config, &c->root.trees[i], c->cache,
				  &c->trees[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

int cfs_container_create(const struct cfs_container_config *config,
			 uint64_t ret_root_vaddr[CFS_ROOT_PLACES_MAX],
			 struct cfs_container **ret, struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(
		config->mv);
	uint32_t log_groups = CFS_MIN(CFS_MAX(geo->group_count / 4, 1),
				      LOG_GROUPS_FIRST);
	CFS_CLEANUP(container_dropp) struct cfs_container *c = NULL;
	struct cfs_rng rng;
	int r = cfs_container_object_new(config, &c, err);

	if (r < 0)
		return r;
	r = cfs_rng_init_random(&rng, err);
	if (r < 0)
		return r;
	c->stamp = 1;
	c->next_ino = INO_FIRST;
	c->next_loan = 1;
	memcpy(c->root.container_uuid, c->uuid, sizeof(c->uuid));
	c->root.log_id = 1 + cfs_rng_below(&rng, CFS_INO_MAX);
	c->root.log_seq = 1;
	r = cfs_container_open_trees(c, err);
	for (uint64_t l = 0; l < 2 && r == 0; l++) {
		r = cfs_space_add_slice(c, l, err);
		if (r == 0)
			r = cfs_space_take_root(c, l, &c->root_vaddr[l], err);
		if (r == 0 && config->has_grave)
			r = cfs_grave_take(c, c->root_vaddr[l],
					   &c->root.grave_vaddr[l], err);
		if (r == 0)
			r = cfs_space_take_log(c, l, log_groups,
					       config->fills_log,
					       &c->root.log_extents[l], err);
	}
	if (r < 0)
		return r;
	c->root.log_extent_count = 2;
	r = cfs_log_new(c->mv, c->epoch, &c->root, &c->log, err);
	if (r < 0)
		return r;
	/* Its groups are not lent by any record: none may stay open. */
	c->is_sealing = true;
	r = cfs_container_commit_locked(c, err);
	c->is_sealing = false;
	if (r < 0)
		return r;
	memcpy(ret_root_vaddr, c->root_vaddr, sizeof(c->root_vaddr));
	*ret = CFS_STEAL(c);
	return 0;
}

/* ---- the root ------------------------------------------------------------ */

struct root_search {
	struct cfs_root best;
	uint64_t best_seq;
	uint32_t best_epoch;
	unsigned int good; /* copies of the best seq */
	bool has_best;
	int newer; /* -ENOTSUP was seen */
};

static void look_at_root(const struct cfs_page_disk *page, uint64_t pool_lo,
			 uint64_t container_id, uint64_t vaddr,
			 struct root_search *s, struct cfs_err *why)
{
	const struct cfs_page_expect expect = {
		.kind = CFS_PAGE_ROOT,
		.pool_lo = pool_lo,
		.owner = container_id,
		.address = vaddr,
	};
	struct cfs_page head;
	struct cfs_root root;
	int r = cfs_page_unpack(page, &expect, &head, why);

	if (r == 0)
		r = cfs_root_unpack(page, &root, why);
	if (r == -ENOTSUP)
		s->newer = r;
	if (r < 0)
		return;
	if (s->has_best && head.seq == s->best_seq)
		s->good++;
	if (s->has_best && head.seq <= s->best_seq)
		return;
	s->has_best = true;
	s->best = root;
	s->best_seq = head.seq;
	s->best_epoch = head.epoch;
	s->good = 1;
}

int cfs_container_read_root(struct cfs_metavolume *mv, uint64_t container_id,
			    const uint64_t root_vaddr[CFS_ROOT_PLACES_MAX],
			    struct cfs_root *ret, uint64_t *ret_seq,
			    uint32_t *ret_epoch, unsigned int *ret_good_copies,
			    struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep)
	struct cfs_page_disk *page = cfs_dev_buf_alloc(sizeof(*page));
	CFS_CLEANUP(cfs_freep) struct root_search *s = calloc(1, sizeof(*s));
	struct cfs_err why = CFS_ERR_INIT;

	if (!page || !s)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (unsigned int i = 0; i < 2 * CFS_ROOT_PLACES_MAX; i++) {
		uint64_t vaddr = root_vaddr[i / 2] + (i & 1);
		unsigned int readable;

		if (!root_vaddr[i / 2])
			continue;
		readable = cfs_metavolume_readable(mv, cfs_vaddr_lslice(vaddr));
		for (unsigned int p = 0; p < CFS_PIECES_MAX; p++)
			if ((readable & 1u << p) &&
			    cfs_metavolume_read(mv, vaddr, 1, p, page, &why) ==
				    0)
				look_at_root(page, cfs_metavolume_pool_lo(mv),
					     container_id, vaddr, s, &why);
	}
	if (!s->has_best) {
		if (s->newer)
			return cfs_err_set(err, s->newer, "%s", why.msg);
		return cfs_err_set(err, -EUCLEAN,
				   "no root of the container is good");
	}
	*ret = s->best;
	*ret_seq = s->best_seq;
	if (ret_epoch)
		*ret_epoch = s->best_epoch;
	if (ret_good_copies)
		*ret_good_copies = s->good;
	return 0;
}

/* ---- replay -------------------------------------------------------------- */

static int replay_table(struct cfs_container *c, const struct cfs_rec *rec,
			struct cfs_err *err)
{
	struct cfs_key key = { { rec->key[0], rec->key[1], rec->key[2] } };
	const bool is_set = rec->type == CFS_REC_SET;
	int r;

	if (rec->tree_id != CFS_TREE_TABLE)
		return cfs_err_set(err, -EUCLEAN, "a record for tree %" PRIu32,
				   rec->tree_id);
	cfs_container_table_changing(c, &key, is_set ? rec->value : NULL,
				     is_set ? rec->value_bytes : 0);
	if (is_set)
		r = cfs_tree_put(c->trees[CFS_TREE_TABLE - 1], &key, rec->value,
				 rec->value_bytes, NULL, err);
	else
		r = cfs_tree_del(c->trees[CFS_TREE_TABLE - 1], &key, err);
	if (r == -ENOENT)
		return cfs_err_set(err, -EUCLEAN,
				   "a record to be removed is not there");
	if (r < 0)
		return r;
	return cfs_container_table_changed(c, &key, is_set ? rec->value : NULL,
					   is_set ? rec->value_bytes : 0, err);
}

int cfs_container_replay_record(struct cfs_container *c,
				const struct cfs_rec *rec, struct cfs_err *err)
{
	switch (rec->type) {
	case CFS_REC_SET:
	case CFS_REC_DEL:
		return replay_table(c, rec, err);
	case CFS_REC_STAMP:
		c->stamp = CFS_MAX(c->stamp, rec->stamp);
		return 0;
	default:
		break;
	}
	if (rec->ino >= c->next_ino)
		c->next_ino = rec->ino + 1;
	return c->hooks ? c->hooks->replay(c->hooks_ctx, rec, err)
			: cfs_err_set(err, -EUCLEAN,
				      "a record of data in the pool's own "
				      "container");
}

static int replay_frame(void *arg, const struct cfs_frame *frame,
			const void *buf, struct cfs_err *err)
{
	struct cfs_container *c = arg;
	struct cfs_rec rec;
	uint32_t pos = 0;
	int r;

	c->stamp = CFS_MAX(c->stamp, frame->stamp);
	while ((r = cfs_frame_next(buf, frame, &pos, &rec, err)) == 1) {
		r = cfs_container_replay_record(c, &rec, err);
		if (r < 0)
			return r;
	}
	return r;
}

static int verify_frame(void *arg, const struct cfs_frame *frame,
			const void *buf, struct cfs_err *err)
{
	return cfs_container_verify_frame(arg, frame, buf, true, err);
}

/*
 * A crash between the places of a root leaves it in some of them.  It must
 * stand in all, or be followed by one that does, before anything is written
 * that the older one would miss.
 */
static unsigned int root_copies_wanted(const struct cfs_container *c)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < CFS_ROOT_PLACES_MAX; i++)
		if (c->root_vaddr[i])
			n += (unsigned int)__builtin_popcount(
				cfs_metavolume_readable(
					c->mv,
					cfs_vaddr_lslice(c->root_vaddr[i])));
	return n;
}

/*
 * What was replayed, or promised by who wrote it, may want more room than the
 * container has: it is made before the commit. What is wanted is an upper
 * bound, so that the commit alone says whether there was too little.
 */
static int commit_replayed(struct cfs_container *c, struct cfs_err *err)
{
	struct cfs_err why = CFS_ERR_INIT;
	int grown = 0, r;

	if (c->id != 0 && cfs_space_left(c) < 0)
		grown = cfs_space_ensure(c, 0, CFS_OP_FREEING, &why);
	c->forces_commit = true;
	r = cfs_container_commit_locked(c, err);
	if (r == -ENOSPC && grown < 0)
		return cfs_err_set(
			err, r,
			"no room for what its log holds: %s; it "
			"opens when other volumes have given slices "
			"back, or with another device (slicectl add)",
			why.msg);
	return r;
}

static int recover(struct cfs_container *c, bool was_clean,
		   unsigned int root_copies, struct cfs_err *err)
{
	const struct cfs_log_replay how = {
		.looks_for_damage = !was_clean,
		.verify = verify_frame,
		.apply = replay_frame,
		.arg = c,
	};
	uint64_t frames = 0;
	int r;

	c->is_replaying = true;
	r = cfs_log_replay(c->log, &how, &frames, err);
	if (r == 0)
		r = cfs_lend_load(c, err);
	if (r == 0)
		r = cfs_space_recover(c, err);
	if (r == 0)
		r = cfs_takeover_thaw(c, err);
	/* A gravestone that was set for the writers before us is none of
	 * ours. */
	if (r == 0 && c->fence)
		r = cfs_takeover_log_id(&c->new_log_id, err);
	c->is_replaying = false;
	if (r < 0 || (frames == 0 && !c->groups && !c->fence &&
		      root_copies >= root_copies_wanted(c)))
		return r;
	/* The writer died.  Its last stamp may not have reached the log. */
	c->stamp += 2;
	return commit_replayed(c, err);
}

int cfs_container_open_bare(const struct cfs_container_config *config,
			    const struct cfs_root *root, uint64_t root_seq,
			    struct cfs_container **ret, struct cfs_err *err)
{
	CFS_CLEANUP(container_dropp) struct cfs_container *c = NULL;
	int r = cfs_container_object_new(config, &c, err);

	if (r < 0)
		return r;
	c->root = *root;
	c->root_seq = root_seq;
	c->stamp = root->stamp + 1;
	c->next_ino = CFS_MAX(root->next_ino, INO_FIRST);
	c->next_loan = c->stamp << 12;
	r = cfs_container_open_trees(c, err);
	if (r == 0)
		r = cfs_log_new(c->mv, c->epoch, &c->root, &c->log, err);
	if (r < 0)
		return r;
	*ret = CFS_STEAL(c);
	return 0;
}

int cfs_container_open(const struct cfs_container_config *config,
		       struct cfs_container **ret, struct cfs_err *err)
{
	CFS_CLEANUP(container_dropp) struct cfs_container *c = NULL;
	unsigned int root_copies = 0;
	int r = cfs_container_object_new(config, &c, err);

	if (r < 0)
		return r;
	c->is_opening = true;
	if (config->move) {
		r = cfs_takeover_open(c, config, err);
		if (r < 0)
			return r;
		c->is_opening = false;
		*ret = CFS_STEAL(c);
		return 0;
	}
	r = cfs_container_read_root(c->mv, c->id, c->root_vaddr, &c->root,
				    &c->root_seq, NULL, &root_copies, err);
	if (r < 0)
		return r;
	if (memcmp(c->root.container_uuid, c->uuid, sizeof(c->uuid)) != 0)
		return cfs_err_set(err, -EUCLEAN,
				   "the root is another container's");
	c->stamp = c->root.stamp + 1;
	c->next_ino = CFS_MAX(c->root.next_ino, INO_FIRST);
	c->next_loan = c->stamp << 12;
	r = cfs_container_open_trees(c, err);
	if (r == 0)
		r = cfs_log_new(c->mv, c->epoch, &c->root, &c->log, err);
	if (r == 0)
		r = cfs_space_load(c, err);
	if (r == 0)
		r = cfs_space_bad_load(c, err);
	if (r == 0 && c->hooks && c->hooks->opened)
		r = c->hooks->opened(c->hooks_ctx, c, err);
	if (r == 0)
		r = recover(c, config->was_clean, root_copies, err);
	if (r < 0)
		return r;
	c->is_opening = false;
	*ret = CFS_STEAL(c);
	return 0;
}

int cfs_container_close(struct cfs_container *c, struct cfs_err *err)
{
	int r = 0;

	if (!c)
		return 0;
	pthread_mutex_lock(&c->lock);
	assert(!c->in_op);
	if (c->why_readonly.code) {
		r = cfs_err_set(err, -EIO, "closed for writing: %s",
				c->why_readonly.msg);
	} else if (!c->is_readonly) {
		c->is_sealing = true;
		r = cfs_container_commit_locked(c, err);
	}
	pthread_mutex_unlock(&c->lock);
	cfs_container_drop(c);
	return r;
}

void cfs_container_set_limit(struct cfs_container *c, uint64_t limit_blocks)
{
	c->limit_blocks = limit_blocks;
}

const struct cfs_root *cfs_container_root(const struct cfs_container *c)
{
	return &c->root;
}

const uint64_t *cfs_container_root_places(const struct cfs_container *c)
{
	return c->root_vaddr;
}

void cfs_container_slice_added(struct cfs_container *c, uint64_t lslice)
{
	/* The map has the slice already, so there is room for this too. */
	if (cfs_space_add_slice(c, lslice, NULL) < 0) {
		struct cfs_err why;

		cfs_err_set(&why, -ENOMEM, "out of memory");
		cfs_container_poison(c, &why);
	} else if (c->takeover) {
		c->slices[lslice].is_fresh = true;
	}
}
