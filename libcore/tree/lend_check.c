/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a client says is held against what it was given, record by record, and
 * applied.  A client is another process, perhaps another host: nothing that it
 * sends may become an address, a length or a claim on somebody else's blocks.
 * What is wrong with it is -EPERM; any other error is trouble of our own.
 */
#include "tree/lend_priv.h"

#include "base/cleanup.h"
#include "tree/space_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define EXPECTED_GROUPS 256u /* whose tags are in memory at a time */

void cfs_lend_begin(struct cfs_container *c, struct client_entry *e,
		    const struct cfs_fold_rules *rules, enum lend_adopt adopt,
		    bool reads_tags)
{
	c->lender->of = e;
	c->lender->rules = rules;
	c->lender->adopt = adopt;
	c->lender->reads_tags = reads_tags;
	/* Nothing of it is logged: a commit ends it. */
	c->is_replaying = true;
}

static void forget_tags(struct lender *l)
{
	for (size_t i = 0; i < l->expected.count; i++) {
		l->expected.items[i]->is_expected = false;
		l->expected.items[i]->tags = NULL;
	}
	l->expected.count = 0;
}

void cfs_lend_end(struct cfs_container *c, bool is_committed)
{
	struct lender *l = c->lender;
	struct lent_group *g, *tmp;

	forget_tags(l);
	CFS_LENT_EACH(l, g, tmp) {
		unsigned int n =
			(unsigned int)__builtin_popcountll(g->adopted[0]) +
			(unsigned int)__builtin_popcountll(g->adopted[1]);

		if (is_committed) {
			g->was_named |= g->taken[0] || g->taken[1];
			g->allowed[0] &= ~g->taken[0];
			g->allowed[1] &= ~g->taken[1];
		} else {
			g->free_blocks += n;
			l->lent_blocks += n;
		}
		if (n && is_committed) {
			/* The page has other checksums than we may know. */
			cfs_blocks_forget_group(c->blocks,
						cfs_vaddr_lslice(g->key),
						cfs_vaddr_block(g->key));
		}
		g->taken[0] = g->taken[1] = 0;
		g->adopted[0] = g->adopted[1] = 0;
	}
	l->of = NULL;
	l->rules = NULL;
	l->adopt = LEND_ADOPT_NONE;
	l->reads_tags = false;
	c->is_replaying = false;
}

bool cfs_container_lends_stamp(const struct cfs_container *c, uint64_t stamp)
{
	const struct client_entry *e = c->lender->of;

	return stamp >= e->rec.stamp && stamp < e->stamp_end;
}

bool cfs_container_lends_ino(const struct cfs_container *c, uint64_t ino)
{
	const struct client_entry *e = c->lender->of;
	size_t lo = 0, hi;

	if (!e->knows_inos)
		return ino < c->next_ino;
	/* They rise. */
	for (hi = e->inos.count; lo < hi;) {
		size_t mid = lo + (hi - lo) / 2;

		if (e->inos.items[mid].end <= ino)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < e->inos.count && e->inos.items[lo].first <= ino;
}

bool cfs_container_gave_ino(const struct cfs_container *c, uint64_t ino)
{
	return ino > 0 && ino < c->next_ino;
}

/* ---- places -------------------------------------------------------------- */

static int bad_place(struct cfs_err *err, uint64_t vaddr, const char *what)
{
	return cfs_err_set(err, -EPERM, "a client names block %#" PRIx64 ": %s",
			   vaddr, what);
}

static bool is_data(const struct cfs_container *c, uint64_t vaddr,
		    uint64_t count)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);
	const uint32_t block = cfs_vaddr_block(vaddr);

	return cfs_vaddr_lslice(vaddr) < c->slice_room &&
	       c->slices[cfs_vaddr_lslice(vaddr)].is_mapped &&
	       cfs_geometry_is_data(geo, block) && count > 0 &&
	       count <= geo->data_count &&
	       cfs_geometry_is_data(geo, block + (uint32_t)count - 1);
}

