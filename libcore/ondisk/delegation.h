/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * DELEGATION (a small table of container 0, key: class | container id, epoch,
 * 0): a container that another process owns, the secondary, under an epoch of
 * its own.  While one is HELD nobody else opens the container.
 *
 * Epochs of delegations are numbers of their own, with a bit that no epoch of a
 * manager has: they are given out once, by the counter of containers.
 */
#pragma once

#include "ondisk/client.h"

#define CFS_EPOCH_DELEGATED (UINT32_C(1) << 29)

static inline bool cfs_epoch_is_delegated(uint32_t epoch)
{
	return epoch & CFS_EPOCH_DELEGATED;
}

enum cfs_delegation_state {
	CFS_DELEGATION_HELD = 1,
	CFS_DELEGATION_SEALED = 2, /* taken over; it may still write */
	CFS_DELEGATION_GONE = 3,   /* it does not: the record goes when
				    * what it had is given back */
};

struct cfs_delegation_rec_disk {
	uint8_t instance[16];
	uint8_t boot_id[16];
	uint8_t host[CFS_CLIENT_HOST_BYTES];
	le64 pid;
	le64 process_start; /* clock ticks since boot; 0: unknown */
	le32 state;
	le32 by_epoch;    /* of the manager that delegated it */
	le64 since_ns;    /* real time */
	le32 has_clients; /* it had some: see the seat */
	le32 reserved;
	uint8_t address[CFS_SEAT_ADDRESS_BYTES];
};
CFS_ASSERT_SIZE(struct cfs_delegation_rec_disk, 392);
CFS_ASSERT_OFFSET(struct cfs_delegation_rec_disk, state, 112);
CFS_ASSERT_OFFSET(struct cfs_delegation_rec_disk, address, 136);

struct cfs_delegation_rec {
	struct cfs_client_identity who;
	uint32_t state; /* enum cfs_delegation_state */
	uint32_t by_epoch;
	uint64_t since_ns;
	bool has_clients;
	char address[CFS_SEAT_ADDRESS_BYTES]; /* may be empty */
};

void cfs_delegation_rec_pack(const struct cfs_delegation_rec *rec,
			     struct cfs_delegation_rec_disk *disk);
/* -EUCLEAN: shorter than version 1's, an unknown state, a text without end. */
int cfs_delegation_rec_unpack(const void *value, size_t value_bytes,
			      struct cfs_delegation_rec *ret,
			      struct cfs_err *err);
