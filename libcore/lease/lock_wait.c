/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What stands against a lock, and whether it would wait for itself. */
#include "lease/lock_priv.h"

#include "base/vec.h"

#define WANTED_LOOKED_AT_MAX 64u

/* What the asker, or its lender, has already: no need to queue for it. */
enum cover { COVER_NONE, COVER_LENDER, COVER_OWN };

bool cfs_lock_is_family(const struct cfs_lock_family *holder,
			const struct cfs_lock_family *lender,
			const struct cfs_lock *lock)
{
	return holder == lock->holder || holder == lock->lender ||
	       (lender && lender == lock->holder);
}

static bool is_family_of(const struct cfs_lock *a, const struct cfs_lock *b)
{
	return cfs_lock_is_family(a->holder, a->lender, b);
}

/* Modes in @counts that do not go with @mode. */
static uint32_t against(const uint32_t counts[CFS_LOCK_MODE_COUNT],
			unsigned int mode)
{
	uint32_t n = 0;

	for (unsigned int m = CFS_LOCK_IS; m <= CFS_LOCK_X; m++)
		if (counts[m] && !cfs_lock_modes_agree(m, mode))
			n += counts[m];
	return n;
}

/* Of the modes that are held in @hold: is there one as strong as @mode? */
static bool hold_covers(const struct cfs_lock_hold *hold, unsigned int mode)
{
	for (unsigned int m = CFS_LOCK_IS; hold && m <= CFS_LOCK_X; m++)
		if (hold->count[m] && cfs_lock_mode_covers(m, mode))
			return true;
	return false;
}

/* Does it give all that @lock asks for below this node too? */
static bool hold_covers_below(const struct cfs_lock_hold *hold,
			      const struct cfs_lock *lock)
{
	bool is_reader = lock->mode == CFS_LOCK_IS || lock->mode == CFS_LOCK_S;

	return hold && (hold->count[CFS_LOCK_X] ||
			(is_reader && (hold->count[CFS_LOCK_S] ||
				       hold->count[CFS_LOCK_SIX])));
}

/* At @comp's node; @below: for what is under it from now on. */
static enum cover node_cover(const struct cfs_lock *lock,
			     const struct cfs_lock_comp *comp,
			     enum cover *below)
{
	const struct cfs_lock_table *table = lock->table;
	const struct cfs_lock_hold *own = comp->hold, *alone = NULL;
	const struct cfs_lock_hold *lent = NULL;
	enum cover here = *below;

	if (lock->lender) {
		alone = cfs_lock_hold_find(table, own->node, lock->holder,
					   NULL);
		lent = cfs_lock_hold_find(table, own->node, lock->lender, NULL);
	}
	if (hold_covers(own, comp->mode) || hold_covers(alone, comp->mode))
		here = COVER_OWN;
	else if (here == COVER_NONE && hold_covers(lent, comp->mode))
		here = COVER_LENDER;
	if (hold_covers_below(own, lock) || hold_covers_below(alone, lock))
		*below = COVER_OWN;
	else if (*below == COVER_NONE && hold_covers_below(lent, lock))
		*below = COVER_LENDER;
	return here;
}

/* @lock has to let @waiter go first (their modes clash, it is no family). */
static bool is_behind(const struct cfs_lock *lock,
		      const struct cfs_lock *waiter, enum cover cover)
{
	if (waiter == lock || waiter->ticket > lock->ticket ||
	    is_family_of(waiter, lock) || cover == COVER_OWN)
		return false;
	return cover == COVER_NONE || waiter->lender == lock->lender;
}

