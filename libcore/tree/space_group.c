/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Groups on loan: opened in batches, ahead of need; the loan is durable before
 * a block of the group is written, by a frame of its own.  At a commit the tag
 * pages of groups that changed are written, and those with nothing left to
 * hand out go back.
 */
#include "tree/space_priv.h"

#include "base/cleanup.h"
#include "tree/container_client_priv.h"
#include "tree/container_grave.h"
#include "tree/lend_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define BATCH_GROUPS_MAX 1024u

struct cfs_key cfs_space_loan_key(uint64_t key)
{
	return (struct cfs_key){ { cfs_table_word(CFS_TABLE_LOAN, 0), key,
				   0 } };
}

struct open_group *cfs_space_group(struct cfs_container *c, uint64_t vaddr)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);
	uint64_t key = cfs_vaddr(
		cfs_vaddr_lslice(vaddr),
		cfs_geometry_group(geo, cfs_vaddr_block(vaddr)));
	struct open_group *g;

	HASH_FIND(hh, c->groups, &key, sizeof(key), g);
	return g;
}

int cfs_space_free_bits(struct cfs_container *c, uint64_t key, uint64_t ret[2],
			bool *ret_was_used, struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);
	uint32_t blocks = cfs_geometry_group_blocks(geo, cfs_vaddr_block(key));
	uint64_t used[2], held[2];
	int r = cfs_space_bits_load(c, key, used, ret_was_used, err);

	if (r < 0)
		return r;
	cfs_space_held_bits(c, key, held);
	for (uint32_t i = 0; i < 2; i++) {
		uint32_t n = blocks > 64 * i ? CFS_MIN(blocks - 64 * i, 64) : 0;
		uint64_t all = n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;

		ret[i] = all & ~used[i] & ~held[i];
	}
	return 0;
}

int cfs_space_allowed_bits(struct cfs_container *c, uint64_t key,
			   uint64_t ret[2], bool *ret_was_used,
			   struct cfs_err *err)
{
	uint64_t bad[2];
	int r = cfs_space_free_bits(c, key, ret, ret_was_used, err);

	if (r < 0)
		return r;
	cfs_space_bad_bits(c, key, bad);
	ret[0] &= ~bad[0];
	ret[1] &= ~bad[1];
	return 0;
}

/* A group without its tags yet, not in the table. */
static struct open_group *group_new(uint64_t key, struct cfs_err *err)
{
	struct open_group *g = calloc(1, sizeof(*g));

	if (!g) {
		cfs_err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	g->key = key;
	g->g.lslice = cfs_vaddr_lslice(key);
	g->g.index = cfs_vaddr_block(key);
	return g;
}

/* From now on reads see its tags.  Owns @g, also if it fails. */
static int group_add(struct cfs_container *c, struct open_group *g,
		     struct cfs_err *err)
{
	int r = cfs_blocks_register(c->blocks, &g->g, err);

	if (r < 0) {
		free(g);
		return r;
	}
	if (CFS_HASH_ADD(c->groups, key, g) < 0) {
		cfs_blocks_unregister(c->blocks, &g->g);
		free(g);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	return 0;
}

/*
 * What a crash that came between the pieces of the group's page has left: it is
 * made the same on all.  Else the next page would go over the only one that
 * some piece has whole, and the slot that is behind stay so.  Where a place
 * cannot be written all is as good as it was.
 */
static void group_even_out(struct cfs_container *c, struct open_group *g)
{
	if (g->g.stale_pieces) {
		(void)cfs_group_spread(c->blocks, &g->g, NULL);
		c->has_spread = true;
	}
	/* Written anew with the next commit, in the slot that is not whole. */
	g->is_dirty |= g->g.is_uneven;
}

/* A page that is not there will do; in a replay, a damaged one too. */
static bool is_loaded(const struct cfs_container *c, int result)
{
	return result == 0 || result == -ENOENT ||
	       (result == -EUCLEAN && c->is_replaying);
}

/*
 * Bring a group into memory, with its tags, and let reads see them.  It is ours
 * alone: nobody else writes its page.
 */
int cfs_space_group_open(struct cfs_container *c, uint64_t key, bool was_used,
			 struct open_group **ret, struct cfs_err *err)
{
	struct open_group *g = group_new(key, err);
	int r = 0;

