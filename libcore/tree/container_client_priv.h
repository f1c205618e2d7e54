/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Client mode inside a container: what the files of the tree layer ask of it.
 * Each of these is called only where c->client is set, with the lock held.
 */
#pragma once

#include "tree/container_client.h"
#include "tree/container_priv.h"

#define CFS_CLIENT_DOUBTS       16u
#define CFS_CLIENT_SHELF_NODES  4096u /* 16 MiB */
/* Fold when so many records wait, or so many nodes are dirty, or so few stamps
 * are left. */
#define CFS_CLIENT_RECORDS_SOFT (4u << 20)
#define CFS_CLIENT_DIRTY_SOFT   4096u
#define CFS_CLIENT_STAMPS_SOFT  64u
/* Of data at home that no fold names: what a seal may have to copy. */
#define CFS_CLIENT_BLOCKS_SOFT  131072u /* 512 MiB */

/* A node that was read, kept beyond the view that named it. */
struct shelf_node {
	uint64_t vaddr;
	uint64_t csum;
	uint8_t *image;
	UT_hash_handle hh;
};

/* A place that did not verify, and in which view. */
struct client_doubt {
	uint64_t vaddr;
	uint64_t view;
};

struct client_mode {
	uint64_t id;
	struct cfs_client_rec rec;
	const struct cfs_client_source *source;
	void *source_ctx;
	bool is_checked;

	uint64_t stamp_end;
	uint64_t ino_end;
	uint32_t ino_batch; /* numbers to ask for; 0: none yet */
	uint64_t root_seq;
	uint64_t map_change;
	uint64_t total_blocks, used_blocks, left_blocks;
	uint64_t view_number; /* of those that were installed */
	uint64_t fold_seq;    /* of the last fold that was taken */
	uint64_t folds;
	uint64_t begun; /* folds, atomic */

	/* In our log, durably, and not folded. */
	struct cfs_buf records;
	uint32_t record_count;
	uint64_t named_blocks; /* by records since the last fold */

	uint64_t allowed_blocks;  /* of all groups that we have */
	uint64_t freed_blocks;    /* superseded since the last fold */
	CFS_VEC(uint64_t) spoilt; /* groups to be given back unused */
	bool returns_idle;
	bool will_hold; /* with the fold under way */
	bool is_held;   /* no operation before a new view */

	struct client_doubt doubts[CFS_CLIENT_DOUBTS];
	unsigned int doubt_next;
	struct shelf_node *shelf;
};

/* container_client_fold.c */
int cfs_client_fold_locked(struct cfs_container *c, struct cfs_err *err);
bool cfs_client_wants_fold(struct cfs_container *c);
bool cfs_client_has_changes(struct cfs_container *c);

/* container_client.c */
struct cfs_piece;
/* Of one logical slice: CFS_PIECES_MAX each. */
bool cfs_client_is_same_map(const struct cfs_piece *a,
			    const struct cfs_piece *b);
/* Trees from the view's roots; nothing is dirty any more. */
int cfs_client_install_view(struct cfs_container *c,
			    const struct cfs_client_view *view,
			    struct cfs_err *err);
/* A frame with the first @bytes of pending, @count records, is durable. */
int cfs_client_synced(struct cfs_container *c, size_t bytes, uint32_t count,
		      struct cfs_err *err);
/* -ESTALE: the lease is lost, or we were sealed: the container is closed. */
int cfs_client_may_ack(struct cfs_container *c, struct cfs_err *err);
void cfs_client_free(struct cfs_container *c);
/* Before an operation: if we hold, a view behind what it was for. */
int cfs_client_release(struct cfs_container *c, struct cfs_err *err);

/* container_client_space.c */
int cfs_client_borrow(struct cfs_container *c, uint64_t blocks,
		      struct cfs_err *err);
int cfs_client_take_loans(struct cfs_container *c,
			  const struct cfs_loans *loans, struct cfs_err *err);
/* How many to ask for with the fold under way; 0: none. */
uint32_t cfs_client_groups_wanted(const struct cfs_container *c);
int cfs_client_ensure(struct cfs_container *c, uint64_t blocks,
		      struct cfs_err *err);
int cfs_client_make_room(struct cfs_container *c, uint64_t blocks,
			 struct cfs_err *err);
int64_t cfs_client_space_left(struct cfs_container *c);
int cfs_client_new_ino(struct cfs_container *c, uint64_t *ret,
		       struct cfs_err *err);
/* Keys of the groups that go back with this fold; the caller frees them. */
int cfs_client_returns(struct cfs_container *c, uint64_t **ret,
		       size_t *ret_count, struct cfs_err *err);
void cfs_client_returned(struct cfs_container *c, const uint64_t *keys,
			 size_t count);

/* container_client_read.c */
bool cfs_client_shelf_get(struct cfs_container *c,
			  const struct cfs_node_ref *ref, void *buf);
void cfs_client_shelf_put(struct cfs_container *c,
			  const struct cfs_node_ref *ref, const void *buf);
void cfs_client_shelf_done(struct cfs_container *c);
/* What a block at @vaddr that does not verify means: -EAGAIN or -EUCLEAN. */
int cfs_client_doubt(struct cfs_container *c, uint64_t vaddr,
		     struct cfs_err *err);
