/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The messages between a manager (owner) and its clients.
 *
 * Each is a header of 24 bytes and a body.  A request has an id that its
 * sender chose, not 0; a reply carries it back, with the reply bit and a
 * status.  A notice has id 0.  On one connection each HELLO has a higher id
 * than the one before.  A reply with the more bit is followed by
 * another one to the same request: parts of a long answer, events of a watch,
 * or "your lock is queued", with the grant behind it.
 *
 * Compatibility: bytes behind the fields that we know are ignored, so fields
 * are added at the end of a body; what an old sender did not put there is an
 * error unless said otherwise.  A request of an unknown type is answered with
 * -ENOTSUP; unknown notices and replies are dropped.
 *
 * What must stay true: every field is checked here, before anybody uses it:
 * lengths against the message, enums against their range, resources for their
 * shape, strings for being UTF-8 without control characters and short enough.
 *
 * Order matters to safety at one point: a notice that a lease will not be
 * extended any more (RECALL with FINAL) reaches the client before any reply to
 * what was handled behind it.  Links keep the order; a message that is lost
 * means that the link is lost; and after a reconnect the notices come before
 * the WELCOME.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/le.h"
#include "base/uuid.h"
#include "lease/lock.h"
#include "lease/wire.h"

#define CFS_MSG_MAGIC          0x4d4c4643u /* "CFLM" in byte order */
#define CFS_MSG_VERSION        1u
#define CFS_MSG_HEAD_BYTES     24u
#define CFS_MSG_BYTES_MAX      65536u /* header and body */
#define CFS_MSG_BODY_MAX       (CFS_MSG_BYTES_MAX - CFS_MSG_HEAD_BYTES)
#define CFS_MSG_HOST_BYTES     64u /* with the NUL */
#define CFS_MSG_NAME_BYTES     64u /* what a client is called */
#define CFS_LEASE_SECRET_BYTES 16u

enum cfs_msg_type { /* le16; 14 bits and two flags */
		    /* requests */
		    CFS_MSG_HELLO = 0x0001,   /* -> cfs_msg_welcome */
		    CFS_MSG_GOODBYE = 0x0002, /* no body -> no body */
		    CFS_MSG_RENEW = 0x0003,   /* cfs_msg_renew, and perhaps
				     * cfs_msg_renew_lease, or none
				     * -> no body */
		    CFS_MSG_LOCK = 0x0004,    /* -> cfs_msg_grant */
		    /* cfs_msg_lease -> no body; with id 0 there is no answer */
		    CFS_MSG_UNLOCK = 0x0005,
		    CFS_MSG_CHANGE = 0x0006,  /* -> cfs_msg_grant */
		    CFS_MSG_CANCEL = 0x0007,  /* -> no body */
		    CFS_MSG_RECLAIM = 0x0008, /* -> cfs_msg_grant */
		    CFS_MSG_REVOKE = 0x0009,  /* cfs_msg_end -> no body */
		    CFS_MSG_GONE = 0x000a,    /* cfs_msg_end -> no body */
		    CFS_MSG_STATUS =
			    0x000b, /* -> cfs_msg_status_head, records */
		    CFS_MSG_RECLAIMED =
			    0x000d, /* no body -> no body: of what was held
				     * under the former owner nothing is
				     * open any more */
		    CFS_MSG_WATCH =
			    0x000c, /* no body -> one without a body, then
				     * cfs_msg_event, all with MORE */
		    /* notices of the owner */
		    CFS_MSG_RECALL = 0x0020,  /* cfs_msg_recall */
		    CFS_MSG_REVOKED = 0x0021, /* cfs_msg_recall: it has ended */
		    /* 0x0100 .. 0x01ff: session requests; 0x0200 .. 0x02ff:
		       data */
};
#define CFS_MSG_TYPE_LEASE_LAST 0x00ffu
#define CFS_MSG_TYPE_MASK       0x3fffu
#define CFS_MSG_TYPE_MORE       0x4000u /* another reply follows */
#define CFS_MSG_TYPE_REPLY      0x8000u

struct cfs_msg_head_disk {
	le32 magic;
	le16 version;
	le16 type;   /* with the flags */
	le32 bytes;  /* whole message, 24 .. CFS_MSG_BYTES_MAX */
	le32 status; /* reply: 0 or a positive errno, and then the
		      * body is a line of error text without NUL */
	le64 id;
};
CFS_ASSERT_SIZE(struct cfs_msg_head_disk, CFS_MSG_HEAD_BYTES);