	if (!g)
		return -ENOMEM;
	if (was_used)
		r = cfs_group_load(c->blocks, g->g.lslice, g->g.index, &g->g,
				   err);
	if (r == 0 && g->g.is_doubtful)
		r = cfs_err_set(err, -EIO,
				"slice %" PRIu64 ": tag page %" PRIu32
				" cannot be read",
				g->g.lslice, g->g.index);
	/* Used, as it seems, but no page of this life: nothing is known of its
	 * blocks; reads of them will say so.  Recovery goes on where all copies
	 * of a page are damaged, too. */
	if (!is_loaded(c, r)) {
		free(g);
		return r;
	}
	group_even_out(c, g);
	r = group_add(c, g, err);
	if (r == 0)
		*ret = g;
	return r;
}

int cfs_space_open_group(struct cfs_container *c, uint64_t key,
			 struct open_group **ret, struct cfs_err *err)
{
	uint64_t allowed[2];
	bool was_used;
	int r;

	HASH_FIND(hh, c->groups, &key, sizeof(key), *ret);
	if (*ret)
		return 0;
	r = cfs_space_allowed_bits(c, key, allowed, &was_used, err);
	if (r == 0)
		r = cfs_space_group_open(c, key, true, ret, err);
	return r;
}

static void chosen_free(struct cfs_choice *ch)
{
	for (size_t i = 0; ch->groups && i < ch->count; i++)
		free(ch->groups[i]);
	free(ch->groups);
	free(ch->list);
}

/* Those that could be read; of the others their opener is told. */
static int add_loaded(struct cfs_container *c, struct cfs_choice *ch,
		      const int *results, struct cfs_err *err)
{
	int r = 0;

	for (size_t i = 0; i < ch->count && r == 0; i++) {
		if (!is_loaded(c, results[i]) ||
		    (results[i] == 0 && ch->groups[i]->g.is_doubtful))
			continue;
		group_even_out(c, ch->groups[i]);
		r = group_add(c, ch->groups[i], err);
		ch->groups[i] = NULL;
	}
	return r;
}

int cfs_space_open_groups(struct cfs_container *c, const uint64_t *keys,
			  size_t count, struct cfs_err *err)
{
	CFS_CLEANUP(chosen_free)
	struct cfs_choice ch = {
		.groups = calloc(count + 1, sizeof(*ch.groups)),
	};
	CFS_CLEANUP(cfs_freep)
	struct cfs_group **load = calloc(count + 1, sizeof(*load));
	CFS_CLEANUP(cfs_freep)
	int *results = calloc(count + 1, sizeof(*results));
	int r;

	if (!ch.groups || !load || !results)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++) {
		struct open_group *g;

		HASH_FIND(hh, c->groups, &keys[i], sizeof(keys[i]), g);
		if (g)
			continue;
		g = group_new(keys[i], err);
		if (!g)
			return -ENOMEM;
		load[ch.count] = &g->g;
		ch.groups[ch.count++] = g;
	}
	r = cfs_groups_load(c->blocks, load, ch.count, results, err);
	return r < 0 ? r : add_loaded(c, &ch, results, err);
}

/* ---- lending ------------------------------------------------------------- */

/* The loans of these groups, durable; the tree has them in the next commit. */
int cfs_space_lend(struct cfs_container *c, const struct cfs_candidate *list,
		   size_t count, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf records = CFS_BUF_INIT;
	const struct cfs_loan_rec loan = {
		.loan = c->next_loan++,
		.epoch = c->epoch,
		.state = CFS_LOAN_OPEN,
	};
	struct cfs_loan_rec_disk disk;
	int r = 0;

	cfs_loan_rec_pack(&loan, &disk);
	for (size_t i = 0; i < count && r == 0; i++) {
		struct cfs_key key = cfs_space_loan_key(list[i].key);
		struct cfs_rec rec = {
			.type = CFS_REC_SET,
			.tree_id = CFS_TREE_TABLE,
			.key = { key.w[0], key.w[1], key.w[2] },
			.value = (const uint8_t *)&disk,
			.value_bytes = sizeof(disk),
		};

		r = cfs_rec_append(&records, &rec, NULL, 0, err);
		/* Not part of the operation under way: never undone. */
		if (r == 0)
			r = cfs_tree_put(c->trees[CFS_TREE_TABLE - 1], &key,
					 &disk, sizeof(disk), NULL, err);
	}
	if (r == 0)
		r = cfs_container_append_frame(c, &records, (uint32_t)count,
					       err);
	/* A successor that has not seen these loans may lend them too. */
	if (r == 0)
		r = cfs_grave_look(c, 0, err);
	if (r < 0 && err)
		cfs_container_poison(c, err);
	return r;
}

bool cfs_space_goes_on(const struct cfs_container *c,
		       const struct open_group *g)
{
	const uint64_t key = g->key + 1;
	const struct open_group *next;

	if (!(g->allowed[(CFS_TAGS_PER_PAGE - 1) / 64] >>
		      (CFS_TAGS_PER_PAGE - 1) % 64 &
	      1))
		return false;
	HASH_FIND(hh, c->groups, &key, sizeof(key), next);
	return next && !next->is_assigned && (next->allowed[0] & 1);
}

/* May @stream take blocks of an open group? */
static bool is_fit(const struct cfs_container *c, unsigned int stream,
		   const struct open_group *g, bool is_strict, bool is_shared)
{
	return (!g->is_assigned || is_shared) &&
	       (g->allowed[0] | g->allowed[1]) &&
	       cfs_space_slice_suits(c, stream, g->g.lslice, is_strict);
}

/*
 * The open group behind the one that the stream writes to, if its run goes on
 * there; else NULL.  A long write asks for each group that it fills, while all
 * that it has filled since the last commit are in the table.
 */
static struct open_group *group_behind(const struct cfs_container *c,
				       unsigned int stream, bool is_strict,
				       bool is_shared)
{
	const struct open_group *last = c->current[stream];
	uint64_t key;
	struct open_group *g;

	if (!last)
		return NULL;
	key = last->key + 1;
	HASH_FIND(hh, c->groups, &key, sizeof(key), g);
	return g && (g->allowed[0] & 1) &&
			       is_fit(c, stream, g, is_strict, is_shared)
		       ? g
		       : NULL;
}

/*
 * The stream goes on in an open group that nobody writes to, or if @is_shared
 * in any; NULL: none.  If @run is not 0, in one that has a run of so many
 * blocks or has the longest.
 */
static struct open_group *idle_group(struct cfs_container *c,
				     unsigned int stream, bool is_strict,
				     bool is_shared, uint32_t run)
{
	struct open_group *g, *tmp;
	struct open_group *best = group_behind(c, stream, is_strict, is_shared);
	uint32_t most = run ? CFS_MIN(run, CFS_SPACE_RUN_MIN) : 1;

	if (best)
		return best;
	HASH_ITER(hh, c->groups, g, tmp) {
		uint32_t n = 1;

		if (!is_fit(c, stream, g, is_strict, is_shared))
			continue;
		if (run)
			n = CFS_MIN(cfs_space_longest_run(g->allowed), run);
		/* In the order of addresses, so that runs go on. */
		if (n > most || (n == most && (!best || g->key < best->key))) {
			best = g;
			most = n;
		}
	}
	return best;
}

static void assign(struct cfs_container *c, unsigned int stream,
		   struct open_group *g)
{
	if (c->current[stream])
		c->current[stream]->is_assigned = false;
	c->current[stream] = g;
	g->is_assigned = true;
}

/*
 * All groups of a choice into memory; the pages of used ones in parallel.
 * Those whose page is damaged are left out, before anything of them is lent:
 * one bad page must not stop all writing.
 */
static int load_chosen(struct cfs_container *c, struct cfs_choice *ch,
		       struct cfs_err *err)
{
	struct cfs_group **load = calloc(ch->count + 1, sizeof(*load));
	int *results = calloc(ch->count + 1, sizeof(*results));
	size_t n = 0, kept = 0;
	int r = 0;

