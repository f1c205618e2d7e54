/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of a container share.  The volume layer reaches it through
 * tree/container.h and the hooks of tree/hooks.h.
 */
#pragma once

#include "base/buf.h"
#include "base/hash.h"
#include "base/vec.h"
#include "block/blocks.h"
#include "log/log.h"
#include "ondisk/client.h"
#include "tree/container.h"
#include "ondisk/map.h"
#include "tree/container_open.h"
#include "tree/hooks.h"
#include "tree/repair.h"
#include "tree/space.h"

#include <pthread.h>
#include <stdatomic.h>

#define CFS_STREAM_DATA       0u
#define CFS_STREAM_META0      1u /* first copy of nodes */
#define CFS_STREAM_META1      2u /* second copy, in other slices */
#define CFS_STREAM_COUNT      3u

/* Log blocks kept back for frames that record loans. */
#define CFS_LOG_LOAN_RESERVE  48u
/* Less room than this, and an operation begins with a commit. */
#define CFS_LOG_OP_RESERVE    32u
/* Data blocks that wait in memory, at most about (32 MiB): of twice as many the
 * commit takes a fourth longer, since more of them share a leaf. */
#define CFS_DIRTY_BLOCKS_MAX  8192u
/* Pending records beyond this are better committed than logged; while the nodes
 * that a commit has to write are few, it is as well to gather more for it. */
#define CFS_PENDING_BYTES_MAX (1u << 20)
#define CFS_PENDING_BYTES_FEW (4u << 20)
#define CFS_DIRTY_NODES_FEW   20480u /* 80 MiB */

/* A group on loan to ourselves, with its tags in memory. */
struct open_group {
	uint64_t key; /* lslice << 22 | group */
	struct cfs_group g;
	uint64_t allowed[2]; /* blocks that this loan may still write */
	bool is_dirty;       /* tags changed since the last commit */
	bool is_assigned;    /* a stream writes here */
	UT_hash_handle hh;
};

/* Blocks that were freed and may not be written yet, by group. */
struct held_group {
	uint64_t key;
	uint64_t now[2];     /* freed since the last commit */
	uint64_t before[2];  /* freed by it */
	uint64_t waiting[2]; /* freed earlier, and named by the view of
			      * a client */
	UT_hash_handle hh;
};

/* Bad places of a group. */
struct bad_group {
	uint64_t key;
	uint64_t bits[2];
	UT_hash_handle hh;
};

struct slice_state {
	bool is_mapped;
	bool is_changed; /* its sum goes into the next commit */
	bool is_fresh;   /* came with the takeover under way */
	bool is_leaving; /* to go back: what is new goes elsewhere,
			  * if there is room */
	/* None of its groups that could be lent has a longer run of free
	 * blocks, or more of them. */
	uint8_t run_most, free_most;
	uint32_t used_blocks;
	uint32_t cursor; /* group to look at next */
};

struct undo_entry {
	enum { UNDO_TREE, UNDO_HELD, UNDO_CALL } kind;
	uint8_t tree_id;
	bool was_there;
	uint32_t value_bytes;
	size_t value_at; /* in undo_values */
	struct cfs_key key;
	uint64_t held_key;
	uint64_t held_mask[2];
	cfs_op_undo_fn call;
	void *call_arg;
	uint64_t call_value;
};

struct client_mode;
struct lender;
struct takeover;

/* How far a commit is; behind the last there is only the root left. */
enum commit_stage {
	COMMIT_FOLDS,   /* dirty data into the trees, and on its way home */
	COMMIT_PLACES,  /* addresses for nodes */
	COMMIT_WRITES,  /* nodes on their way; no tree changes any more */
	COMMIT_WRITTEN, /* all of them are */
};

/* Parts of a commit's writes that may be under way at a time. */
#define CFS_WRITES_BEHIND 8u

struct cfs_container {
	uint64_t id;
	uint8_t uuid[16];
	uint32_t epoch;
	unsigned int copies; /* of nodes: 2, or 1 on mirrors */
	struct cfs_metavolume *mv;
	struct cfs_blocks *blocks;
	struct cfs_node_cache *cache;
	struct cfs_log *log;
	struct cfs_tree *trees[CFS_TREE_COUNT]; /* by id - 1 */
	const struct cfs_container_hooks *hooks;
	void *hooks_ctx;
	const struct cfs_slice_source *source;
	void *source_ctx;

