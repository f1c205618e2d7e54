/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Slice header: whose slice this is.  It repeats what the slice table and the
 * slice maps say, so that both can be made anew from the slices alone.  The
 * page's generation is the slice's life: a page of an earlier life is void.
 */
#pragma once

#include "ondisk/geometry.h"
#include "ondisk/page.h"

enum cfs_slice_state {
	CFS_SLICE_FREE = 0,
	CFS_SLICE_OWNED = 1,
};

struct cfs_slice_header_payload_disk {
	uint8_t container_uuid[16];
	uint8_t device_uuid[16];
	le64 container_id; /* 0: the pool's own container */
	le64 lslice;
	le64 slice_bytes;
	le64 slice_index; /* on its device */
	le32 state;
	le32 piece; /* which copy, from 0 */
	le32 piece_count;
	uint8_t reserved[CFS_PAGE_PAYLOAD_BYTES - 76];
};
CFS_ASSERT_SIZE(struct cfs_slice_header_payload_disk, CFS_PAGE_PAYLOAD_BYTES);

struct cfs_slice_header {
	uint8_t container_uuid[16];
	uint8_t device_uuid[16];
	uint64_t container_id;
	uint64_t lslice;
	uint64_t slice_bytes;
	uint64_t slice_index;
	uint32_t state;
	uint32_t piece;
	uint32_t piece_count;
};

void cfs_slice_header_pack(const struct cfs_slice_header *header,
			   struct cfs_page_disk *disk);
/* -EUCLEAN: a field makes no sense. */
int cfs_slice_header_unpack(const struct cfs_page_disk *disk,
			    struct cfs_slice_header *ret, struct cfs_err *err);
