/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Records about clients: processes that write to a container beside its owner,
 * in groups on loan and with a log of their own.
 *
 * CLIENT (a small table, key: class | 0, client id, 0) says who it is, where
 * its log is, from where on that is to be read, and where its gravestone is.
 * A LOAN of a client has 16 bytes more than one of the owner's: which blocks of
 * the group it may write.  The gravestone is a page of kind 6 that only a
 * successor of the log's writer writes: it says which log is dead.
 */
#pragma once

#include "ondisk/table.h"

#define CFS_CLIENT_EXTENTS_MAX 16u
#define CFS_CLIENT_HOST_BYTES  64u

enum cfs_client_state {
	CFS_CLIENT_OPEN = 1,    /* writes */
	CFS_CLIENT_SEALED = 2,  /* its log was read to its end; what it
				 * has on loan is frozen until it is gone */
	CFS_CLIENT_REFUSED = 3, /* open, but what it gave back was wrong:
				 * nothing more is taken from it */
};

struct cfs_client_rec_disk {
	uint8_t instance[16];
	uint8_t boot_id[16];
	uint8_t host[CFS_CLIENT_HOST_BYTES];
	le64 pid;
	le64 process_start; /* clock ticks since boot; 0: unknown */
	le32 state;
	le32 epoch; /* of the owner that made it */
	le64 log_id;
	le64 log_seq; /* the first frame that is not folded */
	le64 log_chain;
	le32 log_extent;
	le32 log_block;
	le32 extent_count;
	le32 reserved;
	le64 fold_seq;       /* of the last fold that was taken */
	le64 stamp;          /* births that are not folded are not
			      * older */
	le64 grave_vaddr[2]; /* both slots */
	struct cfs_log_extent_disk extents[CFS_CLIENT_EXTENTS_MAX];
};
CFS_ASSERT_SIZE(struct cfs_client_rec_disk, 448);

/* Where a log is read from, or written to. */
struct cfs_log_position {
	uint64_t seq;
	uint64_t chain;
	uint32_t extent;
	uint32_t block;
};

struct cfs_client_identity {
	uint8_t instance[16];
	uint8_t boot_id[16];
	char host[CFS_CLIENT_HOST_BYTES];
	uint64_t pid;
	uint64_t process_start;
};

struct cfs_client_rec {
	struct cfs_client_identity who;
	uint32_t state; /* enum cfs_client_state */
	uint32_t epoch;
	uint64_t log_id;
	struct cfs_log_position log;
	uint64_t fold_seq;
	uint64_t stamp;
	uint64_t grave_vaddr[2];
	uint32_t extent_count;
	struct cfs_log_extent extents[CFS_CLIENT_EXTENTS_MAX];
};

void cfs_client_rec_pack(const struct cfs_client_rec *rec,
			 struct cfs_client_rec_disk *disk);
/*
 * -EUCLEAN: shorter than version 1's, an unknown state, no extents, a position
 * outside of them, or numbers that cannot be.  Addresses are checked against
 * nothing.
 */
int cfs_client_rec_unpack(const void *value, size_t value_bytes,
			  struct cfs_client_rec *ret, struct cfs_err *err);

struct cfs_client_loan_disk { /* LOAN, where holder is not 0 */
	struct cfs_loan_rec_disk loan;
	le64 allowed[2];
};
CFS_ASSERT_SIZE(struct cfs_client_loan_disk, 40);

void cfs_client_loan_pack(const struct cfs_loan_rec *loan,
			  const uint64_t allowed[2],
			  struct cfs_client_loan_disk *disk);
/* @ret_allowed: all bits set where the record does not say. */
int cfs_client_loan_unpack(const void *value, size_t value_bytes,
			   struct cfs_loan_rec *ret, uint64_t ret_allowed[2],
			   struct cfs_err *err);

struct cfs_grave_payload_disk {
	le64 log_id; /* the log that is dead; 0: none is */
	uint8_t reserved[CFS_PAGE_PAYLOAD_BYTES - 8];
};
CFS_ASSERT_SIZE(struct cfs_grave_payload_disk, CFS_PAGE_PAYLOAD_BYTES);

/* Fills the payload only; the page is sealed with cfs_page_pack. */
void cfs_grave_pack(uint64_t log_id, struct cfs_page_disk *disk);
uint64_t cfs_grave_unpack(const struct cfs_page_disk *disk);