/*
 * The first blocks of @count from @vaddr on, which are data, that lie in one
 * group: how many, which of it, and the group if it is on loan to the client.
 */
static uint32_t first_part(const struct cfs_container *c, uint64_t vaddr,
			   uint64_t count, uint32_t *ret_index,
			   struct lent_group **ret)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);
	const uint32_t block = cfs_vaddr_block(vaddr);
	const uint32_t index = cfs_geometry_index(geo, block);
	struct lent_group *g = cfs_lend_group(
		c, cfs_vaddr(cfs_vaddr_lslice(vaddr),
			     cfs_geometry_group(geo, block)));

	*ret_index = index;
	*ret = g && g->client_id == c->lender->of->id ? g : NULL;
	return (uint32_t)CFS_MIN(count, CFS_TAGS_PER_PAGE - index);
}

/* ---- tags ---------------------------------------------------------------- */

static int by_key(const void *a, const void *b)
{
	const struct lent_group *const *x = a, *const *y = b;

	return ((*x)->key > (*y)->key) - ((*x)->key < (*y)->key);
}

/* Mostly they are in order as they come. */
static void sort_expected(struct lender *l)
{
	for (size_t i = 1; i < l->expected.count; i++) {
		if (l->expected.items[i - 1]->key < l->expected.items[i]->key)
			continue;
		qsort(l->expected.items, l->expected.count,
		      sizeof(*l->expected.items), by_key);
		return;
	}
}

static int peek_at_expected(struct cfs_container *c, struct cfs_err *err)
{
	struct lender *l = c->lender;
	const size_t count = l->expected.count;
	CFS_CLEANUP(cfs_freep)
	struct cfs_group_peek *peeks = calloc(count + 1, sizeof(*peeks));
	int r;

	if (!peeks)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	sort_expected(l);
	for (size_t i = 0; i < count; i++) {
		peeks[i].lslice = cfs_vaddr_lslice(l->expected.items[i]->key);
		peeks[i].index = cfs_vaddr_block(l->expected.items[i]->key);
	}
	r = cfs_groups_peek(c->blocks, peeks, count, &l->pages, err);
	for (size_t i = 0; i < count && r == 0; i++)
		l->expected.items[i]->tags = peeks[i].tags;
	return r;
}

/* The groups of a record that are on loan to the client. */
static int expect_record(struct cfs_container *c, const struct cfs_rec *rec,
			 struct cfs_err *err)
{
	struct lender *l = c->lender;
	struct lent_group *g;
	uint32_t index;

	if (rec->type != CFS_REC_EXTENT || !is_data(c, rec->vaddr, rec->count))
		return 0;
	for (uint64_t n, done = 0; done < rec->count; done += n) {
		n = first_part(c, rec->vaddr + done, rec->count - done, &index,
			       &g);
		if (!g || g->is_expected)
			continue;
		if (cfs_vec_push(&l->expected, g) < 0)
			return cfs_err_set(err, -ENOMEM, "out of memory");
		g->is_expected = true;
	}
	return 0;
}

int cfs_lend_expect(struct cfs_container *c, const void *records,
		    uint32_t record_bytes, uint32_t *pos, struct cfs_err *err)
{
	struct cfs_rec rec;
	int r = 0;

	forget_tags(c->lender);
	while (r == 0 && c->lender->expected.count < EXPECTED_GROUPS &&
	       cfs_rec_next(records, record_bytes, pos, &rec, NULL) == 1)
		r = expect_record(c, &rec, err);
	return r < 0 ? r : peek_at_expected(c, err);
}

