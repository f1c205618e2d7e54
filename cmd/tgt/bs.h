/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tgtd's backing store for LUNs of a pool, what its files share.
 *
 *   module.c   what tgtd calls: registration, units that come and go
 *   preload.c  where tgtd does not look by itself
 *   fit.c      is this the tgtd that we know?
 *   cmd.c      commands: what is read of them, and how they end
 *   request.c  what a command does to a volume
 *   unit.c     units: a queue each, and threads that work on it
 *   pool.c     pools: ours, or asked of whoever holds them
 *
 * Two kinds of threads.  All that touches tgtd's memory, but for the bytes of
 * reads and writes, is done in tgtd's one thread: module.c and cmd.c.  It may
 * not wait for a volume, as then every target would.  So a command becomes a
 * request, which a thread of its unit works on (request.c), and which goes back
 * by a list and an eventfd of tgtd's loop (cmd.c).  Opening and closing are the
 * exception: they wait in tgtd's thread, as with any of its stores.
 *
 * Failure: tgtd may die at any moment.  What was acknowledged behind a flush is
 * in the pool's log then; nothing else of ours has to survive.  An error of the
 * volume, a lost lease among them, becomes a check condition; a request is
 * never tried again here, nor answered from memory.
 *
 * LGPL, unlike the other tools: tgtd is under version 2 of the GPL alone, and
 * this becomes part of it.  So it includes nothing of cmd/common.
 */
#pragma once

#include "base/err.h"
#include "session/session.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tgt_cmd;

/* One line into tgtd's log; any thread. */
void bs_log(const char *fmt, ...) CFS_PRINTF(1, 2);

/* ---- fit.c --------------------------------------------------------------- */

#define BS_WHY_BYTES 256u

/*
 * May we be part of this process?  Tried in a child, which may die of it: so
 * before there are threads.  False: @why says what does not fit.
 */
bool bs_fits(char why[BS_WHY_BYTES]);

/* ---- pool.c -------------------------------------------------------------- */

/* A session while units use it.  Any thread. */
struct bs_pool;

/* @path: any device.  Errors of cfs_session_open. */
int bs_pool_get(const char *path, unsigned int wait_seconds,
		struct bs_pool **ret, struct cfs_err *err);
void bs_pool_put(struct bs_pool *p);
struct cfs_session *bs_pool_session(struct bs_pool *p);
/* A call for it; how many there were. */
void bs_pool_called(struct bs_pool *p);
uint64_t bs_pool_calls(const struct bs_pool *p);
/* Memory that is not needed goes back, if there were @calls, no more, and that
 * has not been done since.  False: there were more. */
bool bs_pool_rest(struct bs_pool *p, uint64_t calls);
/*
 * A call for it has failed with @r, as @what says.  If that was the end of the
 * session, who opens the pool next gets another one, and the line is written to
 * $CFS_EXPORT_LOST, where cfs-export waits for it.
 */
void bs_pool_failed(struct bs_pool *p, int r, const char *what);
/* tgtd ends: what nobody uses is closed. */
void bs_pools_end(void);

/* ---- unit.c -------------------------------------------------------------- */

struct bs_unit;
struct bs_request;

/* @name: POOL:VOLUME or POOL:VOLUME@SNAP; the last ':' counts. */
int bs_unit_open(const char *name, unsigned int wait_seconds,
		 struct bs_unit **ret, struct cfs_err *err);
/* What is queued is done first.  NULL is allowed. */
void bs_unit_close(struct bs_unit *u);
uint64_t bs_unit_size_bytes(const struct bs_unit *u);
bool bs_unit_is_writable(const struct bs_unit *u);
void bs_unit_queue(struct bs_unit *u, struct bs_request *r);
struct cfs_io_volume *bs_unit_io(struct bs_unit *u);
/* Writes are shared; who reads before it writes is alone. */
void bs_unit_begin_write(struct bs_unit *u, bool is_alone);
void bs_unit_end_write(struct bs_unit *u);
/* What a volume's call has said: its session may be over.  A line, but not
 * many of them. */
void bs_unit_failed(struct bs_unit *u, const struct bs_request *r, int code,
		    const struct cfs_err *err);

/* ---- cmd.c --------------------------------------------------------------- */

struct bs_request {
	struct bs_request *next;
	struct tgt_cmd *cmd; /* tgtd's thread */
	uint8_t op, flags;   /* the first bytes of the CDB */
	bool is_durable;     /* synced before it is answered */
	uint8_t *data;       /* to or from the initiator */
	uint32_t data_bytes;
	unsigned int block_shift;
	uint64_t offset_bytes, length_bytes;
	uint64_t size_bytes; /* of the unit, as initiators know it */
	/* How it went. */
	uint8_t key; /* 0: well */
	uint16_t asc;
	uint32_t used_bytes; /* of @data, GET LBA STATUS */
};

/* Before the first command.  -errno. */
int bs_cmd_init(void);
/* tgtd's thread.  As the member submit of struct tgt_store. */
int bs_cmd_submit(struct tgt_cmd *cmd);
/* As a service action. */
int bs_cmd_lba_status(int host, struct tgt_cmd *cmd);
/* Whose commands these are. */
struct bs_unit **bs_unit_of(const struct tgt_cmd *cmd);
/* Any thread: all of @list back to tgtd's. */
void bs_cmds_done(struct bs_request *const *list, size_t count);

/* ---- request.c ----------------------------------------------------------- */

#define BS_READS_MAX 8u
/* May several such be run together?  At most BS_READS_MAX. */
bool bs_request_is_short_read(const struct bs_request *r);
/* In a thread of @u: one, or short reads. */
void bs_requests_run(struct bs_unit *u, struct bs_request *const *list,
		     size_t count);
