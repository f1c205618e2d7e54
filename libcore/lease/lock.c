/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lease/lock_priv.h"

#include <assert.h>
#include <string.h>

#include "base/err.h"

/* ---- granted ------------------------------------------------------------- */

static void wake_all(struct cfs_lock_table *table,
		     struct cfs_link_node *watchers)
{
	while (!cfs_list_is_empty(watchers)) {
		struct cfs_lock *w = CFS_CONTAINER_OF(watchers->next,
						      struct cfs_lock, watch);
		struct cfs_link_node *at = table->woken.prev;

		cfs_list_del(&w->watch);
		w->watched = NULL;
		while (at != &table->woken &&
		       CFS_CONTAINER_OF(at, struct cfs_lock, watch)->ticket >
			       w->ticket)
			at = at->prev;
		cfs_list_add_behind(at, &w->watch);
	}
}

static bool is_fixed(const struct cfs_lock *lock)
{
	return !lock->is_recallable || lock->upgrade;
}

static void hold_add(struct cfs_lock_hold *h, unsigned int mode, bool fixed)
{
	bool is_first = true;

	for (unsigned int m = CFS_LOCK_IS; m <= CFS_LOCK_X; m++)
		is_first = is_first && !h->count[m];
	if (is_first)
		cfs_list_add_tail(&h->node->holds, &h->in_node);
	if (h->count[mode]++ == 0)
		h->node->granted[mode]++;
	if (fixed)
		h->fixed[mode]++;
}

static void hold_sub(struct cfs_lock_table *table, struct cfs_lock_hold *h,
		     unsigned int mode, bool fixed)
{
	bool is_last = true;

	if (fixed)
		h->fixed[mode]--;
	if (--h->count[mode] != 0)
		return;
	h->node->granted[mode]--;
	for (unsigned int m = CFS_LOCK_IS; m <= CFS_LOCK_X; m++)
		is_last = is_last && !h->count[m];
	if (is_last)
		cfs_list_del(&h->in_node);
	wake_all(table, &h->watchers);
}

static struct cfs_lock **range_root(const struct cfs_lock *lock, bool waiting)
{
	struct cfs_lock_node *node =
		lock->comps[lock->comp_count - 1].hold->node;

	return waiting ? &node->waiting_ranges : &node->granted_ranges;
}

static void ranges_add(struct cfs_lock *lock, bool waiting)
{
	struct cfs_lock **root = range_root(lock, waiting);

	if (lock->is_range)
		*root = cfs_lock_ranges_add(*root, lock);
}

static void ranges_del(struct cfs_lock *lock, bool waiting)
{
	struct cfs_lock **root = range_root(lock, waiting);

	if (lock->is_range)
		*root = cfs_lock_ranges_del(*root, lock);
}

/* What waits of this holder, or under it, may have nothing to queue for. */
static void wake_family(struct cfs_lock_table *table, struct cfs_lock_family *f)
{
	struct cfs_link_node again;

	cfs_list_init(&again);
	CFS_LIST_EACH(l, &f->waiting)
	{
		struct cfs_lock *w = CFS_CONTAINER_OF(l, struct cfs_lock,
						      in_holder);

		if (w->watched && w->watched->is_waiting) {
			cfs_list_del(&w->watch);
			cfs_list_add_tail(&again, &w->watch);
		}
	}
	CFS_LIST_EACH(l, &f->lent)
	{
		struct cfs_lock *w = CFS_CONTAINER_OF(l, struct cfs_lock,
						      in_lender);

		if (w->watched && w->watched->is_waiting) {
			cfs_list_del(&w->watch);
			cfs_list_add_tail(&again, &w->watch);
		}
	}
	wake_all(table, &again);
}

/* @lock is in no list.  Needs no memory. */
static void lock_grant(struct cfs_lock *lock)
{
	for (unsigned int i = 0; i < lock->comp_count; i++) {
		struct cfs_lock_comp *c = &lock->comps[i];

		hold_add(c->hold, c->mode, is_fixed(lock));
		cfs_list_add_tail(&c->hold->comps, &c->link);
	}
	ranges_add(lock, false);
	wake_family(lock->table, lock->holder);
}

static void lock_ungrant(struct cfs_lock *lock)
{
	for (unsigned int i = 0; i < lock->comp_count; i++) {
		struct cfs_lock_comp *c = &lock->comps[i];

		cfs_list_del(&c->link);
		hold_sub(lock->table, c->hold, c->mode, is_fixed(lock));
	}
	ranges_del(lock, false);
	wake_all(lock->table, &lock->watchers);
}