struct cfs_msg_head {
	uint16_t version;
	uint16_t type; /* without the flags */
	bool is_reply;
	bool has_more;
	uint32_t bytes;  /* whole message */
	uint32_t status; /* 0 or a positive errno, at most 4095 */
	uint64_t id;
};

/*
 * Read a header.  @bytes may be more than one message (a stream).
 * Returns 0; -EAGAIN: fewer than 24 bytes; -EPROTO: not a message of ours,
 * or lengths that cannot be; -ENOTSUP: newer version.  @err may be NULL.
 */
int cfs_msg_head_unpack(const void *data, size_t bytes,
			struct cfs_msg_head *ret, struct cfs_err *err);

/*
 * A whole message of exactly @bytes: header checked, @ret_body reads its
 * body (in place).  -EPROTO, -ENOTSUP as above.
 */
int cfs_msg_open(const void *data, size_t bytes, struct cfs_msg_head *ret,
		 struct cfs_wire_get *ret_body, struct cfs_err *err);

/*
 * What a reply's status says: 0, or the negative errno with the body's text
 * (made harmless) in @err.
 */
int cfs_msg_reply_status(const struct cfs_msg_head *head, const void *body,
			 size_t body_bytes, struct cfs_err *err);

/*
 * Write a header into the empty writer @put; the body is put behind it and
 * cfs_msg_end sets the length.  @type with flags.
 */
void cfs_msg_begin(struct cfs_wire_put *put, uint16_t type, uint64_t id);
/* 0; -EMSGSIZE: the writer was full, or it is over CFS_MSG_BYTES_MAX. */
int cfs_msg_end(struct cfs_wire_put *put);

/* A whole reply that says @code (negative errno) and why; @err may be NULL. */
void cfs_msg_error(struct cfs_wire_put *put, uint16_t type, uint64_t id,
		   int code, const struct cfs_err *err);

/* ---- bodies --------------------------------------------------------------
 *
 * cfs_msg_X_pack puts one behind what is in @put (a full writer tells at
 * cfs_msg_end).  cfs_msg_X_unpack reads one: 0; -EPROTO: bytes are missing or
 * a field is wrong; @ret is set on success only.  @err may be NULL.
 */

enum cfs_hello_flags {
	CFS_HELLO_OBSERVER = 1u << 0,  /* no client: STATUS, WATCH, REVOKE,
					* GONE and session requests only */
	CFS_HELLO_STANDING = 1u << 1,  /* lives on without a connection */
	CFS_HELLO_DURABLE = 1u << 2,   /* has, or will have, a log */
	CFS_HELLO_SECONDARY = 1u << 3, /* will own a container, and have
					* clients of its own */
};

struct cfs_msg_hello {
	uint8_t pool_uuid[CFS_UUID_BYTES];
	char host[CFS_MSG_HOST_BYTES];
	uint8_t boot_id[CFS_UUID_BYTES];
	uint64_t pid, process_start;
	uint32_t flags;
	char name[CFS_MSG_NAME_BYTES];
	/* On return; else 0. */
	uint64_t client_id;
	uint8_t secret[CFS_LEASE_SECRET_BYTES];
	uint64_t epoch; /* of the owner that gave them */
};

enum cfs_welcome_flags {
	CFS_WELCOME_KNOWN = 1u << 0,   /* same owner: all is held still */
	CFS_WELCOME_RECLAIM = 1u << 1, /* new owner: the id is good, each
					* lease has to be reclaimed */
	CFS_WELCOME_GRACE = 1u << 2,   /* nothing new is granted yet */
	CFS_WELCOME_ANEW = 1u << 3,    /* with RECLAIM: this owner had the
					* client, gave it to another one,
					* and has nothing of it */
};

struct cfs_msg_welcome {
	uint64_t client_id; /* 0 for an observer */
	uint8_t secret[CFS_LEASE_SECRET_BYTES];
	uint64_t epoch;
	uint64_t period_ns;
	uint32_t drift_ppm;
	uint32_t flags;
	uint64_t grace_ns;    /* what is left of the grace */
	uint64_t last_serial; /* of the client's requests, as far as known */
};

/* A client's name and word; id 0: whoever sends the message.  One that stands
 * without a connection needs no secret: all 0. */
