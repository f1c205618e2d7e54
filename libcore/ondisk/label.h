/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Label: pool and device identity, geometry, features, hints.  Four copies at
 * both ends of each device, written at format and when the device grows or
 * the set of devices changes; what changes otherwise is in the tables.
 *
 * Writing: copies 0 and 2, flush, then 1 and 3, flush.  Any valid copy with
 * the highest seq counts.
 */
#pragma once

#include "ondisk/geometry.h"
#include "ondisk/page.h"

#define CFS_LABEL_MAGIC                                                        \
	"\x93"                                                                 \
	"CFS"                                                                  \
	"\r\n\x1a\n"                                                           \
	"\xa7pool\x01\xe5\x5c"
#define CFS_LABEL_MAGIC_BYTES     16u
#define CFS_LABEL_NAME_BYTES      64u /* with its NUL */
#define CFS_LABEL_HINT_COUNT      28u
#define CFS_LABEL_HINT_PATH_BYTES 112u /* with its NUL; too long: empty */

#define CFS_POOL_FLAG_MIRROR      0x1u /* each block on two devices */
#define CFS_POOL_FLAG_SHARED      0x2u /* several hosts see the devices */

/* Incompatible: devices were taken out of the pool, and the label says which.
 * Who does not know that would miss them. */
#define CFS_FEATURE_REMOVED       UINT64_C(0x1)

#define CFS_FEATURES_COMPAT       UINT64_C(0)
#define CFS_FEATURES_RO_COMPAT    UINT64_C(0)
#define CFS_FEATURES_INCOMPAT     CFS_FEATURE_REMOVED

/* Of so many devices, by index, a label can say that they were taken out. */
#define CFS_LABEL_REMOVED_MAX     1024u

struct cfs_label_hint_disk {
	uint8_t device_uuid[16];
	uint8_t path[CFS_LABEL_HINT_PATH_BYTES];
};
CFS_ASSERT_SIZE(struct cfs_label_hint_disk, 128);

struct cfs_label_payload_disk {
	uint8_t magic[CFS_LABEL_MAGIC_BYTES];
	uint8_t pool_uuid[16];
	uint8_t device_uuid[16];
	uint8_t name[CFS_LABEL_NAME_BYTES];
	le64 features_compat;
	le64 features_ro_compat;
	le64 features_incompat;
	le64 size_bytes; /* of this device, as used */
	le64 slice_bytes;
	le64 slices_offset_bytes;
	le64 slice_count; /* on this device */
	le64 created_ns;  /* real time, Unix epoch */
	le32 flags;       /* CFS_POOL_FLAG_* */
	le32 seat_count;
	le32 device_index;
	le32 device_count; /* when this label was written */
	le32 vote_count;
	uint8_t removed[CFS_LABEL_REMOVED_MAX / 8]; /* a bit for each index */
	uint8_t reserved0[124];
	struct cfs_label_hint_disk hints[CFS_LABEL_HINT_COUNT]; /* the others */
};
CFS_ASSERT_OFFSET(struct cfs_label_payload_disk, features_compat, 112);
CFS_ASSERT_OFFSET(struct cfs_label_payload_disk, flags, 176);
CFS_ASSERT_OFFSET(struct cfs_label_payload_disk, removed, 196);
CFS_ASSERT_OFFSET(struct cfs_label_payload_disk, hints, 448);
CFS_ASSERT_SIZE(struct cfs_label_payload_disk, 4032);

struct cfs_label {
	uint64_t seq; /* of the page */
	uint8_t pool_uuid[16];
	uint8_t device_uuid[16];
	char name[CFS_LABEL_NAME_BYTES];
	uint64_t features_compat, features_ro_compat, features_incompat;
	uint64_t size_bytes;
	uint64_t slice_bytes;
	uint64_t slices_offset_bytes;
	uint64_t slice_count;
	uint64_t created_ns;
	uint32_t flags;
	uint32_t seat_count;
	uint32_t device_index;
	uint32_t device_count;
	uint32_t vote_count; /* shared pools: the first so many devices
			      * have seats that count, for ever; 0:
			      * as many as there are, up to three */
	/* Bit i % 8 of byte i / 8: the device with index i was taken out of the
	 * pool; no device gets its index again. */
	uint8_t removed[CFS_LABEL_REMOVED_MAX / 8];
	struct {
		uint8_t device_uuid[16];
		char path[CFS_LABEL_HINT_PATH_BYTES];
	} hints[CFS_LABEL_HINT_COUNT]; /* a null UUID ends the list */
};

/* Was the device with that index taken out of the pool? */
bool cfs_label_is_removed(const struct cfs_label *label, uint32_t index);
/* How many were. */
uint32_t cfs_label_removed_count(const struct cfs_label *label);

/* Low 64 bits of a pool's UUID, as every page carries it. */
uint64_t cfs_pool_lo(const uint8_t pool_uuid[16]);

/* @offset_bytes: where this copy goes; it is part of the page. */
void cfs_label_pack(const struct cfs_label *label, uint64_t offset_bytes,
		    struct cfs_page_disk *disk);
/*
 * Decode and verify the copy that was read at @offset_bytes.  All fields are
 * checked against each other (sizes, counts, slices inside the device).
 * Returns 0; -EMEDIUMTYPE: no cfs label (the magic is not there);
 * -EUCLEAN: a cfs label, but damaged; -ENOTSUP: newer, or an incompatible
 * feature that this version does not know (the message names its bits).
 */
int cfs_label_unpack(const struct cfs_page_disk *disk, uint64_t offset_bytes,
		     struct cfs_label *ret, struct cfs_err *err);
