/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the owner keeps in memory about its clients.  c->lender is NULL as long
 * as there was none.  The container's lock is held in all of it.
 */
#pragma once

#include "base/vec.h"
#include "tree/container_priv.h"
#include "tree/lend.h"

/* A group on loan to a client. */
struct lent_group {
	uint64_t key;
	uint64_t client_id;
	uint64_t number;      /* of the lending */
	uint64_t allowed[2];  /* it may still name these */
	uint64_t taken[2];    /* named by what is being applied */
	uint64_t adopted[2];  /* of these, in use where they stand */
	uint32_t free_blocks; /* that nobody else can have */
	uint32_t ours_blocks; /* that were, and become ours */
	bool is_frozen;
	bool was_named;                  /* a block of it, in this loan */
	bool is_expected;                /* in lender->expected */
	const struct cfs_tag_disk *tags; /* of an expected one; NULL: ask */
	struct lent_group *prev, *next;
};

struct ino_range {
	uint64_t first, end;
};

struct client_entry {
	uint64_t id;
	struct cfs_client_rec rec;
	uint64_t view_seq;              /* root of its view; UINT64_MAX: it has
					 * none, 0: some old one */
	uint64_t stamp_end;             /* of the range it was given last */
	CFS_VEC(struct ino_range) inos; /* lent, and perhaps not used yet */
	bool knows_inos; /* else an owner before us has lent some */
	bool is_dead;    /* its gravestone stands */
	bool is_held;    /* it goes on with a new view only */
	UT_hash_handle hh;
};

enum lend_adopt {
	LEND_ADOPT_NONE,   /* as our own: space.c */
	LEND_ADOPT_LENT,   /* where they stand, in groups on loan */
	LEND_ADOPT_COPIED, /* they were copied to blocks of ours */
};

struct lender {
	struct client_entry *clients;
	struct lent_group *groups; /* a list */
	size_t group_count;
	struct lent_row *rows, *last_row; /* the same groups: lend_table.c */
	uint64_t lent_blocks;             /* sum of free_blocks */
	bool forgets_views;               /* space is short: what they name is
			       * given back all the same */
	uint64_t waiting_cut; /* views from this root on name nothing
			       * that waits */
	uint64_t scan_lslice; /* where to look for groups to lend */
	uint32_t scan_group;

	/* A fold, or what was read from a log, is being applied. */
	struct client_entry *of;
	const struct cfs_fold_rules *rules;
	enum lend_adopt adopt;
	bool reads_tags; /* they must be there */
	/* Groups that the next records name, and where their tags are. */
	CFS_VEC(struct lent_group *) expected;
	struct cfs_peek_pages pages;
};

/* lend.c */
int cfs_lend_init(struct cfs_container *c, struct cfs_err *err);
void cfs_lend_free(struct cfs_container *c);
/* At open: clients in the table, then each of their loans. */
int cfs_lend_load(struct cfs_container *c, struct cfs_err *err);
bool cfs_lend_knows(const struct cfs_container *c, uint64_t client_id);
struct cfs_cursor;
int cfs_lend_load_loan(struct cfs_container *c, const struct cfs_cursor *cur,
		       struct cfs_err *err);
struct client_entry *cfs_lend_entry(const struct cfs_container *c,
				    uint64_t client_id);
int cfs_lend_entry_new(struct cfs_container *c, uint64_t id,
		       const struct cfs_client_rec *rec,
		       struct client_entry **ret, struct cfs_err *err);
void cfs_lend_entry_drop(struct cfs_container *c, struct client_entry *e);
/* One that is open; -ENOENT, -EPERM, -ESTALE. */
int cfs_lend_must_be_open(const struct cfs_container *c, uint64_t client_id,
			  struct client_entry **ret, struct cfs_err *err);
struct cfs_key cfs_lend_client_key(uint64_t client_id);
/* Within an operation that a commit ends: not logged. */
int cfs_lend_store(struct cfs_container *c, uint64_t id,
		   const struct cfs_client_rec *rec, struct cfs_err *err);
