/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Map records: versions and extents; the other classes are in inode.c. */
#include "ondisk/map.h"

#include <assert.h>

#include "ondisk/field_priv.h"

void cfs_version_pack(const struct cfs_version *version,
		      struct cfs_version_disk *disk)
{
	assert(version->stamp <= CFS_STAMP_MAX &&
	       version->death <= CFS_STAMP_MAX);
	disk->stamp_seq = cfs_field_48_16(version->stamp, version->seq);
	disk->death_flags = cfs_field_48_16(version->death, version->flags);
}

int cfs_version_unpack(const void *value, size_t value_bytes,
		       struct cfs_version *ret, struct cfs_err *err)
{
	struct cfs_version_disk disk;
	struct cfs_version v;

	if (value_bytes < sizeof(disk))
		return cfs_err_set(err, -EUCLEAN, "map record: too short");
	memcpy(&disk, value, sizeof(disk));
	v = (struct cfs_version){
		.stamp = le64_get(disk.stamp_seq) >> 16,
		.seq = (uint16_t)le64_get(disk.stamp_seq),
		.death = le64_get(disk.death_flags) >> 16,
		.flags = (uint16_t)le64_get(disk.death_flags),
	};
	if (v.death && v.death <= v.stamp)
		return cfs_err_set(err, -EUCLEAN,
				   "map record: dead before its birth");
	*ret = v;
	return 0;
}

void cfs_extent_rec_pack(const struct cfs_extent_rec *rec,
			 struct cfs_extent_rec_disk *disk)
{
	assert(rec->count >= 1 && rec->count <= CFS_EXTENT_BLOCKS_MAX);
	assert(rec->vaddr >> 48 == 0);
	cfs_version_pack(&rec->version, &disk->version);
	disk->vaddr_count = cfs_field_48_16(rec->vaddr, (uint16_t)rec->count);
	disk->csum = le64_put(rec->csum);
}

int cfs_extent_rec_unpack(const void *value, size_t value_bytes,
			  struct cfs_extent_rec *ret, struct cfs_err *err)
{
	struct cfs_extent_rec_disk disk;
	struct cfs_extent_rec rec;
	int r;

	if (value_bytes < sizeof(disk))
		return cfs_err_set(err, -EUCLEAN, "extent: too short");
	memcpy(&disk, value, sizeof(disk));
	r = cfs_version_unpack(&disk.version, sizeof(disk.version),
			       &rec.version, err);
	if (r < 0)
		return r;
	rec.vaddr = le64_get(disk.vaddr_count) >> 16;
	rec.count = (uint16_t)le64_get(disk.vaddr_count);
	rec.csum = le64_get(disk.csum);
	if (rec.count == 0)
		return cfs_err_set(err, -EUCLEAN, "extent: of no blocks");
	if (rec.vaddr != CFS_VADDR_NONE &&
	    (rec.version.flags & CFS_VERSION_WHITEOUT ||
	     !cfs_range_fits(cfs_vaddr_block(rec.vaddr), rec.count,
			     UINT64_C(1) << CFS_VADDR_BLOCK_BITS)))
		return cfs_err_set(err, -EUCLEAN, "extent: bad address");
	*ret = rec;
	return 0;
}
