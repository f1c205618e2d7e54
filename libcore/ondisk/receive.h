/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * RECEIVE (a small table of a container, key: class | volume id, 0, 0): a
 * stream is being received into this volume, or was broken off.  The volume's
 * head holds a part of it, which nobody is shown: who looks sees the snapshot
 * it begins at, or nothing.
 */
#pragma once

#include "ondisk/stream.h"

struct cfs_receive_rec_disk {
	struct cfs_stream_identity_disk to, from;
	le64 base_stamp; /* here; 0: it began with nothing */
	le32 base_branch;
	le32 reserved;
	le64 position_ino, position_word; /* all before it is here */
	le64 began_ns;
	le64 received_bytes;          /* of data */
	uint8_t snap[CFS_NAME_BYTES]; /* what it will be called */
};
CFS_ASSERT_SIZE(struct cfs_receive_rec_disk, 224);
CFS_ASSERT_OFFSET(struct cfs_receive_rec_disk, base_stamp, 48);
CFS_ASSERT_OFFSET(struct cfs_receive_rec_disk, snap, 96);

struct cfs_receive_rec {
	struct cfs_stream_identity to, from;
	uint64_t base_stamp;
	uint16_t base_branch;
	struct cfs_stream_position position;
	uint64_t began_ns;
	uint64_t received_bytes;
	char snap[CFS_NAME_BYTES];
};

void cfs_receive_rec_pack(const struct cfs_receive_rec *rec,
			  struct cfs_receive_rec_disk *disk);
/* -EUCLEAN: shorter than version 1's, or a field that cannot be. */
int cfs_receive_rec_unpack(const void *value, size_t value_bytes,
			   struct cfs_receive_rec *ret, struct cfs_err *err);
