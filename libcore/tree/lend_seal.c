/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sealing a client that is silent, and taking over from one that is gone.
 *
 *   1. gravestone, flush               -> it learns of it, if it looks
 *   2. its log is read to the end      -> nothing has changed
 *   3. what it says is applied, its loans frozen, its record sealed: one commit
 *                                      -> whatever it writes from now on is
 *                                         seen by nobody
 *   4. when it is gone: loans come to us, its log and record go: one commit
 *
 * A crash between 1 and 3 leaves an open client with a gravestone; whoever
 * comes next begins at 1.
 *
 * In step 3 data of a client that may still write is copied to groups of our
 * own: its tag pages may lack tags of what it named, and are its to write.  Of
 * one that is gone it is taken as it stands.
 */
#include "tree/lend_priv.h"

#include "base/cleanup.h"
#include "tree/adopt_priv.h"
#include "tree/space_priv.h"

#include <stdlib.h>

#define READS_MAX 8u /* of a log that is still being written to */

/* ---- the gravestone ------------------------------------------------------ */

static int set_gravestone(struct cfs_container *c, struct client_entry *e,
			  struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep)
	struct cfs_page_disk *page = cfs_dev_buf_alloc(sizeof(*page));
	struct cfs_page head = {
		.kind = CFS_PAGE_GRAVE,
		.seq = 3,
		.pool_lo = cfs_metavolume_pool_lo(c->mv),
		.owner = c->id,
		.address = e->rec.grave_vaddr[1],
		.epoch = c->epoch,
	};
	int r;

	if (!page)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	cfs_grave_pack(e->rec.log_id, page);
	cfs_page_pack(&head, page);
	e->is_dead = true;
	r = cfs_container_write_now(c, head.address, 1, page, err);
	return r < 0 ? r : cfs_metavolume_flush(c->mv, err);
}

/* ---- copying ------------------------------------------------------------- */

static int ensure(struct cfs_container *c, uint64_t blocks, struct cfs_err *err)
{
	return cfs_space_ensure(c, blocks, CFS_OP_FREEING, err);
}

static int replay_part(struct cfs_container *c, const struct cfs_rec *part,
		       bool is_copied, struct cfs_err *err)
{
	int r;

	c->lender->adopt = is_copied ? LEND_ADOPT_COPIED : LEND_ADOPT_LENT;
	r = c->hooks->replay(c->hooks_ctx, part, err);
	c->lender->adopt = LEND_ADOPT_COPIED;
	return r;
}

static const struct cfs_adopt_ops adopt_ops = { ensure, replay_part };

/* ---- the log ------------------------------------------------------------- */

struct seal {
	struct cfs_container *c;
	struct client_entry *e;
	bool is_gone;
	bool is_opening;   /* cfs_container_client_left */
	uint64_t stop_seq; /* frames from here on do not count */
	bool is_lie;       /* the frame at stop_seq was one */
};

static int verify(void *arg, const struct cfs_frame *frame, const void *buf,
		  struct cfs_err *err)
{
	const struct seal *s = arg;

	if (frame->seq >= s->stop_seq)
		return 0;
	return cfs_container_verify_frame(s->c, frame, buf, s->is_gone, err);
}

static int apply(void *arg, const struct cfs_frame *frame, const void *buf,
		 struct cfs_err *err)
{
	struct seal *s = arg;
	struct cfs_rec rec;
	uint32_t pos = 0;
	int r;

	if (frame->seq >= s->stop_seq)
		return 0;
	while ((r = cfs_frame_next(buf, frame, &pos, &rec, err)) == 1) {
		r = cfs_lend_check(s->c, &rec, err);
		if (r == 0 && rec.type == CFS_REC_EXTENT && !s->is_gone)
			r = cfs_adopt_extent(s->c, &rec, &adopt_ops, err);
		else if (r == 0)
			r = cfs_lend_apply(s->c, &rec, err);
		if (r < 0)
			break;
	}
	/* A frame that lies ends the log: all is done again without it. */
	if (r == -EPERM) {
		s->stop_seq = frame->seq;
		s->is_lie = true;
	}
	return r;
}

/* The client's log, as its record says; and where it ended. */
static int read_log(struct seal *s, struct cfs_client_rec *rec,
		    struct cfs_err *err)
{
	const struct cfs_log_replay how = {
		.looks_for_damage = s->is_gone,
		.verify = verify,
		.apply = apply,
		.arg = s,
	};
	CFS_CLEANUP(cfs_freep) struct cfs_root *root = calloc(1, sizeof(*root));
	struct cfs_log *log = NULL;
	int r;

