/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What check, scrub and rebuild need of the inside of a container, and nobody
 * else.  Nothing here is part of an operation or logged.
 *
 * All functions want the container's lock held.
 */
#pragma once

#include "block/blocks.h"
#include "tree/container_open.h"
#include "tree/space.h"

/* The page seq of the root that cfs_container_root tells. */
uint64_t cfs_repair_root_seq(const struct cfs_container *c);

/* A copy of a node that was bad when it was met, and written anew. */
struct cfs_healed_node {
	unsigned int tree_id;
	uint64_t vaddr;
	unsigned int piece;
};
#define CFS_HEALED_NODES_MAX 64u
/* Those since the last call.  Returns how many. */
unsigned int cfs_repair_take_healed(
	struct cfs_container *c,
	struct cfs_healed_node ret[CFS_HEALED_NODES_MAX]);

/* The tags of a group that is open for writing, whose pages on the device may
 * be older.  False: it is not open. */
bool cfs_repair_open_tags(struct cfs_container *c, uint64_t lslice,
			  uint32_t group,
			  struct cfs_tag_disk ret[CFS_TAGS_PER_PAGE]);
/* Set a tag of an open group; the next commit writes it. */
void cfs_repair_set_open_tag(struct cfs_container *c, uint64_t vaddr,
			     const struct cfs_tag *tag);
/* Tag pages were healed: their groups may be written to again. */
void cfs_repair_tags_healed(struct cfs_container *c);
/* Which blocks of a group are in use, as of now. */
int cfs_repair_used(struct cfs_container *c, uint64_t lslice, uint32_t group,
		    uint64_t ret[2], struct cfs_err *err);
/* The same with what was freed and may still be named by the last roots;
 * *ret_is_known: the group was ever used. */
int cfs_repair_kept(struct cfs_container *c, uint64_t lslice, uint32_t group,
		    uint64_t ret[2], bool *ret_is_known, struct cfs_err *err);
/* Is the group on loan, to us or to somebody else, or frozen? */
int cfs_repair_is_lent(struct cfs_container *c, uint64_t lslice, uint32_t group,
		       bool *ret, struct cfs_err *err);
/* Has a loan of this group a holder in this process? */
bool cfs_repair_has_group(struct cfs_container *c, uint64_t lslice,
			  uint32_t group);
/* Is this group (lslice << 22 | group) on loan to that client, as we know? */
bool cfs_repair_lends_to(struct cfs_container *c, uint64_t key,
			 uint64_t client_id);
/* Is it on loan to any client?  Then its tag page is not ours to write. */
bool cfs_repair_is_away(struct cfs_container *c, uint64_t lslice,
			uint32_t group);
/* And is that client, or the owner before us whose it was, silent: sealed, and
 * not known to be gone? */
bool cfs_repair_is_frozen(struct cfs_container *c, uint64_t lslice,
			  uint32_t group);
/* Blocks in use of a slice as the allocator counts them, and of all. */
uint64_t cfs_repair_used_blocks(const struct cfs_container *c);

/*
 * May a block or a tag page of this group be written in place?  On a pool that
 * other hosts may take over only by who has the group on loan: it is lent to us
 * for that, durably, until the repair is over, so that one that comes late hits
 * a group that is frozen.  False: it is somebody else's, or frozen.  Between
 * the two the lock is held, and the repair has ended.
 */
bool cfs_repair_hold(struct cfs_container *c, uint64_t lslice, uint32_t group);
void cfs_repair_release(struct cfs_container *c, uint64_t lslice,
			uint32_t group);
/* The same for the header of a slice, by any group of it: while one of them is
 * frozen, a slice is not given to anybody else.  Ends with cfs_repair_release
 * of that group.  False: all of them are on loan. */
bool cfs_repair_hold_slice(struct cfs_container *c, uint64_t lslice,
			   uint32_t *ret_group);
/* The node of which a copy stands there is written elsewhere by the next
 * commit. -ENOENT: no node is known there. */
int cfs_repair_move_node(struct cfs_container *c, uint64_t vaddr,
			 struct cfs_err *err);

/* A node as the walk found it. */
struct cfs_node_found {
	unsigned int tree_id;
	unsigned int level;
	struct cfs_node_ref ref;
	const void *node; /* a good copy; NULL: there is none */
	uint64_t number;
	unsigned int bad[2]; /* of each copy the bad pieces, by bit */
	unsigned int good[2];
	const char *why; /* what is wrong, where there is no good one */
};
/*
 * Walk the nodes of a tree as last committed, past the cache, reading every
 * copy of each from every piece and healing nothing.  Parents come first.
 * What lies below a node that has no good copy is not seen.
 * @visit: non-zero stops and is returned.
 */
int cfs_repair_walk(struct cfs_container *c, unsigned int tree_id,
		    int (*visit)(void *arg, const struct cfs_node_found *node,
				 struct cfs_err *err),
		    void *arg, struct cfs_err *err);

/* The records of a leaf. */
struct cfs_leaf_record {
	struct cfs_key key;
	const uint8_t *value;
	size_t value_bytes;
};
/* @node was verified.  How many there are; the one at @slot. */
unsigned int cfs_repair_record_count(const void *node);
void cfs_repair_record(const void *node, unsigned int slot,
		       struct cfs_leaf_record *ret);

/*
 * Rebuild: a container with the slices of config->mv, empty trees and nothing
 * in use, that goes on behind @root: stamp, inode numbers, log extents and
 * node numbers are taken from it, and root pages are written with a seq above
 * @root_seq.  Nothing is read, and nothing written until it commits.
 */
int cfs_repair_container_new(const struct cfs_container_config *config,
			     const struct cfs_root *root, uint64_t root_seq,
			     struct cfs_container **ret, struct cfs_err *err);
/* These blocks are in use; those that are already stay so. */
int cfs_repair_mark_used(struct cfs_container *c, uint64_t vaddr,
			 uint32_t count, struct cfs_err *err);
/* The group has tag pages of this life: what is written there goes on behind
 * them, even if nothing in it is in use. */
int cfs_repair_know_group(struct cfs_container *c, uint64_t lslice,
			  uint32_t group, struct cfs_err *err);
/* Inode numbers up to @ino were handed out. */
void cfs_repair_raise_ino(struct cfs_container *c, uint64_t ino);
/* Commit, and keep no group on loan. */
int cfs_repair_commit(struct cfs_container *c, struct cfs_err *err);
