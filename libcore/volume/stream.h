/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Streams (ondisk/stream.h): reading one from bytes, making one of a snapshot,
 * and making a snapshot of one.
 */
#pragma once

#include "volume/diff.h"
#include "volume/volume.h"

/* ---- reading ------------------------------------------------------------- */

/* One record, verified; valid during the call. */
struct cfs_stream_item {
	enum cfs_stream_type type;
	struct cfs_stream_position at, end; /* its key; behind it */
	union {
		const struct cfs_stream_begin *begin;
		struct cfs_stream_meta meta;
		uint64_t gone_ino;
		struct cfs_stream_data data;
		struct cfs_stream_hole hole;
		struct cfs_stream_end stream_end;
	};
	const uint8_t *blocks; /* DATA; aligned for direct I/O */
};
/* 0, or what ends the reading. */
typedef int (*cfs_stream_item_fn)(void *arg, const struct cfs_stream_item *item,
				  struct cfs_err *err);

struct cfs_stream_totals {
	uint64_t bytes; /* of the stream */
	uint64_t records;
	uint64_t data_bytes;
};

/*
 * A stream that comes in pieces of any length.  It is not trusted: no byte is
 * used before it is verified, no more than one record is kept, and keys only
 * rise.
 * Thread safety: none.
 */
struct cfs_stream_reader;
/* @each may be NULL: it is only verified. */
int cfs_stream_reader_new(cfs_stream_item_fn each, void *arg,
			  struct cfs_stream_reader **ret, struct cfs_err *err);
void cfs_stream_reader_free(struct cfs_stream_reader *r);
void cfs_stream_reader_freep(struct cfs_stream_reader **r);
/*
 * The next bytes.  -EMEDIUMTYPE: no stream; -ENOTSUP: newer; -EUCLEAN: it was
 * altered; or what @each returned.  After a failure only totals and begin may
 * be asked for.
 */
int cfs_stream_feed(struct cfs_stream_reader *r, const void *bytes, size_t n,
		    struct cfs_err *err);
/* Nothing follows: 0 if the stream is whole; -ENODATA: it was cut;
 * -EMEDIUMTYPE: there was nothing. */
int cfs_stream_feed_end(const struct cfs_stream_reader *r, struct cfs_err *err);
/* NULL: it has not come. */
const struct cfs_stream_begin *cfs_stream_reader_begin(
	const struct cfs_stream_reader *r);
void cfs_stream_reader_totals(const struct cfs_stream_reader *r,
			      struct cfs_stream_totals *ret);

/* ---- sending ------------------------------------------------------------- */

struct cfs_stream_calls {
	int (*write)(void *arg, const void *bytes, size_t n,
		     struct cfs_err *err);
	bool (*stop)(void *arg); /* may be NULL */
	/* Bytes of data so far; may be NULL. */
	void (*progress)(void *arg, uint64_t done, uint64_t total);
	void *arg;
};

/*
 * Write the stream that @begin announces: what makes @of->to of @of->from, from
 * begin->position on.  Both are snapshots that stay; the container was
 * committed.  What cannot be read or is damaged ends it (-EUCLEAN).
 */
int cfs_stream_send(const struct cfs_diff_of *of,
		    const struct cfs_stream_begin *begin,
		    const struct cfs_stream_calls *calls,
		    struct cfs_stream_totals *ret, struct cfs_err *err);

/*
 * The text that says where a stream is to go on; @ret has room for
 * CFS_STREAM_TOKEN_BYTES.
 */
#define CFS_STREAM_TOKEN_BYTES 160u
struct cfs_stream_token {
	struct cfs_stream_identity to, from;
	struct cfs_stream_position position;
};
void cfs_stream_token_format(const struct cfs_stream_token *token, char *ret);
/* -EINVAL */
int cfs_stream_token_parse(const char *text, struct cfs_stream_token *ret,
			   struct cfs_err *err);

/* Which moment a snapshot is of, wherever it was taken. */
void cfs_snapshot_identity(const struct cfs_member *m, uint64_t stamp,
			   const struct cfs_snapshot_rec *rec,
			   struct cfs_stream_identity *ret);
/* The snapshot of a volume that is of this moment.  -ENOENT without @err. */
int cfs_snapshot_find_identity(struct cfs_member *m, uint64_t volume,
			       const struct cfs_stream_identity *id,
			       uint64_t *ret_stamp,
			       struct cfs_snapshot_rec *ret,
			       struct cfs_err *err);

/* Is the volume as it is anything else than @base, a snapshot of it?  1: yes,
 * 0: no; commits. */
int cfs_volume_differs(struct cfs_member *m, uint64_t volume,
		       const struct cfs_view *base, struct cfs_err *err);

/* ---- receiving ----------------------------------------------------------- */

/* Is a stream being received into the volume, or was it broken off?  -ENOENT
 * without @err: no. */
struct cfs_receive_rec;
int cfs_receive_get(struct cfs_member *m, uint64_t volume,
		    struct cfs_receive_rec *ret, struct cfs_err *err);

/*
 * A stream on its way into a volume.
 *
 * What comes is written at the volume's head, behind the snapshot that it
 * begins at; the RECEIVE record hides it and says how far it is.  Records are
 * applied in groups, each an operation, and each can be applied again; now and
 * then the record is brought up to date and all is made durable, in this
 * order.  So what a crash leaves holds all records before the position, and
 * perhaps some behind it, which come again.  With END come, in one operation,
 * the snapshot and the end of RECEIVE.
 */
struct cfs_receiver;

struct cfs_receiver_options {
	bool is_forced; /* give up what is newer than the base */
	void (*warn)(void *arg, const char *line); /* or NULL */
	void *arg;
};

/*
 * Begin, or go on, with what @begin announces, in a volume that nobody else
 * uses.
 * -ESTALE: it begins behind where the last one broke off; -ENOENT: the base is
 * not here; -EEXIST: the snapshot, or its name, is here; -EINVAL: another
 * volume's stream; -ECANCELED: there is something newer than the base.
 */
int cfs_receiver_new(struct cfs_member *m, uint64_t volume,
		     const struct cfs_stream_begin *begin,
		     const struct cfs_receiver_options *opt,
		     struct cfs_receiver **ret, struct cfs_err *err);
/* Make the production volume of a new container for it; durable. */
int cfs_receive_make_volume(struct cfs_member *m,
			    const struct cfs_stream_begin *begin,
			    struct cfs_err *err);
/* A record between BEGIN and END. */
int cfs_receiver_take(struct cfs_receiver *r,
		      const struct cfs_stream_item *item, struct cfs_err *err);
/* END has come: the snapshot is there.  Durable. */
int cfs_receiver_finish(struct cfs_receiver *r, struct cfs_err *err);
/* What has come is kept, durably; unless it was finished. */
int cfs_receiver_keep(struct cfs_receiver *r, struct cfs_err *err);
void cfs_receiver_free(struct cfs_receiver *r);
