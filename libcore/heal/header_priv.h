/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Slice headers as they stand on the devices. */
#pragma once

#include "ondisk/slice_header.h"
#include "pool/devset.h"

struct header_place {
	uint32_t device;
	uint64_t slice;
	uint32_t generation; /* of the life that is asked for */
};

/* Offset of the slot that the header of this generation stands in. */
uint64_t cfs_header_offset_bytes(const struct cfs_devset *set,
				 const struct header_place *at);
/*
 * Read the header of exactly that life, of a slice that belongs to
 * @container_id.  -EUCLEAN, -EIO.
 */
int cfs_header_read(const struct cfs_devset *set, const struct header_place *at,
		    uint64_t container_id, struct cfs_slice_header *ret,
		    struct cfs_err *err);
/*
 * The newest valid header of a slice, of whichever container.
 * @ret_generation, @ret_epoch (may be NULL).  -EUCLEAN: none is valid.
 */
int cfs_header_find(const struct cfs_devset *set, uint32_t device,
		    uint64_t slice, struct cfs_slice_header *ret,
		    uint32_t *ret_generation, struct cfs_err *err);
/* Write it into its slot; not flushed.  device_uuid, slice_index and
 * slice_bytes are filled in. */
int cfs_header_write(const struct cfs_devset *set,
		     const struct header_place *at, uint32_t epoch,
		     const struct cfs_slice_header *header,
		     struct cfs_err *err);
