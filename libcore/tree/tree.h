/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A copy-on-write B+tree over 4 KiB nodes.
 *
 * The tree is changed in memory only: changed nodes are dirty and stay in
 * memory until a commit, which takes three steps that the transaction layer
 * drives for all trees of a container together:
 *
 *   1. cfs_tree_place: every dirty node that has no new address yet gets one
 *      (ops->alloc) and its old blocks are given up (ops->release).  These
 *      callbacks may change other trees (space accounting lives in one), and
 *      this tree; so the caller repeats the step over all trees until a whole
 *      round has placed nothing.
 *   2. cfs_tree_write: seals the dirty nodes bottom-up and hands them to
 *      ops->write; nothing is changed any more.  The writes may be gathered by
 *      the callback: the buffers stay in place until cfs_tree_committed.
 *   3. after the root page is durable, cfs_tree_committed: dirty nodes become
 *      clean.  If it failed, the container is closed: there is no way back.
 *
 * A node is never changed once it has an address of this commit and was
 * written; between place and write its content may still change.
 *
 * Memory: clean nodes are kept up to a cap that all trees of a cfs_node_cache
 * share, least recently used first out; dirty nodes are not evicted and their
 * count is known.  Nodes on the path of an operation in progress are pinned.
 *
 * Damage: a node that does not verify makes the operation fail with -EUCLEAN
 * and changes nothing.  Depth, counts and pointers come from verified nodes
 * only, a child's level is its parent's minus one and its range is inside its
 * parent's, so that no loop and no unbounded descent is possible.
 *
 * Failure of an operation for want of memory or a failed read leaves the tree
 * as it was.
 *
 * Thread safety: none; the container's lock is held by the caller.
 */
#pragma once

#include "base/err.h"
#include "ondisk/node.h"

struct cfs_node_cache;
struct cfs_tree;

struct cfs_key {
	uint64_t w[CFS_KEY_WORDS_MAX]; /* unused words are 0 */
};

/* <0, 0, >0 */
int cfs_key_cmp(const struct cfs_key *a, const struct cfs_key *b);

struct cfs_tree_ops {
	/*
	 * Read the node that @ref names into @buf (4096 bytes, aligned to as
	 * many): content that matches ref->csum, from whichever copy has it.
	 * It does not use any tree of the cache.
	 */
	int (*read)(void *ctx, unsigned int tree_id,
		    const struct cfs_node_ref *ref, void *buf,
		    struct cfs_err *err);
	/*
	 * New addresses for a node: sets ret->vaddr (one or two copies) and
	 * ret->stamp (the stamp of this commit).
	 */
	int (*alloc)(void *ctx, unsigned int tree_id, uint64_t node_number,
		     struct cfs_node_ref *ret, struct cfs_err *err);
	/* The blocks of @ref are no longer used as of this commit. */
	int (*release)(void *ctx, unsigned int tree_id,
		       const struct cfs_node_ref *ref, struct cfs_err *err);
	/* Write a sealed node, aligned to its length, to all of ref->vaddr
	 * (with its tag: the node's number is its offset). */
	int (*write)(void *ctx, unsigned int tree_id, uint64_t node_number,
		     const struct cfs_node_ref *ref, const void *node,
		     struct cfs_err *err);
	/* These, at most CFS_TREE_AHEAD_MAX, are going to be read one by one,
	 * and nothing that was told before: a hint, which may be NULL. */
	void (*ahead)(void *ctx, const struct cfs_node_ref *refs,
		      unsigned int count);
};
#define CFS_TREE_AHEAD_MAX 256u

/*
 * @clean_bytes_max: cap for clean nodes of all trees of the cache.
 */
int cfs_node_cache_new(uint64_t clean_bytes_max, struct cfs_node_cache **ret,
		       struct cfs_err *err);
void cfs_node_cache_free(struct cfs_node_cache *cache); /* after its trees */
/*
 * Nobody is at work: pages of nodes that are in no tree go back to the system.
 * A commit has left as many as were dirty in it, spread over all chunks.
 */
void cfs_node_cache_rest(struct cfs_node_cache *cache);

struct cfs_tree_config {
	unsigned int tree_id;   /* 1..255 */
	unsigned int key_words; /* 1..3 */
	uint64_t container_id;
	const struct cfs_tree_ops *ops; /* must outlive the tree */
	void *ctx;
};

/*
 * Open a tree.  root->ref.vaddr[0] == 0: it is empty.  Reads nothing yet.
 */
int cfs_tree_open(const struct cfs_tree_config *config,
		  const struct cfs_tree_root *root,
		  struct cfs_node_cache *cache, struct cfs_tree **ret,
		  struct cfs_err *err);
/* Dirty nodes are forgotten.  NULL is allowed. */
void cfs_tree_close(struct cfs_tree *tree);

/* The root as of now; its ref is right after cfs_tree_write. */
void cfs_tree_root(const struct cfs_tree *tree, struct cfs_tree_root *ret);

uint64_t cfs_tree_record_count(const struct cfs_tree *tree);
/* Dirty nodes, placed or not. */
size_t cfs_tree_dirty_count(const struct cfs_tree *tree);
/*
 * Dirty nodes that have no address of this commit yet, and blocks that were
 * not given up yet: what cfs_tree_place has left to do.
 */
size_t cfs_tree_unplaced_count(const struct cfs_tree *tree);

/*
 * Get the record with @key.  @ret_bytes: its whole length, also if it is
 * longer than @buf_bytes (then only so much is copied).
 * Returns 0; -ENOENT without setting @err; -EUCLEAN, -EIO, -ENOMEM.
 */
int cfs_tree_get(struct cfs_tree *tree, const struct cfs_key *key, void *buf,
		 size_t buf_bytes, size_t *ret_bytes, struct cfs_err *err);