	pthread_mutex_t lock; /* guards everything below */
	pthread_cond_t thawed;
	bool is_frozen; /* by one thread, for a look at it all */
	pthread_t frozen_by;
	/* Writes of data whose records are there already: container_land.c. */
	atomic_uint flight_count; /* rises under the lock, falls without */
	unsigned int draining;    /* threads that wait for their end */
	pthread_cond_t landed;
	/* A sync under way, and who waits for one: container_sync.c. */
	bool is_syncing;
	uint64_t sync_begun, sync_done;
	uint64_t change_count;   /* ends of operations */
	uint64_t synced_changes; /* when the last sync began */
	pthread_cond_t synced;
	uint64_t frame_seq;         /* of the last frame of a sync */
	pthread_mutex_t frame_lock; /* under all others; guards these */
	pthread_cond_t frame_is_back;
	bool frame_is_out;
	int frame_result;
	/* The frame that is out, if its writer has kept the lock. */
	struct cfs_mv_flight *frame_flight;
	struct cfs_root root;       /* as last made durable */
	pthread_mutex_t grave_lock; /* under all others; guards these */
	uint64_t grave_vaddr[2];    /* of root */
	uint64_t grave_log_id;
	uint64_t root_seq;
	uint64_t root_vaddr[CFS_ROOT_PLACES_MAX];
	uint64_t stamp;
	uint64_t next_ino;
	uint32_t ino_ahead;    /* that a root promises, at least */
	uint64_t limit_blocks; /* 0: none */

	bool is_readonly; /* closed for writing, or opened so */
	struct cfs_err why_readonly;
	bool is_replaying;
	bool is_committing;
	bool forces_commit; /* to get held blocks back */
	bool has_spread;    /* a page that is not flushed yet */
	bool is_sealing;    /* the closing commit: no loans stay */

	/* The operation under way. */
	bool in_op;
	struct undo_entry *undo;
	size_t undo_count, undo_room;
	struct cfs_buf undo_values;
	size_t op_pending_bytes; /* pending before it */
	uint32_t op_pending_count;

	/* Records since the last frame. */
	struct cfs_buf pending;
	uint32_t pending_count;
	uint64_t direct_blocks;      /* of data at home, since the commit */
	struct cfs_buf inline_pages; /* array of const void * */
	uint8_t *frame_buf;

	/* Space. */
	struct slice_state *slices;
	uint64_t slice_room;
	uint64_t total_blocks; /* data blocks of all slices */
	uint64_t used_blocks;
	uint64_t held_blocks;
	uint64_t held_fresh; /* of these in fresh slices */
	struct open_group *groups;
	struct open_group *current[CFS_STREAM_COUNT];
	struct held_group *held;
	struct bad_group *bad;
	uint64_t bad_free; /* bad places that are free */
	bool bad_is_stale; /* count those anew */
	/* Groups whose tag pages are damaged: not written to until healed. */
	CFS_VEC(uint64_t) unfit;
	uint64_t next_loan;
	bool is_freeing;     /* wants slices for a deletion */
	bool is_opening;     /* nobody else has it yet */
	uint32_t data_batch; /* groups to lend next, for data */
	bool lacks_runs;     /* a long write has found none */
	bool grows_for_runs; /* and what is held brings none */
	bool grows_log;
	bool log_stays; /* it was to grow, and did not */

	/* Node copies that were healed when they were met, for scrub to tell;
	 * those that do not fit are forgotten. */
	struct cfs_healed_node healed[CFS_HEALED_NODES_MAX];
	unsigned int healed_count;
	/* Nodes that are read ahead, or were: not verified yet. */
	struct {
		struct cfs_mv_flight *flight; /* NULL: it has ended */
		uint8_t *images;
		uint64_t vaddr[CFS_TREE_AHEAD_MAX]; /* 0: taken, or bad */
		unsigned int count, left;
	} ahead;

	struct client_mode *client;    /* in client mode; else NULL */
	const struct cfs_fence *fence; /* shared pools; else NULL */
	bool is_checked;               /* looks behind each sync; atomic */
	struct takeover *takeover;     /* from one that may still write; only
					* fresh slices are written to */
	uint64_t new_log_id;           /* that the next root gives the log */
	struct lender *lender; /* there are or were clients; else NULL */
	uint64_t map_change;   /* rises when a slice comes or goes */
	bool names_are_whole;  /* hooks.h */