	if (!root)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	root->log_id = rec->log_id;
	root->log_seq = rec->log.seq;
	root->log_chain = rec->log.chain;
	root->log_extent = rec->log.extent;
	root->log_block = rec->log.block;
	root->log_extent_count = rec->extent_count;
	memcpy(root->log_extents, rec->extents,
	       rec->extent_count * sizeof(*rec->extents));
	r = cfs_log_new(s->c->mv, s->c->epoch, root, &log, err);
	if (r == 0)
		r = cfs_log_replay(log, &how, NULL, err);
	if (r == 0) {
		cfs_log_to_root(log, root);
		rec->log = (struct cfs_log_position){
			.seq = root->log_seq,
			.chain = root->log_chain,
			.extent = root->log_extent,
			.block = root->log_block,
		};
	}
	cfs_log_free(log);
	return r;
}

/* ---- loans --------------------------------------------------------------- */

static int put_loan(struct cfs_container *c, const struct lent_group *g,
		    bool is_ours, struct cfs_err *err)
{
	const struct cfs_key key = cfs_space_loan_key(g->key);
	const struct cfs_loan_rec loan = {
		.loan = g->number,
		.holder = is_ours ? 0 : g->client_id,
		.epoch = c->epoch,
		.state = is_ours ? CFS_LOAN_OPEN : CFS_LOAN_FROZEN,
	};
	struct cfs_client_loan_disk disk;

	cfs_client_loan_pack(&loan, g->allowed, &disk);
	return cfs_container_tree_put(
		c, CFS_TREE_TABLE, &key, &disk,
		is_ours ? sizeof(disk.loan) : sizeof(disk), err);
}

/*
 * What is free in a group that becomes ours: the commit that makes it so may
 * write there, and in a full pool has nowhere else to go.
 */
static void claim_ends(struct cfs_container *c, struct lent_group *g)
{
	c->lender->lent_blocks -= g->free_blocks;
	g->ours_blocks += g->free_blocks;
	g->free_blocks = 0;
}

/* It did not come to be: the groups are the client's, as they were, and what
 * became of their tags in memory is nothing to write. */
static void groups_stay(struct cfs_container *c, const struct client_entry *e)
{
	struct lent_group *g, *tmp;

	CFS_LENT_EACH(c->lender, g, tmp) {
		if (g->client_id != e->id)
			continue;
		cfs_space_group_forget(c, g->key);
		c->lender->lent_blocks += g->ours_blocks;
		g->free_blocks += g->ours_blocks;
		g->ours_blocks = 0;
	}
}

static int by_key(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* All groups of one that is gone will be ours: in memory at once, not each when
 * it is first met. */
static int open_loans(struct cfs_container *c, const struct client_entry *e,
		      struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep)
	uint64_t *keys = calloc(c->lender->group_count + 1, sizeof(*keys));
	struct lent_group *g, *tmp;
	size_t n = 0;

	if (!keys)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	CFS_LENT_EACH(c->lender, g, tmp)
		if (g->client_id == e->id)
			keys[n++] = g->key;
	if (n > 1)
		qsort(keys, n, sizeof(*keys), by_key);
	return cfs_space_open_groups(c, keys, n, err);
}

/* All loans of the client: frozen, or ours, with tags of nothing cleared. */
static int move_loans(struct cfs_container *c, const struct client_entry *e,
		      bool is_gone, struct cfs_err *err)
{
	struct lent_group *g, *tmp;
	int r = is_gone ? open_loans(c, e, err) : 0;

	if (r < 0)
		return r;
	CFS_LENT_EACH(c->lender, g, tmp) {
		if (g->client_id != e->id)
			continue;
		r = put_loan(c, g, is_gone, err);
		if (r == 0 && is_gone)
			r = cfs_space_take_over(c, g->key, err);
		if (r < 0)
			return r;
		if (is_gone)
			claim_ends(c, g);
	}
	return 0;
}

static void loans_moved(struct cfs_container *c, const struct client_entry *e,
			bool is_gone)
{
	struct lent_group *g, *tmp;

	CFS_LENT_EACH(c->lender, g, tmp) {
		if (g->client_id != e->id)
			continue;
		g->is_frozen = true;
		if (is_gone)
			cfs_lend_group_drop(c, g);
	}
}

/* ---- sealing ------------------------------------------------------------- */

