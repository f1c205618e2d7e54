/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The lock table: who may use what, in which mode, and who waits for it.
 * Pure: no time, no threads, no messages; owner.c puts them around it.
 *
 * A resource is a container, a volume in it, a file (or LUN) in that, or a
 * byte range of the file.  Modes are the classical five:
 *
 *	      IS   IX   S    SIX  X
 *	IS    +    +    +    +    -
 *	IX    +    +    -    -    -
 *	S     +    -    +    -    -
 *	SIX   +    -    -    -    -
 *	X     -    -    -    -    -
 *
 * A lock takes intents on all that contains it: IS for IS and S, IX for the
 * others; a range of a file takes one on the whole file too.  Intents of one
 * holder on one resource are counted, not multiplied.  Ranges have S or X.
 *
 * Two requests conflict if they meet on one resource (or in one byte) with
 * modes that do not go together, and come from different holders.  A holder is
 * (client, key); a request may name a lender, whose lock it works under: with
 * that holder it does not conflict either, in both directions.  Two who work
 * under one lender do conflict with each other.
 *
 * What must stay true:
 *  - no two granted locks conflict;
 *  - FIFO: a request waits while it conflicts with a granted lock or with one
 *    that waits in front of it.  Upgrades stand in front of all that are not.
 *    What the holder or its lender holds already, there or above, is not
 *    waited for again (else the holder of a volume could not lock a file in it
 *    while somebody waits for the volume);
 *  - a waiter is granted as soon as nothing stands against it;
 *  - a request that would close a circle of waiting is refused with -EDEADLK
 *    when it is made.  A recallable lock without a pending upgrade is no link
 *    of a circle: it is given back, or taken, whatever its holder waits for.
 *    The search is bounded; what it does not find in its bound, waits;
 *  - once a request is queued, granting it needs no memory.
 *
 * Each operation is a hash look-up a level, O(log n) in the ranges of one
 * file, plus the work for what it wakes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cfs_err;

enum cfs_lock_mode {
	CFS_LOCK_NONE = 0,
	CFS_LOCK_IS = 1,
	CFS_LOCK_IX = 2,
	CFS_LOCK_S = 3,
	CFS_LOCK_SIX = 4,
	CFS_LOCK_X = 5,
};
#define CFS_LOCK_MODE_COUNT   6u

/* The length that reaches the end of everything. */
#define CFS_LOCK_LENGTH_WHOLE UINT64_MAX

struct cfs_lock_resource {
	uint64_t container;
	uint64_t volume; /* 0: the whole container; then ino is 0 */
	uint64_t ino;    /* 0: the whole volume; then no range */
	uint64_t offset_bytes;
	uint64_t length_bytes; /* not 0; offset 0 and WHOLE: all of it */
};

struct cfs_lock_holder {
	uint64_t client; /* 0: none */
	uint64_t key;    /* the client's own choice: a process, a thread */
};

/* "IS", "IX", "S", "SIX", "X", "none"; "?" for anything else. */
const char *cfs_lock_mode_name(unsigned int mode);
bool cfs_lock_mode_is_valid(unsigned int mode); /* IS .. X */
bool cfs_lock_modes_agree(unsigned int a, unsigned int b);
/* @a allows all that @b allows. */
bool cfs_lock_mode_covers(unsigned int a, unsigned int b);
/* The weakest mode that covers both. */
unsigned int cfs_lock_mode_join(unsigned int a, unsigned int b);

/* Shape, no overflow, and ranges with S or X only. */
bool cfs_lock_resource_is_valid(const struct cfs_lock_resource *res,
				unsigned int mode);
bool cfs_lock_resource_is_range(const struct cfs_lock_resource *res);
/* All bytes and files of @inner are in @outer. */
bool cfs_lock_resource_contains(const struct cfs_lock_resource *outer,
				const struct cfs_lock_resource *inner);

struct cfs_lock; /* one request, granted or waiting */
struct cfs_lock_table;

struct cfs_lock_config {
	uint32_t locks_max;          /* granted and waiting; 0: 1 << 20 */
	uint32_t waiting_max;        /* 0: 1 << 16 */
	uint32_t deadlock_steps_max; /* 0: 4096 */
};

/*
 * A request that waited was granted (an upgrade: its lock has the new mode).
 * Called with the table consistent, at the end of what granted it; may call
 * cfs_lock_* for any lock.
 */
typedef void (*cfs_lock_granted_fn)(void *arg, struct cfs_lock *lock);

/* -ENOMEM, else 0.  @config is copied; NULL: all defaults. */
int cfs_lock_table_new(const struct cfs_lock_config *config,
		       cfs_lock_granted_fn granted, void *arg,
		       struct cfs_lock_table **ret, struct cfs_err *err);
/* Frees the locks in it too, without any call.  NULL is nothing. */
void cfs_lock_table_free(struct cfs_lock_table *table);

