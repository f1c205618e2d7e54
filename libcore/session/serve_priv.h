/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of serve_rpc share: one request at work. */
#pragma once

#include "base/hash.h"
#include "session/io_local.h"
#include "session/local.h"
#include "session/rpc.h"
#include "session/serve_rpc.h"
#include "session/serve_use.h"

#include "pool/commit_hold.h"

#include <pthread.h>

#define SERVE_HANDLES_MAX      1024u  /* of one peer */
#define SERVE_INODES_MAX       65536u /* open, of one handle */
#define SERVE_UNFINISHED_MAX   64u
#define SERVE_STAGES_BYTES_MAX (2 * CFS_RPC_STAGE_BYTES_MAX)
#define SERVE_ENTRIES_MAX      128u
#define SERVE_WAIT_MS_MAX      UINT64_C(86400000) /* then asked anew */

struct serve_inode {
	uint64_t ino;
	uint64_t count;
	UT_hash_handle hh;
};

/* See serve_onward.h. */
enum serve_step {
	SERVE_HERE,
	SERVE_STOPPED,
	SERVE_AWAY,
	SERVE_THERE,
	SERVE_LOST,
};

/* Of a container that goes from owner to owner: what is open, by its names at
 * that moment. */
struct serve_onward {
	uint64_t container;
	uint32_t epoch; /* under which it is away */
	struct cfs_use_of of;
	char volume[260]; /* cfs_session_name */
	char snap[CFS_NAME_BYTES];
	struct cfs_remote *remote; /* THERE */
	bool is_over;              /* atomic: nobody waits for that */
	struct cfs_use *kept;      /* a user, with no volume */
};

/* An open volume of a peer. */
struct serve_handle {
	uint64_t id;
	struct cfs_io_volume *v; /* AWAY, LOST: NULL */
	enum serve_step step;
	struct serve_onward onward;
	unsigned int holds; /* of serve_onward.c: it stays */
	bool is_writable;
	uint64_t patience_ns; /* for leases of others; 0: no limit */
	unsigned int users;   /* requests at work on it */
	bool is_closing;
	pthread_mutex_t lock; /* of the inodes */
	struct serve_inode *inodes;
	UT_hash_handle hh;
};

struct serve_stage {
	struct serve_stage *next;
	uint64_t token;
	size_t bytes, filled_bytes;
	uint8_t *data;
};

struct serve_running { /* a request that can be cancelled */
	struct serve_running *next;
	uint64_t token;
	bool is_cancelled; /* atomic */
};

struct serve_unfinished {
	struct serve_unfinished *next;
	char name[CFS_NAME_BYTES];
};

struct serve_peer {
	uint64_t id;
	struct cfs_serve_rpc *rpc;
	struct cfs_use_actor actor;
	bool is_local;
	unsigned int holds;     /* rpc->lock; of serve_onward.c: it stays */
	pthread_cond_t changed; /* with the lock: steps of handles */
	pthread_mutex_t lock;   /* of what follows */
	uint64_t next_handle;
	struct serve_handle *handles;
	struct serve_stage *stages;
	size_t stage_bytes;
	struct serve_running *running;
	struct serve_unfinished *unfinished;
	unsigned int unfinished_count;
	bool has_hold; /* for a dry run beside us */
	struct cfs_commit_hold hold;
	struct cfs_use *hold_use;
	UT_hash_handle hh;
};

struct cfs_serve_rpc {
	struct cfs_session *s;
	pthread_mutex_t lock;  /* of the peers */
	pthread_cond_t let_go; /* of one that was held */
	struct serve_peer *peers;
	pthread_rwlock_t structure;
	struct serve_unfinished *orphans; /* under structure */
};

