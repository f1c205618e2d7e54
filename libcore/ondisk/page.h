/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The page: the one primitive for records at a fixed place.
 *
 * A page is 4096 bytes: a 64-byte header and 4032 bytes of payload.  Each
 * such record has two slots, written in turn by one writer: the write with
 * sequence number n goes to slot n & 1, and only after a flush has covered the
 * other slot.  A reader takes the valid slot with the higher sequence number,
 * so a torn or lost write leaves the previous content readable.  A page
 * names its own place, each slot and each copy of a label its own.  Tag pages
 * name their group instead, the same in both slots and in all pieces.
 *
 * Valid: magic, kind, pool, owner and address are the expected ones and the
 * checksum over the whole page (its own field as zero) is right.
 */
#pragma once

#include "base/bits.h"
#include "base/err.h"
#include "base/le.h"

#define CFS_PAGE_BYTES         4096u
#define CFS_PAGE_HEADER_BYTES  64u
#define CFS_PAGE_PAYLOAD_BYTES 4032u
#define CFS_PAGE_MAGIC         0x47504643u /* "CFPG" in byte order */
#define CFS_PAGE_VERSION       1u

enum cfs_page_kind {
	CFS_PAGE_LABEL = 1,
	CFS_PAGE_SEAT = 2,
	CFS_PAGE_SLICE = 3,
	CFS_PAGE_TAGS = 4,
	CFS_PAGE_ROOT = 5,
	CFS_PAGE_GRAVE = 6, /* gravestone of a log; set by a successor */
};

struct cfs_page_disk {
	le32 magic;
	le16 version;
	le16 kind;
	le64 seq;        /* slot is seq & 1, where there are two slots */
	le64 pool_lo;    /* low 64 bits of the pool's UUID */
	le64 owner;      /* container id; device index for label, seat */
	le64 address;    /* label, seat, slice: byte offset on the device;
			  * root, gravestone: logical address;
			  * tags: lslice << 22 | group */
	le64 stamp;      /* of the commit that wrote it; 0 outside one */
	le32 epoch;      /* of the writer */
	le32 generation; /* slice, tags: of the slice; else 0 */
	le64 csum;
	uint8_t payload[CFS_PAGE_PAYLOAD_BYTES];
};
CFS_ASSERT_SIZE(struct cfs_page_disk, 4096);
CFS_ASSERT_OFFSET(struct cfs_page_disk, csum, 56);
CFS_ASSERT_OFFSET(struct cfs_page_disk, payload, 64);

struct cfs_page { /* the header in host order */
	uint16_t kind;
	uint64_t seq;
	uint64_t pool_lo;
	uint64_t owner;
	uint64_t address;
	uint64_t stamp;
	uint32_t epoch;
	uint32_t generation;
};

/* What a reader expects; a mismatch is -EUCLEAN. */
struct cfs_page_expect {
	uint16_t kind;
	uint64_t pool_lo;
	uint64_t owner;
	uint64_t address;
	bool any_pool; /* the pool is not known yet (labels) */
	bool any_owner;
};

/*
 * Seal a page: @disk's payload is filled by the caller; sets header and
 * checksum from @page.
 */
void cfs_page_pack(const struct cfs_page *page, struct cfs_page_disk *disk);

/*
 * Verify one slot.  @ret: set on success only.
 * Returns 0; -EUCLEAN (not valid in the above sense; an all-zero page too);
 * -ENOTSUP: sound, but of a newer version.
 */
int cfs_page_unpack(const struct cfs_page_disk *disk,
		    const struct cfs_page_expect *expect, struct cfs_page *ret,
		    struct cfs_err *err);

/* The same for less, where nobody else has @disk: it is as it was afterwards. */
int cfs_page_unpack_own(struct cfs_page_disk *disk,
			const struct cfs_page_expect *expect,
			struct cfs_page *ret, struct cfs_err *err);

/*
 * The better of two slots: the index (0 or 1) of the valid one with the
 * higher seq; one whose seq belongs into the other slot is not valid.
 * For pages with one address in both slots (tags).
 * Returns 0 and sets both outputs; -EUCLEAN: none is valid; -ENOTSUP: none is
 * valid and one is of a newer version.
 */
int cfs_page_choose(const struct cfs_page_disk slots[2],
		    const struct cfs_page_expect *expect,
		    unsigned int *ret_slot, struct cfs_page *ret,
		    struct cfs_err *err);