enum cfs_lock_request_flags {
	CFS_LOCK_REQ_WAIT = 1u << 0, /* else -EBUSY */
	CFS_LOCK_REQ_RECALLABLE = 1u << 1,
	/* Held already under a former owner: waits for nothing, passes all
	 * that wait and is granted on hold too; -EBUSY on a conflict. */
	CFS_LOCK_REQ_RECLAIM = 1u << 2,
};

struct cfs_lock_request {
	struct cfs_lock_resource resource;
	uint32_t mode; /* enum cfs_lock_mode */
	uint32_t flags;
	struct cfs_lock_holder holder; /* client not 0 */
	struct cfs_lock_holder lender; /* client 0: none */
	void *user;                    /* cfs_lock_user gives it back */
};

/*
 * Ask for a lock.  @ret is set if 0 is returned: granted at once or waiting,
 * cfs_lock_is_waiting tells.  It lives until cfs_lock_release.
 * -EBUSY (no WAIT), -EDEADLK, -EAGAIN (a limit is reached), -EINVAL (shape),
 * -ENOMEM: nothing has changed.
 */
int cfs_lock_request(struct cfs_lock_table *table,
		     const struct cfs_lock_request *req, struct cfs_lock **ret,
		     struct cfs_err *err);

/*
 * Give a lock back, or take a waiting request (with its place in the queue)
 * away.  A pending upgrade of it goes too.  Frees @lock.
 */
void cfs_lock_release(struct cfs_lock *lock);

/*
 * A granted lock to the join of its mode and @mode.  Returns 0: done at
 * once, or pending (cfs_lock_is_upgrading), and then told by the granted
 * call.  -EBUSY, -EDEADLK, -EAGAIN, -ENOMEM as above, the lock stays as it
 * was; -EALREADY: an upgrade is pending; -EINVAL: a mode the resource cannot
 * have, or it waits itself.
 */
int cfs_lock_upgrade(struct cfs_lock *lock, uint32_t mode, bool wait,
		     struct cfs_err *err);
/* Take a pending upgrade away; the lock stays in its mode. */
void cfs_lock_upgrade_cancel(struct cfs_lock *lock);

/*
 * A granted lock to the weaker @mode (its own covers it).  A pending upgrade
 * is cancelled.  Returns 0; -EINVAL: not weaker, or it waits.  Cannot fail
 * otherwise.
 */
int cfs_lock_downgrade(struct cfs_lock *lock, uint32_t mode,
		       struct cfs_err *err);

bool cfs_lock_is_waiting(const struct cfs_lock *lock);
bool cfs_lock_is_upgrading(const struct cfs_lock *lock);
bool cfs_lock_is_recallable(const struct cfs_lock *lock);
uint32_t cfs_lock_mode_of(const struct cfs_lock *lock);
const struct cfs_lock_resource *cfs_lock_resource_of(
	const struct cfs_lock *lock);
struct cfs_lock_holder cfs_lock_holder_of(const struct cfs_lock *lock);
struct cfs_lock_holder cfs_lock_lender_of(const struct cfs_lock *lock);
void *cfs_lock_user(const struct cfs_lock *lock);

/*
 * Each granted lock that stands directly against @lock, which waits or has a
 * pending upgrade.  @fn returns false to stop; it must not change the table.
 * @wanted: the strongest mode in which the blocker would not stand in the way
 * (CFS_LOCK_NONE: it has to go).
 */
typedef bool (*cfs_lock_blocker_fn)(void *arg, struct cfs_lock *blocker,
				    uint32_t wanted);
void cfs_lock_blockers(struct cfs_lock *lock, cfs_lock_blocker_fn fn,
		       void *arg);

/*
 * Does anybody who waits wait for this granted lock directly?  Then true,
 * and the strongest mode that suits all of them (of the first 64 looked at)
 * in *ret_wanted.
 */
bool cfs_lock_is_wanted(const struct cfs_lock *lock, uint32_t *ret_wanted);

/*
 * Hold: nothing that is asked for or waits is granted, except reclaims.
 * Taking the hold off grants what can be, in order.
 */
void cfs_lock_table_set_hold(struct cfs_lock_table *table, bool is_on_hold);
/* The same for one container, beside that.  0, -ENOMEM. */
int cfs_lock_table_hold(struct cfs_lock_table *table, uint64_t container);
void cfs_lock_table_unhold(struct cfs_lock_table *table, uint64_t container);

uint32_t cfs_lock_table_count(const struct cfs_lock_table *table);
uint32_t cfs_lock_table_waiting_count(const struct cfs_lock_table *table);

/*
 * Walk over everything and compare: counts, lists, trees, no two granted
 * locks that conflict, nobody waiting for nothing.  For tests and the
 * simulation: slow.  NULL: all is well; else a static text.
 */
const char *cfs_lock_table_check(struct cfs_lock_table *table);
