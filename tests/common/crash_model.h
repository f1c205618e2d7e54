/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a pool should hold, in plain memory: containers with a LUN or a tree,
 * their clones and snapshots.  It knows nothing of how cfs does it.
 *
 * Model and pool are compared as text: model_render writes one container, and
 * crash_world.h writes what a real one shows in the same words.  So a state
 * that is acceptable after a crash is a string among a few others.
 */
#pragma once

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

#define MODEL_CONTAINERS  6u
#define MODEL_VOLUMES     5u /* the first is the production one */
#define MODEL_SNAPSHOTS   8u
#define MODEL_NODES       28u
#define MODEL_ENTRIES     48u
#define MODEL_NAME_BYTES  24u
#define MODEL_PATH_BYTES  48u
#define MODEL_BLOCK_BYTES 4096u

enum crash_op_kind {
	/* any volume */
	OP_SYNC,
	OP_COMMIT,
	OP_REOPEN,
	OP_SNAP,
	OP_SNAP_RM,
	OP_SNAP_RENAME,
	OP_CLONE,
	OP_ROLLBACK,
	OP_CREATE,
	OP_RM,
	OP_RENAME,
	OP_TRIM,
	/* the process dies, and the next one opens the pool */
	OP_KILL,
	/* LUN */
	OP_WRITE,
	OP_PUNCH,
	OP_RESIZE,
	/* tree */
	OP_TCREATE,
	OP_TWRITE,
	OP_TRENAME,
	OP_TLINK,
	OP_TUNLINK,
	OP_TMKDIR,
	OP_TRMDIR,
	OP_TTRUNCATE,
	OP_TXATTR,
	OP_TSYMLINK,
	OP_TPUNCH,
};

/*
 * One call.  @volume is "a" or "a/c"; @name and @name2: a snapshot, a clone, a
 * new name, or a path in a tree.  Bytes written follow from @seed.
 */
struct crash_op {
	enum crash_op_kind kind;
	char volume[MODEL_PATH_BYTES];
	char name[MODEL_PATH_BYTES];
	char name2[MODEL_PATH_BYTES];
	uint64_t offset, length, seed;
	bool is_tree; /* create */
};

/* Bytes @offset and on of what @seed stands for. */
void crash_bytes(uint64_t seed, uint64_t offset, uint8_t *buf, size_t bytes);
/* One line, for messages. */
void crash_op_text(const struct crash_op *op, struct cfs_buf *ret);
/* Which calls are durable when they return 0. */
bool crash_op_is_durable(const struct crash_op *op);

struct model;
struct model *model_new(void);
void model_free(struct model *m); /* NULL is allowed */

/*
 * Do it.  0 or a negative errno, and then nothing is changed; callers compare
 * only whether it fails, as one call may have two things wrong.
 * @ret_slot: the container that it is about; -1: none (reopen), or not found.
 */
int model_apply(struct model *m, const struct crash_op *op, int *ret_slot);

/* One container's state, kept aside, and put back as often as one likes. */
struct container;
struct container *model_slot_copy(const struct model *m, unsigned int slot);
void model_slot_set(struct model *m, unsigned int slot,
		    const struct container *c);
void model_slot_free(struct container *c);

/* The container in @slot as text; empty if there is none. */
void model_render(const struct model *m, unsigned int slot,
		  struct cfs_buf *ret);

/* Shared with the rendering of real volumes. */
void crash_render_volume(struct cfs_buf *ret, const char *volume,
			 const char *snap, bool is_tree, uint64_t size_bytes);
void crash_render_block(struct cfs_buf *ret, uint64_t index,
			const uint8_t *block);
struct crash_node_text {
	const char *path;
	char type;           /* d, f, l */
	unsigned int number; /* of the inode, by first visit */
	unsigned int nlink;
	uint64_t size_bytes;
	const uint8_t *data;
	const uint8_t *xattr;
	size_t xattr_bytes;
};
void crash_render_node(struct cfs_buf *ret, const struct crash_node_text *n);

/* For generators: what there is.  NULL: nothing in that place. */
const char *model_container_name(const struct model *m, unsigned int slot,
				 bool *ret_is_tree);
const char *model_clone_name(const struct model *m, unsigned int slot,
			     unsigned int volume);
const char *model_snapshot_name(const struct model *m, unsigned int slot,
				unsigned int volume, unsigned int index);
uint64_t model_size_bytes(const struct model *m, unsigned int slot,
			  unsigned int volume);
/* The path of some entry of a tree, a directory or not; false: none. */
bool model_pick_path(const struct model *m, unsigned int slot,
		     unsigned int volume, uint64_t random, bool wants_dir,
		     char ret[MODEL_PATH_BYTES]);
/* How many inodes a tree has. */
unsigned int model_node_count(const struct model *m, unsigned int slot,
			      unsigned int volume);
