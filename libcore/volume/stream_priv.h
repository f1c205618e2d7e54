/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the receiver share. */
#pragma once

#include "base/buf.h"
#include "ondisk/receive.h"
#include "volume/stream.h"

#include <pthread.h>

#define RECEIVE_GROUP_MAX    256u
#define RECEIVE_GROUP_BLOCKS 256u

/* Records that wait to be applied in one operation. */
struct receive_group {
	struct cfs_stream_item items[RECEIVE_GROUP_MAX];
	size_t values[RECEIVE_GROUP_MAX];   /* in @bytes */
	uint32_t blocks[RECEIVE_GROUP_MAX]; /* in @data */
	size_t count;
	uint32_t block_count;
	struct cfs_buf bytes;
	uint8_t *data;
};

#define RECEIVE_RUN_BLOCKS 1024u

/* Blocks of one inode, adjacent, that go home at once. */
struct receive_run {
	uint64_t ino, offset;
	uint32_t count;
	uint8_t *blocks;
	struct cfs_stream_position end;
};

/*
 * One run is written by a thread while the next one comes in.  The thread
 * touches nothing but the run that is its own, and how that went.
 */
struct receive_writer {
	struct receive_run runs[2];
	unsigned int filling; /* which of them; the other is the
			       * thread's while it is busy */
	pthread_t thread;
	bool has_thread;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t turned;
	bool is_busy, is_over;
	int result;
	struct cfs_err err;
};

struct cfs_receiver {
	struct cfs_member *m;
	uint64_t volume;
	uint16_t branch; /* the volume's head */
	struct cfs_stream_begin begin;
	struct cfs_receiver_options opt;
	struct cfs_receive_rec rec; /* position: behind what is applied */
	uint64_t unkept_bytes;      /* applied since it was stored */
	uint64_t kept_ns;
	bool is_finished;
	/* Something could not be written: nothing behind it may be. */
	bool is_broken;
	bool is_of_origin; /* the base is what it is a clone of */
	struct receive_group group;
	struct receive_writer writer;
};

struct cfs_key cfs_receive_key(uint64_t volume);
int cfs_receive_get_locked(struct cfs_member *m, uint64_t volume,
			   struct cfs_receive_rec *ret, struct cfs_err *err);
/* Within an operation: what came is not hidden any more, since it goes. */
int cfs_receive_give_up_locked(struct cfs_member *m, uint64_t volume,
			       struct cfs_err *err);
/* Within an operation. */
int cfs_receive_put(struct cfs_receiver *r, struct cfs_err *err);

void cfs_receive_group_init(struct cfs_receiver *r);
void cfs_receive_group_done(struct cfs_receiver *r);
/* stream_write.c: a DATA record of some length. */
void cfs_receive_run_init(struct cfs_receiver *r);
void cfs_receive_run_done(struct cfs_receiver *r);
int cfs_receive_run_add(struct cfs_receiver *r,
			const struct cfs_stream_item *item,
			struct cfs_err *err);
/* All of them are written. */
int cfs_receive_run_drain(struct cfs_receiver *r, struct cfs_err *err);
/* Apply a record, now or with others later. */
int cfs_receive_apply(struct cfs_receiver *r,
		      const struct cfs_stream_item *item, struct cfs_err *err);
/* Apply what waits. */
int cfs_receive_flush(struct cfs_receiver *r, struct cfs_err *err);
