/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Intrusive lists and hash tables: what they link is allocated once, with
 * the thing itself, so that linking it cannot fail.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define CFS_CONTAINER_OF(p, type, member)                                      \
	((type *)(void *)((char *)(p)-offsetof(type, member)))

/* A head, or a member; one that is in no list points to itself. */
struct cfs_link_node {
	struct cfs_link_node *prev, *next;
};

static inline void cfs_list_init(struct cfs_link_node *n)
{
	n->prev = n;
	n->next = n;
}

static inline bool cfs_list_is_empty(const struct cfs_link_node *n)
{
	return n->next == n;
}

static inline void cfs_list_del(struct cfs_link_node *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	cfs_list_init(n);
}

/* @n, which is in no list, behind @at. */
static inline void cfs_list_add_behind(struct cfs_link_node *at,
				       struct cfs_link_node *n)
{
	n->prev = at;
	n->next = at->next;
	at->next->prev = n;
	at->next = n;
}

static inline void cfs_list_add_tail(struct cfs_link_node *head,
				     struct cfs_link_node *n)
{
	cfs_list_add_behind(head->prev, n);
}

/* The body may take @it out, and nothing else. */
#define CFS_LIST_EACH(it, head)                                                \
	for (struct cfs_link_node *it = (head)->next, *it##_next = it->next;   \
	     it != (head); it = it##_next, it##_next = it->next)

struct cfs_hash_link {
	struct cfs_hash_link *next;
	uint64_t hash;
};

/* All zero is an empty one. */
struct cfs_hash {
	struct cfs_hash_link **slots;
	size_t slot_count; /* 0 or a power of two */
	size_t count;
};

static inline uint64_t cfs_hash_mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ h >> 29;
}

/* Room for one more: a table that cannot grow gets slower, not wrong. */
static inline int cfs_hash_reserve(struct cfs_hash *t)
{
	size_t n = t->slot_count ? 2 * t->slot_count : 64;
	struct cfs_hash_link **slots;

	if (t->count < t->slot_count)
		return 0;
	slots = calloc(n, sizeof(struct cfs_hash_link *));
	if (!slots)
		return t->slot_count ? 0 : -1;
	for (size_t i = 0; i < t->slot_count; i++) {
		while (t->slots[i]) {
			struct cfs_hash_link *l = t->slots[i];

			t->slots[i] = l->next;
			l->next = slots[l->hash & (n - 1)];
			slots[l->hash & (n - 1)] = l;
		}
	}
	free(t->slots);
	t->slots = slots;
	t->slot_count = n;
	return 0;
}

/* Behind a cfs_hash_reserve that went well. */
static inline void cfs_hash_add(struct cfs_hash *t, struct cfs_hash_link *l,
				uint64_t hash)
{
	struct cfs_hash_link **slot = &t->slots[hash & (t->slot_count - 1)];

	l->hash = hash;
	l->next = *slot;
	*slot = l;
	t->count++;
}

/* @l is in @t. */
static inline void cfs_hash_del(struct cfs_hash *t, struct cfs_hash_link *l)
{
	struct cfs_hash_link **at = &t->slots[l->hash & (t->slot_count - 1)];

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	t->count--;
}

/* The first with @hash, or the next behind @l; NULL: none. */
static inline struct cfs_hash_link *cfs_hash_skip(struct cfs_hash_link *l,
						  uint64_t hash)
{
	while (l && l->hash != hash)
		l = l->next;
	return l;
}

static inline struct cfs_hash_link *cfs_hash_first(const struct cfs_hash *t,
						   uint64_t hash)
{
	return t->slot_count
		       ? cfs_hash_skip(t->slots[hash & (t->slot_count - 1)],
				       hash)
		       : NULL;
}

static inline void cfs_hash_done(struct cfs_hash *t)
{
	free(t->slots);
	t->slots = NULL;
	t->slot_count = 0;
	t->count = 0;
}
