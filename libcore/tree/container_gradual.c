/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A commit brings home what thousands of syncs have logged.  Made at once it
 * keeps the next one waiting for as long as a thousand of them take; so where
 * small writes and syncs are all that comes, it begins before the log is full,
 * and does a little with each sync, while the frame of that is on its way to the
 * disk and there is nothing else to do.  That does not make it cheaper: what it
 * has to read and write takes its share of the disk either way, and it comes
 * a little more often.  It is for whoever waits.
 *
 * It commits the state at its beginning: that of a frame of a sync, which has
 * all that there was.  From there to its end
 *
 *  - the trees are changed by its steps alone.  A write of whole blocks that is
 *    kept in memory, a sync and whoever only looks go on beside it; everything
 *    else that takes the lock ends it first (cfs_container_lock,
 *    cfs_op_begin...);
 *  - a page that it brings home and that gets other content leaves it the old
 *    one (volume/page_fold.c).  None of them is seen by a snapshot: it does not
 *    begin where one is, and taking one ends it;
 *  - the frames behind the beginning hold what was written since, and loans
 *    that the steps have taken, nothing else.  The root that ends it names the
 *    beginning as the place where the log goes on, so a replay finds the
 *    former, and sets loans as they were: one that was used up meanwhile is
 *    there again, as one of a group in which everything is in use;
 *  - what is written since has the next stamp, as if the commit had been made
 *    in a moment.
 *
 * A crash before its root finds the root before, and all frames: they are
 * trimmed behind the root alone.  A failure closes the container as that of any
 * commit does.
 *
 * There is none where the log may still grow, since that takes its ring apart;
 * none in client mode, whose fold is another thing, nor with clients, whose
 * views name what commits keep; and none in a takeover.
 */
#include "tree/container_gradual.h"

#include <assert.h>

/* Less is not worth it. */
#define PAGES_MIN    64u
/* So many syncs with nothing else between them, and more are expected. */
#define SYNCS_MIN    8u
/* What a page takes, about: itself, and its leaf twice. */
#define WORK_OF_PAGE 3u
/* Writes that are begun at a time: no sync has to wait for long behind them. */
#define WRITE_PART   16u

static uint64_t test_log_blocks, test_work;

void cfs_gradual_set(uint64_t log_blocks, uint64_t work)
{
	test_log_blocks = log_blocks;
	test_work = work;
}

static bool may_begin(const struct cfs_container *c)
{
	return !c->gradual.is_on && c->hooks && c->hooks->fold_beside &&
	       !c->client && !c->lender && !c->takeover && !c->is_opening &&
	       !c->is_readonly && !c->is_frozen && !c->is_sealing &&
	       !c->forces_commit && c->gradual.refused_seq != c->root_seq &&
	       c->pending.bytes == 0 && c->stamp < CFS_STAMP_MAX &&
	       atomic_load(&c->flight_count) == 0;
}

static bool is_time(struct cfs_container *c, uint64_t pages)
{
	const uint64_t used = cfs_log_used_blocks(c->log);

	if (test_log_blocks)
		return pages > 0 && used >= test_log_blocks;
	return (used >= cfs_log_total_blocks(c->log) / 8 * 5 ||
		pages >= CFS_DIRTY_BLOCKS_MAX / 2) &&
	       pages >= PAGES_MIN && c->gradual.page_syncs >= SYNCS_MIN &&
	       cfs_space_log_is_long(c);
}

/*
 * For each page that is logged beside it: it is done when eight ninths of what
 * the log, and memory, still take have come.
 */
static uint64_t work_per_page(const struct cfs_container *c, uint64_t pages)
{
	const uint64_t total = cfs_log_total_blocks(c->log);
	const uint64_t used = cfs_log_used_blocks(c->log) + total / 16;
	const uint64_t of_page = CFS_MAX(used / pages, 1);
	const uint64_t log_room = used < total ? (total - used) / of_page : 0;
	const uint64_t room = pages < CFS_DIRTY_BLOCKS_MAX
				      ? CFS_DIRTY_BLOCKS_MAX - pages
				      : 0;

	return cfs_div_up(9 * WORK_OF_PAGE * pages,
			  8 * CFS_MAX(CFS_MIN(room, log_room), 1));
}

void cfs_gradual_begin(struct cfs_container *c)
{
	struct cfs_root root;
	uint64_t pages = 0, records;

	c->gradual.page_syncs++;
	if (!may_begin(c))
		return;
	c->hooks->fold_need(c->hooks_ctx, &pages, &records);
	if (!is_time(c, pages))
		return;
	if (c->hooks->fold_beside(c->hooks_ctx, NULL) < 0) {
		/* Nor will it be possible before there was a whole one. */
		c->gradual.refused_seq = c->root_seq;
		return;
	}
	cfs_log_to_root(c->log, &root);
	c->gradual.from = (struct cfs_log_position){
		.seq = root.log_seq,
		.chain = root.log_chain,
		.extent = root.log_extent,
		.block = root.log_block,
	};
	c->gradual.work_per_page = work_per_page(c, pages);
	c->gradual.write_part = test_work ? test_work : WRITE_PART;
	c->gradual.is_on = true;
	c->commit_stage = COMMIT_FOLDS;
	c->commit_stamp = c->stamp++;
}

void cfs_gradual_step(struct cfs_container *c, uint64_t page_count)
{
	/* The frame behind which it begins has none that came beside it. */
	const bool is_first = cfs_log_seq(c->log) == c->gradual.from.seq;
	const uint64_t pages = is_first ? 1 : CFS_MAX(page_count, 1);
	uint64_t budget = test_work ? test_work
				    : c->gradual.work_per_page * pages;
	struct cfs_err why = CFS_ERR_INIT;
	int r;

	assert(c->gradual.is_on);
	c->is_committing = true;
	r = cfs_container_commit_some(c, &budget, &why);
	c->is_committing = false;
	if (r >= 0)
		return;
	cfs_container_drop_writes(c);
	c->gradual.is_on = false;
	cfs_container_poison(c, &why);
}

bool cfs_gradual_is_ready(const struct cfs_container *c)
{
	return c->gradual.is_on && c->commit_stage == COMMIT_WRITTEN;
}

int cfs_gradual_end(struct cfs_container *c, struct cfs_err *err)
{
	const bool is_sealing = c->is_sealing;
	int r;

	if (!c->gradual.is_on || c->is_readonly)
		return 0;
	assert(!c->in_op && !c->is_committing);
	/* Loans stay with this one. */
	c->is_sealing = false;
	r = cfs_container_commit_rest(c, err);
	c->is_sealing = is_sealing;
	c->gradual.is_on = false;
	return r;
}

void cfs_gradual_to_root(const struct cfs_container *c, struct cfs_root *root)
{
	root->log_seq = c->gradual.from.seq;
	root->log_chain = c->gradual.from.chain;
	root->log_extent = c->gradual.from.extent;
	root->log_block = c->gradual.from.block;
}

void cfs_gradual_disturb(struct cfs_container *c)
{
	c->gradual.page_syncs = 0;
}
