/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Labels.  The first record that is read of an unknown device: nothing is
 * believed before the checksum, and nothing is a bound before it was checked
 * against the device's own size.
 */
#include "ondisk/label.h"

#include "ondisk/field_priv.h"

_Static_assert(sizeof(CFS_LABEL_MAGIC) - 1 == CFS_LABEL_MAGIC_BYTES,
	       "label: length of the magic");

#define FLAGS_KNOWN      (CFS_POOL_FLAG_MIRROR | CFS_POOL_FLAG_SHARED)
#define DEVICE_COUNT_MAX 65536u /* a piece has 16 bits for a device */

uint64_t cfs_pool_lo(const uint8_t pool_uuid[16])
{
	le64 lo;

	memcpy(lo.b, pool_uuid + 8, sizeof(lo.b));
	return le64_get(lo);
}

bool cfs_label_is_removed(const struct cfs_label *label, uint32_t index)
{
	/* One may be taken out while others look. */
	return index < CFS_LABEL_REMOVED_MAX &&
	       __atomic_load_n(&label->removed[index / 8], __ATOMIC_RELAXED) >>
			       index % 8 &
		       1;
}

uint32_t cfs_label_removed_count(const struct cfs_label *label)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < CFS_LABEL_REMOVED_MAX; i++)
		n += cfs_label_is_removed(label, i);
	return n;
}

void cfs_label_pack(const struct cfs_label *label, uint64_t offset_bytes,
		    struct cfs_page_disk *disk)
{
	struct cfs_label_payload_disk *p = (void *)disk->payload;
	struct cfs_page page = {
		.kind = CFS_PAGE_LABEL,
		.seq = label->seq,
		.pool_lo = cfs_pool_lo(label->pool_uuid),
		.owner = label->device_index,
		.address = offset_bytes,
	};

	memset(p, 0, sizeof(*p));
	memcpy(p->magic, CFS_LABEL_MAGIC, sizeof(p->magic));
	memcpy(p->pool_uuid, label->pool_uuid, sizeof(p->pool_uuid));
	memcpy(p->device_uuid, label->device_uuid, sizeof(p->device_uuid));
	cfs_field_text_put(p->name, sizeof(p->name), label->name);
	p->features_compat = le64_put(label->features_compat);
	p->features_ro_compat = le64_put(label->features_ro_compat);
	p->features_incompat = le64_put(label->features_incompat);
	p->size_bytes = le64_put(label->size_bytes);
	p->slice_bytes = le64_put(label->slice_bytes);
	p->slices_offset_bytes = le64_put(label->slices_offset_bytes);
	p->slice_count = le64_put(label->slice_count);
	p->created_ns = le64_put(label->created_ns);
	p->flags = le32_put(label->flags);
	p->seat_count = le32_put(label->seat_count);
	p->device_index = le32_put(label->device_index);
	p->device_count = le32_put(label->device_count);
	p->vote_count = le32_put(label->vote_count);
	memcpy(p->removed, label->removed, sizeof(p->removed));
	for (unsigned int i = 0; i < CFS_LABEL_HINT_COUNT; i++) {
		memcpy(p->hints[i].device_uuid, label->hints[i].device_uuid,
		       sizeof(p->hints[i].device_uuid));
		cfs_field_text_put(p->hints[i].path, CFS_LABEL_HINT_PATH_BYTES,
				   label->hints[i].path);
	}
	cfs_page_pack(&page, disk);
}

static int hints_unpack(const struct cfs_label_payload_disk *p,
			struct cfs_label *label, struct cfs_err *err)
{
	for (unsigned int i = 0; i < CFS_LABEL_HINT_COUNT; i++) {
		const struct cfs_label_hint_disk *hint = &p->hints[i];

		if (cfs_field_is_zero(hint->device_uuid, 16))
			break;
		memcpy(label->hints[i].device_uuid, hint->device_uuid, 16);
		if (!cfs_field_text_get(label->hints[i].path, hint->path,
					sizeof(hint->path)))
			return cfs_err_set(err, -EUCLEAN,
					   "label: hint %u has no end", i);
	}
	return 0;
}

