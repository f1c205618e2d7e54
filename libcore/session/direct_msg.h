/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a client that reads and writes the devices itself says to the manager of
 * the pool, beside the lease protocol: types 0x0200 to 0x02ff.  The head, the
 * lease messages and how a long answer comes in parts are lease/msg.h's.
 *
 * All requests have one body, of which each uses what it needs.  A client of
 * the lease table may have one client of each container (tree/lend.h); their
 * number is in each request and is checked against who asks.  A request may be
 * sent again, to this manager or to the next one:
 *
 *   OPEN	counts a use of a volume; `use` is the number that the client
 *		gave it, and one that is there is only looked at again
 *   FOLD	has a number; the manager knows the last one that it took
 *   others	change nothing, or may be done twice
 */
#pragma once

#include "base/buf.h"
#include "lease/msg.h"
#include "ondisk/client.h"

enum cfs_direct_type {
	CFS_DIRECT_OPEN = 0x0200,      /* use, volume, snap or container,
					* id, stamp; client; flags; value:
					* milliseconds to wait for a lease
					* that somebody else has
					* -> cfs_direct_opened */
	CFS_DIRECT_LEAVE = 0x0201,     /* use: the reverse */
	CFS_DIRECT_VIEW = 0x0202,      /* container, client, value:
					* map_change -> a view */
	CFS_DIRECT_LEND = 0x0203,      /* container, client, value: groups
					* -> loans */
	CFS_DIRECT_LEND_INOS = 0x0204, /* container, client, value: count
					* -> le64 first, le64 end */
	CFS_DIRECT_STAGE = 0x0205,     /* container, client, value: number of
					* the fold, total, offset, data */
	CFS_DIRECT_FOLD = 0x0206,      /* container, client, value; data, or
					* what was staged -> a view */
	CFS_DIRECT_CLOSE = 0x0207,     /* container, client: it writes no
					* more, whatever is in its log */
	CFS_DIRECT_HELD = 0x0208,      /* container, client, value: serial of
					* the HOLD: nothing is begun */
	/* notices of the manager: container, value */
	CFS_DIRECT_HOLD = 0x0220,   /* a snapshot is to be taken; value:
				     * serial */
	CFS_DIRECT_GO_ON = 0x0221,  /* it was taken */
	CFS_DIRECT_RETURN = 0x0222, /* space is short: give back loans */
};
#define CFS_DIRECT_TYPE_FIRST 0x0200u
#define CFS_DIRECT_TYPE_LAST  0x02ffu

enum cfs_direct_flags {
	CFS_DIRECT_WRITES = 1u << 0,
	CFS_DIRECT_AGAIN = 1u << 1,      /* the client is one that is open, else
					  * -ESTALE */
	CFS_DIRECT_READS_ONLY = 1u << 2, /* it never writes: its log is as
					  * small as can be */
	CFS_DIRECT_IS_ALL = 1u << 3,     /* AGAIN: the last that is open */
};

#define CFS_DIRECT_VOLUME_BYTES 264u /* with the NUL */
#define CFS_DIRECT_SNAP_BYTES   136u
#define CFS_DIRECT_DATA_MAX     (CFS_MSG_BODY_MAX - 1024u)

struct cfs_direct_request {
	uint64_t container;
	uint64_t client; /* of the container */
	uint64_t volume_id;
	uint64_t stamp; /* of a snapshot; 0: none */
	uint64_t use;
	uint64_t value, total, offset;
	uint32_t flags;
	char volume[CFS_DIRECT_VOLUME_BYTES];
	char snap[CFS_DIRECT_SNAP_BYTES];
	const uint8_t *data; /* in the message */
	size_t data_bytes;
};

struct cfs_direct_opened {
	uint64_t container;
	uint8_t uuid[16];
	uint64_t client;
	uint64_t volume_id;
	uint64_t ino;
	uint64_t stamp; /* of the snapshot; 0: none */
	uint64_t size_bytes;
	uint32_t kind;
	uint16_t branch;
	bool is_checked; /* it reads its gravestone behind each
			  * sync */
	struct cfs_client_rec rec;
};

/* Bytes that no request without data, and no answer to OPEN, is longer than. */
#define CFS_DIRECT_BODY_BYTES 1024u

/* Appends; 0, -ENOMEM; -EMSGSIZE: a name or the data is too long. */
int cfs_direct_request_pack(const struct cfs_direct_request *q,
			    struct cfs_buf *buf);
/* -EPROTO.  @ret->data leads into @body. */
int cfs_direct_request_unpack(const void *body, size_t bytes,
			      struct cfs_direct_request *ret,
			      struct cfs_err *err);
int cfs_direct_opened_pack(const struct cfs_direct_opened *o,
			   struct cfs_buf *buf);
int cfs_direct_opened_unpack(const void *body, size_t bytes,
			     struct cfs_direct_opened *ret,
			     struct cfs_err *err);