	ch->groups = calloc(ch->count + 1, sizeof(*ch->groups));
	if (!ch->groups || !load || !results)
		r = cfs_err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; r == 0 && i < ch->count; i++) {
		ch->groups[i] = group_new(ch->list[i].key, err);
		if (!ch->groups[i]) {
			r = -ENOMEM;
			break;
		}
		ch->groups[i]->allowed[0] = ch->list[i].allowed[0];
		ch->groups[i]->allowed[1] = ch->list[i].allowed[1];
		if (ch->list[i].was_used)
			load[n++] = &ch->groups[i]->g;
	}
	if (r == 0)
		r = cfs_groups_load(c->blocks, load, n, results, err);
	n = 0;
	for (size_t i = 0; r == 0 && i < ch->count; i++) {
		int r2 = ch->list[i].was_used ? results[n++] : 0;

		if ((r2 == 0 && !ch->groups[i]->g.is_doubtful) ||
		    r2 == -ENOENT) {
			ch->list[kept] = ch->list[i];
			ch->groups[kept++] = ch->groups[i];
			continue;
		}
		if (cfs_vec_push(&c->unfit, ch->list[i].key) < 0)
			r = cfs_err_set(err, -ENOMEM, "out of memory");
		free(ch->groups[i]);
		ch->groups[i] = NULL;
	}
	if (r == 0)
		ch->count = kept;
	free(load);
	free(results);
	return r;
}