struct serve_call {
	struct cfs_serve_rpc *rpc;
	struct cfs_session *s;
	struct serve_peer *peer;
	const struct cfs_rpc_row *row;
	struct cfs_server_request *request;
	struct cfs_rpc_args args;
	union cfs_rpc_ret ret;
	struct serve_running running;
	struct cfs_buf out; /* records not sent yet */
	uint64_t sent_ns;   /* when records were sent last */
	uint64_t told_ns;   /* progress */
	int broken;         /* why nothing can be sent, or 0 */
	struct cfs_err *err;
};

typedef int (*serve_fn)(struct serve_call *c);
/* What does a request; NULL: nobody. */
serve_fn serve_session_fn(uint16_t type);
serve_fn serve_io_fn(uint16_t type);
serve_fn serve_fs_fn(uint16_t type);
serve_fn serve_stream_fn(uint16_t type);

/* ---- serve_rpc.c --------------------------------------------------------- */

/* One item of the row.  0; else why the work ends. */
int serve_item(struct serve_call *c, const void *item);
/* Bytes that were read. */
int serve_data(struct serve_call *c, const void *data, size_t bytes);
/* stop and progress of the session's kind, with the call as their argument. */
bool serve_stop(void *arg);
void serve_progress(void *arg, uint64_t done, uint64_t total);

/* ---- serve_peer.c -------------------------------------------------------- */

/* Find or make.  NULL: no memory. */
struct serve_peer *serve_peer_get(struct cfs_serve_rpc *rpc,
				  const struct cfs_server_request *request);
/* Close all it has, and free it. */
void serve_peer_free(struct serve_peer *peer);

/* Takes @v.  -ENFILE: it has too many. */
int serve_handle_add(struct serve_peer *peer, struct cfs_io_volume *v,
		     bool is_writable, uint64_t *ret, struct cfs_err *err);
/* -EBADF; -ECONNRESET: it is lost.  Waits for its container.  To be put when
 * the request is done. */
int serve_handle_get(struct serve_peer *peer, uint64_t id,
		     struct serve_handle **ret, struct cfs_err *err);
void serve_handle_put(struct serve_peer *peer, struct serve_handle *h);
/* It stays until it is let go, whatever ends; with the peer's lock. */
void serve_handle_hold(struct serve_handle *h);
void serve_handle_let_go(struct serve_peer *peer, struct serve_handle *h);
/* No more requests; closed when the last of them has put it. */
int serve_handle_close(struct serve_peer *peer, uint64_t id,
		       struct cfs_err *err);
/*
 * Count an open of an inode, after it was opened; -EMFILE.  And the reverse,
 * before it is closed; -EBADF: it is not open.  So the tree knows of each open
 * that is counted here, whatever runs at the same time.
 */
int serve_inode_add(struct serve_handle *h, uint64_t ino, struct cfs_err *err);
int serve_inode_drop(struct serve_handle *h, uint64_t ino, struct cfs_err *err);

/* A piece of a request that is longer than a message. */
int serve_stage_put(struct serve_peer *peer, const struct cfs_rpc_args *args,
		    struct cfs_err *err);
/* Take a whole one; free data and it.  NULL: there is none. */
struct serve_stage *serve_stage_take(struct serve_peer *peer, uint64_t token);
void serve_stage_free(struct serve_stage *stage);

void serve_running_add(struct serve_peer *peer, struct serve_running *run);
void serve_running_drop(struct serve_peer *peer, struct serve_running *run);
void serve_running_cancel(struct serve_peer *peer, uint64_t token);

/*
 * All that is acknowledged or waits made durable, and then no commit, and no
 * volume removed, for CFS_RPC_HOLD_SECONDS or until the peer ends.  -EBUSY.
 */
int serve_hold(struct serve_peer *peer, struct cfs_err *err);

/* A volume that the peer fills, and has filled.  -EMFILE, -ENOMEM. */
int serve_unfinished_add(struct serve_peer *peer, const char *name,
			 struct cfs_err *err);
void serve_unfinished_drop(struct serve_peer *peer, const char *name);
