/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table as a whole: making it, asking it, checking it. */
#include "lease/lock_priv.h"

#include "base/err.h"

int cfs_lock_table_new(const struct cfs_lock_config *config,
		       cfs_lock_granted_fn granted, void *arg,
		       struct cfs_lock_table **ret, struct cfs_err *err)
{
	struct cfs_lock_table *t = calloc(1, sizeof(*t));

	if (!t)
		return cfs_err_set(err, -ENOMEM, "lock table: no memory");
	if (config)
		t->config = *config;
	if (!t->config.locks_max)
		t->config.locks_max = 1u << 20;
	if (!t->config.waiting_max)
		t->config.waiting_max = 1u << 16;
	if (!t->config.deadlock_steps_max)
		t->config.deadlock_steps_max = 4096;
	t->granted = granted;
	t->arg = arg;
	t->next_number = 1;
	t->next_upgrade_ticket = 1;
	t->next_ticket = CFS_LOCK_TICKET_NORMAL;
	t->random = UINT64_C(0x2545f4914f6cdd1d);
	cfs_list_init(&t->woken);
	cfs_list_init(&t->held);
	cfs_list_init(&t->told);
	*ret = t;
	return 0;
}

/* All locks of one hold, granted ones: any of its comps names one. */
static struct cfs_lock *any_lock(struct cfs_lock_table *table)
{
	for (size_t i = 0; i < table->nodes.slot_count; i++) {
		for (struct cfs_hash_link *l = table->nodes.slots[i]; l;
		     l = l->next) {
			struct cfs_lock_node *n = CFS_CONTAINER_OF(
				l, struct cfs_lock_node, hash);
			struct cfs_link_node *c = NULL;

			if (!cfs_list_is_empty(&n->waiting))
				c = n->waiting.next;
			else if (!cfs_list_is_empty(&n->holds))
				c = CFS_CONTAINER_OF(n->holds.next,
						     struct cfs_lock_hold,
						     in_node)
					    ->comps.next;
			if (c)
				return CFS_CONTAINER_OF(c, struct cfs_lock_comp,
							link)
					->lock;
		}
	}
	return NULL;
}

void cfs_lock_table_free(struct cfs_lock_table *table)
{
	struct cfs_lock *lock;

	if (!table)
		return;
	table->granted = NULL;
	table->is_on_hold = true; /* nothing is granted any more */
	while ((lock = any_lock(table)) != NULL)
		cfs_lock_release(lock->base ? lock->base : lock);
	cfs_hash_done(&table->nodes);
	cfs_hash_done(&table->holds);
	cfs_hash_done(&table->families);
	free(table->held_containers);
	free(table);
}

bool cfs_lock_table_is_held(const struct cfs_lock_table *table,
			    uint64_t container)
{
	bool is_held = table->is_on_hold;

	for (size_t i = 0; i < table->held_count && !is_held; i++)
		is_held = table->held_containers[i] == container;
	return is_held;
}

bool cfs_lock_is_waiting(const struct cfs_lock *lock)
{
	return lock->is_waiting;
}

bool cfs_lock_is_upgrading(const struct cfs_lock *lock)
{
	return lock->upgrade;
}

bool cfs_lock_is_recallable(const struct cfs_lock *lock)
{
	return lock->is_recallable;
}

uint32_t cfs_lock_mode_of(const struct cfs_lock *lock)
{
	return lock->mode;
}

const struct cfs_lock_resource *cfs_lock_resource_of(
	const struct cfs_lock *lock)
{
	return &lock->resource;
}

struct cfs_lock_holder cfs_lock_holder_of(const struct cfs_lock *lock)
{
	return lock->holder->id;
}

struct cfs_lock_holder cfs_lock_lender_of(const struct cfs_lock *lock)
{
	return lock->lender ? lock->lender->id
			    : (struct cfs_lock_holder){ 0, 0 };
}

void *cfs_lock_user(const struct cfs_lock *lock)
{
	return lock->user;
}