static int add_chosen(struct cfs_container *c, struct cfs_choice *ch,
		      struct cfs_err *err)
{
	int r = 0;

	for (size_t i = 0; i < ch->count && r == 0; i++) {
		/* It was nobody's; but a scrub may have died at its page. */
		group_even_out(c, ch->groups[i]);
		r = group_add(c, ch->groups[i], err);
		ch->groups[i] = NULL;
	}
	return r;
}

int cfs_space_groups_open(struct cfs_container *c,
			  const struct cfs_candidate *list, size_t count,
			  struct cfs_err *err)
{
	struct cfs_choice ch = {
		.list = calloc(count + 1, sizeof(*ch.list)),
		.count = count,
	};
	int r = 0;

	if (!ch.list)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	memcpy(ch.list, list, count * sizeof(*list));
	r = load_chosen(c, &ch, err);
	if (r == 0)
		r = add_chosen(c, &ch, err);
	chosen_free(&ch);
	return r;
}

/*
 * How much to lend at once: the larger of a few groups and 1 % of what is
 * free; and in a commit all that it will need, so that its loans take little
 * of the log.
 */
static void how_much(struct cfs_container *c, unsigned int stream,
		     uint64_t blocks_wanted, struct cfs_choice *ch)
{
	uint64_t groups = (c->total_blocks - c->used_blocks) / 100 /
			  CFS_TAGS_PER_PAGE;
	uint64_t blocks = 0, records;

	ch->groups_min = CFS_MAX(groups, CFS_SPACE_BATCH_MIN);
	/* Twice as many each time, between commits: long writes go on. */
	if (stream == CFS_STREAM_DATA) {
		ch->groups_min = CFS_MAX(ch->groups_min, c->data_batch);
		c->data_batch = (uint32_t)CFS_MIN(2 * ch->groups_min, 256);
	} else {
		ch->groups_min = CFS_MIN(ch->groups_min, 16);
	}
	ch->blocks_min = blocks_wanted;
	if (c->is_committing && stream == CFS_STREAM_DATA && c->hooks) {
		c->hooks->fold_need(c->hooks_ctx, &blocks, &records);
		ch->blocks_min = CFS_MAX(ch->blocks_min, blocks);
	} else if (c->is_committing) {
		for (unsigned int i = 0; i < CFS_TREE_COUNT; i++)
			if (c->trees[i])
				blocks += cfs_tree_dirty_count(c->trees[i]);
		ch->blocks_min = CFS_MAX(ch->blocks_min, blocks);
	}
	ch->room = BATCH_GROUPS_MAX;
	ch->groups_min = CFS_MIN(ch->groups_min, ch->room);
}