/* A granted lock gets another mode where it stands. */
static void lock_set_mode(struct cfs_lock *lock, unsigned int mode)
{
	for (unsigned int i = 0; i < lock->comp_count; i++) {
		struct cfs_lock_comp *c = &lock->comps[i];
		unsigned int m = cfs_lock_mode_at(&lock->resource, mode, i);

		if (m == c->mode)
			continue;
		hold_add(c->hold, m, is_fixed(lock));
		hold_sub(lock->table, c->hold, c->mode, is_fixed(lock));
		c->mode = m;
	}
	lock->mode = mode;
	wake_all(lock->table, &lock->watchers);
	wake_family(lock->table, lock->holder);
}

/* ---- waiting ------------------------------------------------------------- */

static void comp_queue(struct cfs_lock_comp *c)
{
	struct cfs_lock_node *node = c->hold->node;
	struct cfs_link_node *at = node->waiting.prev;

	while (at != &node->waiting &&
	       CFS_CONTAINER_OF(at, struct cfs_lock_comp, link)->lock->ticket >
		       c->lock->ticket)
		at = at->prev;
	cfs_list_add_behind(at, &c->link);
	node->waiting_count[c->mode]++;
}

static void lock_queue(struct cfs_lock *lock)
{
	lock->is_waiting = true;
	lock->table->waiting_count++;
	for (unsigned int i = 0; i < lock->comp_count; i++)
		comp_queue(&lock->comps[i]);
	ranges_add(lock, true);
	cfs_list_add_tail(&lock->holder->waiting, &lock->in_holder);
	if (lock->lender)
		cfs_list_add_tail(&lock->lender->lent, &lock->in_lender);
}

static void lock_unqueue(struct cfs_lock *lock)
{
	for (unsigned int i = 0; i < lock->comp_count; i++) {
		struct cfs_lock_comp *c = &lock->comps[i];

		cfs_list_del(&c->link);
		c->hold->node->waiting_count[c->mode]--;
	}
	ranges_del(lock, true);
	cfs_list_del(&lock->in_holder);
	cfs_list_del(&lock->in_lender);
	cfs_list_del(&lock->watch);
	lock->watched = NULL;
	lock->is_waiting = false;
	lock->table->waiting_count--;
}

static void lock_watch(struct cfs_lock *lock, struct cfs_lock_blocker b)
{
	cfs_list_add_tail(b.hold   ? &b.hold->watchers
			  : b.lock ? &b.lock->watchers
				   : &lock->table->held,
			  &lock->watch);
	lock->watched = b.lock;
}

static void lock_free(struct cfs_lock *lock)
{
	struct cfs_lock_table *table = lock->table;

	assert(cfs_list_is_empty(&lock->watchers));
	cfs_list_del(&lock->watch);
	for (unsigned int i = 0; i < lock->comp_count; i++)
		cfs_lock_hold_put(table, lock->comps[i].hold);
	cfs_lock_family_put(table, lock->holder);
	cfs_lock_family_put(table, lock->lender);
	table->lock_count--;
	free(lock);
}

/* The upgrade of @base is over, granted or not. */
static void upgrade_end(struct cfs_lock *base)
{
	struct cfs_lock *u = base->upgrade;

	for (unsigned int i = 0; i < base->comp_count; i++)
		if (base->is_recallable)
			base->comps[i].hold->fixed[base->comps[i].mode]--;
	base->upgrade = NULL;
	if (u->is_waiting)
		lock_unqueue(u);
	wake_all(u->table, &u->watchers);
	lock_free(u);
}

static void waiter_granted(struct cfs_lock *lock)
{
	struct cfs_lock_table *table = lock->table;
	struct cfs_lock *base = lock->base;

	lock_unqueue(lock);
	if (base) {
		uint32_t mode = lock->mode;

		upgrade_end(base);
		lock_set_mode(base, mode);
		lock = base;
	} else {
		lock_grant(lock);
	}
	if (cfs_list_is_empty(&lock->watch))
		cfs_list_add_tail(&table->told, &lock->watch);
}

/* Grant what can be, in order of tickets; then tell. */
static void run_woken(struct cfs_lock_table *table)
{
	while (!cfs_list_is_empty(&table->woken)) {
		struct cfs_lock *w = CFS_CONTAINER_OF(table->woken.next,
						      struct cfs_lock, watch);
		struct cfs_lock_blocker b = { NULL, NULL };
		bool is_held = cfs_lock_table_is_held(table,
						      w->resource.container);

		cfs_list_del(&w->watch);
		if (!is_held)
			b = cfs_lock_find_blocker(w, false);
		if (b.hold || b.lock || is_held)
			lock_watch(w, b);
		else
			waiter_granted(w);
	}
	if (table->is_telling)
		return;
	table->is_telling = true;
	while (!cfs_list_is_empty(&table->told)) {
		struct cfs_lock *w = CFS_CONTAINER_OF(table->told.next,
						      struct cfs_lock, watch);

		cfs_list_del(&w->watch);
		if (table->granted)
			table->granted(table->arg, w);
	}
	table->is_telling = false;
}