	/* The commit under way, and the stamp that it makes durable. */
	enum commit_stage commit_stage;
	uint64_t commit_stamp;
	/* One that is made in steps: container_gradual.c. */
	struct {
		bool is_on;
		struct cfs_log_position from; /* of what comes behind it */
		uint64_t work_per_page;       /* that is logged beside it */
		size_t write_part;       /* writes that are begun at a time */
		unsigned int page_syncs; /* with nothing else between */
		uint64_t refused_seq;    /* root_seq when it could not begin */
	} gradual;

	/* Writes gathered for the commit under way. */
	struct cfs_mv_write *writes;
	size_t write_count, write_room;
	struct cfs_buf page_bufs; /* array of void *, freed behind it */
	/* As many of them are under way, or have ended; the oldest first. */
	size_t writes_begun;
	struct cfs_mv_flight *behind[CFS_WRITES_BEHIND];
	unsigned int behind_count;
};

/* container_op.c */
int cfs_container_tree_put(struct cfs_container *c, unsigned int tree_id,
			   const struct cfs_key *key, const void *value,
			   size_t value_bytes, struct cfs_err *err);
int cfs_container_tree_del(struct cfs_container *c, unsigned int tree_id,
			   const struct cfs_key *key, struct cfs_err *err);
int cfs_container_undo_push(struct cfs_container *c, const struct undo_entry *e,
			    struct cfs_err *err);
/* A record of the small tables changed (@value NULL: is gone): tells whom it
 * concerns. */
int cfs_container_table_changed(struct cfs_container *c,
				const struct cfs_key *key, const void *value,
				size_t value_bytes, struct cfs_err *err);
/* Before a change of the small tables that is not an undoing. */
void cfs_container_table_changing(struct cfs_container *c,
				  const struct cfs_key *key, const void *value,
				  size_t value_bytes);
/* Close for writing; @err says why, and is kept. */
void cfs_container_poison(struct cfs_container *c, const struct cfs_err *err);

/* container_sync.c */
int cfs_container_append_frame(struct cfs_container *c,
			       const struct cfs_buf *records,
			       uint32_t record_count, struct cfs_err *err);
/* With the lock, which is kept: no frame is on its way to the devices any more.
 * An error: it did not get there. */
int cfs_container_frame_wait(struct cfs_container *c, struct cfs_err *err);

/* container_commit.c */
/* The lock, for whoever changes something: waits while it is frozen. */
void cfs_container_lock_to_change(struct cfs_container *c);
/* Wait until no write of data is under way; the lock is given back meanwhile.
 */
void cfs_container_drain_locked(struct cfs_container *c);
/* Begin what no commit can go before, with the lock.  The reverse is
 * cfs_op_end or cfs_op_abort. */
void cfs_op_start_locked(struct cfs_container *c);
int cfs_container_commit_locked(struct cfs_container *c, struct cfs_err *err);
/* So much of the commit that has begun as @budget says, which is taken off: 1
 * if more is left. */
int cfs_container_commit_some(struct cfs_container *c, uint64_t *budget,
			      struct cfs_err *err);
/* All that is left of it. */
int cfs_container_commit_rest(struct cfs_container *c, struct cfs_err *err);
int cfs_container_add_write(struct cfs_container *c, uint64_t vaddr,
			    uint32_t count, const void *buf,
			    struct cfs_err *err);
/* What was gathered, in the order of addresses, and a flush behind it. */
int cfs_container_write_all(struct cfs_container *c, struct cfs_err *err);
void cfs_container_drop_writes(struct cfs_container *c);

/* container_open.c */
int cfs_container_object_new(const struct cfs_container_config *config,
			     struct cfs_container **ret, struct cfs_err *err);
int cfs_container_open_trees(struct cfs_container *c, struct cfs_err *err);
/* What a log says, applied at open. */
int cfs_container_replay_record(struct cfs_container *c,
				const struct cfs_rec *rec, struct cfs_err *err);
/* End the operation and commit; the lock is not given back. */
int cfs_op_end_commit(struct cfs_container *c, struct cfs_err *err);

/* container_verify.c */
/* 1: the blocks of the frame's extents hold what their tags say (and with
 * @spreads do so on all pieces); 0: one does not. */
int cfs_container_verify_frame(struct cfs_container *c,
			       const struct cfs_frame *frame, const void *buf,
			       bool spreads, struct cfs_err *err);

/* container_nodes.c */
/* What was read ahead is forgotten. */
void cfs_container_ahead_done(struct cfs_container *c);
extern const struct cfs_tree_ops cfs_container_tree_ops;