/*
 * Records at or next to @keys, ascending, at most CFS_TREE_AHEAD_MAX, are going
 * to be asked for, put or deleted: what leads there is read now, many nodes at
 * a time.  A hint, which tells of no error.
 */
void cfs_tree_expect(struct cfs_tree *tree, const struct cfs_key *keys,
		     unsigned int count);
/* The same a little later: what is missing is begun to be read, and waited for
 * when it is asked for. */
void cfs_tree_expect_later(struct cfs_tree *tree, const struct cfs_key *keys,
			   unsigned int count);

/*
 * Set the record with @key, new or not.  @value_bytes <= CFS_VALUE_BYTES_MAX;
 * @value may be that of a cursor.
 * @ret_old_bytes (may be NULL): length of the value that was replaced,
 * SIZE_MAX if there was none.
 * Returns 0; -EINVAL: the value is too long; -EOVERFLOW: no more nodes can be
 * numbered; -EUCLEAN, -EIO, -ENOMEM.
 */
int cfs_tree_put(struct cfs_tree *tree, const struct cfs_key *key,
		 const void *value, size_t value_bytes, size_t *ret_old_bytes,
		 struct cfs_err *err);
/* The same; what stood there is copied into @old, of CFS_VALUE_BYTES_MAX. */
int cfs_tree_swap(struct cfs_tree *tree, const struct cfs_key *key,
		  const void *value, size_t value_bytes, void *old,
		  size_t *ret_old_bytes, struct cfs_err *err);

/*
 * Remove the record with @key.  -ENOENT (no @err) if there is none.  A
 * damaged neighbour is only an error if the node would be left empty.
 */
int cfs_tree_del(struct cfs_tree *tree, const struct cfs_key *key,
		 struct cfs_err *err);

/*
 * The node of @level whose range @low is in, if a copy of it stands at @vaddr:
 * it is changed, as if a record in it were, so that the next commit writes it
 * elsewhere.  Else nothing is done.  0; -EUCLEAN, -EIO, -ENOMEM.
 */
int cfs_tree_rewrite(struct cfs_tree *tree, const struct cfs_key *low,
		     unsigned int level, uint64_t vaddr, struct cfs_err *err);

/*
 * Cursor: a position in the order of the keys.  It survives changes of the
 * tree (it seeks again by its last key), so "find, change, next" works.
 * The value is a pointer into the node, valid until the next operation on
 * any tree of the cache.
 */
struct cfs_cursor {
	struct cfs_tree *tree;
	struct cfs_key key; /* of the present record */
	const uint8_t *value;
	size_t value_bytes;
	/* private: */
	void *leaf;
	unsigned int slot;
	uint64_t change; /* tree's change count at the time */
};

/*
 * Place the cursor on the first record with key >= @key (ge), or the last one
 * with key <= @key (le).
 * Returns 0; -ENOENT (no @err): there is none; or an error.
 */
int cfs_cursor_ge(struct cfs_cursor *cur, struct cfs_tree *tree,
		  const struct cfs_key *key, struct cfs_err *err);
int cfs_cursor_le(struct cfs_cursor *cur, struct cfs_tree *tree,
		  const struct cfs_key *key, struct cfs_err *err);
int cfs_cursor_next(struct cfs_cursor *cur, struct cfs_err *err);
int cfs_cursor_prev(struct cfs_cursor *cur, struct cfs_err *err);

/*
 * The same as _ge and _next, but leaves in which nothing was changed by a
 * commit behind @stamp are passed over, with all that lies below a node of
 * which that is true: what changed since is found without a look at the rest.
 * What is found may be older all the same.
 */
int cfs_cursor_ge_newer(struct cfs_cursor *cur, struct cfs_tree *tree,
			const struct cfs_key *key, uint64_t stamp,
			struct cfs_err *err);
int cfs_cursor_next_newer(struct cfs_cursor *cur, uint64_t stamp,
			  struct cfs_err *err);
/* Rises with each record that is put or removed. */
uint64_t cfs_tree_edit_count(const struct cfs_tree *tree);

/*
 * The three steps of a commit; see above.
 * @budget: nodes that may be placed, blocks that may be given up, or nodes that
 * may be written; what was done is taken off.  Each may be called again, behind
 * a failure too, and goes on where it was; only a round of cfs_tree_place over
 * all trees that takes nothing off was the last.
 * cfs_tree_write and cfs_tree_committed are called for all trees, changed or
 * not; from the first call of the one to that of the other the tree may be read
 * but not changed (an assert).  cfs_tree_write returns 1 if more is left.
 */
int cfs_tree_place(struct cfs_tree *tree, uint64_t *budget,
		   struct cfs_err *err);
int cfs_tree_write(struct cfs_tree *tree, uint64_t *budget,
		   struct cfs_err *err);
void cfs_tree_committed(struct cfs_tree *tree);

/*
 * Walk all nodes of the tree as they are on the device (clean state), for
 * check and rebuild tests: @visit gets each verified node once, parents before
 * children; non-zero stops the walk and is returned.  A node that does not
 * verify or cannot be read is given to @damaged (may be NULL) with its ref, and
 * the walk goes on beside it; the walk then returns -EUCLEAN at the end.  What
 * was changed since the last commit is not seen.
 */
int cfs_tree_walk(struct cfs_tree *tree,
		  int (*visit)(void *arg, const struct cfs_node_ref *ref,
			       unsigned int level, const void *node,
			       struct cfs_err *err),
		  void (*damaged)(void *arg, const struct cfs_node_ref *ref,
				  unsigned int level,
				  const struct cfs_err *why),
		  void *arg, struct cfs_err *err);
