/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What writers before us have left, on shared pools: groups that are frozen,
 * and blocks of their roots, logs and gravestones, which are retired.  Each
 * says which epochs may still write there, so that it comes back when these are
 * gone, whoever has had the pool since.
 */
#include "tree/takeover_priv.h"

#include "base/cleanup.h"
#include "tree/lend_priv.h"

#include <stdlib.h>

int cfs_takeover_freeze(struct cfs_container *c, uint64_t key, uint64_t loan,
			struct cfs_err *err)
{
	struct lent_group *g;
	uint64_t bits[2];
	bool was_used;
	int r = cfs_lend_init(c, err);

	if (r == 0)
		r = cfs_space_allowed_bits(c, key, bits, &was_used, err);
	if (r == 0)
		r = cfs_lend_group_new(c, key, 0, bits, &g, err);
	if (r != 0)
		return r;
	g->number = loan;
	g->is_frozen = true;
	return 0;
}

/* The same, and its record. */
static int freeze(struct cfs_container *c, uint64_t key, uint64_t loan,
		  uint32_t epoch, struct cfs_err *err)
{
	const struct cfs_key k = cfs_space_loan_key(key);
	const struct cfs_loan_rec rec = {
		.loan = loan,
		.epoch = epoch,
		.state = CFS_LOAN_FROZEN,
	};
	struct cfs_loan_rec_disk disk;
	int r = cfs_takeover_freeze(c, key, loan, err);

	cfs_loan_rec_pack(&rec, &disk);
	return r < 0 ? r
		     : cfs_tree_put(c->trees[CFS_TREE_TABLE - 1], &k, &disk,
				    sizeof(disk), NULL, err);
}

/* What clients have on loan stays theirs. */
static int load_client_loans(struct cfs_container *c, struct cfs_err *err)
{
	const struct cfs_key from = cfs_space_loan_key(0);
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(&cur, c->trees[CFS_TREE_TABLE - 1], &from, err);

	while (r == 0 && cur.key.w[0] == from.w[0]) {
		struct cfs_loan_rec loan;

		r = cfs_loan_rec_unpack(cur.value, cur.value_bytes, &loan, err);
		c->next_loan = r < 0 ? c->next_loan
				     : CFS_MAX(c->next_loan, loan.loan + 1);
		if (r == 0 && loan.holder && cfs_lend_knows(c, loan.holder))
			r = cfs_lend_load_loan(c, &cur, err);
		if (r == 0)
			r = cfs_cursor_next(&cur, err);
	}
	return r == -ENOENT ? 0 : r;
}

/* The next loan of an owner, from @from on.  -ENOENT. */
static int next_loan(struct cfs_container *c, uint64_t from, uint64_t *ret_key,
		     struct cfs_loan_rec *ret, struct cfs_err *err)
{
	struct cfs_key k = cfs_space_loan_key(from);
	const uint64_t class = k.w[0];
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(&cur, c->trees[CFS_TREE_TABLE - 1], &k, err);

	for (; r == 0; r = cfs_cursor_next(&cur, err)) {
		if (cur.key.w[0] != class)
			return -ENOENT;
		r = cfs_loan_rec_unpack(cur.value, cur.value_bytes, ret, err);
		*ret_key = cur.key.w[1];
		if (r < 0 || !ret->holder || !cfs_lend_knows(c, ret->holder))
			return r;
	}
	return r;
}

/*
 * Whose the group is.  What the old writer took over from one that was gone its
 * first root says; before that it may have taken any.
 */
static uint32_t epoch_of(const struct takeover *t,
			 const struct cfs_loan_rec *loan)
{
	const bool is_its = t->old_epoch != t->move->base_epoch ||
			    loan->state != CFS_LOAN_FROZEN || loan->holder;

	return is_its ? t->move->base_epoch : loan->epoch;
}

static int freeze_loans(struct cfs_container *c, const struct takeover *t,
			struct cfs_err *err)
{
	struct cfs_loan_rec loan;
	uint64_t key = 0;
	int r;

