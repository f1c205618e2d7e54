/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a container asks of the layers around it: the volumes above, which
 * know what dirty data there is, and the pool's slice table, which hands out
 * slices.  Also the calls that the volume layer needs and tools do not.
 *
 * All hooks are called with the container's lock held.
 */
#pragma once

#include "ondisk/frame.h"
#include "tree/container.h"

struct cfs_fold_rules;

struct cfs_container_hooks {
	/* The trees can be read now; nothing is replayed yet. */
	int (*opened)(void *ctx, struct cfs_container *c, struct cfs_err *err);
	/* Apply a META, EXTENT, INLINE or PUNCH record at open. */
	int (*replay)(void *ctx, const struct cfs_rec *rec,
		      struct cfs_err *err);
	/*
	 * May a client have made this record, as the trees are now?  -EPERM: it
	 * may not; what else is returned is trouble of our own.  NULL: no
	 * client may make any.
	 */
	int (*check)(void *ctx, const struct cfs_rec *rec,
		     const struct cfs_fold_rules *rules, struct cfs_err *err);
	/*
	 * Data blocks that fold will write, and how many records it will put
	 * into the live tree (for the promise of space).
	 */
	void (*fold_need)(void *ctx, uint64_t *ret_blocks,
			  uint64_t *ret_records);
	/*
	 * The commit begins: put everything that is only in memory into the
	 * trees, with blocks from cfs_space_alloc and cfs_container_home_write.
	 * The buffers must stay until folded.
	 * It is called until it returns 0; 1: as many pages as @budget says
	 * were folded, and taken off it.
	 */
	int (*fold)(void *ctx, uint64_t *budget, struct cfs_err *err);
	/*
	 * A commit begins beside which pages are made and changed: what there
	 * is to fold is what there is now, and is folded as it is now.  -EBUSY:
	 * a change might have to bring something home.  NULL: there is no such
	 * commit.
	 */
	int (*fold_beside)(void *ctx, struct cfs_err *err);
	/* The commit is durable. */
	void (*folded)(void *ctx);
	/*
	 * A sync: hand over, by cfs_container_log_inline, what is not in the
	 * log yet.  The pages must stay until gathered is called with whether
	 * they are in the log, durably.
	 */
	int (*gather)(void *ctx, struct cfs_err *err);
	void (*gathered)(void *ctx, bool is_durable);
	/* An operation has ended, or was undone. */
	void (*op_done)(void *ctx);
	/* A record of the small tables changed (@value NULL: is gone). */
	void (*table_changed)(void *ctx, const struct cfs_key *key,
			      const void *value, size_t value_bytes);
	/*
	 * Before an operation or a replay changes a record of the small tables
	 * (@value NULL: it goes): what follows from it is changed with it, by
	 * cfs_container_tree_set and _remove, which an abort undoes.  May be
	 * NULL.
	 */
	void (*table_changing)(void *ctx, const struct cfs_key *key,
			       const void *value, size_t value_bytes);
};

/* Where slices come from. */
struct cfs_slice_source {
	/*
	 * Lend up to @count more slices to the container and map them; for each
	 * of them cfs_container_slice_added is called.  What was got is
	 * durable. -ENOSPC: there is none.
	 */
	int (*more)(void *ctx, struct cfs_container *c, unsigned int count,
		    struct cfs_err *err);
	/* Is a quarter of the pool free? */
	bool (*has_plenty)(void *ctx);
	/* Blocks of the pool that are nobody's.  May be NULL. */
	uint64_t (*spare_blocks)(void *ctx);
	/*
	 * Blocks that the pool lacks of what it keeps for takeovers: so many
	 * are not used here either, since a takeover has given them.  Any
	 * thread, no lock; may be NULL.
	 */
	uint64_t (*lack_blocks)(void *ctx);
	/*
	 * On a pool that other hosts may take over: how many blocks a takeover
	 * could copy, which are those that the log names.  As above.
	 */
	uint64_t (*copy_blocks)(void *ctx);
};

typedef void (*cfs_op_undo_fn)(void *arg, uint64_t value);
/* Call @fn if the operation is aborted, in reverse order of such calls. */
int cfs_op_on_abort(struct cfs_container *c, cfs_op_undo_fn fn, void *arg,
		    uint64_t value, struct cfs_err *err);

/* Is an operation under way?  Else nothing can be undone. */
bool cfs_container_in_op(const struct cfs_container *c);

/* Nothing is acknowledged any more; @why is told to whoever asks. */
void cfs_container_close_for_writing(struct cfs_container *c, const char *why);

/* Trees other than the small tables, and NAME records in those: changed here,
 * logged by META and so on. */
int cfs_container_tree_set(struct cfs_container *c, unsigned int tree_id,
			   const struct cfs_key *key, const void *value,
			   size_t value_bytes, struct cfs_err *err);
int cfs_container_tree_remove(struct cfs_container *c, unsigned int tree_id,
			      const struct cfs_key *key, struct cfs_err *err);

/*
 * Do the NAME records tell of all snapshots, and of nothing else?  The root
 * says so with the checksum of the small tables' root node, so that a writer
 * that knows nothing of NAME takes it back with its first change of them.
 * Locked.
 */
bool cfs_container_names_are_whole(const struct cfs_container *c);
void cfs_container_set_names_whole(struct cfs_container *c, bool is_whole);