struct cfs_msg_renew {
	uint64_t client_id;
	uint8_t secret[CFS_LEASE_SECRET_BYTES];
};

/*
 * Behind it: what is renewed for the sake of this lease of that client.  If that
 * has ended, or is about to, nothing is renewed.
 */
struct cfs_msg_renew_lease {
	uint64_t lease_id;
};

enum cfs_msg_lock_flags {
	CFS_MSG_LOCK_WAIT = 1u << 0,
	CFS_MSG_LOCK_RECALLABLE = 1u << 1,
	CFS_MSG_LOCK_RESENT = 1u << 2, /* sent before: perhaps handled */
};

struct cfs_msg_lock {
	struct cfs_lock_resource resource;
	uint32_t mode; /* enum cfs_lock_mode, IS .. X */
	uint32_t flags;
	uint64_t key;          /* holder key */
	uint64_t serial;       /* grows with each request of a client;
				* the same when sent again */
	uint64_t lender_lease; /* borrowed lease; 0: none */
	uint8_t lender_secret[CFS_LEASE_SECRET_BYTES];
};

/* Reply to LOCK, CHANGE, RECLAIM.  With MORE: queued, nothing is held. */
struct cfs_msg_grant {
	uint64_t lease_id;
	uint64_t generation; /* rises when it passes to another holder */
	uint32_t mode;
	uint64_t serial; /* of the request */
};

/* UNLOCK.  client_id 0: the sender's own lease; else its client, with the
 * secret as in RENEW. */
struct cfs_msg_lease {
	uint64_t lease_id;
	uint64_t client_id;
	uint8_t secret[CFS_LEASE_SECRET_BYTES];
};

struct cfs_msg_change {
	uint64_t lease_id;
	uint32_t mode;  /* weaker: done at once; else joined */
	uint32_t flags; /* WAIT, RESENT */
	uint64_t serial;
};

struct cfs_msg_cancel {
	uint64_t serial; /* of a LOCK or CHANGE that waits */
};

struct cfs_msg_reclaim {
	struct cfs_msg_lock lock; /* as it was asked for; mode as held */
	uint64_t lease_id;
	uint64_t generation;
};

/* REVOKE and GONE: one of them is set. */
struct cfs_msg_end {
	uint64_t lease_id;
	uint64_t client_id;
	char host[CFS_MSG_HOST_BYTES]; /* GONE only */
};

enum cfs_recall_flags {
	CFS_RECALL_FINAL = 1u << 0, /* not extended any more: it ends with
				     * the period as the client knows it */
};

struct cfs_msg_recall {
	uint64_t lease_id;
	uint32_t mode; /* wanted; CFS_LOCK_NONE: all of it */
	uint32_t flags;
};

enum cfs_lease_event_kind {
	CFS_EVENT_GRANT = 1,
	CFS_EVENT_RENEW = 2, /* an explicit one, or a return */
	CFS_EVENT_RECALL = 3,
	CFS_EVENT_RELEASE = 4,
	CFS_EVENT_EXPIRE = 5,
	CFS_EVENT_REVOKE = 6,
	CFS_EVENT_TAKEOVER = 7,
	CFS_EVENT_JOIN = 8,    /* a client came */
	CFS_EVENT_LEAVE = 9,   /* said goodbye */
	CFS_EVENT_CHANGE = 10, /* mode */
	CFS_EVENT_GONE = 11,
	CFS_EVENT_SEALED = 12,
	CFS_EVENT_STOP = 13, /* it is revoked, and REVOKE follows
			      * when its period is over */
};
#define CFS_EVENT_LAST 13u
/* "grant", "renew", ...; "?" */
const char *cfs_lease_event_name(unsigned int kind);

struct cfs_lease_event {
	uint32_t kind;
	uint64_t realtime_ns;
	uint64_t epoch;
	uint64_t client_id;                /* 0: none */
	uint64_t lease_id;                 /* 0: not about one lease */
	struct cfs_lock_resource resource; /* all 0 then */
	uint32_t mode;
	uint64_t generation;
	char host[CFS_MSG_HOST_BYTES];
	char name[CFS_MSG_NAME_BYTES];
};

/* A page of the status begins behind the cursor; (0, 0): at the start. */
struct cfs_msg_status {
	uint64_t after_client, after_lease;
};

