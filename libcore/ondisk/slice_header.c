/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Slice headers: what a rebuild of the slice table and slice maps rests on. */
#include "ondisk/slice_header.h"

#include "ondisk/field_priv.h"
#include "ondisk/root.h"

void cfs_slice_header_pack(const struct cfs_slice_header *header,
			   struct cfs_page_disk *disk)
{
	struct cfs_slice_header_payload_disk *p = (void *)disk->payload;

	memset(p, 0, sizeof(*p));
	memcpy(p->container_uuid, header->container_uuid, 16);
	memcpy(p->device_uuid, header->device_uuid, 16);
	p->container_id = le64_put(header->container_id);
	p->lslice = le64_put(header->lslice);
	p->slice_bytes = le64_put(header->slice_bytes);
	p->slice_index = le64_put(header->slice_index);
	p->state = le32_put(header->state);
	p->piece = le32_put(header->piece);
	p->piece_count = le32_put(header->piece_count);
}

int cfs_slice_header_unpack(const struct cfs_page_disk *disk,
			    struct cfs_slice_header *ret, struct cfs_err *err)
{
	const struct cfs_slice_header_payload_disk *p =
		(const void *)disk->payload;
	struct cfs_slice_header h = {
		.container_id = le64_get(p->container_id),
		.lslice = le64_get(p->lslice),
		.slice_bytes = le64_get(p->slice_bytes),
		.slice_index = le64_get(p->slice_index),
		.state = le32_get(p->state),
		.piece = le32_get(p->piece),
		.piece_count = le32_get(p->piece_count),
	};

	if (h.state > CFS_SLICE_OWNED)
		return cfs_err_set(err, -EUCLEAN,
				   "slice header: unknown state %u", h.state);
	if (!cfs_is_pow2(h.slice_bytes) ||
	    h.slice_bytes < CFS_SLICE_BYTES_MIN ||
	    h.slice_bytes > CFS_SLICE_BYTES_MAX || h.slice_index > UINT32_MAX)
		return cfs_err_set(err, -EUCLEAN,
				   "slice header: bad slice_bytes or index");
	if (h.lslice > CFS_LSLICE_MAX || h.piece_count > CFS_PIECES_MAX ||
	    (h.state == CFS_SLICE_OWNED && h.piece >= h.piece_count))
		return cfs_err_set(err, -EUCLEAN,
				   "slice header: bad lslice or piece");
	memcpy(h.container_uuid, p->container_uuid, 16);
	memcpy(h.device_uuid, p->device_uuid, 16);
	*ret = h;
	return 0;
}
