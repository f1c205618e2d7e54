/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Nodes, holds and holders: made when somebody needs them, and counted. */
#include "lease/lock_priv.h"

#include <assert.h>

static uint64_t family_hash(struct cfs_lock_holder id)
{
	return cfs_hash_mix(cfs_hash_mix(1, id.client), id.key);
}

struct cfs_lock_family *cfs_lock_family_get(struct cfs_lock_table *table,
					    struct cfs_lock_holder id)
{
	uint64_t hash = family_hash(id);
	struct cfs_lock_family *f;

	for (struct cfs_hash_link *l = cfs_hash_first(&table->families, hash);
	     l; l = cfs_hash_skip(l->next, hash)) {
		f = CFS_CONTAINER_OF(l, struct cfs_lock_family, hash);
		if (f->id.client == id.client && f->id.key == id.key) {
			f->refs++;
			return f;
		}
	}
	if (cfs_hash_reserve(&table->families) < 0)
		return NULL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	f->id = id;
	f->refs = 1;
	cfs_list_init(&f->waiting);
	cfs_list_init(&f->lent);
	cfs_hash_add(&table->families, &f->hash, hash);
	return f;
}

void cfs_lock_family_put(struct cfs_lock_table *table,
			 struct cfs_lock_family *family)
{
	if (!family || --family->refs)
		return;
	assert(cfs_list_is_empty(&family->waiting) &&
	       cfs_list_is_empty(&family->lent));
	cfs_hash_del(&table->families, &family->hash);
	free(family);
}

static struct cfs_lock_node *node_get(struct cfs_lock_table *table,
				      uint64_t container, uint64_t volume,
				      uint64_t ino)
{
	uint64_t hash = cfs_hash_mix(
		cfs_hash_mix(cfs_hash_mix(2, container), volume), ino);
	struct cfs_lock_node *n;

	for (struct cfs_hash_link *l = cfs_hash_first(&table->nodes, hash); l;
	     l = cfs_hash_skip(l->next, hash)) {
		n = CFS_CONTAINER_OF(l, struct cfs_lock_node, hash);
		if (n->container == container && n->volume == volume &&
		    n->ino == ino) {
			n->refs++;
			return n;
		}
	}
	if (cfs_hash_reserve(&table->nodes) < 0)
		return NULL;
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->container = container;
	n->volume = volume;
	n->ino = ino;
	n->refs = 1;
	cfs_list_init(&n->holds);
	cfs_list_init(&n->waiting);
	cfs_hash_add(&table->nodes, &n->hash, hash);
	return n;
}

static void node_put(struct cfs_lock_table *table, struct cfs_lock_node *n)
{
	if (--n->refs)
		return;
	assert(cfs_list_is_empty(&n->holds) && cfs_list_is_empty(&n->waiting));
	assert(!n->granted_ranges && !n->waiting_ranges);
	cfs_hash_del(&table->nodes, &n->hash);
	free(n);
}

static uint64_t hold_hash(const struct cfs_lock_node *node,
			  const struct cfs_lock_family *holder,
			  const struct cfs_lock_family *lender)
{
	return cfs_hash_mix(cfs_hash_mix(cfs_hash_mix(3, (uintptr_t)node),
					 (uintptr_t)holder),
			    (uintptr_t)lender);
}

struct cfs_lock_hold *cfs_lock_hold_find(const struct cfs_lock_table *table,
					 const struct cfs_lock_node *node,
					 const struct cfs_lock_family *holder,
					 const struct cfs_lock_family *lender)
{
	uint64_t hash = hold_hash(node, holder, lender);

	for (struct cfs_hash_link *l = cfs_hash_first(&table->holds, hash); l;
	     l = cfs_hash_skip(l->next, hash)) {
		struct cfs_lock_hold *h = CFS_CONTAINER_OF(
			l, struct cfs_lock_hold, hash);

		if (h->node == node && h->holder == holder &&
		    h->lender == lender)
			return h;
	}
	return NULL;
}

struct cfs_lock_hold *cfs_lock_hold_get(struct cfs_lock_table *table,
					uint64_t container, uint64_t volume,
					uint64_t ino,
					struct cfs_lock_family *holder,
					struct cfs_lock_family *lender)
{
	struct cfs_lock_node *node = node_get(table, container, volume, ino);
	struct cfs_lock_hold *h;

	if (!node)
		return NULL;
	h = cfs_lock_hold_find(table, node, holder, lender);
	if (h) {
		node_put(table, node);
		h->refs++;
		return h;
	}
	h = cfs_hash_reserve(&table->holds) < 0 ? NULL : calloc(1, sizeof(*h));
	if (!h) {
		node_put(table, node);
		return NULL;
	}
	h->node = node;
	h->holder = holder;
	h->lender = lender;
	holder->refs++;
	if (lender)
		lender->refs++;
	h->refs = 1;
	cfs_list_init(&h->in_node);
	cfs_list_init(&h->comps);
	cfs_list_init(&h->watchers);
	cfs_hash_add(&table->holds, &h->hash, hold_hash(node, holder, lender));
	return h;
}

void cfs_lock_hold_put(struct cfs_lock_table *table, struct cfs_lock_hold *hold)
{
	if (--hold->refs)
		return;
	assert(cfs_list_is_empty(&hold->watchers) &&
	       cfs_list_is_empty(&hold->in_node));
	cfs_hash_del(&table->holds, &hold->hash);
	cfs_lock_family_put(table, hold->holder);
	cfs_lock_family_put(table, hold->lender);
	node_put(table, hold->node);
	free(hold);
}