struct cfs_msg_status_head {
	uint64_t epoch;
	uint64_t period_ns;
	uint64_t grace_ns; /* left */
	uint32_t client_count, lease_count, waiting_count;
	uint64_t next_client, next_lease; /* cursor; (0, 0): this was all */
	uint32_t record_count;            /* behind this head */
};

enum cfs_lease_client_state_flags {
	CFS_CLIENT_CONNECTED = 1u << 0,
	CFS_CLIENT_STANDING = 1u << 1,
	CFS_CLIENT_DURABLE = 1u << 2,
	CFS_CLIENT_SILENT = 1u << 3,  /* known from before the takeover */
	CFS_CLIENT_SEALING = 1u << 4, /* its period is over */
};

enum cfs_lease_record_kind {
	CFS_RECORD_CLIENT = 1,
	CFS_RECORD_LEASE = 2,
};

enum cfs_lease_state_flags {
	CFS_LEASE_WAITING = 1u << 0,
	CFS_LEASE_RECALLABLE = 1u << 1,
	CFS_LEASE_RECALLED = 1u << 2,
	CFS_LEASE_STOPPED = 1u << 3, /* not extended any more */
	CFS_LEASE_BORROWED = 1u << 4,
	CFS_LEASE_SEALING = 1u << 5,
};

/* One record of the status; client_id is set in both kinds. */
struct cfs_lease_record {
	uint32_t kind;
	uint32_t flags;
	uint64_t client_id;
	uint64_t ends_in_ns; /* at the owner; 0: over, or it waits */
	union {
		struct {
			char host[CFS_MSG_HOST_BYTES];
			char name[CFS_MSG_NAME_BYTES];
			uint64_t pid;
			uint32_t lease_count;
		} client;
		struct {
			uint64_t lease_id;
			struct cfs_lock_resource resource;
			uint32_t mode;
			uint64_t key;
			uint64_t generation;
		} lease;
	} u;
};

#define CFS_MSG_DECLARE(x, type)                                               \
	void cfs_msg_##x##_pack(const type *m, struct cfs_wire_put *put);      \
	int cfs_msg_##x##_unpack(struct cfs_wire_get *get, type *ret,          \
				 struct cfs_err *err)

CFS_MSG_DECLARE(hello, struct cfs_msg_hello);
CFS_MSG_DECLARE(welcome, struct cfs_msg_welcome);
CFS_MSG_DECLARE(renew, struct cfs_msg_renew);
CFS_MSG_DECLARE(renew_lease, struct cfs_msg_renew_lease);
CFS_MSG_DECLARE(lock, struct cfs_msg_lock);
CFS_MSG_DECLARE(grant, struct cfs_msg_grant);
CFS_MSG_DECLARE(lease, struct cfs_msg_lease);
CFS_MSG_DECLARE(change, struct cfs_msg_change);
CFS_MSG_DECLARE(cancel, struct cfs_msg_cancel);
CFS_MSG_DECLARE(reclaim, struct cfs_msg_reclaim);
CFS_MSG_DECLARE(end, struct cfs_msg_end);
CFS_MSG_DECLARE(recall, struct cfs_msg_recall);
CFS_MSG_DECLARE(event, struct cfs_lease_event);
CFS_MSG_DECLARE(status, struct cfs_msg_status);
CFS_MSG_DECLARE(status_head, struct cfs_msg_status_head);
CFS_MSG_DECLARE(record, struct cfs_lease_record);

/* Bytes that no record of the status is longer than. */
#define CFS_LEASE_RECORD_BYTES_MAX 256u

/*
 * UTF-8 without control characters, at least one byte, at most
 * @room - 1.
 */
bool cfs_msg_name_is_valid(const char *name, size_t room);

/*
 * A lease for people and for $CFS_LEASE: "CLIENT-LEASE-SECRET" in lower-case
 * hex; the secret may be all zero (not known).
 */
#define CFS_LEASE_NAME_BYTES 67u /* with the NUL */
struct cfs_lease_name {
	uint64_t client_id, lease_id;
	uint8_t secret[CFS_LEASE_SECRET_BYTES];
};
char *cfs_lease_name_format(const struct cfs_lease_name *name,
			    char ret[CFS_LEASE_NAME_BYTES]);
/* 0; -EINVAL: not such a name, @ret as it was. */
int cfs_lease_name_parse(const char *text, struct cfs_lease_name *ret);
