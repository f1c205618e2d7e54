/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pages: seal, verify, choose.  The checksum comes before the version, so
 * that a torn write is never taken for a newer format, and before identity,
 * so that "misplaced" is only said of a page that is whole.
 */
#include "ondisk/page.h"

#include "base/xxh.h"

#define CSUM_OFFSET offsetof(struct cfs_page_disk, csum)

/* Over the page with its own field as zero, without a copy of the page. */
static uint64_t page_csum(const struct cfs_page_disk *disk)
{
	static const uint8_t zero[sizeof(le64)];
	struct cfs_xxh3_stream s;

	cfs_xxh3_stream_init(&s, 0);
	cfs_xxh3_stream_update(&s, disk, CSUM_OFFSET);
	cfs_xxh3_stream_update(&s, zero, sizeof(zero));
	cfs_xxh3_stream_update(&s, disk->payload, sizeof(disk->payload));
	return cfs_xxh3_stream_end(&s);
}

void cfs_page_pack(const struct cfs_page *page, struct cfs_page_disk *disk)
{
	disk->magic = le32_put(CFS_PAGE_MAGIC);
	disk->version = le16_put(CFS_PAGE_VERSION);
	disk->kind = le16_put(page->kind);
	disk->seq = le64_put(page->seq);
	disk->pool_lo = le64_put(page->pool_lo);
	disk->owner = le64_put(page->owner);
	disk->address = le64_put(page->address);
	disk->stamp = le64_put(page->stamp);
	disk->epoch = le32_put(page->epoch);
	disk->generation = le32_put(page->generation);
	disk->csum = le64_put(0);
	disk->csum = le64_put(cfs_xxh3(disk, sizeof(*disk)));
}

static int page_is_expected(const struct cfs_page *page,
			    const struct cfs_page_expect *expect,
			    struct cfs_err *err)
{
	if (page->kind != expect->kind)
		return cfs_err_set(err, -EUCLEAN,
				   "page: of kind %u, expected %u", page->kind,
				   expect->kind);
	if (!expect->any_pool && page->pool_lo != expect->pool_lo)
		return cfs_err_set(err, -EUCLEAN, "page: of another pool");
	if (!expect->any_owner && page->owner != expect->owner)
		return cfs_err_set(err, -EUCLEAN,
				   "page: of owner %llu, expected %llu",
				   (unsigned long long)page->owner,
				   (unsigned long long)expect->owner);
	if (page->address != expect->address)
		return cfs_err_set(err, -EUCLEAN,
				   "page: misplaced: it belongs to %#llx",
				   (unsigned long long)page->address);
	return 0;
}

/* All but the magic. */
static int unpack(const struct cfs_page_disk *disk, uint64_t csum,
		  const struct cfs_page_expect *expect, struct cfs_page *ret,
		  struct cfs_err *err)
{
	unsigned int version = le16_get(disk->version);
	struct cfs_page page;
	int r;

	if (le64_get(disk->csum) != csum)
		return cfs_err_set(err, -EUCLEAN, "page: bad checksum");
	if (version > CFS_PAGE_VERSION)
		return cfs_err_set(err, -ENOTSUP, "page: newer version %u",
				   version);
	if (version != CFS_PAGE_VERSION)
		return cfs_err_set(err, -EUCLEAN, "page: bad version %u",
				   version);
	page = (struct cfs_page){
		.kind = le16_get(disk->kind),
		.seq = le64_get(disk->seq),
		.pool_lo = le64_get(disk->pool_lo),
		.owner = le64_get(disk->owner),
		.address = le64_get(disk->address),
		.stamp = le64_get(disk->stamp),
		.epoch = le32_get(disk->epoch),
		.generation = le32_get(disk->generation),
	};
	r = page_is_expected(&page, expect, err);
	if (r < 0)
		return r;
	*ret = page;
	return 0;
}

int cfs_page_unpack(const struct cfs_page_disk *disk,
		    const struct cfs_page_expect *expect, struct cfs_page *ret,
		    struct cfs_err *err)
{
	if (le32_get(disk->magic) != CFS_PAGE_MAGIC)
		return cfs_err_set(err, -EUCLEAN, "page: bad magic");
	return unpack(disk, page_csum(disk), expect, ret, err);
}

int cfs_page_unpack_own(struct cfs_page_disk *disk,
			const struct cfs_page_expect *expect,
			struct cfs_page *ret, struct cfs_err *err)
{
	const le64 csum = disk->csum;
	uint64_t is;

	if (le32_get(disk->magic) != CFS_PAGE_MAGIC)
		return cfs_err_set(err, -EUCLEAN, "page: bad magic");
	disk->csum = le64_put(0);
	is = cfs_xxh3(disk, sizeof(*disk));
	disk->csum = csum;
	return unpack(disk, is, expect, ret, err);
}

int cfs_page_choose(const struct cfs_page_disk slots[2],
		    const struct cfs_page_expect *expect,
		    unsigned int *ret_slot, struct cfs_page *ret,
		    struct cfs_err *err)
{
	struct cfs_err errs[2] = { CFS_ERR_INIT, CFS_ERR_INIT };
	struct cfs_page best = { 0 }, page;
	int best_slot = -1, worst = -1, code = 0, r;

	for (unsigned int i = 0; i < 2; i++) {
		r = cfs_page_unpack(&slots[i], expect, &page, &errs[i]);
		if (r == 0 && (page.seq & 1) != i)
			r = cfs_err_set(&errs[i], -EUCLEAN,
					"page: in the wrong slot");
		if (r == 0 && (best_slot < 0 || page.seq > best.seq)) {
			best = page;
			best_slot = (int)i;
		} else if (r < 0 && code != -ENOTSUP) {
			/* The more telling of the two: newer, not damaged. */
			code = r;
			worst = (int)i;
		}
	}
	if (best_slot < 0) {
		if (err)
			*err = errs[worst];
		return code;
	}
	*ret_slot = (unsigned int)best_slot;
	*ret = best;
	return 0;
}
