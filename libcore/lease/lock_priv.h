/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside the lock table.
 *
 *	node	a container, volume or file that somebody locks or waits for
 *	hold	what one holder (under one lender) has of one node, counted
 *	comp	what one lock has of one node: an intent, or its own mode
 *	lock	up to three comps, and a range in the last node's trees
 *
 * A waiter that is blocked watches one thing that blocks it, any: as long as
 * that stands, it cannot be granted.  When a hold loses a mode or a lock goes,
 * those who watch it are woken and look again.  So the work of a release is
 * what it wakes, not who waits.
 *
 * Nodes, holds and holders are made when a lock asks for them, and counted;
 * granting a waiter only moves it between lists.
 */
#pragma once

#include "lease/list_priv.h"
#include "lease/lock.h"

#define CFS_LOCK_LEVELS        3u
#define CFS_LOCK_TICKET_NORMAL (UINT64_C(1) << 63) /* upgrades: below */

struct cfs_lock_family { /* a holder, by (client, key) */
	struct cfs_hash_link hash;
	struct cfs_lock_holder id;
	uint32_t refs;
	struct cfs_link_node waiting; /* its locks that wait */
	struct cfs_link_node lent;    /* those that wait under it */
};

struct cfs_lock_node {
	struct cfs_hash_link hash;
	uint64_t container, volume, ino;
	uint32_t refs;                         /* holds */
	uint32_t granted[CFS_LOCK_MODE_COUNT]; /* holds that have the mode */
	uint32_t waiting_count[CFS_LOCK_MODE_COUNT]; /* comps that wait */
	struct cfs_link_node holds;                  /* that have something */
	struct cfs_link_node waiting;                /* comps by ticket */
	struct cfs_lock *granted_ranges, *waiting_ranges;
};

struct cfs_lock_hold {
	struct cfs_hash_link hash;
	struct cfs_lock_node *node;
	struct cfs_lock_family *holder, *lender;
	uint32_t refs;                       /* comps, also of waiters */
	uint32_t count[CFS_LOCK_MODE_COUNT]; /* granted comps */
	uint32_t fixed[CFS_LOCK_MODE_COUNT]; /* of them, not to be recalled */
	struct cfs_link_node in_node;
	struct cfs_link_node comps; /* granted ones */
	struct cfs_link_node watchers;
};

struct cfs_lock_comp {
	struct cfs_lock *lock;
	struct cfs_lock_hold *hold;
	struct cfs_link_node link; /* hold->comps or node->waiting */
	uint32_t mode;
};

struct cfs_lock {
	struct cfs_lock_table *table;
	struct cfs_lock_resource resource;
	struct cfs_lock_family *holder, *lender;
	struct cfs_lock *base;    /* an upgrade: of which lock */
	struct cfs_lock *upgrade; /* pending */
	void *user;
	uint64_t number; /* never used again */
	uint64_t ticket;
	uint64_t visited; /* by which search */
	uint32_t mode;
	bool is_waiting, is_recallable, is_range;
	uint8_t comp_count;
	struct cfs_lock_comp comps[CFS_LOCK_LEVELS];
	/* in a tree of ranges */
	uint64_t first_byte, last_byte, max_last_byte;
	uint64_t priority;
	struct cfs_lock *left, *right;
	/* waiting */
	struct cfs_link_node in_holder, in_lender;
	struct cfs_link_node watch; /* somebody's watchers, or woken, or
				     * told (granted, not yet told) */
	struct cfs_lock *watched;   /* if that is a lock */
	struct cfs_link_node watchers;
};

struct cfs_lock_table {
	struct cfs_lock_config config;
	cfs_lock_granted_fn granted;
	void *arg;
	struct cfs_hash nodes, holds, families;
	uint32_t lock_count, waiting_count;
	uint64_t next_number, next_ticket, next_upgrade_ticket;
	uint64_t search; /* number of the last one */
	uint64_t random;
	bool is_on_hold, is_telling;
	uint64_t *held_containers; /* on hold by themselves */
	size_t held_count, held_room;
	struct cfs_link_node woken; /* by ticket */
	struct cfs_link_node held;  /* wait for the hold to end */
	struct cfs_link_node told;  /* granted, to be told */
};