/* In an operation; *ret_has_ended: in a commit, that may have failed. */
static int seal_op(struct seal *s, const struct cfs_fold_rules *rules,
		   bool *ret_has_ended, struct cfs_err *err)
{
	struct cfs_container *c = s->c;
	struct cfs_client_rec rec = s->e->rec;
	int r;

	cfs_lend_begin(c, s->e, rules,
		       s->is_gone ? LEND_ADOPT_NONE : LEND_ADOPT_COPIED, false);
	r = s->is_gone ? open_loans(c, s->e, err) : 0;
	if (r == 0)
		r = read_log(s, &rec, err);
	if (r == 0)
		r = move_loans(c, s->e, s->is_gone, err);
	rec.state = CFS_CLIENT_SEALED;
	if (r == 0)
		r = cfs_lend_store(c, s->e->id, &rec, err);
	/* What was read is in memory, and must find room in the commit. */
	if (r == 0)
		r = cfs_space_ensure(c, 0, CFS_OP_FREEING, err);
	if (r == -ENOSPC && s->is_opening)
		r = 0;
	c->is_replaying = false;
	if (r < 0) {
		cfs_lend_end(c, false);
		groups_stay(c, s->e);
		return r;
	}
	*ret_has_ended = true;
	r = cfs_op_end_commit(c, err);
	cfs_lend_end(c, r == 0);
	if (r == 0) {
		s->e->rec = rec;
		loans_moved(c, s->e, s->is_gone);
	}
	return r;
}

/*
 * An operation that frees.  @has_more: it finds out itself whether there is
 * room for its commit, since it brings some.
 */
static int begin_op(struct cfs_container *c, bool has_more, struct cfs_err *err)
{
	int r = cfs_op_begin(c, CFS_OP_FREEING, err);

	if (r != -ENOSPC || !has_more)
		return r;
	cfs_container_lock_to_change(c);
	if (c->is_readonly) {
		cfs_container_unlock(c);
		return r;
	}
	cfs_op_start_locked(c);
	return 0;
}

/* Once; -EPERM: a frame lies, again without it. */
static int seal_once(struct seal *s, uint64_t client_id,
		     const struct cfs_fold_rules *rules, struct cfs_err *err)
{
	struct cfs_container *c = s->c;
	bool has_ended = false;
	int r = begin_op(c, s->is_gone, err);

	if (r < 0)
		return r;
	s->e = cfs_lend_entry(c, client_id);
	if (!s->e || s->e->rec.state == CFS_CLIENT_SEALED) {
		cfs_op_abort(c);
		return s->e ? 0 : cfs_err_set(err, -ENOENT, "no such client");
	}
	r = seal_op(s, rules, &has_ended, err);
	if (has_ended)
		pthread_mutex_unlock(&c->lock);
	else
		cfs_op_abort(c);
	return r;
}

static int begin_seal(struct cfs_container *c, uint64_t client_id,
		      bool *ret_is_done, struct cfs_err *err)
{
	uint64_t blocks = 0, records = 0;
	struct client_entry *e;
	int r = 0;

	cfs_container_lock_to_change(c);
	e = cfs_lend_entry(c, client_id);
	*ret_is_done = e && e->rec.state == CFS_CLIENT_SEALED;
	if (!e)
		r = cfs_err_set(err, -ENOENT, "no such client");
	else if (c->is_readonly)
		r = cfs_err_set(err, -EROFS, "closed for writing");
	else if (!*ret_is_done)
		r = set_gravestone(c, e, err);
	/* Our own pages must not be in the way. */
	if (r == 0 && !*ret_is_done && c->hooks)
		c->hooks->fold_need(c->hooks_ctx, &blocks, &records);
	if (r == 0 && blocks)
		r = cfs_container_commit_locked(c, err);
	pthread_mutex_unlock(&c->lock);
	return r;
}

static int seal(struct seal *s, uint64_t client_id,
		const struct cfs_fold_rules *rules, struct cfs_err *err)
{
	bool is_done = false;
	int r = begin_seal(s->c, client_id, &is_done, err);

	if (r < 0 || is_done)
		return r;
	s->stop_seq = UINT64_MAX;
	for (unsigned int i = 0; i < READS_MAX; i++) {
		s->is_lie = false;
		r = seal_once(s, client_id, rules, err);
		/* Who still writes may do so between two looks at the log. */
		if (r != -EIO && !s->is_lie)
			break;
		if (r == -EIO && s->is_gone)
			break;
	}
	return r;
}

int cfs_container_client_seal(struct cfs_container *c, uint64_t client_id,
			      bool is_gone, const struct cfs_fold_rules *rules,
			      struct cfs_err *err)
{
	struct seal s = { .c = c, .is_gone = is_gone };

	return seal(&s, client_id, rules, err);
}

/* ---- gone ---------------------------------------------------------------- */

/* The tag of a block of its log, or of its gravestone, as it was made. */
static bool is_log_tag(const struct cfs_tag_disk *disk, uint64_t log_id)
{
	struct cfs_tag tag;

	cfs_tag_unpack(disk, &tag);
	return tag.type == CFS_TAG_LOG && tag.ino == log_id;
}

/*
 * Tags of the log say nothing any more: where the group is not lent they are
 * cleared, behind the commit that freed the blocks.  Others may have had the
 * container since, and the blocks be in use again: then they have other tags.
 */