/*
 * No group is left to open: the open ones are taken back and lent anew, for
 * what was freed in them since.  All writes to those blocks have ended, the
 * commits that freed them are durable, and the loan has a new number.
 */
static int relend(struct cfs_container *c, struct cfs_err *err)
{
	struct cfs_candidate *list = calloc(HASH_COUNT(c->groups) + 1,
					    sizeof(*list));
	struct open_group *g, *tmp;
	size_t n = 0;
	int r = 0;

	if (!list)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	HASH_ITER(hh, c->groups, g, tmp) {
		if (r == 0)
			r = cfs_space_allowed_bits(c, g->key, list[n].allowed,
						   &list[n].was_used, err);
		list[n].key = g->key;
		if (list[n].allowed[0] | list[n].allowed[1])
			n++;
	}
	if (r == 0 && n > 0)
		r = cfs_space_lend(c, list, n, err);
	for (size_t i = 0; r == 0 && i < n; i++) {
		HASH_FIND(hh, c->groups, &list[i].key, sizeof(list[i].key), g);
		assert(g);
		g->allowed[0] = list[i].allowed[0];
		g->allowed[1] = list[i].allowed[1];
	}
	free(list);
	return r;
}

/* Groups are chosen and lent; perhaps none. */
static int lend_more(struct cfs_container *c, unsigned int stream,
		     uint64_t blocks_wanted, uint32_t run, struct cfs_err *err)
{
	struct cfs_choice ch;
	bool tries_again;
	int r;

	do {
		size_t unfit = c->unfit.count;

		memset(&ch, 0, sizeof(ch));
		ch.is_long = run > 0;
		how_much(c, stream, blocks_wanted, &ch);
		ch.list = calloc(ch.room + 1, sizeof(*ch.list));
		if (!ch.list)
			return cfs_err_set(err, -ENOMEM, "out of memory");
		r = cfs_space_choose(c, stream, &ch, err);
		if (r == 0)
			r = load_chosen(c, &ch, err);
		if (r == 0 && ch.count > 0)
			r = cfs_space_lend(c, ch.list, ch.count, err);
		if (r == 0)
			r = add_chosen(c, &ch, err);
		if (r < 0)
			cfs_space_choose_failed(c);
		tries_again = r == 0 && ch.count == 0 && c->unfit.count > unfit;
		chosen_free(&ch);
	} while (tries_again);
	return r;
}

/* It has what it has: another loan, or what was freed in those that it has. */
static struct open_group *any_group(struct cfs_container *c,
				    unsigned int stream, uint32_t run)
{
	struct open_group *g = idle_group(c, stream, true, false, run);

	if (!g)
		g = idle_group(c, stream, true, false, 0);
	/* In a small container streams come to share a group. */
	if (!g)
		g = idle_group(c, stream, true, true, 0);
	if (!g)
		g = idle_group(c, stream, false, true, 0);
	return g;
}

int cfs_space_widen(struct cfs_container *c, unsigned int stream,
		    uint64_t blocks_wanted, uint32_t run, struct cfs_err *err)
{
	struct open_group *g = idle_group(c, stream, true, false, run);
	int r;

	if (!g && run && (c->client || c->lacks_runs))
		g = idle_group(c, stream, true, false, 0);
	if (!g && c->client) {
		r = cfs_client_borrow(c, blocks_wanted, err);
		if (r < 0)
			return r;
		g = idle_group(c, stream, false, true, 0);
		if (!g)
			return cfs_err_set(err, -ENOSPC, "no space left");
	}
	if (g) {
		assign(c, stream, g);
		return 0;
	}
	r = lend_more(c, stream, blocks_wanted, run, err);
	if (r < 0)
		return r;
	g = any_group(c, stream, run);
	if (!g) {
		r = relend(c, err);
		if (r < 0)
			return r;
		g = idle_group(c, stream, false, true, 0);
	}
	if (!g)
		return cfs_err_set(err, -ENOSPC, "no free group of blocks");
	assign(c, stream, g);
	return 0;
}
