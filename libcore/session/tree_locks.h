/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Leases on the files and directories of one tree, kept for as long as nobody
 * else wants them.  Whoever reads an inode, its entries or its data has S on
 * it, whoever changes them X.
 *
 * The tree as a whole is a resource of its own, a number that no inode has
 * (CFS_TREE_LOCK_ALL).  Its lease is asked for first, without waiting, in the
 * mode X (S by those who only read): while nobody else is there that is all
 * that is ever asked for.  Where others are, it is IX (IS), and inodes are
 * locked one by one.  It is wanted back as soon as a second one comes; what was
 * done under it is settled, and it goes down to IX.  After some seconds the
 * whole is tried again.
 *
 * An inode that we have made is ours without a message while nobody else can
 * see it: until what we did is made visible, for whatever reason, which ends it
 * for all of them.  (Where that falls into the middle of a call, the
 * directories that lead to them are still under X.)
 *
 * Giving back: a lock that is wanted takes no new users; when the last one has
 * left, everything that we have done is settled (all of it: it is one container
 * and one log), and then the lock goes.  If settling fails it is not given
 * back: its owner takes it when our period is over, and finds in our log what
 * was synced.
 *
 * Open inodes have a lease of another number (CFS_TREE_LOCK_OPEN), S and not
 * to be recalled.  It is taken no sooner than the lock on the inode goes: until
 * then nobody can remove the inode without asking us.  Who removes the last
 * name, under X on the inode, tries X on that number: if it is not to be had,
 * the inode stays an orphan, and goes when the last of those closes it.  Who
 * has open inodes keeps IS or IX of the whole tree, so whoever gets all of the
 * tree knows that nobody else has any open.
 *
 * What must stay true:
 *
 *  L1 Locks are waited for in the order: the whole tree, inodes by number,
 *     CFS_TREE_LOCK_RENAME.  Inodes of our own making are never held while one
 *     waits: who cannot have them begins anew.  So no circle of waiting arises,
 *     also between processes.
 *  L2 What was written under a lock is settled before the lock goes, and all
 *     inodes of our own making are published by then and no longer ours.
 *  L3 An open inode has its lease before the lock goes that kept it.
 *
 * Locks: the leaser's, then ours; never the reverse.
 *
 * Thread safety: any, but new and free.
 */
#pragma once

#include "lease/conn_lease.h"

#define CFS_TREE_LOCK_ALL       UINT64_MAX
#define CFS_TREE_LOCK_RENAME    (UINT64_MAX - 1) /* moving directories */
#define CFS_TREE_LOCK_OPEN(ino) ((ino) | UINT64_C(1) << 62)
#define CFS_TREE_WANTS_MAX      6u

struct cfs_tree_locks;
struct cfs_tree_lock;

struct cfs_tree_lock_ops {
	/* As cfs_leaser_acquire; may wait for a connection, too. */
	int (*acquire)(void *arg, const struct cfs_lease_request *req,
		       const struct cfs_conn_wait *wait, struct cfs_held **ret,
		       struct cfs_err *err);
	/* In a thread of the table: make all that was done visible to others.
	 * Negative: nothing can be given back. */
	int (*settle)(void *arg, struct cfs_err *err);
	/*
	 * A lease was got whose resource others had until @generation: see
	 * what they have done.  @is_alone: the whole tree is ours, and none of
	 * its inodes is open anywhere.
	 */
	int (*fresh)(void *arg, uint64_t generation, bool is_alone,
		     struct cfs_err *err);
	/*
	 * How often what we did was made visible, for whatever reason; rises.
	 * NULL: inodes that we make are visible at once.  Without blocking.
	 */
	uint64_t (*published)(void *arg);
	/* A lease was lost.  With the leaser's lock. */
	void (*lost)(void *arg);
	/* This thread is about to wait for others; may be NULL. */
	void (*will_wait)(void *arg);
	/*
	 * The whole tree is no longer ours alone when this returns: what was
	 * kept of it on that ground is told to be old.  Without the mutex, but
	 * when leases are lost with the leaser's lock.  May be NULL.
	 */
	void (*leaves)(void *arg);
	void *arg;
};

