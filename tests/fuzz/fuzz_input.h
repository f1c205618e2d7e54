/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What fuzz targets share.  An input may be shorter than the record: the rest
 * is zeroes, so that corpus files are small.  Each target judges the bytes as
 * they are and then once more with identity and checksum set right, since no
 * fuzzer guesses a hash and the checks behind it must be reached.
 */
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/xxh.h"
#include "ondisk/page.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Like assert, in every build. */
#define FUZZ_CHECK(condition)                                                  \
	do {                                                                   \
		if (!(condition))                                              \
			abort();                                               \
	} while (0)

/* What an unpack may return. */
static inline void fuzz_check_result(int r)
{
	FUZZ_CHECK(r == 0 || r == -EUCLEAN || r == -ENOTSUP ||
		   r == -EMEDIUMTYPE);
}

static inline void fuzz_fill(void *record, size_t record_bytes,
			     const uint8_t *data, size_t size)
{
	size_t n = size < record_bytes ? size : record_bytes;

	if (n)
		memcpy(record, data, n);
	memset((uint8_t *)record + n, 0, record_bytes - n);
}

/* Everything that the reader of a page of @kind at address 0 expects. */
static inline void fuzz_page_mend(struct cfs_page_disk *disk, uint16_t kind)
{
	disk->magic = le32_put(CFS_PAGE_MAGIC);
	disk->version = le16_put(CFS_PAGE_VERSION);
	disk->kind = le16_put(kind);
	disk->address = le64_put(0);
	disk->csum = le64_put(0);
	disk->csum = le64_put(cfs_xxh3(disk, sizeof(*disk)));
}

/* Unpack the header of a page, as read and mended; true: it is sound. */
static inline bool fuzz_page(struct cfs_page_disk *disk, uint16_t kind,
			     bool mend)
{
	const struct cfs_page_expect expect = {
		.kind = kind,
		.any_pool = true,
		.any_owner = true,
	};
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_page page;
	int r;

	if (mend)
		fuzz_page_mend(disk, kind);
	r = cfs_page_unpack(disk, &expect, &page, &err);
	fuzz_check_result(r);
	FUZZ_CHECK(!mend || r == 0);
	return r == 0;
}