	for (; (r = next_loan(c, key, &key, &loan, err)) == 0; key++) {
		struct open_group *g;

		HASH_FIND(hh, c->groups, &key, sizeof(key), g);
		/* Ours, in a fresh slice. */
		if (g)
			continue;
		c->next_loan = CFS_MAX(c->next_loan, loan.loan + 1);
		r = freeze(c, key, loan.loan, epoch_of(t, &loan), err);
		if (r < 0)
			return r;
	}
	return r == -ENOENT ? 0 : r;
}

/* Slices that somebody between the old writer and us had taken. */
static int freeze_slices(struct cfs_container *c, const struct takeover *t,
			 struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);
	int r = 0;

	for (uint64_t l = 0; r == 0 && l < c->slice_room; l++) {
		uint32_t epoch = 0;

		if (!c->slices[l].is_mapped || c->slices[l].is_fresh ||
		    !t->move->is_theirs ||
		    !t->move->is_theirs(t->move->ctx, l, &epoch))
			continue;
		for (uint32_t i = 0; r == 0 && i < geo->group_count; i++)
			if (!cfs_lend_group(c, cfs_vaddr(l, i)))
				r = freeze(c, cfs_vaddr(l, i), c->next_loan,
					   epoch, err);
	}
	return r;
}

static int retire_one(struct cfs_container *c, const struct takeover *t,
		      uint64_t index, uint64_t vaddr, uint32_t count,
		      uint32_t type, uint32_t until, struct cfs_err *err)
{
	const struct cfs_key key = { { cfs_table_word(CFS_TABLE_RETIRED, 0),
				       t->move->base_epoch, index } };
	const struct cfs_retired_rec rec = {
		.vaddr = vaddr,
		.count = count,
		.type = type,
		.until = until,
	};
	struct cfs_retired_rec_disk disk;

	if (!vaddr)
		return 0;
	cfs_retired_rec_pack(&rec, &disk);
	return cfs_tree_put(c->trees[CFS_TREE_TABLE - 1], &key, &disk,
			    sizeof(disk), NULL, err);
}

/* Root and log are written by their holder only; a gravestone by all that took
 * over from it, up to us. */
static int retire(struct cfs_container *c, const struct takeover *t,
		  struct cfs_err *err)
{
	const uint32_t base = t->move->base_epoch;
	const struct cfs_root *old = &t->old;
	uint64_t n = 0;
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < CFS_ROOT_PLACES_MAX; i++)
		r = retire_one(c, t, n++, t->old_places[i], 2, CFS_TAG_ROOT,
			       base, err);
	for (unsigned int i = 0; r == 0 && i < 2; i++)
		r = retire_one(c, t, n++, old->grave_vaddr[i], 1, CFS_TAG_ROOT,
			       c->epoch, err);
	for (uint32_t i = 0; r == 0 && i < old->log_extent_count; i++)
		r = retire_one(c, t, n++, old->log_extents[i].vaddr,
			       old->log_extents[i].block_count, CFS_TAG_LOG,
			       base, err);
	return r;
}

int cfs_takeover_freeze_all(struct cfs_container *c, const struct takeover *t,
			    struct cfs_err *err)
{
	int r = load_client_loans(c, err);

	if (r == 0)
		r = freeze_loans(c, t, err);
	if (r == 0)
		r = freeze_slices(c, t, err);
	return r < 0 ? r : retire(c, t, err);
}

/* ---- once it is gone ----------------------------------------------------- */

/*
 * The holders of @epoch and of all behind it up to @until: none may write any
 * more.  The epoch of a delegation is above all of managers that seal it.
 */
static bool are_gone(const struct cfs_container *c, uint32_t epoch,
		     uint32_t until)
{
	const struct cfs_fence *f = c->fence;

	if (!f || until >= epoch)
		return !f || f->is_gone(f->ctx, epoch, until);
	return f->is_gone(f->ctx, epoch, epoch) && f->is_gone(f->ctx, 0, until);
}