static bool sizes_are_sound(const struct cfs_label *l)
{
	uint64_t seats_end = CFS_SEATS_OFFSET_BYTES +
			     (uint64_t)l->seat_count * 2 * CFS_PAGE_BYTES;

	return l->size_bytes % CFS_PAGE_BYTES == 0 &&
	       l->size_bytes >= CFS_DEVICE_TAIL_BYTES &&
	       l->size_bytes <= INT64_MAX && cfs_is_pow2(l->slice_bytes) &&
	       l->slice_bytes >= CFS_SLICE_BYTES_MIN &&
	       l->slice_bytes <= CFS_SLICE_BYTES_MAX &&
	       l->slices_offset_bytes % CFS_PAGE_BYTES == 0 &&
	       l->slices_offset_bytes >= seats_end && l->slice_count != 0 &&
	       l->slice_count <= UINT32_MAX &&
	       l->slice_count <= cfs_device_slice_count(l->size_bytes,
							l->slices_offset_bytes,
							l->slice_bytes);
}

static int label_check(const struct cfs_label *l, const struct cfs_page *page,
		       struct cfs_err *err)
{
	if (page->pool_lo != cfs_pool_lo(l->pool_uuid) ||
	    page->owner != l->device_index ||
	    cfs_field_is_zero(l->device_uuid, 16) ||
	    cfs_field_is_zero(l->pool_uuid, 16))
		return cfs_err_set(err, -EUCLEAN,
				   "label: bad pool or device UUID");
	if (!sizes_are_sound(l))
		return cfs_err_set(err, -EUCLEAN,
				   "label: sizes that do not fit together");
	if (l->flags & ~FLAGS_KNOWN || l->seat_count == 0 ||
	    l->device_index >= DEVICE_COUNT_MAX || l->device_count == 0 ||
	    l->device_count > DEVICE_COUNT_MAX ||
	    l->vote_count > CFS_MIN(l->device_count, CFS_VOTES_MAX))
		return cfs_err_set(err, -EUCLEAN, "label: bad flags or counts");
	return 0;
}

int cfs_label_unpack(const struct cfs_page_disk *disk, uint64_t offset_bytes,
		     struct cfs_label *ret, struct cfs_err *err)
{
	const struct cfs_label_payload_disk *p = (const void *)disk->payload;
	const struct cfs_page_expect expect = {
		.kind = CFS_PAGE_LABEL,
		.address = offset_bytes,
		.any_pool = true,
		.any_owner = true,
	};
	struct cfs_page page;
	struct cfs_label label;
	uint64_t unknown;
	int r;

	if (memcmp(p->magic, CFS_LABEL_MAGIC, sizeof(p->magic)) != 0)
		return cfs_err_set(err, -EMEDIUMTYPE, "label: no cfs label");
	r = cfs_page_unpack(disk, &expect, &page, err);
	if (r < 0)
		return cfs_err_wrap(err, r, "label");
	unknown = le64_get(p->features_incompat) & ~CFS_FEATURES_INCOMPAT;
	if (unknown)
		return cfs_err_set(err, -ENOTSUP,
				   "label: unknown incompatible features %#llx",
				   (unsigned long long)unknown);
	label = (struct cfs_label){
		.seq = page.seq,
		.features_compat = le64_get(p->features_compat),
		.features_ro_compat = le64_get(p->features_ro_compat),
		.features_incompat = le64_get(p->features_incompat),
		.size_bytes = le64_get(p->size_bytes),
		.slice_bytes = le64_get(p->slice_bytes),
		.slices_offset_bytes = le64_get(p->slices_offset_bytes),
		.slice_count = le64_get(p->slice_count),
		.created_ns = le64_get(p->created_ns),
		.flags = le32_get(p->flags),
		.seat_count = le32_get(p->seat_count),
		.device_index = le32_get(p->device_index),
		.device_count = le32_get(p->device_count),
		.vote_count = le32_get(p->vote_count),
	};
	memcpy(label.pool_uuid, p->pool_uuid, sizeof(label.pool_uuid));
	/* Else it is a reserved field, and anything may stand there. */
	if (label.features_incompat & CFS_FEATURE_REMOVED)
		memcpy(label.removed, p->removed, sizeof(label.removed));
	memcpy(label.device_uuid, p->device_uuid, sizeof(label.device_uuid));
	if (!cfs_field_text_get(label.name, p->name, sizeof(p->name)))
		return cfs_err_set(err, -EUCLEAN, "label: name has no end");
	r = hints_unpack(p, &label, err);
	if (r == 0)
		r = label_check(&label, &page, err);
	if (r < 0)
		return r;
	*ret = label;
	return 0;
}