uint32_t cfs_lock_table_count(const struct cfs_lock_table *table)
{
	return table->lock_count;
}

uint32_t cfs_lock_table_waiting_count(const struct cfs_lock_table *table)
{
	return table->waiting_count;
}

/* ---- check --------------------------------------------------------------- */

static const char *check_hold(const struct cfs_lock_hold *h)
{
	uint32_t count[CFS_LOCK_MODE_COUNT] = { 0 };
	uint32_t fixed[CFS_LOCK_MODE_COUNT] = { 0 };

	CFS_LIST_EACH(l, &h->comps)
	{
		const struct cfs_lock_comp *c = CFS_CONTAINER_OF(
			l, struct cfs_lock_comp, link);

		if (c->hold != h || c->lock->is_waiting)
			return "a comp is in the wrong hold";
		count[c->mode]++;
		if (!c->lock->is_recallable || c->lock->upgrade)
			fixed[c->mode]++;
	}
	for (unsigned int m = 0; m < CFS_LOCK_MODE_COUNT; m++)
		if (count[m] != h->count[m] || fixed[m] != h->fixed[m])
			return "a hold miscounts";
	return NULL;
}

static const char *check_waiting(const struct cfs_lock_table *table,
				 const struct cfs_lock_node *n)
{
	uint32_t count[CFS_LOCK_MODE_COUNT] = { 0 };
	uint64_t ticket = 0;

	CFS_LIST_EACH(l, &n->waiting)
	{
		const struct cfs_lock_comp *c = CFS_CONTAINER_OF(
			l, struct cfs_lock_comp, link);
		struct cfs_lock_blocker b;

		if (c->lock->ticket <= ticket)
			return "a queue is out of order";
		ticket = c->lock->ticket;
		count[c->mode]++;
		if (cfs_list_is_empty(&c->lock->watch))
			return "a waiter watches nothing";
		b = cfs_lock_find_blocker(c->lock, false);
		if (!b.hold && !b.lock &&
		    !cfs_lock_table_is_held(table, c->lock->resource.container))
			return "a waiter waits for nothing";
	}
	for (unsigned int m = 0; m < CFS_LOCK_MODE_COUNT; m++)
		if (count[m] != n->waiting_count[m])
			return "a queue miscounts";
	return NULL;
}

static const char *check_node(const struct cfs_lock_table *table,
			      const struct cfs_lock_node *n)
{
	const char *bad = check_waiting(table, n);
	uint32_t count[CFS_LOCK_MODE_COUNT] = { 0 };

	CFS_LIST_EACH(l, &n->holds)
	{
		const struct cfs_lock_hold *h = CFS_CONTAINER_OF(
			l, struct cfs_lock_hold, in_node);

		bad = bad ? bad : check_hold(h);
		for (unsigned int m = 0; m < CFS_LOCK_MODE_COUNT; m++)
			count[m] += h->count[m] != 0;
		CFS_LIST_EACH(c, &h->comps)
		{
			struct cfs_lock *lock =
				CFS_CONTAINER_OF(c, struct cfs_lock_comp, link)
					->lock;
			struct cfs_lock_blocker b = cfs_lock_find_blocker(lock,
									  true);

			if (b.hold || b.lock)
				return "two granted locks conflict";
		}
	}
	for (unsigned int m = 0; m < CFS_LOCK_MODE_COUNT; m++)
		if (count[m] != n->granted[m])
			return "a node miscounts";
	return bad;
}

const char *cfs_lock_table_check(struct cfs_lock_table *table)
{
	const char *bad = NULL;

	if (!cfs_list_is_empty(&table->woken) ||
	    (!table->is_telling && !cfs_list_is_empty(&table->told)))
		return "something was not finished";
	for (size_t i = 0; i < table->nodes.slot_count; i++)
		for (struct cfs_hash_link *l = table->nodes.slots[i]; l && !bad;
		     l = l->next)
			bad = check_node(
				table, CFS_CONTAINER_OF(l, struct cfs_lock_node,
							hash));
	return bad;
}