int cfs_takeover_thaw(struct cfs_container *c, struct cfs_err *err)
{
	struct cfs_key key = { { cfs_table_word(CFS_TABLE_RETIRED, 0), 0, 0 } };
	struct cfs_tree *tree = c->trees[CFS_TREE_TABLE - 1];
	const uint64_t class = key.w[0];
	struct cfs_cursor cur;
	int r;

	while ((r = cfs_cursor_ge(&cur, tree, &key, err)) == 0 &&
	       cur.key.w[0] == class) {
		struct cfs_retired_rec rec;

		key = cur.key;
		r = cfs_retired_rec_unpack(cur.value, cur.value_bytes, &rec,
					   err);
		if (r == 0 && are_gone(c, (uint32_t)key.w[1], rec.until)) {
			r = cfs_space_free(c, rec.vaddr, rec.count, err);
			if (r == 0)
				r = cfs_tree_del(tree, &key, err);
			c->forces_commit = true;
		}
		if (r < 0)
			return r;
		key.w[2]++;
	}
	return r == -ENOENT ? 0 : r;
}

/* What cfs_takeover_thaw will free. */
static bool has_thawed(struct cfs_container *c)
{
	const struct cfs_key key = { { cfs_table_word(CFS_TABLE_RETIRED, 0), 0,
				       0 } };
	struct cfs_retired_rec rec;
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(&cur, c->trees[CFS_TREE_TABLE - 1], &key, NULL);

	for (; r == 0 && cur.key.w[0] == key.w[0];
	     r = cfs_cursor_next(&cur, NULL)) {
		r = cfs_retired_rec_unpack(cur.value, cur.value_bytes, &rec,
					   NULL);
		if (r == 0 && are_gone(c, (uint32_t)cur.key.w[1], rec.until))
			return true;
	}
	return false;
}

bool cfs_container_has_gone(struct cfs_container *c)
{
	struct cfs_loan_rec loan;
	uint64_t key = 0;

	for (; next_loan(c, key, &key, &loan, NULL) == 0; key++)
		if (loan.state == CFS_LOAN_FROZEN && !loan.holder &&
		    are_gone(c, loan.epoch, loan.epoch))
			return true;
	return has_thawed(c);
}

struct slice_list {
	uint64_t *slices;
	size_t count, room;
};

static int list_slice(struct slice_list *list, uint64_t lslice)
{
	size_t i = 0;

	while (i < list->count && list->slices[i] != lslice)
		i++;
	if (i < list->count)
		return 0;
	if (list->count == list->room) {
		const size_t room = CFS_MAX(2 * list->room, 16);
		uint64_t *more = reallocarray(list->slices, room,
					      sizeof(*more));

		if (!more)
			return -ENOMEM;
		list->slices = more;
		list->room = room;
	}
	list->slices[list->count++] = lslice;
	return 0;
}

static int list_retired(struct cfs_container *c, struct slice_list *list,
			struct cfs_err *err)
{
	const struct cfs_key key = { { cfs_table_word(CFS_TABLE_RETIRED, 0), 0,
				       0 } };
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(&cur, c->trees[CFS_TREE_TABLE - 1], &key, err);

	while (r == 0 && cur.key.w[0] == key.w[0]) {
		struct cfs_retired_rec rec;

		r = cfs_retired_rec_unpack(cur.value, cur.value_bytes, &rec,
					   err);
		if (r == 0 && list_slice(list, cfs_vaddr_lslice(rec.vaddr)) < 0)
			r = cfs_err_set(err, -ENOMEM, "out of memory");
		if (r == 0)
			r = cfs_cursor_next(&cur, err);
	}
	return r == -ENOENT ? 0 : r;
}

int cfs_container_anothers_slices(struct cfs_container *c, uint64_t **ret,
				  size_t *ret_count, struct cfs_err *err)
{
	struct slice_list list = { .slices = NULL };
	int r = cfs_container_frozen_slices(c, &list.slices, &list.count, err);

	if (r < 0)
		return r;
	list.room = list.count;
	cfs_container_lock(c);
	r = list_retired(c, &list, err);
	cfs_container_unlock(c);
	if (r < 0) {
		free(list.slices);
		return r;
	}
	*ret = list.slices;
	*ret_count = list.count;
	return 0;
}