/* ---- requests ------------------------------------------------------------ */

static uint64_t next_random(struct cfs_lock_table *table)
{
	uint64_t x = table->random;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	table->random = x;
	return x;
}

/* Holds of all levels; what was got is in comps[0 .. comp_count). */
static int lock_get_holds(struct cfs_lock *lock)
{
	const struct cfs_lock_resource *res = &lock->resource;
	unsigned int count = cfs_lock_level_count(res);

	for (unsigned int i = 0; i < count; i++) {
		struct cfs_lock_comp *c = &lock->comps[i];

		c->hold = cfs_lock_hold_get(
			lock->table, res->container, i > 0 ? res->volume : 0,
			i > 1 ? res->ino : 0, lock->holder, lock->lender);
		if (!c->hold)
			return -ENOMEM;
		c->lock = lock;
		c->mode = cfs_lock_mode_at(res, lock->mode, i);
		cfs_list_init(&c->link);
		lock->comp_count++;
	}
	return 0;
}

static int lock_new(struct cfs_lock_table *table,
		    const struct cfs_lock_request *req, struct cfs_lock **ret,
		    struct cfs_err *err)
{
	struct cfs_lock *lock;

	if (table->lock_count >= table->config.locks_max)
		return cfs_err_set(err, -EAGAIN, "too many leases");
	lock = calloc(1, sizeof(*lock));
	if (!lock)
		return cfs_err_set(err, -ENOMEM, "lease: no memory");
	table->lock_count++;
	lock->table = table;
	lock->resource = req->resource;
	lock->mode = req->mode;
	lock->is_recallable = req->flags & CFS_LOCK_REQ_RECALLABLE;
	lock->user = req->user;
	lock->number = table->next_number++;
	lock->is_range = cfs_lock_resource_is_range(&req->resource);
	lock->first_byte = req->resource.offset_bytes;
	lock->last_byte = cfs_lock_last_byte(&req->resource);
	lock->priority = next_random(table);
	cfs_list_init(&lock->in_holder);
	cfs_list_init(&lock->in_lender);
	cfs_list_init(&lock->watch);
	cfs_list_init(&lock->watchers);
	lock->holder = cfs_lock_family_get(table, req->holder);
	if (req->lender.client)
		lock->lender = cfs_lock_family_get(table, req->lender);
	if (!lock->holder || (req->lender.client && !lock->lender) ||
	    lock_get_holds(lock) < 0) {
		lock_free(lock);
		return cfs_err_set(err, -ENOMEM, "lease: no memory");
	}
	*ret = lock;
	return 0;
}

/* @lock, which is in no list, waits for @b, or is refused. */
static int lock_wait(struct cfs_lock *lock, bool wait,
		     struct cfs_lock_blocker b, struct cfs_err *err)
{
	const struct cfs_lock_table *table = lock->table;

	if (!wait)
		return cfs_err_set(err, -EBUSY, "somebody else holds it");
	if (table->waiting_count >= table->config.waiting_max)
		return cfs_err_set(err, -EAGAIN, "too many wait for leases");
	lock_queue(lock);
	if (cfs_lock_is_deadlock(lock)) {
		lock_unqueue(lock);
		return cfs_err_set(err, -EDEADLK, "it would wait for itself");
	}
	lock_watch(lock, b);
	return 0;
}

static bool request_is_valid(const struct cfs_lock_request *req)
{
	return cfs_lock_resource_is_valid(&req->resource, req->mode) &&
	       req->holder.client &&
	       (req->lender.client != req->holder.client ||
		req->lender.key != req->holder.key);
}

int cfs_lock_request(struct cfs_lock_table *table,
		     const struct cfs_lock_request *req, struct cfs_lock **ret,
		     struct cfs_err *err)
{
	bool is_reclaim = req->flags & CFS_LOCK_REQ_RECLAIM;
	struct cfs_lock_blocker b;
	struct cfs_lock *lock;
	int r;

	if (!request_is_valid(req))
		return cfs_err_set(err, -EINVAL,
				   "no such resource, mode or holder");
	r = lock_new(table, req, &lock, err);
	if (r != 0)
		return r;
	lock->ticket = table->next_ticket++;
	b = cfs_lock_find_blocker(lock, is_reclaim);
	if (!b.hold && !b.lock &&
	    (is_reclaim ||
	     !cfs_lock_table_is_held(table, req->resource.container))) {
		lock_grant(lock);
	} else {
		r = lock_wait(lock,
			      !is_reclaim && (req->flags & CFS_LOCK_REQ_WAIT),
			      b, err);
		if (r != 0) {
			lock_free(lock);
			return r;
		}
	}
	*ret = lock;
	run_woken(table);
	return 0;
}