static int clear_tags(struct cfs_container *c, const struct cfs_client_rec *rec,
		      uint64_t vaddr, uint32_t count, struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);
	const struct cfs_tag none = { .type = CFS_TAG_FREE };
	const uint64_t lslice = cfs_vaddr_lslice(vaddr);

	/* The slice may have gone back. */
	if (lslice >= c->slice_room || !c->slices[lslice].is_mapped)
		return 0;
	for (uint32_t i = 0; i < count; i++) {
		const uint32_t block = cfs_vaddr_block(vaddr + i);
		struct cfs_candidate cand = {
			.key = cfs_vaddr(lslice,
					 cfs_geometry_group(geo, block)),
		};
		struct open_group *g = cfs_space_group(c, vaddr + i);
		int r = 0;

		if (!g && (cfs_lend_has_group(c, cand.key) ||
			   cfs_space_is_unfit(c, cand.key)))
			continue;
		if (!g) {
			r = cfs_space_lend(c, &cand, 1, err);
			if (r == 0)
				r = cfs_space_open_group(c, cand.key, &g, err);
		}
		if (r < 0)
			return r;
		if (is_log_tag(&g->g.tags[cfs_geometry_index(geo, block)],
			       rec->log_id))
			cfs_space_set_tag(c, vaddr + i, &none);
	}
	return 0;
}

static int free_run(struct cfs_container *c, const struct cfs_client_rec *rec,
		    uint64_t vaddr, uint32_t count, struct cfs_err *err)
{
	(void)rec;
	return cfs_space_free(c, vaddr, count, err);
}

typedef int (*run_fn)(struct cfs_container *c, const struct cfs_client_rec *rec,
		      uint64_t vaddr, uint32_t count, struct cfs_err *err);

/* All blocks of its log and gravestone. */
static int each_run(struct cfs_container *c, const struct cfs_client_rec *rec,
		    run_fn fn, struct cfs_err *err)
{
	int r = 0;

	for (uint32_t i = 0; i < rec->extent_count && r == 0; i++)
		r = fn(c, rec, rec->extents[i].vaddr,
		       rec->extents[i].block_count, err);
	for (unsigned int i = 0; i < 2 && r == 0; i++)
		r = fn(c, rec, rec->grave_vaddr[i], 1, err);
	return r;
}

static int forget_client(struct cfs_container *c, const struct client_entry *e,
			 struct cfs_err *err)
{
	const struct cfs_key key = cfs_lend_client_key(e->id);
	int r;

	/* A damaged tag page must not keep it here for ever. */
	c->is_replaying = true;
	r = move_loans(c, e, true, err);
	c->is_replaying = false;
	if (r == 0)
		r = each_run(c, &e->rec, free_run, err);
	if (r == 0)
		r = cfs_container_tree_del(c, CFS_TREE_TABLE, &key, err);
	return r;
}

int cfs_lend_clear_log(struct cfs_container *c,
		       const struct cfs_client_rec *rec, struct cfs_err *err)
{
	int r = cfs_op_begin(c, CFS_OP_FREEING, err);

	if (r < 0)
		return r;
	r = each_run(c, rec, clear_tags, err);
	if (r < 0) {
		cfs_op_abort(c);
		return r;
	}
	r = cfs_op_end_commit(c, err);
	pthread_mutex_unlock(&c->lock);
	return r;
}

static int end_client(struct seal *s, uint64_t client_id,
		      const struct cfs_fold_rules *rules, struct cfs_err *err)
{
	struct cfs_container *c = s->c;
	struct cfs_client_rec rec;
	struct client_entry *e;
	int r = seal(s, client_id, rules, err);

	if (r == 0)
		r = begin_op(c, s->is_opening, err);
	if (r < 0)
		return r;
	e = cfs_lend_entry(c, client_id);
	if (!e)
		r = cfs_err_set(err, -ENOENT, "no such client");
	if (r == 0)
		r = forget_client(c, e, err);
	if (r < 0) {
		if (e)
			groups_stay(c, e);
		cfs_op_abort(c);
		return r;
	}
	rec = e->rec;
	r = cfs_op_end_commit(c, err);
	if (r == 0) {
		loans_moved(c, e, true);
		cfs_lend_entry_drop(c, e);
	}
	pthread_mutex_unlock(&c->lock);
	return r < 0 ? r : cfs_lend_clear_log(c, &rec, err);
}

int cfs_container_client_gone(struct cfs_container *c, uint64_t client_id,
			      const struct cfs_fold_rules *rules,
			      struct cfs_err *err)
{
	struct seal s = { .c = c, .is_gone = true };

	return end_client(&s, client_id, rules, err);
}

int cfs_container_client_left(struct cfs_container *c, uint64_t client_id,
			      bool ends, struct cfs_err *err)
{
	struct seal s = { .c = c, .is_gone = true, .is_opening = true };

	return ends ? end_client(&s, client_id, NULL, err)
		    : seal(&s, client_id, NULL, err);
}