static bool visit_node_granted(struct cfs_lock *lock,
			       const struct cfs_lock_comp *comp,
			       const struct cfs_lock_visit *v)
{
	const struct cfs_lock_node *node = comp->hold->node;
	uint32_t own = 0;

	for (unsigned int m = CFS_LOCK_IS; m <= CFS_LOCK_X; m++)
		if (comp->hold->count[m] &&
		    !cfs_lock_modes_agree(m, comp->mode))
			own++;
	if (against(node->granted, comp->mode) == own)
		return true;
	CFS_LIST_EACH(l, &node->holds)
	{
		struct cfs_lock_hold *h = CFS_CONTAINER_OF(
			l, struct cfs_lock_hold, in_node);

		if (!cfs_lock_is_family(h->holder, h->lender, lock) &&
		    against(h->count, comp->mode) && !v->hold(v->arg, h, comp))
			return false;
	}
	return true;
}

static bool visit_node_waiting(struct cfs_lock *lock,
			       const struct cfs_lock_comp *comp,
			       const struct cfs_lock_visit *v, enum cover cover)
{
	const struct cfs_lock_node *node = comp->hold->node;
	const struct cfs_link_node *head = &node->waiting;
	struct cfs_link_node *l;

	if (cover == COVER_OWN || !against(node->waiting_count, comp->mode))
		return true;
	/* From our own place to the front: the nearest is the best to watch,
	 * as then a release wakes one of a long queue, not all. */
	for (l = lock->is_waiting ? comp->link.prev : node->waiting.prev;
	     l != head; l = l->prev) {
		const struct cfs_lock_comp *c = CFS_CONTAINER_OF(
			l, struct cfs_lock_comp, link);

		if (!cfs_lock_modes_agree(c->mode, comp->mode) &&
		    is_behind(lock, c->lock, cover) &&
		    !v->waiter(v->arg, c->lock))
			return false;
	}
	return true;
}

struct range_visit {
	struct cfs_lock *lock;
	const struct cfs_lock_visit *v;
	enum cover cover;
};

static bool range_granted(void *arg, struct cfs_lock *other)
{
	const struct range_visit *rv = arg;

	return is_family_of(other, rv->lock) ||
	       cfs_lock_modes_agree(other->mode, rv->lock->mode) ||
	       rv->v->range(rv->v->arg, other);
}

static bool range_waiting(void *arg, struct cfs_lock *other)
{
	const struct range_visit *rv = arg;

	return cfs_lock_modes_agree(other->mode, rv->lock->mode) ||
	       !is_behind(rv->lock, other, rv->cover) ||
	       rv->v->waiter(rv->v->arg, other);
}

static bool range_cover(void *arg, struct cfs_lock *other)
{
	struct range_visit *rv = arg;
	const struct cfs_lock *lock = rv->lock;

	if (other->first_byte > lock->first_byte ||
	    other->last_byte < lock->last_byte ||
	    !cfs_lock_mode_covers(other->mode, lock->mode))
		return true;
	if (other->holder == lock->holder)
		rv->cover = COVER_OWN;
	else if (rv->cover == COVER_NONE && other->holder == lock->lender)
		rv->cover = COVER_LENDER;
	return rv->cover != COVER_OWN;
}

static bool visit_ranges(struct cfs_lock *lock, const struct cfs_lock_visit *v,
			 enum cover cover)
{
	const struct cfs_lock_node *node =
		lock->comps[lock->comp_count - 1].hold->node;
	struct range_visit rv = { .lock = lock, .v = v, .cover = cover };

	if (v->range &&
	    !cfs_lock_ranges_each(node->granted_ranges, lock->first_byte,
				  lock->last_byte, range_granted, &rv))
		return false;
	if (!v->waiter || !node->waiting_ranges)
		return true;
	cfs_lock_ranges_each(node->granted_ranges, lock->first_byte,
			     lock->last_byte, range_cover, &rv);
	return cfs_lock_ranges_each(node->waiting_ranges, lock->first_byte,
				    lock->last_byte, range_waiting, &rv);
}