/* The slow way, where the newest page that was seen does not say so. */
static int load_has_run(struct cfs_container *c, const struct lent_group *g,
			uint32_t index, uint32_t count,
			const struct cfs_tag *first, const void *csums,
			struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) struct cfs_group *tags = malloc(sizeof(*tags));
	int r;

	if (!tags)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	r = cfs_group_load(c->blocks, cfs_vaddr_lslice(g->key),
			   cfs_vaddr_block(g->key), tags, err);
	/* A page that it has not written, or spoilt. */
	if (r == -ENOENT || r == -EUCLEAN)
		return 0;
	if (r < 0)
		return r;
	return cfs_tags_are_run(&tags->tags[index], count, first, csums);
}

/* Do blocks first.. of the record, @count of them, have their tags? 1, 0. */
static int has_tags(struct cfs_container *c, const struct lent_group *g,
		    const struct cfs_rec *rec, uint32_t index, uint64_t first,
		    uint32_t count, struct cfs_err *err)
{
	const struct cfs_tag tag = {
		.type = CFS_TAG_DATA,
		.ino = rec->ino,
		.offset = rec->offset + first,
		.stamp = rec->stamp,
		.seq = rec->seq,
		.branch = rec->branch,
	};
	const uint8_t *csums = rec->csums + 8 * first;

	assert(g->is_expected); /* cfs_lend_expect */
	if (g->tags && cfs_tags_are_run(&g->tags[index], count, &tag, csums))
		return 1;
	return load_has_run(c, g, index, count, &tag, csums, err);
}

/* They are in use from now on, and not lent any more. */
static void note_adopted(struct cfs_container *c, struct lent_group *g,
			 const uint64_t mask[2], uint32_t count)
{
	g->adopted[0] |= mask[0];
	g->adopted[1] |= mask[1];
	g->free_blocks -= count;
	c->lender->lent_blocks -= count;
}

/* Blocks of a group, on loan to the client and named by nobody yet. */
static int check_part(const struct lent_group *g, uint64_t vaddr,
		      uint32_t index, uint32_t count, uint64_t ret_mask[2],
		      struct cfs_err *err)
{
	if (!g)
		return bad_place(err, vaddr, "it is not on loan");
	cfs_space_bits_range(ret_mask, index, count);
	for (unsigned int i = 0; i < 2; i++)
		if (ret_mask[i] & ~(g->allowed[i] & ~g->taken[i]))
			return bad_place(err, vaddr, "it may not be written");
	return 0;
}

int cfs_lend_check_place(struct cfs_container *c,
			 const struct cfs_fold_place *place,
			 struct cfs_err *err)
{
	uint32_t done = 0;
	int r = 0;

	if (!is_data(c, place->vaddr, place->count))
		return bad_place(err, place->vaddr, "it is no block of data");
	while (r == 0 && done < place->count) {
		uint64_t mask[2];
		uint32_t index, n;
		struct lent_group *g;

		n = first_part(c, place->vaddr + done, place->count - done,
			       &index, &g);
		r = check_part(g, place->vaddr + done, index, n, mask, err);
		done += n;
	}
	return r;
}

/* Blocks on loan to it, that nobody has named yet; they are taken. */
static int check_place(struct cfs_container *c, const struct cfs_rec *rec,
		       struct cfs_err *err)
{
	const struct lender *l = c->lender;
	uint64_t done = 0;

	if (!is_data(c, rec->vaddr, rec->count))
		return bad_place(err, rec->vaddr, "it is no block of data");
	while (done < rec->count) {
		uint64_t vaddr = rec->vaddr + done;
		uint64_t mask[2];
		uint32_t index;
		struct lent_group *g;
		uint32_t n = first_part(c, vaddr, rec->count - done, &index,
					&g);
		int r = check_part(g, vaddr, index, n, mask, err);

		if (r < 0)
			return r;
		if (l->reads_tags)
			r = has_tags(c, g, rec, index, done, n, err);
		if (r == 0 && l->reads_tags)
			r = bad_place(err, vaddr, "its tag does not say so");
		if (r < 0)
			return r;
		g->taken[0] |= mask[0];
		g->taken[1] |= mask[1];
		/* The replay will find them to be our own. */
		if (l->adopt == LEND_ADOPT_NONE)
			note_adopted(c, g, mask, n);
		done += n;
	}
	return 0;
}