struct cfs_tree_locks_config {
	uint64_t container, volume;
	bool writes;
	struct cfs_tree_lock_ops ops;
	struct cfs_lease_name lender; /* $CFS_LEASE; lease_id 0: none */
	struct cfs_conn_wait wait;    /* {0}: for ever */
};

int cfs_tree_locks_new(const struct cfs_tree_locks_config *config,
		       struct cfs_tree_locks **ret, struct cfs_err *err);
/*
 * Nobody uses any.  @is_settled: the caller has settled everything, and all are
 * released; else they stay with the leaser, for the manager to take.  NULL is
 * allowed.
 */
void cfs_tree_locks_free(struct cfs_tree_locks *l, bool is_settled);

/*
 * For the leaser's hooks of the same names, with leases of our volume.  What is
 * recalled without a @held is only kept by the leaser: it was settled before,
 * and the caller yields it.
 */
void cfs_tree_locks_recall(struct cfs_tree_locks *l, struct cfs_held *held,
			   uint64_t grant_id, uint32_t mode);
/* One of them is lost, or all are. */
void cfs_tree_locks_lost(struct cfs_tree_locks *l);

struct cfs_tree_want {
	uint64_t ino; /* 0: none */
	bool writes;
};

/* What a call holds.  {0} holds nothing. */
struct cfs_tree_pins {
	bool has_all;  /* some mode of the whole tree */
	bool is_whole; /* a mode that is enough */
	bool writes;
	bool has_gate;          /* the caller's own: see direct_fs.c */
	unsigned int own_count; /* of our making */
	uint64_t published;
	unsigned int count;
	struct cfs_tree_lock *locks[CFS_TREE_WANTS_MAX];
};

/*
 * Hold all of @wants, in any order, numbers may be repeated.  -ESTALE: our
 * leases are lost; -EINTR, -ETIMEDOUT, -ENOMEM, -ECONNRESET; what fresh
 * returns.
 */
int cfs_tree_locks_get(struct cfs_tree_locks *l,
		       const struct cfs_tree_want *wants, size_t count,
		       struct cfs_tree_pins *ret, struct cfs_err *err);
/* @has_written: under those that may be written under. */
void cfs_tree_locks_put(struct cfs_tree_locks *l, struct cfs_tree_pins *pins,
			bool has_written);
/* May an access begin?  Are they held still? */
bool cfs_tree_locks_may_start(struct cfs_tree_locks *l,
			      const struct cfs_tree_pins *pins);
bool cfs_tree_locks_hold(struct cfs_tree_locks *l,
			 const struct cfs_tree_pins *pins);

/* We made this inode, under @pins. */
void cfs_tree_locks_made(struct cfs_tree_locks *l,
			 const struct cfs_tree_pins *pins, uint64_t ino);

/* It is open once more; under pins of it.  -ENOMEM. */
int cfs_tree_locks_opened(struct cfs_tree_locks *l, uint64_t ino,
			  struct cfs_err *err);
/* True: that was our last. */
bool cfs_tree_locks_closed(struct cfs_tree_locks *l, uint64_t ino);
/*
 * Under @pins that may write @ino: 1: nobody else has it open, and nobody will
 * until *ret_held is released (which may be NULL); 0: somebody has.
 */
int cfs_tree_locks_alone(struct cfs_tree_locks *l,
			 const struct cfs_tree_pins *pins, uint64_t ino,
			 struct cfs_held **ret_held, struct cfs_err *err);

/*
 * Is the whole tree ours, and not asked for?  *ret_serial: another one whenever
 * it was somebody else's in between.  *ret_ns: it surely is for so long.
 */
bool cfs_tree_locks_is_whole(struct cfs_tree_locks *l, uint64_t *ret_serial,
			     uint64_t *ret_ns);

/* Was anything written that is not settled? */
bool cfs_tree_locks_has_written(struct cfs_tree_locks *l);
/* Is all held still under which something was written?  Before a sync is
 * acknowledged. */
bool cfs_tree_locks_hold_all(struct cfs_tree_locks *l);

struct cfs_tree_lock_counts {
	uint64_t asked; /* of leases, also of the whole */
	uint64_t recalled;
	uint64_t settled;
	uint64_t inodes; /* locks there are */
	bool is_whole;
};
void cfs_tree_locks_counts(struct cfs_tree_locks *l,
			   struct cfs_tree_lock_counts *ret);