/* @e: NULL: for a reader. */
int cfs_lend_view(struct cfs_container *c, struct client_entry *e,
		  uint64_t map_change, struct cfs_client_view *ret,
		  struct cfs_err *err);
/* Have all open clients a view that names nothing of what waits? */
bool cfs_lend_views_passed(struct cfs_container *c);
/* For the commits until it is taken back: no view is waited for. */
void cfs_lend_forget_views(struct cfs_container *c, bool forgets);

/* lend_seal.c */
/* The tags of a log whose blocks were freed; lock not held, so others may have
 * got some of them meanwhile. */
int cfs_lend_clear_log(struct cfs_container *c,
		       const struct cfs_client_rec *rec, struct cfs_err *err);

/* lend_table.c: they own nothing.  -EEXIST: it is lent; -ENOMEM */
int cfs_lend_table_add(struct lender *l, struct lent_group *g);
void cfs_lend_table_remove(struct lender *l, struct lent_group *g);
/* All groups; @g may be dropped. */
#define CFS_LENT_EACH(l, g, tmp)                                               \
	for ((g) = (l)->groups; (g) && ((tmp) = (g)->next, true); (g) = (tmp))
struct lent_group *cfs_lend_group(const struct cfs_container *c, uint64_t key);
static inline bool cfs_lend_has_group(const struct cfs_container *c,
				      uint64_t key)
{
	return cfs_lend_group(c, key) != NULL;
}

/* lend_groups.c */
int cfs_lend_group_new(struct cfs_container *c, uint64_t key,
		       uint64_t client_id, const uint64_t free_bits[2],
		       struct lent_group **ret, struct cfs_err *err);
void cfs_lend_group_drop(struct cfs_container *c, struct lent_group *g);
/* It is lent, or was: a move of its slice copies it again. */
void cfs_lend_touch_group(struct cfs_container *c, uint64_t key);
bool cfs_lend_in_slice(const struct cfs_container *c, uint64_t lslice);
/* Blocks that cannot be promised: what is lent, and what it will take to name
 * it. */
uint64_t cfs_lend_claim_of(const struct cfs_container *c);
static inline uint64_t cfs_lend_claim(const struct cfs_container *c)
{
	return c->lender ? cfs_lend_claim_of(c) : 0;
}
/* Add to @loans as cfs_container_lend does, from what is there: none is no
 * error.  Before the container's next commit. */
int cfs_lend_more(struct cfs_container *c, struct client_entry *e,
		  uint32_t group_count, struct cfs_loans *loans,
		  struct cfs_err *err);
/* Held blocks of a group are free again. */
void cfs_lend_released(struct cfs_container *c, uint64_t key,
		       const uint64_t back[2]);

/* lend_check.c: what a client says, against what it was given */
bool cfs_lend_adopts(const struct cfs_container *c);
int cfs_lend_adopt(struct cfs_container *c, uint64_t vaddr, uint32_t count,
		   struct cfs_err *err);
/* -EPERM: it lies; else our own trouble. */
int cfs_lend_check(struct cfs_container *c, const struct cfs_rec *rec,
		   struct cfs_err *err);
/*
 * What the records from *@pos on name: the tags of all groups on loan to the
 * client among that are read at once, so that the checks find them.  Not of all
 * records if that is much: *@pos is behind the last one.  Says nothing about
 * records that make no sense.
 */
int cfs_lend_expect(struct cfs_container *c, const void *records,
		    uint32_t record_bytes, uint32_t *pos, struct cfs_err *err);
/* -EPERM: these blocks are not on loan to it, or named already. */
int cfs_lend_check_place(struct cfs_container *c,
			 const struct cfs_fold_place *place,
			 struct cfs_err *err);
/* Apply one that was checked. */
int cfs_lend_apply(struct cfs_container *c, const struct cfs_rec *rec,
		   struct cfs_err *err);
void cfs_lend_begin(struct cfs_container *c, struct client_entry *e,
		    const struct cfs_fold_rules *rules, enum lend_adopt adopt,
		    bool reads_tags);
/* What was applied counts, or not. */
void cfs_lend_end(struct cfs_container *c, bool is_committed);