/* space.c, space_group.c, space_commit.c, space_slice.c */
void cfs_space_done(struct cfs_container *c);
int cfs_space_load(struct cfs_container *c, struct cfs_err *err);
int cfs_space_add_slice(struct cfs_container *c, uint64_t lslice,
			struct cfs_err *err);
void cfs_space_drop_slice(struct cfs_container *c, uint64_t lslice);
/* Blocks that can still be promised: free ones less what the commit needs. */
int64_t cfs_space_left(struct cfs_container *c);
uint64_t cfs_space_reserve(const struct cfs_container *c);
/* Blocks that the pool keeps for takeovers, and we have. */
uint64_t cfs_space_lack(const struct cfs_container *c);
/* Make room so that @blocks more can be promised beyond the reserve. */
int cfs_space_ensure(struct cfs_container *c, uint64_t blocks,
		     enum cfs_op_kind kind, struct cfs_err *err);
int cfs_space_commit_begin(struct cfs_container *c, struct cfs_err *err);
int cfs_space_commit_pages(struct cfs_container *c, struct cfs_err *err);
void cfs_space_committed(struct cfs_container *c);
void cfs_space_close_groups(struct cfs_container *c);
/* Recovery: load the groups on loan and clear what nothing names. */
int cfs_space_recover(struct cfs_container *c, struct cfs_err *err);
/* The group of an address if it is open, else NULL. */
struct open_group *cfs_space_group(struct cfs_container *c, uint64_t vaddr);
int cfs_space_open_group(struct cfs_container *c, uint64_t key,
			 struct open_group **ret, struct cfs_err *err);
int cfs_space_alloc_stream(struct cfs_container *c, unsigned int stream,
			   uint32_t count, bool is_long, uint64_t *ret_vaddr,
			   uint32_t *ret_count, struct cfs_err *err);
/* The stream's group has nothing left, or no @run of blocks; 0: any will do. */
int cfs_space_widen(struct cfs_container *c, unsigned int stream,
		    uint64_t blocks_wanted, uint32_t run, struct cfs_err *err);
int cfs_space_bits_load(struct cfs_container *c, uint64_t key, uint64_t used[2],
			bool *ret_is_there, struct cfs_err *err);
int cfs_space_bits_store(struct cfs_container *c, uint64_t key,
			 const uint64_t used[2], struct cfs_err *err);
void cfs_space_held_bits(struct cfs_container *c, uint64_t key,
			 uint64_t ret[2]);
/* space_bad.c */
void cfs_space_bad_bits(struct cfs_container *c, uint64_t key, uint64_t ret[2]);
/* A record of the small tables is there, or gone; of any class. */
int cfs_space_bad_changed(struct cfs_container *c, const struct cfs_key *key,
			  bool is_bad, struct cfs_err *err);
int cfs_space_bad_load(struct cfs_container *c, struct cfs_err *err);
uint64_t cfs_space_bad_free(struct cfs_container *c);
bool cfs_space_bad_in_slice(struct cfs_container *c, uint64_t lslice);
void cfs_space_bad_done(struct cfs_container *c);
/* A new container: mark what its root pages and its log take. */
int cfs_space_take_root(struct cfs_container *c, uint64_t lslice,
			uint64_t *ret_vaddr, struct cfs_err *err);
int cfs_space_take_log(struct cfs_container *c, uint64_t lslice,
		       uint32_t group_count, bool is_filled,
		       struct cfs_log_extent *ret, struct cfs_err *err);
int cfs_space_log_grow(struct cfs_container *c, struct cfs_err *err);
/* It does not grow any more. */
bool cfs_space_log_is_long(const struct cfs_container *c);
/* Set @mask of a group as in use; none of it may be. */
int cfs_space_mark_used(struct cfs_container *c, uint64_t key,
			const uint64_t mask[2], struct cfs_err *err);
/* A group whose holder has died becomes our own; tags of blocks that nothing
 * names are cleared. */
int cfs_space_take_over(struct cfs_container *c, uint64_t key,
			struct cfs_err *err);
/* It does not: nothing of it is open, or written, any more. */
void cfs_space_group_forget(struct cfs_container *c, uint64_t key);
/* space_choose.c */
bool cfs_space_is_unfit(const struct cfs_container *c, uint64_t key);
/* Nothing is known any more of what its groups can have. */
void cfs_space_look_again(struct slice_state *s);