bool cfs_lock_visit_blockers(struct cfs_lock *lock,
			     const struct cfs_lock_visit *v)
{
	enum cover below = COVER_NONE;

	for (unsigned int i = 0; i < lock->comp_count; i++) {
		const struct cfs_lock_comp *comp = &lock->comps[i];
		enum cover here = node_cover(lock, comp, &below);

		if (v->hold && !visit_node_granted(lock, comp, v))
			return false;
		if (v->waiter && !visit_node_waiting(lock, comp, v, here))
			return false;
	}
	return !lock->is_range || visit_ranges(lock, v, below);
}

static bool found_hold(void *arg, struct cfs_lock_hold *hold,
		       const struct cfs_lock_comp *comp)
{
	struct cfs_lock_blocker *found = arg;

	(void)comp;
	found->hold = hold;
	return false;
}

static bool found_lock(void *arg, struct cfs_lock *lock)
{
	struct cfs_lock_blocker *found = arg;

	found->lock = lock;
	return false;
}

struct cfs_lock_blocker cfs_lock_find_blocker(struct cfs_lock *lock,
					      bool is_granted_only)
{
	struct cfs_lock_blocker found = { NULL, NULL };
	struct cfs_lock_visit v = { .arg = &found };

	/* Those who wait first: see visit_node_waiting. */
	if (!is_granted_only) {
		v.waiter = found_lock;
		cfs_lock_visit_blockers(lock, &v);
		v.waiter = NULL;
	}
	if (!found.lock) {
		v.hold = found_hold;
		v.range = found_lock;
		cfs_lock_visit_blockers(lock, &v);
	}
	return found;
}

/* ---- circles ------------------------------------------------------------- */

struct search {
	struct cfs_lock *start;
	CFS_VEC(struct cfs_lock *) todo;
	uint32_t steps;
	bool is_found, is_over;
};

static void search_push(struct search *s, struct cfs_lock *lock)
{
	if (lock == s->start)
		s->is_found = true;
	if (s->is_found || s->is_over ||
	    lock->visited == s->start->table->search)
		return;
	lock->visited = s->start->table->search;
	if (cfs_vec_push(&s->todo, lock) < 0)
		s->is_over = true;
}

static bool search_step(struct search *s)
{
	if (++s->steps > s->start->table->config.deadlock_steps_max)
		s->is_over = true;
	return !s->is_found && !s->is_over;
}

/* @holder will not let go before what it waits for has come. */
static bool search_holder(struct search *s, struct cfs_lock_family *holder)
{
	CFS_LIST_EACH(l, &holder->waiting)
	{
		search_push(s, CFS_CONTAINER_OF(l, struct cfs_lock, in_holder));
		if (!search_step(s))
			return false;
	}
	CFS_LIST_EACH(l, &holder->lent)
	{
		search_push(s, CFS_CONTAINER_OF(l, struct cfs_lock, in_lender));
		if (!search_step(s))
			return false;
	}
	return search_step(s);
}

static bool search_hold(void *arg, struct cfs_lock_hold *hold,
			const struct cfs_lock_comp *comp)
{
	struct search *s = arg;

	return against(hold->fixed, comp->mode) ? search_holder(s, hold->holder)
						: search_step(s);
}

static bool is_fixed(const struct cfs_lock *lock)
{
	return !lock->is_recallable || lock->upgrade;
}

static bool search_range(void *arg, struct cfs_lock *granted)
{
	struct search *s = arg;

	return is_fixed(granted) ? search_holder(s, granted->holder)
				 : search_step(s);
}

static bool search_waiter(void *arg, struct cfs_lock *waiter)
{
	struct search *s = arg;

	search_push(s, waiter);
	return is_fixed(waiter) ? search_holder(s, waiter->holder)
				: search_step(s);
}

bool cfs_lock_is_deadlock(struct cfs_lock *lock)
{
	struct search s = { .start = lock };
	const struct cfs_lock_visit v = {
		.hold = search_hold,
		.range = search_range,
		.waiter = search_waiter,
		.arg = &s,
	};
	struct cfs_lock *at = lock;

	lock->table->search++;
	while (cfs_lock_visit_blockers(at, &v) && s.todo.count)
		at = s.todo.items[--s.todo.count];
	cfs_vec_done(&s.todo);
	return s.is_found;
}