#define GONE_AT_ONCE 128u /* groups, in one frame */

struct gone {
	struct cfs_loan_rec_disk disk;
	struct cfs_table_change changes[GONE_AT_ONCE];
	size_t count;
};

/* Frozen groups of owners that are gone, from @from on. */
static int find_gone(struct cfs_container *c, uint64_t *from, struct gone *g,
		     struct cfs_err *err)
{
	struct cfs_loan_rec loan = { 0 };
	int r = 0;

	for (g->count = 0; g->count < GONE_AT_ONCE; (*from)++) {
		r = next_loan(c, *from, from, &loan, err);
		if (r < 0)
			break;
		if (loan.state != CFS_LOAN_FROZEN || loan.holder ||
		    !are_gone(c, loan.epoch, loan.epoch) ||
		    !cfs_lend_group(c, *from))
			continue;
		g->changes[g->count++] = (struct cfs_table_change){
			.key = cfs_space_loan_key(*from),
			.value = &g->disk,
			.value_bytes = sizeof(g->disk),
		};
	}
	return r == -ENOENT ? 0 : r;
}

/* They are ours: durably, and only then are their tag pages written. */
static int take_groups(struct cfs_container *c, struct gone *g,
		       struct cfs_err *err)
{
	const struct cfs_loan_rec loan = {
		.loan = c->next_loan++,
		.epoch = c->epoch,
		.state = CFS_LOAN_OPEN,
	};
	int r;

	cfs_loan_rec_pack(&loan, &g->disk);
	r = cfs_container_put_now(c, g->changes, g->count, err);
	/* A damaged tag page must not keep it frozen for ever. */
	c->is_replaying = true;
	for (size_t i = 0; r == 0 && i < g->count; i++) {
		const uint64_t key = g->changes[i].key.w[1];

		cfs_lend_group_drop(c, cfs_lend_group(c, key));
		r = cfs_space_take_over(c, key, err);
	}
	c->is_replaying = false;
	return r;
}

/* One frame of groups, or, behind the last ones, all that is retired. */
static int take_some(struct cfs_container *c, struct gone *g, uint64_t *key,
		     bool *ret_is_any, struct cfs_err *err)
{
	int r = c->is_readonly ? 0 : cfs_container_ready(c, err);

	g->count = 0;
	if (r < 0 || c->is_readonly)
		return r;
	/* None of these loans stays. */
	c->is_sealing = true;
	r = find_gone(c, key, g, err);
	if (r == 0 && g->count > 0)
		r = take_groups(c, g, err);
	if (r == 0 && g->count == 0)
		r = cfs_takeover_thaw(c, err);
	/* Else memory has changed, the devices have not. */
	if (r == 0) {
		*ret_is_any |= g->count > 0 || c->forces_commit;
		c->forces_commit |= g->count > 0;
		r = cfs_container_commit_locked(c, err);
	}
	c->is_sealing = false;
	return r;
}

/* Others get the lock between the frames. */
int cfs_container_take_gone(struct cfs_container *c, bool *ret_is_any,
			    struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) struct gone *g = calloc(1, sizeof(*g));
	struct cfs_err why = CFS_ERR_INIT;
	uint64_t key = 0;
	int r = g ? 0 : cfs_err_set(err, -ENOMEM, "out of memory");

	*ret_is_any = false;
	if (r < 0 || !c->fence)
		return r;
	do {
		cfs_container_lock_to_change(c);
		r = take_some(c, g, &key, ret_is_any, &why);
		if (r < 0 && r != -ENOSPC)
			cfs_container_poison(c, &why);
		pthread_mutex_unlock(&c->lock);
	} while (r == 0 && g->count > 0);
	if (r < 0 && err)
		*err = why;
	return r;
}