/* Add a record to the pending ones; nothing happens in a replay or commit. */
int cfs_container_log(struct cfs_container *c, const struct cfs_rec *rec,
		      const uint64_t *csums, struct cfs_err *err);
/* From gather: rec->count pages at @pages, each 4096 bytes. */
int cfs_container_log_inline(struct cfs_container *c, const struct cfs_rec *rec,
			     const void *const *pages, struct cfs_err *err);

/*
 * Locked, outside an operation: there is space and room in the log for a
 * change of the tables.  May commit and grow.
 */
int cfs_container_ready(struct cfs_container *c, struct cfs_err *err);

/* Nobody has its lock at this moment. */
bool cfs_container_is_idle(struct cfs_container *c);

/* Commit so often that no freed block is held any more; lock not held. */
int cfs_container_commit_idle(struct cfs_container *c, struct cfs_err *err);

/* Slices in which nothing is in use are to be given back: what is written goes
 * elsewhere, if it can, until cfs_container_give_slice was asked for each.
 * Lock not held. */
void cfs_container_spare_empty(struct cfs_container *c);

/*
 * Let go of a logical slice that is empty: nothing in use, held or on loan.
 * Behind cfs_container_commit_idle.  Durable; the map still has it, until the
 * caller takes it out.
 */
int cfs_container_give_slice(struct cfs_container *c, uint64_t lslice,
			     bool *ret_given, struct cfs_err *err);
/*
 * Write elsewhere what little is left in a slice.  @ret_has_left: nothing is in
 * use there any more, and nothing new is put there; two commits on it can be
 * given.  False if there is too much, or what cannot be moved.
 * @leaver (NULL: there is no data) writes a block of data elsewhere, if @tag is
 * that of a newest version at @vaddr.  Lock not held, in either.
 */
struct cfs_slice_leaver {
	int (*move)(void *ctx, struct cfs_container *c, uint64_t vaddr,
		    const struct cfs_tag *tag, struct cfs_err *err);
	void *ctx;
};
int cfs_container_leave_slice(struct cfs_container *c, uint64_t lslice,
			      const struct cfs_slice_leaver *leaver,
			      bool *ret_has_left, struct cfs_err *err);
/* It is taken out, durably: what is still known of its groups goes with the
 * next commit, unless a slice is there again, by cfs_container_slice_added.
 * Lock not held. */
void cfs_container_slice_gone(struct cfs_container *c, uint64_t lslice);

struct cfs_table_change {
	struct cfs_key key;
	const void *value; /* NULL: the record is removed */
	size_t value_bytes;
};
/*
 * Change records of the small tables at once and durably, in a frame of their
 * own; no part of an operation, never undone.  Locked.
 */
int cfs_container_put_now(struct cfs_container *c,
			  const struct cfs_table_change *changes, size_t count,
			  struct cfs_err *err);

/* The stamp rises by one; within an operation (it is logged). */
int cfs_container_raise_stamp(struct cfs_container *c, struct cfs_err *err);

/* In client mode births of a fold have a stamp of their own. */
bool cfs_container_is_client(const struct cfs_container *c);
/*
 * Reads failed with @r.  In client mode -EUCLEAN may come from a checksum that
 * was cached: those are forgotten, and the reads done again; what fails then is
 * -EAGAIN, once for each place.
 */
struct cfs_block_read;
int cfs_container_read_again(struct cfs_container *c,
			     struct cfs_block_read *reads, size_t count, int r,
			     struct cfs_err *err);
/* May a snapshot be taken, or does a client write that does not hold?  -EBUSY.
 * Locked. */
int cfs_container_may_pin(struct cfs_container *c, struct cfs_err *err);
/* From the check hook: what the client was given. */
bool cfs_container_lends_stamp(const struct cfs_container *c, uint64_t stamp);
bool cfs_container_lends_ino(const struct cfs_container *c, uint64_t ino);
/* Was this number ever handed out, to anybody? */
bool cfs_container_gave_ino(const struct cfs_container *c, uint64_t ino);

/* Does the container commit or replay now (no operation, no log)? */
bool cfs_container_is_folding(const struct cfs_container *c);

/* From fold: this data goes to its home in this commit.  @buf stays. */
int cfs_container_home_write(struct cfs_container *c, uint64_t vaddr,
			     uint32_t count, const void *buf,
			     struct cfs_err *err);
/* Data that goes home at once, outside a commit. */
int cfs_container_write_now(struct cfs_container *c, uint64_t vaddr,
			    uint32_t count, const void *buf,
			    struct cfs_err *err);

void *cfs_container_hooks_ctx(const struct cfs_container *c);
void cfs_container_slice_added(struct cfs_container *c, uint64_t lslice);
/* While a log is read: the map has it from here on, or not any more. */
void cfs_container_slice_came(struct cfs_container *c, uint64_t lslice);
void cfs_container_slice_went(struct cfs_container *c, uint64_t lslice);
struct cfs_blocks;
struct cfs_blocks *cfs_container_blocks(struct cfs_container *c);
struct cfs_metavolume *cfs_container_metavolume(struct cfs_container *c);
const uint8_t *cfs_container_uuid(const struct cfs_container *c);
/* Heal what is met?  False when nothing may be written. */
bool cfs_container_heals(const struct cfs_container *c);