/* ---- who has to give way ------------------------------------------------- */

struct blockers {
	struct cfs_lock *lock; /* that waits */
	cfs_lock_blocker_fn fn;
	void *arg;
};

static bool blocker_lock(void *arg, struct cfs_lock *blocker)
{
	const struct blockers *b = arg;
	const struct cfs_lock *w = b->lock;

	return b->fn(b->arg, blocker,
		     cfs_lock_mode_beside(&blocker->resource, blocker->mode,
					  &w->resource, w->mode));
}

static bool blocker_hold(void *arg, struct cfs_lock_hold *hold,
			 const struct cfs_lock_comp *comp)
{
	CFS_LIST_EACH(l, &hold->comps)
	{
		const struct cfs_lock_comp *c = CFS_CONTAINER_OF(
			l, struct cfs_lock_comp, link);

		if (!cfs_lock_modes_agree(c->mode, comp->mode) &&
		    !blocker_lock(arg, c->lock))
			return false;
	}
	return true;
}

void cfs_lock_blockers(struct cfs_lock *lock, cfs_lock_blocker_fn fn, void *arg)
{
	struct blockers b = {
		.lock = lock->upgrade ? lock->upgrade : lock,
		.fn = fn,
		.arg = arg,
	};
	const struct cfs_lock_visit v = {
		.hold = blocker_hold,
		.range = blocker_lock,
		.arg = &b,
	};

	if (b.lock->is_waiting)
		cfs_lock_visit_blockers(b.lock, &v);
}

struct wanted {
	const struct cfs_lock *lock; /* granted */
	unsigned int mode;           /* that suits all so far */
	uint32_t count, looked_at;
};

static bool wanted_by(void *arg, struct cfs_lock *waiter)
{
	struct wanted *w = arg;
	unsigned int beside;

	if (w->looked_at++ == WANTED_LOOKED_AT_MAX)
		return false;
	if (is_family_of(w->lock, waiter) ||
	    !cfs_lock_is_conflict(&w->lock->resource, w->lock->mode,
				  &waiter->resource, waiter->mode))
		return true;
	w->count++;
	beside = cfs_lock_mode_beside(&w->lock->resource, w->lock->mode,
				      &waiter->resource, waiter->mode);
	while (w->mode != CFS_LOCK_NONE &&
	       !cfs_lock_mode_covers(beside, w->mode))
		w->mode = cfs_lock_mode_beside(&w->lock->resource, w->mode,
					       &waiter->resource, waiter->mode);
	return w->mode != CFS_LOCK_NONE;
}

bool cfs_lock_is_wanted(const struct cfs_lock *lock, uint32_t *ret_wanted)
{
	struct wanted w = { .lock = lock, .mode = lock->mode };

	if (lock->table->waiting_count == 0 || lock->is_waiting)
		return false;
	for (unsigned int i = 0; i < lock->comp_count; i++) {
		const struct cfs_lock_comp *comp = &lock->comps[i];
		const struct cfs_lock_node *node = comp->hold->node;

		if (!against(node->waiting_count, comp->mode))
			continue;
		CFS_LIST_EACH(l, &node->waiting)
		{
			const struct cfs_lock_comp *c = CFS_CONTAINER_OF(
				l, struct cfs_lock_comp, link);

			if (!cfs_lock_modes_agree(c->mode, comp->mode) &&
			    !wanted_by(&w, c->lock))
				break;
		}
	}
	if (lock->is_range)
		cfs_lock_ranges_each(lock->comps[lock->comp_count - 1]
					     .hold->node->waiting_ranges,
				     lock->first_byte, lock->last_byte,
				     wanted_by, &w);
	if (w.count)
		*ret_wanted = w.mode;
	return w.count;
}