bool cfs_lend_adopts(const struct cfs_container *c)
{
	return c->lender->adopt != LEND_ADOPT_NONE;
}

/* The blocks are in use where they stand; their tags are not ours to write. */
int cfs_lend_adopt(struct cfs_container *c, uint64_t vaddr, uint32_t count,
		   struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);

	if (c->lender->adopt == LEND_ADOPT_COPIED)
		return 0;
	while (count > 0) {
		uint32_t block = cfs_vaddr_block(vaddr);
		uint32_t index = cfs_geometry_index(geo, block);
		uint32_t n = CFS_MIN(count, CFS_TAGS_PER_PAGE - index);
		struct lent_group *g = cfs_lend_group(
			c, cfs_vaddr(cfs_vaddr_lslice(vaddr),
				     cfs_geometry_group(geo, block)));
		uint64_t mask[2];
		int r;

		assert(g); /* check_place found it */
		cfs_space_bits_range(mask, index, n);
		r = cfs_space_mark_used(c, g->key, mask, err);
		if (r < 0)
			return r;
		note_adopted(c, g, mask, n);
		vaddr += n;
		count -= n;
	}
	return 0;
}

/* ---- records ------------------------------------------------------------- */

int cfs_lend_check(struct cfs_container *c, const struct cfs_rec *rec,
		   struct cfs_err *err)
{
	const bool is_table = rec->type == CFS_REC_SET ||
			      rec->type == CFS_REC_DEL;

	assert(c->lender->of);
	if (!is_table && !cfs_container_lends_stamp(c, rec->stamp))
		return cfs_err_set(err, -EPERM,
				   "a client's stamp %" PRIu64
				   " was not given to it",
				   rec->stamp);
	if (rec->type == CFS_REC_STAMP)
		return 0;
	if (is_table && rec->tree_id != CFS_TREE_TABLE)
		return cfs_err_set(err, -EPERM,
				   "a client's record is of a "
				   "tree that is not logged");
	if (!is_table && !cfs_container_gave_ino(c, rec->ino))
		return cfs_err_set(err, -EPERM,
				   "a client names inode %" PRIu64
				   ", which nobody was given",
				   rec->ino);
	/* Pages are in frames only. */
	if (rec->type == CFS_REC_INLINE && c->lender->reads_tags)
		return cfs_err_set(err, -EPERM, "a client's fold has data");
	if (!c->hooks || !c->hooks->check)
		return cfs_err_set(err, -EPERM, "nothing here is a client's");
	if (rec->type == CFS_REC_EXTENT) {
		int r = check_place(c, rec, err);

		if (r < 0)
			return r;
	}
	return c->hooks->check(c->hooks_ctx, rec, c->lender->rules, err);
}

static int apply_table(struct cfs_container *c, const struct cfs_rec *rec,
		       struct cfs_err *err)
{
	const struct cfs_key key = { { rec->key[0], rec->key[1],
				       rec->key[2] } };
	int r;

	if (rec->type == CFS_REC_SET)
		r = cfs_container_tree_put(c, CFS_TREE_TABLE, &key, rec->value,
					   rec->value_bytes, err);
	else
		r = cfs_container_tree_del(c, CFS_TREE_TABLE, &key, err);
	/* We may have dropped it ourselves meanwhile. */
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	return cfs_container_table_changed(
		c, &key, rec->type == CFS_REC_SET ? rec->value : NULL,
		rec->type == CFS_REC_SET ? rec->value_bytes : 0, err);
}

int cfs_lend_apply(struct cfs_container *c, const struct cfs_rec *rec,
		   struct cfs_err *err)
{
	switch (rec->type) {
	case CFS_REC_STAMP:
		return 0;
	case CFS_REC_SET:
	case CFS_REC_DEL:
		return apply_table(c, rec, err);
	default:
		return c->hooks->replay(c->hooks_ctx, rec, err);
	}
}
