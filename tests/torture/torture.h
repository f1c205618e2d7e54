/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the judge knows of a pool that is tortured.  It lives in memory that
 * processes share, so that it outlives those that are killed: who works on a
 * volume says first what it will do, and afterwards that it is done.
 *
 * One thread works on a volume at a time.  The judge reads the state when all
 * workers are dead.
 *
 * The content of a block is a function of (volume, block, version); version 0
 * is a hole.  So a block that is read tells which write it is from, and every
 * byte of it is checked.
 */
#pragma once

#include "base/rng.h"
#include "session/session.h"
#include "volume/fs.h"

#include <stdatomic.h>

#define LUNS         3u
#define LUN_BLOCKS   768u
#define PENDING_MAX  6u /* versions of a block between two syncs */
#define SNAPS        6u
#define FILES        12u
#define FILE_BLOCKS  24u
#define TREE_OPS_MAX 48u /* between two syncs */
#define BLOCK        4096u

enum snap_state { SNAP_NONE, SNAP_TAKING, SNAP_THERE, SNAP_GOING };

struct lun_snap {
	enum snap_state state;
	uint32_t number; /* its name is "s%u" */
	uint32_t at[LUN_BLOCKS];
};

struct lun_state {
	uint32_t number; /* its name is "lun%u" */
	uint32_t next_version, next_snap;
	uint32_t synced[LUN_BLOCKS];
	uint32_t pending[LUN_BLOCKS][PENDING_MAX];
	uint32_t pending_count[LUN_BLOCKS];
	struct lun_snap snaps[SNAPS];
	uint32_t rolling; /* 1 + snapshot: a rollback is under way */
};

struct file_state {
	bool exists;
	uint32_t blocks; /* its size */
	uint32_t versions[FILE_BLOCKS];
};

struct tree_state {
	struct file_state files[FILES];
};

enum tree_op_kind {
	TREE_CREATE,
	TREE_WRITE,
	TREE_TRUNCATE,
	TREE_RENAME,
	TREE_UNLINK,
	TREE_KINDS,
};

struct tree_op {
	enum tree_op_kind kind;
	uint32_t file, other;  /* RENAME: to this one */
	uint32_t block, count; /* WRITE; TRUNCATE: count */
	uint32_t version;
};

struct tree_log {
	struct tree_state synced;
	/* What came since; the last may not have happened. */
	struct tree_op ops[TREE_OPS_MAX];
	uint32_t op_count;
};

struct tree_logs {
	uint32_t next_version;
	atomic_uint current; /* the other is being made */
	struct tree_log logs[2];
};

struct torture {
	uint64_t seed;
	char pool[4096];
	char shape[64]; /* of the pool, in words */
	bool is_beside; /* this generation has a manager */
	struct lun_state luns[LUNS];
	struct tree_logs tree;
	atomic_ullong done; /* operations */
	atomic_uint full;   /* -ENOSPC */
	atomic_uint kinds;  /* a bit each: what was tried */
	atomic_bool has_failed;
	char failure[800];
};

/* The first one counts. */
void torture_fail(struct torture *t, const char *fmt, ...) CFS_PRINTF(2, 3);
/* For work that has failed as it may (space, a lease that was lost): 0 goes on,
 * 1: the worker ends.  What else fails is a failure of the test. */
int torture_excuse(struct torture *t, int r, const char *what,
		   const struct cfs_err *err);

void torture_fill(uint8_t *block, uint32_t volume, uint32_t number,
		  uint32_t version);
/* The version that the block has; UINT32_MAX: none that it could have. */
uint32_t torture_version(const uint8_t *block, uint32_t volume,
			 uint32_t number);

/* ---- a LUN --------------------------------------------------------------- */

int lun_make(struct torture *t, struct cfs_session *s, uint32_t number,
	     struct cfs_err *err);
/* Random operations until it is killed, or must end. */
void lun_work(struct torture *t, struct cfs_session *s, uint32_t number,
	      struct cfs_rng *rng);
/* Is it what it may be?  Then that is what it is from now on. */
void lun_judge(struct torture *t, struct cfs_session *s, uint32_t number);

/* ---- the tree ------------------------------------------------------------ */

int tree_make(struct torture *t, struct cfs_session *s, struct cfs_err *err);
void tree_work(struct torture *t, struct cfs_session *s, struct cfs_rng *rng);
void tree_judge(struct torture *t, struct cfs_session *s);
