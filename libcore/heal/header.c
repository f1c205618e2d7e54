/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Slice headers: reading one life's, finding the newest, writing anew. */
#include "heal/header_priv.h"

#include "base/cleanup.h"

#include <stdlib.h>

static void geometry_of(const struct cfs_devset *set,
			struct cfs_slice_geometry *ret)
{
	/* The label was verified: its slice size is good. */
	(void)cfs_slice_geometry_init(cfs_devset_label(set, 0)->slice_bytes,
				      ret, NULL);
}

static uint64_t slot_offset(const struct cfs_devset *set, uint64_t slice,
			    unsigned int slot)
{
	const struct cfs_label *label = cfs_devset_label(set, 0);
	struct cfs_slice_geometry geo;

	geometry_of(set, &geo);
	return label->slices_offset_bytes + slice * label->slice_bytes +
	       (uint64_t)CFS_BLOCK_BYTES *
		       cfs_geometry_header_block(&geo, slot);
}

uint64_t cfs_header_offset_bytes(const struct cfs_devset *set,
				 const struct header_place *at)
{
	return slot_offset(set, at->slice, at->generation & 1);
}

static int read_slot(const struct cfs_devset *set, uint32_t device,
		     uint64_t slice, unsigned int slot,
		     struct cfs_page_disk *page, struct cfs_page *ret_head,
		     struct cfs_slice_header *ret, struct cfs_err *err)
{
	const struct cfs_label *label = cfs_devset_label(set, device);
	struct cfs_page_expect expect = {
		.kind = CFS_PAGE_SLICE,
		.pool_lo = cfs_pool_lo(label->pool_uuid),
		.address = slot_offset(set, slice, slot),
		.any_owner = true,
	};
	int r = cfs_dev_read(cfs_devset_dev(set, device), expect.address, page,
			     sizeof(*page), err);

	if (r == 0)
		r = cfs_page_unpack(page, &expect, ret_head, err);
	if (r == 0)
		r = cfs_slice_header_unpack(page, ret, err);
	if (r == 0 && (ret->slice_index != slice ||
		       ret_head->owner != ret->container_id ||
		       memcmp(ret->device_uuid, label->device_uuid, 16) != 0))
		r = cfs_err_set(err, -EUCLEAN, "it is another slice's");
	return r;
}

int cfs_header_read(const struct cfs_devset *set, const struct header_place *at,
		    uint64_t container_id, struct cfs_slice_header *ret,
		    struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep)
	struct cfs_page_disk *page = cfs_dev_buf_alloc(sizeof(*page));
	struct cfs_slice_header header;
	struct cfs_page head;
	int r;

	if (!page)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	r = read_slot(set, at->device, at->slice, at->generation & 1, page,
		      &head, &header, err);
	if (r == 0 && head.generation != at->generation)
		r = cfs_err_set(err, -EUCLEAN, "it is of another life");
	if (r == 0 && header.container_id != container_id)
		r = cfs_err_set(err, -EUCLEAN, "it is another container's");
	if (r == 0)
		*ret = header;
	return r;
}

int cfs_header_find(const struct cfs_devset *set, uint32_t device,
		    uint64_t slice, struct cfs_slice_header *ret,
		    uint32_t *ret_generation, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep)
	struct cfs_page_disk *page = cfs_dev_buf_alloc(sizeof(*page));
	uint32_t best = 0;

	if (!page)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (unsigned int slot = 0; slot < 2; slot++) {
		struct cfs_slice_header header;
		struct cfs_page head;

		if (read_slot(set, device, slice, slot, page, &head, &header,
			      NULL) != 0 ||
		    head.generation <= best || (head.generation & 1) != slot)
			continue;
		best = head.generation;
		*ret = header;
	}
	if (!best)
		return cfs_err_set(err, -EUCLEAN, "no header is valid");
	*ret_generation = best;
	return 0;
}

int cfs_header_write(const struct cfs_devset *set,
		     const struct header_place *at, uint32_t epoch,
		     const struct cfs_slice_header *header, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep)
	struct cfs_page_disk *page = cfs_dev_buf_alloc(sizeof(*page));
	const struct cfs_label *label = cfs_devset_label(set, at->device);
	struct cfs_slice_header h = *header;
	const struct cfs_page head = {
		.kind = CFS_PAGE_SLICE,
		.seq = at->generation,
		.pool_lo = cfs_pool_lo(label->pool_uuid),
		.owner = header->container_id,
		.address = cfs_header_offset_bytes(set, at),
		.epoch = epoch,
		.generation = at->generation,
	};

	if (!page)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	memcpy(h.device_uuid, label->device_uuid, 16);
	h.slice_index = at->slice;
	h.slice_bytes = label->slice_bytes;
	cfs_slice_header_pack(&h, page);
	cfs_page_pack(&head, page);
	return cfs_dev_write(cfs_devset_dev(set, at->device), head.address,
			     page, sizeof(*page), err);
}
