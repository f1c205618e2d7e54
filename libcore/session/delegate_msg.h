/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a secondary says to the manager of the pool, and what others ask about
 * those that there are, beside the lease protocol: types 0x0240 to 0x025f, and
 * a notice.  All requests have one body, of which each uses what it needs; all
 * may be sent again, to this manager or to the next one.
 *
 *   TAKE	who has it already, by its instance, gets the same answer again
 *   LEND	a lost answer leaves slices with the container that the secondary
 *		does not know of; they come home with it
 *   LEFT	comes in pieces; one that is there already is no other matter
 *   others	change nothing the second time
 *
 * -EREMCHG: the container is not delegated to who asks, any more.  (-ESTALE is
 * about the client, and comes from the lease table.)
 */
#pragma once

#include "base/buf.h"
#include "volume/pool_delegate.h"

enum cfs_delegate_type {
	CFS_DELEGATE_TAKE = 0x0240,   /* name, who -> a grant */
	CFS_DELEGATE_AGAIN = 0x0241,  /* container, epoch, who, address,
				       * flags -> le64 flags */
	CFS_DELEGATE_LEND = 0x0242,   /* container, epoch, value: count
				       * -> slices */
	CFS_DELEGATE_GIVE = 0x0243,   /* container, epoch, value: slice */
	CFS_DELEGATE_RETURN = 0x0244, /* container, epoch: it is closed, or
				       * at least nothing is written any
				       * more */
	CFS_DELEGATE_LIST = 0x0245,   /* -> entries; of anybody */
	/* container, epoch -> who was handed over with it (lease/hand.h); of
	 * a manager that has followed that one: a list that is not all */
	CFS_DELEGATE_CLIENTS = 0x0246,
	/* container, epoch, value: offset, flags, data: before RETURN, such a
	 * list of all clients that it had */
	CFS_DELEGATE_LEFT = 0x0247,
	/* a notice of the manager: container, le64 epoch: return it */
	CFS_DELEGATE_WANTED = 0x0260,
};
#define CFS_DELEGATE_TYPE_FIRST 0x0240u
#define CFS_DELEGATE_TYPE_LAST  0x025fu

enum cfs_delegate_flags {
	CFS_DELEGATE_HAS_CLIENTS = 1u << 0,
	CFS_DELEGATE_IS_WANTED = 1u << 1, /* of an answer: return it */
	CFS_DELEGATE_IS_LAST = 1u << 2,   /* LEFT: the last piece */
	/* AGAIN: it is about to be returned; behind the answer nobody is at
	 * work there on behalf of the manager. */
	CFS_DELEGATE_IS_LEAVING = 1u << 3,
};

struct cfs_delegate_request {
	uint64_t container;
	uint32_t epoch;
	uint32_t flags;
	uint64_t value;
	struct cfs_client_identity who;
	char name[CFS_NAME_BYTES];
	char address[CFS_SEAT_ADDRESS_BYTES];
	/* LEFT; behind the rest, and of the body it was unpacked from. */
	const uint8_t *data;
	size_t data_bytes;
};

/* Appends.  -ENOMEM. */
int cfs_delegate_request_pack(const struct cfs_delegate_request *q,
			      struct cfs_buf *buf);
/* -EPROTO. */
int cfs_delegate_request_unpack(const void *body, size_t bytes,
				struct cfs_delegate_request *ret,
				struct cfs_err *err);

struct cfs_delegate_entry {
	uint64_t container;
	uint32_t epoch;
	uint32_t state;     /* enum cfs_delegation_state */
	uint64_t client_id; /* in the manager's lease table; 0: it is
			     * away, or nobody serves */
	uint64_t pid;
	uint64_t since_ns;
	bool is_wanted; /* was asked for */
	char name[CFS_NAME_BYTES];
	char host[CFS_CLIENT_HOST_BYTES];
	char address[CFS_SEAT_ADDRESS_BYTES];
};
struct cfs_delegate_entries {
	CFS_VEC(struct cfs_delegate_entry) v;
};

/* LIST, with the body @body; its answer is appended. */
struct cfs_conn;
int cfs_delegate_list(struct cfs_conn *conn, const struct cfs_buf *body,
		      struct cfs_buf *reply, struct cfs_err *err);

int cfs_delegate_entry_pack(const struct cfs_delegate_entry *e,
			    struct cfs_buf *buf);
/* All that stand in an answer.  -EPROTO, -ENOMEM. */
int cfs_delegate_entries_unpack(const void *body, size_t bytes,
				struct cfs_delegate_entries *ret,
				struct cfs_err *err);
