/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside of the tree: nodes in memory, the cache they live in, and paths.
 *
 * What must stay true between operations:
 *
 * N1  A node in memory hangs in its parent's @children at the slot of its
 *     record, and has the parent in @parent; only the root has none.  So a
 *     node is found without any index, and one with children in memory is
 *     never evicted.
 * N2  A dirty node's parent is dirty.  The address that a dirty parent's
 *     record holds for a dirty child is stale until the tree is written.
 * N3  The children of a node cut its range into pieces without gap or
 *     overlap: the record's key is the child's low key, the next record's key
 *     (or the node's high end) is its high key.  A node that was read is held
 *     against this exactly, which is why no damage can make a loop.
 * N4  Only the root may be a leaf without records; an interior node has at
 *     least two children.
 * N5  The image holds slots and records only; its header is stale while the
 *     node is in memory and made anew when it is written.
 * N6  Blocks that this commit gives up stand once in @given_up, from the
 *     moment their node became dirty (or went away).
 */
#pragma once

#include <assert.h>
#include <stdbool.h>

#include "base/vec.h"
#include "tree/tree.h"

#define CFS_TNODE_ROOM_BYTES                                                   \
	((unsigned int)(CFS_NODE_BYTES - sizeof(struct cfs_node_header_disk)))
#define CFS_SLOT_BYTES         ((unsigned int)sizeof(le16))
#define CFS_REF_BYTES          ((unsigned int)sizeof(struct cfs_node_ref_disk))
/* The most that a node can hold, and one that does not fit any more. */
#define CFS_TNODE_RECORDS_MAX  (4000u / (8 + 2 + 2) + 1)
#define CFS_TNODE_CHILDREN_MAX (4000u / (8 + 32 + 2) + 1)
#define CFS_TREC_BYTES_MAX     (8 * CFS_KEY_WORDS_MAX + 2 + CFS_VALUE_BYTES_MAX)
#define CFS_TREE_HEIGHT_MAX    (CFS_NODE_LEVEL_MAX + 1)
/* Below it a node looks for a sibling to merge with. */
#define CFS_TNODE_USED_MIN     (CFS_TNODE_ROOM_BYTES / 4)
/* Two that have more are evened out: a full node would soon split again. */
#define CFS_TNODE_MERGED_MAX   (CFS_TNODE_ROOM_BYTES - CFS_TNODE_ROOM_BYTES / 8)
/* The blocks one operation can give up: path, siblings, twice. */
#define CFS_GIVEN_UP_PER_OP    (4 * CFS_TREE_HEIGHT_MAX + 4)

/* One for what is given out in order, one for what is given back anywhere. */
#define CFS_TREE_FINGERS       2u

#define CFS_TNODE_NO_SLOT      UINT16_MAX

struct cfs_tnode;
struct cfs_tnode_chunk;

struct cfs_trange {
	struct cfs_key low;
	struct cfs_key high; /* 0 if @is_open */
	bool is_open;        /* no high end */
};

struct cfs_tnode_list {
	struct cfs_tnode *first, *last;
	size_t count;
};

struct cfs_tnode {
	uint8_t *image;              /* 4096 bytes, aligned to as many */
	struct cfs_tnode **children; /* interior: in memory, or NULL */
	uint16_t record_count;
	uint16_t records_start; /* lowest byte used by a record */
	uint16_t live_bytes;    /* of all records, without slots */
	uint16_t cached_count;  /* children in memory */
	uint16_t last_slot;     /* of the last record put: see split */
	uint16_t found_slot;    /* where the last search ended: a hint */
	uint8_t level;
	bool is_dirty;
	bool is_placed; /* dirty, and @ref is its new address */
	bool is_sealed; /* placed, and written with what is in @image */
	bool is_given;  /* free, and its image's page is the system's */

	struct cfs_tnode *parent; /* NULL: the root */
	struct cfs_tree *tree;
	struct cfs_tnode_list *list; /* that it is on; NULL: none */
	struct cfs_tnode *prev, *next;
	struct cfs_tnode_chunk *chunk;

	struct cfs_node_ref ref; /* clean or placed: where it is */
	uint64_t number;
	struct cfs_trange range;
};

struct cfs_node_cache {
	struct cfs_tnode_list lru; /* clean, no children; first: newest */
	size_t clean_count;        /* in the list or not */
	size_t clean_count_max;
	size_t tree_count;
	struct cfs_tnode_chunk *chunks; /* that have a free node, first ones */
	bool is_reading;                /* a read callback runs */
};

struct cfs_tree {
	struct cfs_tree_config config;
	struct cfs_node_cache *cache;
	struct cfs_tnode *root; /* NULL: empty, or not in memory */
	/* As of now, but for ref: that of the last cfs_tree_write. */
	struct cfs_tree_root info;
	struct cfs_tree_root committed;
	struct cfs_tnode_list unplaced;
	struct cfs_tnode_list placed;
	CFS_VEC(struct cfs_node_ref) given_up;
	uint64_t change;           /* of records or of what is in memory */
	uint64_t edits;            /* of records alone */
	struct cfs_tnode *placing; /* for which ops->alloc runs */
	/* Leaves that were asked for last; in memory, or NULL. */
	struct cfs_tnode *fingers[CFS_TREE_FINGERS];
	/* Leaves that are read from left to right: whose the last one was (a
	 * number, never followed), and how many in a row. */
	struct {
		uintptr_t parent;
		unsigned int slot;
		unsigned int run;
		unsigned int asked; /* up to this slot of it */
	} scan;
	bool is_placing;
	bool is_written; /* until it is committed */
};

/* Nodes from the root (highest index) to a leaf (0). */
struct cfs_tpath {
	struct cfs_tnode *nodes[CFS_TREE_HEIGHT_MAX];
	/* slots[l]: in nodes[l], of nodes[l - 1] */
	unsigned int slots[CFS_TREE_HEIGHT_MAX];
};

/* A record on its way from one node image to another. */
struct cfs_trec {
	const uint8_t *bytes;
	unsigned int n;
	struct cfs_tnode *child; /* interior: in memory, or NULL */
};

/* node.c: keys and records in one node */

static inline unsigned int cfs_tkey_bytes(const struct cfs_tree *tree)
{
	return 8 * tree->config.key_words;
}

static inline uint8_t *cfs_tnode_record(const struct cfs_tnode *node,
					unsigned int slot)
{
	le16 at;

	memcpy(&at,
	       node->image + sizeof(struct cfs_node_header_disk) +
		       CFS_SLOT_BYTES * slot,
	       sizeof(at));
	return node->image + le16_get(at);
}

static inline struct cfs_key cfs_tkey_load(const uint8_t *p, unsigned int words)
{
	struct cfs_key key = { .w = { 0 } };
	le64 w;

	for (unsigned int i = 0; i < words; i++) {
		memcpy(&w, p + 8 * i, sizeof(w));
		key.w[i] = le64_get(w);
	}
	return key;
}

void cfs_tkey_store(uint8_t *p, const struct cfs_key *key, unsigned int words);
/* The next key up or down; false: there is none. */
bool cfs_tkey_inc(struct cfs_key *key, unsigned int words);
bool cfs_tkey_dec(struct cfs_key *key, unsigned int words);

/* With slots. */
static inline unsigned int cfs_tnode_used_bytes(const struct cfs_tnode *node)
{
	return node->live_bytes + CFS_SLOT_BYTES * node->record_count;
}

static inline unsigned int cfs_tnode_free_bytes(const struct cfs_tnode *node)
{
	return CFS_TNODE_ROOM_BYTES - cfs_tnode_used_bytes(node);
}

unsigned int cfs_tnode_record_bytes(const struct cfs_tnode *node,
				    unsigned int slot);
/* Value of a leaf's record. */
const uint8_t *cfs_tnode_value(const struct cfs_tnode *leaf, unsigned int slot,
			       size_t *ret_bytes);
/* First slot whose key is >= @key; @ret_is_equal. */
unsigned int cfs_tnode_search(struct cfs_tnode *node, const struct cfs_key *key,
			      bool *ret_is_equal);
/* Slot of the child whose range @key is in. */
unsigned int cfs_tnode_child_slot(struct cfs_tnode *node,
				  const struct cfs_key *key);
struct cfs_trange cfs_tnode_child_range(const struct cfs_tnode *node,
					unsigned int slot);
/* The node has room, or for replace: has it without the old record. */
void cfs_tnode_insert(struct cfs_tnode *node, unsigned int slot,
		      const uint8_t *rec, unsigned int n,
		      struct cfs_tnode *child);
void cfs_tnode_remove(struct cfs_tnode *node, unsigned int slot);
void cfs_tnode_replace(struct cfs_tnode *node, unsigned int slot,
		       const uint8_t *rec, unsigned int n);
/* Give the record at @slot of an interior node another key. */
void cfs_tnode_rekey(struct cfs_tnode *node, unsigned int slot,
		     const struct cfs_key *key);
/*
 * The records of @node as they stand in @image, its own or a copy of it from
 * which they can be put back.  Returns how many.
 */
unsigned int cfs_tnode_gather(const struct cfs_tnode *node,
			      const uint8_t *image, struct cfs_trec *recs);
/* Replace all records; @recs do not point into the node's image. */
void cfs_tnode_fill(struct cfs_tnode *node, const struct cfs_trec *recs,
		    unsigned int count);
/*
 * Put a record more into a node that has no room for it, and a part of all
 * into @right, an empty node of the same level.  @is_replace: it takes the
 * place of the one at @slot.
 */
void cfs_tnode_split(struct cfs_tnode *left, struct cfs_tnode *right,
		     unsigned int slot, bool is_replace, const uint8_t *rec,
		     unsigned int n, struct cfs_tnode *child);
/* All of @right, the next sibling, into @left. */
void cfs_tnode_merge(struct cfs_tnode *left, struct cfs_tnode *right);
/* As much in one as in the other; the parent's record is not touched. */
void cfs_tnode_even_out(struct cfs_tnode *left, struct cfs_tnode *right);

/* cache.c: nodes in memory */

/* Neither dirty nor clean nor in a list yet; -ENOMEM: no @err is set. */
int cfs_tnode_new(struct cfs_tree *tree, unsigned int level,
		  struct cfs_tnode **ret);
/* @node is on no list and counted nowhere. */
void cfs_tnode_free(struct cfs_tnode *node);
void cfs_tnode_list_push(struct cfs_tnode_list *list, struct cfs_tnode *node);
void cfs_tnode_list_remove(struct cfs_tnode *node);
/* It is clean from now on: counted, and evictable if it has no children. */
void cfs_tnode_clean(struct cfs_tnode *node);
void cfs_tnode_unclean(struct cfs_tnode *node);
/* It was used. */
void cfs_tnode_touch(struct cfs_tnode *node);
/* Into a parent's slot, out of it; both in memory. */
void cfs_tnode_link(struct cfs_tnode *parent, unsigned int slot,
		    struct cfs_tnode *node);
void cfs_tnode_unlink(struct cfs_tnode *node);
/* All of the tree that is in memory. */
void cfs_tnode_free_below(struct cfs_tnode *node);
/*
 * Evict down to the cap.  Only called when an operation begins, when no node
 * is in use: what an operation reads stays until it is done.
 */
void cfs_node_cache_shrink(struct cfs_node_cache *cache);

/* load.c: nodes from the device */

/* What a header says that cfs_tnode_check has found to be true. */
struct cfs_tnode_facts {
	uint64_t number;
	unsigned int record_count;
	unsigned int records_start;
	unsigned int live_bytes;
};

int cfs_tnode_check(const struct cfs_tree *tree, const void *image,
		    const struct cfs_node_ref *ref, unsigned int level,
		    const struct cfs_trange *range, bool is_root,
		    struct cfs_tnode_facts *ret, struct cfs_err *err);
/* Read and check, not into the cache; @image: 4096 bytes. */
int cfs_tnode_read(const struct cfs_tree *tree, const struct cfs_node_ref *ref,
		   unsigned int level, const struct cfs_trange *range,
		   bool is_root, void *image, struct cfs_tnode_facts *ret,
		   struct cfs_err *err);
/* The child at @slot, read if need be. */
int cfs_tnode_child(struct cfs_tnode *node, unsigned int slot,
		    struct cfs_tnode **ret, struct cfs_err *err);
/* The same of one that is not in memory. */
int cfs_tnode_load_child(struct cfs_tnode *node, unsigned int slot,
			 struct cfs_tnode **ret, struct cfs_err *err);
/* What the record at @slot says of its child. */
struct cfs_node_ref cfs_tnode_child_ref(const struct cfs_tnode *node,
					unsigned int slot);
/* tree->root, read if need be; NULL if the tree is empty. */
int cfs_tree_load_root(struct cfs_tree *tree, struct cfs_err *err);
/*
 * Leaf whose range @key is in.  Returns 0, -ENOENT without @err if there is
 * no root, or an error.
 */
int cfs_tree_descend(struct cfs_tree *tree, const struct cfs_key *key,
		     struct cfs_tnode **ret_leaf, struct cfs_err *err);
/* The way from the root to it. */
void cfs_tnode_path(struct cfs_tnode *leaf, struct cfs_tpath *ret);

/* ahead.c */

/* The child at @slot is about to be read: those behind it too, if this is
 * one that goes from leaf to leaf. */
void cfs_tnode_look_ahead(struct cfs_tnode *node, unsigned int slot);

/* change.c: what put and del share */

/* Beginning of an operation that reads. */
void cfs_tree_enter(struct cfs_tree *tree);
/* Beginning of one that changes: room in given_up.  0 or -ENOMEM. */
int cfs_tree_enter_change(struct cfs_tree *tree, struct cfs_err *err);
/* Make @node and all above it dirty. */
void cfs_tnode_dirty(struct cfs_tnode *node);
/* A new node, from cfs_tnode_new, becomes part of the tree, dirty. */
void cfs_tnode_adopt(struct cfs_tnode *node);
/* A node that is linked nowhere any more goes away for good. */
void cfs_tnode_drop(struct cfs_tnode *node);
