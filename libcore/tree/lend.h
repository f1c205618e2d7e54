/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The owner's side of clients (tree/container_client.h): making them, lending
 * groups and inode numbers, taking folds, and sealing those that are silent.
 *
 *   none --make--> open --seal--> sealed --gone--> none
 *                   |  \                            ^
 *                   |   +--refused (it lied)--gone--+
 *                   +-----------gone----------------+
 *
 * What must stay true:
 *
 *  L1 The CLIENT record, its log blocks and its gravestone are durable before
 *     the client hears of them; so is each LOAN.
 *  L2 The owner opens no group that is on loan to a client, and writes nothing
 *     in it.  What is lent cannot be promised to anybody else.
 *  L3 All of a fold is in one commit, together with the position in the
 *     client's log up to which it counts; or nothing of it is.
 *  L4 Every record of a client is checked: whether it may write there (the
 *     caller says), whether the blocks are on loan to it and were named by
 *     nobody before, whether their tags are there, whether stamps are of the
 *     range it was given and newer than what stands there and than any
 *     snapshot.  A client that fails one is refused: nothing of that fold is
 *     taken, and nothing more from it.
 *  L5 A sealed log is never read again.  What it said is committed, in groups
 *     of our own unless the client is gone, and its loans are frozen, in one
 *     commit.
 *  L6 What the view of an open client names is not given other content: blocks
 *     freed since wait until all open clients have newer views.  Where there is
 *     no other space left they do not: the client finds out (C4).
 *     A snapshot is taken only when all open clients hold; they go on with the
 *     next view they ask for, which the caller gives behind the snapshot.
 *  L7 Stamps of a client's range may be above the root's, never above its
 *     ceiling; an owner that opens a container with clients goes on above that.
 *
 * All functions take the container's lock themselves.
 */
#pragma once

#include "tree/container_client.h"

/*
 * Make a client: a log of at most @log_blocks (0: as many as seem right), a
 * gravestone, and its record, durable.  -ENOSPC.
 */
int cfs_container_client_make(struct cfs_container *c,
			      const struct cfs_client_identity *who,
			      uint32_t log_blocks, uint64_t *ret_client_id,
			      struct cfs_client_rec *ret, struct cfs_err *err);

struct cfs_client_info {
	uint64_t id;
	struct cfs_client_rec rec;
	uint64_t loan_count;  /* groups */
	uint64_t lent_blocks; /* free ones in them */
	bool is_behind;       /* its view keeps freed blocks held */
	bool is_held;         /* a snapshot may be taken, as to it */
};
typedef int (*cfs_client_each_fn)(void *arg, const struct cfs_client_info *i,
				  struct cfs_err *err);
/* Those in the table, also of an owner before us; in the order of ids. */
int cfs_container_clients(struct cfs_container *c, cfs_client_each_fn each,
			  void *arg, struct cfs_err *err);
/* -ENOENT. */
int cfs_container_client_get(struct cfs_container *c, uint64_t client_id,
			     struct cfs_client_info *ret, struct cfs_err *err);
struct cfs_lent_counts {
	uint64_t clients, open;
	uint64_t lent_groups, frozen_groups;
	uint64_t lent_blocks, frozen_blocks; /* free ones in them */
};
void cfs_container_lent_counts(struct cfs_container *c,
			       struct cfs_lent_counts *ret);

/* Logical slices in which groups are frozen, each once; the caller frees
 * them.  NULL: none. */
int cfs_container_frozen_slices(struct cfs_container *c, uint64_t **ret,
				size_t *ret_count, struct cfs_err *err);

/*
 * A view for the client; commits first if anything has changed.  @map_change:
 * what it knows of the slice map, 0: nothing.  @ret is to be given to
 * cfs_client_view_donep.  -ENOENT, -EPERM (refused), -ESTALE (sealed).
 * @client_id 0: for a reader that is no client: it has no stamps, and nothing
 * that it names is kept for it.
 */
int cfs_container_view(struct cfs_container *c, uint64_t client_id,
		       uint64_t map_change, struct cfs_client_view *ret,
		       struct cfs_err *err);

/*
 * Lend groups, at least one and at most @group_count, as far as that leaves
 * something for others; adds to @loans.  -ENOSPC: there is nothing to lend.
 */
int cfs_container_lend(struct cfs_container *c, uint64_t client_id,
		       uint32_t group_count, struct cfs_loans *loans,
		       struct cfs_err *err);
/* All that it has on loan, for one that comes back and may have lost an
 * answer; added to @loans. */
int cfs_container_loans(struct cfs_container *c, uint64_t client_id,
			struct cfs_loans *loans, struct cfs_err *err);
int cfs_container_lend_inos(struct cfs_container *c, uint64_t client_id,
			    uint32_t count, uint64_t *ret_first,
			    uint64_t *ret_end, struct cfs_err *err);

/* What a client may do, besides what the container itself can see. */
struct cfs_fold_rules {
	/* May it have changed blocks [first, first + count) of the inode, or
	 * (count 0) its inode, entries and attributes? */
	bool (*may)(void *ctx, uint16_t branch, uint64_t ino, uint64_t first,
		    uint64_t count);
	void *ctx;
};

/*
 * Take a fold.  @rules: NULL: what is in its volumes it may change.
 * -EPERM, -EUCLEAN: refused, now and from now on; -ESTALE: it is sealed;
 * -ENOENT; others are the owner's own trouble, and the fold may be sent again.
 */
int cfs_container_take_fold(struct cfs_container *c, uint64_t client_id,
			    const struct cfs_fold *fold,
			    const struct cfs_fold_rules *rules,
			    struct cfs_client_view *ret, struct cfs_err *err);

/*
 * Seal: gravestone, flush, read its log, apply it, commit.  @is_gone: it cannot
 * write any more, so its blocks are taken as they stand; else they are copied.
 * A client that is sealed already is left so.
 * -ENOSPC: no room for the copies; it is not sealed.
 */
int cfs_container_client_seal(struct cfs_container *c, uint64_t client_id,
			      bool is_gone, const struct cfs_fold_rules *rules,
			      struct cfs_err *err);
/*
 * It said goodbye, or is known to be gone (cfs(5)): what is left of it is taken
 * over, its groups, its log and its record come back.
 */
int cfs_container_client_gone(struct cfs_container *c, uint64_t client_id,
			      const struct cfs_fold_rules *rules,
			      struct cfs_err *err);
/*
 * The same (@ends false: only sealed) while the pool is being opened, and
 * nobody else is at work: where the room that its commit may need cannot be
 * promised the commit is tried, since without it there is no pool.  Should it
 * fail nothing is lost, and the container is closed for writing.
 */
int cfs_container_client_left(struct cfs_container *c, uint64_t client_id,
			      bool ends, struct cfs_err *err);