/* Is what is asked for in @container not granted now? */
bool cfs_lock_table_is_held(const struct cfs_lock_table *table,
			    uint64_t container);

/* lock_mode.c */

/* The mode that a lock has at @level (0: container); NONE: below it. */
unsigned int cfs_lock_mode_at(const struct cfs_lock_resource *res,
			      unsigned int mode, unsigned int level);
unsigned int cfs_lock_level_count(const struct cfs_lock_resource *res);
uint64_t cfs_lock_last_byte(const struct cfs_lock_resource *res);
/* Resources and modes alone, whoever asks. */
bool cfs_lock_is_conflict(const struct cfs_lock_resource *a,
			  unsigned int mode_a,
			  const struct cfs_lock_resource *b,
			  unsigned int mode_b);
/* The strongest mode below @mode of @res that suits the other; NONE: no. */
unsigned int cfs_lock_mode_beside(const struct cfs_lock_resource *res,
				  unsigned int mode,
				  const struct cfs_lock_resource *other,
				  unsigned int other_mode);

/* lock_range.c: trees of locks by their first byte */

struct cfs_lock *cfs_lock_ranges_add(struct cfs_lock *root,
				     struct cfs_lock *lock);
struct cfs_lock *cfs_lock_ranges_del(struct cfs_lock *root,
				     struct cfs_lock *lock);
/* Those that share a byte with [first, last], by first byte.  @fn returns
 * false to stop; then so does this. */
typedef bool (*cfs_lock_range_fn)(void *arg, struct cfs_lock *lock);
bool cfs_lock_ranges_each(struct cfs_lock *root, uint64_t first, uint64_t last,
			  cfs_lock_range_fn fn, void *arg);

/* lock_wait.c: what stands against a lock */

/* Both directions of lending, and the same holder. */
bool cfs_lock_is_family(const struct cfs_lock_family *holder,
			const struct cfs_lock_family *lender,
			const struct cfs_lock *lock);

/* Callbacks return false to stop.  Each may be NULL. */
struct cfs_lock_visit {
	bool (*hold)(void *arg, struct cfs_lock_hold *hold,
		     const struct cfs_lock_comp *comp);
	bool (*range)(void *arg, struct cfs_lock *granted);
	bool (*waiter)(void *arg, struct cfs_lock *waiter);
	void *arg;
};
/* All that stands directly against @lock; false: it was stopped. */
bool cfs_lock_visit_blockers(struct cfs_lock *lock,
			     const struct cfs_lock_visit *visit);

/* Any one that blocks: both NULL: nothing does. */
struct cfs_lock_blocker {
	struct cfs_lock_hold *hold;
	struct cfs_lock *lock;
};
struct cfs_lock_blocker cfs_lock_find_blocker(struct cfs_lock *lock,
					      bool is_granted_only);

/* @lock waits, and waits for itself. */
bool cfs_lock_is_deadlock(struct cfs_lock *lock);

/* lock_node.c: nodes, holds, holders */

struct cfs_lock_family *cfs_lock_family_get(struct cfs_lock_table *table,
					    struct cfs_lock_holder id);
void cfs_lock_family_put(struct cfs_lock_table *table,
			 struct cfs_lock_family *family);
struct cfs_lock_hold *cfs_lock_hold_find(const struct cfs_lock_table *table,
					 const struct cfs_lock_node *node,
					 const struct cfs_lock_family *holder,
					 const struct cfs_lock_family *lender);
/* With a reference of the caller's, node and all; NULL: no memory. */
struct cfs_lock_hold *cfs_lock_hold_get(struct cfs_lock_table *table,
					uint64_t container, uint64_t volume,
					uint64_t ino,
					struct cfs_lock_family *holder,
					struct cfs_lock_family *lender);
void cfs_lock_hold_put(struct cfs_lock_table *table,
		       struct cfs_lock_hold *hold);