void cfs_lock_release(struct cfs_lock *lock)
{
	struct cfs_lock_table *table = lock->table;

	assert(!lock->base);
	if (lock->upgrade)
		upgrade_end(lock);
	if (lock->is_waiting) {
		lock_unqueue(lock);
		wake_all(table, &lock->watchers);
	} else {
		lock_ungrant(lock);
	}
	lock_free(lock);
	run_woken(table);
}

static int upgrade_new(struct cfs_lock *base, uint32_t mode,
		       struct cfs_lock **ret, struct cfs_err *err)
{
	const struct cfs_lock_request req = {
		.resource = base->resource,
		.mode = mode,
		.flags = base->is_recallable ? CFS_LOCK_REQ_RECALLABLE : 0,
		.holder = base->holder->id,
		.lender = base->lender ? base->lender->id
				       : (struct cfs_lock_holder){ 0, 0 },
	};
	int r = lock_new(base->table, &req, ret, err);

	if (r != 0)
		return r;
	(*ret)->ticket = base->table->next_upgrade_ticket++;
	(*ret)->base = base;
	return 0;
}

int cfs_lock_upgrade(struct cfs_lock *lock, uint32_t mode, bool wait,
		     struct cfs_err *err)
{
	struct cfs_lock_table *table = lock->table;
	struct cfs_lock_blocker b;
	struct cfs_lock *u;
	int r;

	if (lock->is_waiting || !cfs_lock_mode_is_valid(mode))
		return cfs_err_set(err, -EINVAL, "cannot change that lease");
	if (lock->upgrade)
		return cfs_err_set(err, -EALREADY, "a change is under way");
	mode = cfs_lock_mode_join(lock->mode, mode);
	if (!cfs_lock_resource_is_valid(&lock->resource, mode))
		return cfs_err_set(err, -EINVAL, "no such mode for a range");
	if (mode == lock->mode)
		return 0;
	r = upgrade_new(lock, mode, &u, err);
	if (r != 0)
		return r;
	/* From here on the lock is not given back on a recall. */
	lock->upgrade = u;
	for (unsigned int i = 0; i < lock->comp_count; i++)
		if (lock->is_recallable)
			lock->comps[i].hold->fixed[lock->comps[i].mode]++;
	b = cfs_lock_find_blocker(u, false);
	if (b.hold || b.lock ||
	    cfs_lock_table_is_held(table, lock->resource.container)) {
		r = lock_wait(u, wait, b, err);
		if (r != 0)
			upgrade_end(lock);
	} else {
		upgrade_end(lock);
		lock_set_mode(lock, mode);
	}
	run_woken(table);
	return r;
}

void cfs_lock_upgrade_cancel(struct cfs_lock *lock)
{
	if (lock->upgrade) {
		upgrade_end(lock);
		run_woken(lock->table);
	}
}

int cfs_lock_downgrade(struct cfs_lock *lock, uint32_t mode,
		       struct cfs_err *err)
{
	if (lock->is_waiting || !cfs_lock_mode_is_valid(mode) ||
	    !cfs_lock_mode_covers(lock->mode, mode) ||
	    !cfs_lock_resource_is_valid(&lock->resource, mode))
		return cfs_err_set(err, -EINVAL, "not a weaker mode");
	if (lock->upgrade)
		upgrade_end(lock);
	if (mode != lock->mode)
		lock_set_mode(lock, mode);
	run_woken(lock->table);
	return 0;
}

void cfs_lock_table_set_hold(struct cfs_lock_table *table, bool is_on_hold)
{
	table->is_on_hold = is_on_hold;
	if (!is_on_hold)
		wake_all(table, &table->held);
	run_woken(table);
}

int cfs_lock_table_hold(struct cfs_lock_table *table, uint64_t container)
{
	const size_t room = table->held_room ? 2 * table->held_room : 8;
	uint64_t *more;

	if (table->held_count == table->held_room) {
		more = reallocarray(table->held_containers, room,
				    sizeof(*more));
		if (!more)
			return -ENOMEM;
		table->held_containers = more;
		table->held_room = room;
	}
	table->held_containers[table->held_count++] = container;
	return 0;
}

void cfs_lock_table_unhold(struct cfs_lock_table *table, uint64_t container)
{
	size_t i;

	for (i = 0; i < table->held_count; i++)
		if (table->held_containers[i] == container)
			break;
	if (i == table->held_count)
		return;
	table->held_containers[i] = table->held_containers[--table->held_count];
	/* Those of others go back to where they wait. */
	wake_all(table, &table->held);
	run_woken(table);
}
