/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Small tables: records of the pool and of space; those of volumes are in
 * table_volume.c.  A value longer than version 1's was written by a later
 * version and is read by its known part.  Values come
 * out of verified nodes, so what is refused here is a writer's mistake or a
 * forgery, and must not become an index, a loop or a name that leads out of
 * its place.
 */
#include "ondisk/table.h"

#include "ondisk/field_priv.h"
#include "ondisk/geometry.h"

#include "base/bits.h"

static int too_short(struct cfs_err *err, const char *what)
{
	return cfs_err_set(err, -EUCLEAN, "table: %s too short", what);
}

static int bad(struct cfs_err *err, const char *what)
{
	return cfs_err_set(err, -EUCLEAN, "table: bad %s", what);
}

static bool in(uint64_t v, uint64_t min, uint64_t max)
{
	return v >= min && v <= max;
}

bool cfs_name_is_valid(const char *name)
{
	size_t n = strnlen(name, CFS_NAME_BYTES);

	if (n == 0 || n == CFS_NAME_BYTES || name[0] == '-' || name[0] == '.')
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = name[i];

		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
		      (c >= '0' && c <= '9') || c == '.' || c == '_' ||
		      c == '-'))
			return false;
	}
	return true;
}

void cfs_pool_rec_pack(const struct cfs_pool_rec *rec,
		       struct cfs_pool_rec_disk *disk)
{
	cfs_field_text_put(disk->name, sizeof(disk->name), rec->name);
	disk->next_container = le64_put(rec->next_container);
	for (unsigned int i = 0; i < 8; i++)
		disk->config[i] = le64_put(rec->config[i]);
}

int cfs_pool_rec_unpack(const void *value, size_t value_bytes,
			struct cfs_pool_rec *ret, struct cfs_err *err)
{
	struct cfs_pool_rec_disk disk;
	struct cfs_pool_rec rec;

	if (value_bytes < sizeof(disk))
		return too_short(err, "pool");
	memcpy(&disk, value, sizeof(disk));
	if (!cfs_field_text_get(rec.name, disk.name, sizeof(disk.name)))
		return bad(err, "pool: label");
	rec.next_container = le64_get(disk.next_container);
	for (unsigned int i = 0; i < 8; i++)
		rec.config[i] = le64_get(disk.config[i]);
	*ret = rec;
	return 0;
}

void cfs_device_rec_pack(const struct cfs_device_rec *rec,
			 struct cfs_device_rec_disk *disk)
{
	memset(disk, 0, sizeof(*disk));
	memcpy(disk->uuid, rec->uuid, sizeof(disk->uuid));
	disk->state = le32_put(rec->state);
	disk->size_bytes = le64_put(rec->size_bytes);
	disk->slice_count = le64_put(rec->slice_count);
	disk->out_since_stamp = le64_put(rec->out_since_stamp);
	disk->cursor = le64_put(rec->cursor);
}

int cfs_device_rec_unpack(const void *value, size_t value_bytes,
			  struct cfs_device_rec *ret, struct cfs_err *err)
{
	struct cfs_device_rec_disk disk;
	struct cfs_device_rec rec;

	if (value_bytes < sizeof(disk))
		return too_short(err, "device");
	memcpy(&disk, value, sizeof(disk));
	rec = (struct cfs_device_rec){
		.state = le32_get(disk.state),
		.size_bytes = le64_get(disk.size_bytes),
		.slice_count = le64_get(disk.slice_count),
		.out_since_stamp = le64_get(disk.out_since_stamp),
		.cursor = le64_get(disk.cursor),
	};
	memcpy(rec.uuid, disk.uuid, sizeof(rec.uuid));
	if (!in(rec.state, CFS_DEVICE_OK, CFS_DEVICE_REMOVED))
		return bad(err, "device: state");
	if (rec.slice_count > UINT32_MAX || rec.size_bytes > INT64_MAX ||
	    rec.out_since_stamp > CFS_STAMP_MAX)
		return bad(err, "device: size, slices or stamp");
	*ret = rec;
	return 0;
}

void cfs_slice_rec_pack(const struct cfs_slice_rec *rec,
			struct cfs_slice_rec_disk *disk)
{
	memset(disk, 0, sizeof(*disk));
	disk->use = le32_put(rec->use);
	disk->generation = le32_put(rec->generation);
	disk->container_id = le64_put(rec->container_id);
	disk->lslice = le64_put(rec->lslice);
	disk->piece = le32_put(rec->piece);
}

int cfs_slice_rec_unpack(const void *value, size_t value_bytes,
			 struct cfs_slice_rec *ret, struct cfs_err *err)
{
	struct cfs_slice_rec_disk disk;
	struct cfs_slice_rec rec;

	if (value_bytes < sizeof(disk))
		return too_short(err, "slice");
	memcpy(&disk, value, sizeof(disk));
	rec = (struct cfs_slice_rec){
		.use = le32_get(disk.use),
		.generation = le32_get(disk.generation),
		.container_id = le64_get(disk.container_id),
		.lslice = le64_get(disk.lslice),
		.piece = le32_get(disk.piece),
	};
	if (rec.use > CFS_SLICE_USE_BAD)
		return bad(err, "slice: use");
	if (rec.lslice > CFS_LSLICE_MAX || rec.piece >= CFS_PIECES_MAX)
		return bad(err, "slice: lslice or piece");
	*ret = rec;
	return 0;
}

void cfs_smap_rec_pack(const struct cfs_smap_rec *rec,
		       struct cfs_smap_rec_disk *disk)
{
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++)
		cfs_piece_pack(&rec->pieces[i], &disk->pieces[i]);
	disk->epoch = le32_put(rec->epoch);
}

int cfs_smap_rec_unpack(const void *value, size_t value_bytes,
			struct cfs_smap_rec *ret, struct cfs_err *err)
{
	struct cfs_smap_rec_disk disk;
	struct cfs_smap_rec rec;

	if (value_bytes < sizeof(disk))
		return too_short(err, "slice map");
	memcpy(&disk, value, sizeof(disk));
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++)
		cfs_piece_unpack(&disk.pieces[i], &rec.pieces[i]);
	rec.epoch = le32_get(disk.epoch);
	*ret = rec;
	return 0;
}

void cfs_container_rec_pack(const struct cfs_container_rec *rec,
			    struct cfs_container_rec_disk *disk)
{
	memcpy(disk->uuid, rec->uuid, sizeof(disk->uuid));
	cfs_field_text_put(disk->name, sizeof(disk->name), rec->name);
	disk->kind = le32_put(rec->kind);
	disk->state = le32_put(rec->state);
	disk->epoch = le32_put(rec->epoch);
	disk->base_epoch = le32_put(rec->base_epoch);
	disk->created_ns = le64_put(rec->created_ns);
	disk->limit_bytes = le64_put(rec->limit_bytes);
	disk->provision_bytes = le64_put(rec->provision_bytes);
	for (unsigned int i = 0; i < CFS_ROOT_PLACES_MAX; i++)
		disk->root_vaddr[i] = le64_put(rec->root_vaddr[i]);
	for (unsigned int i = 0; i < CFS_ROOT_PLACES_MAX; i++)
		disk->base_vaddr[i] = le64_put(rec->base_vaddr[i]);
	disk->flags = le32_put(rec->flags);
	disk->reserved = le32_put(0);
	disk->source_container = le64_put(rec->source_container);
	disk->source_volume = le64_put(rec->source_volume);
	disk->source_created_ns = le64_put(rec->source_created_ns);
}

int cfs_container_rec_unpack(const void *value, size_t value_bytes,
			     struct cfs_container_rec *ret, struct cfs_err *err)
{
	struct cfs_container_rec_disk disk;
	struct cfs_container_rec rec;

	if (value_bytes < CFS_CONTAINER_REC_BYTES_MIN)
		return too_short(err, "container");
	memset(&disk, 0, sizeof(disk));
	memcpy(&disk, value, CFS_MIN(value_bytes, sizeof(disk)));
	rec = (struct cfs_container_rec){
		.kind = le32_get(disk.kind),
		.state = le32_get(disk.state),
		.epoch = le32_get(disk.epoch),
		.base_epoch = le32_get(disk.base_epoch),
		.created_ns = le64_get(disk.created_ns),
		.limit_bytes = le64_get(disk.limit_bytes),
		.provision_bytes = le64_get(disk.provision_bytes),
		.flags = le32_get(disk.flags),
		.source_container = le64_get(disk.source_container),
		.source_volume = le64_get(disk.source_volume),
		.source_created_ns = le64_get(disk.source_created_ns),
	};
	memcpy(rec.uuid, disk.uuid, sizeof(rec.uuid));
	for (unsigned int i = 0; i < CFS_ROOT_PLACES_MAX; i++)
		rec.root_vaddr[i] = le64_get(disk.root_vaddr[i]);
	for (unsigned int i = 0; i < CFS_ROOT_PLACES_MAX; i++)
		rec.base_vaddr[i] = le64_get(disk.base_vaddr[i]);
	if (!cfs_field_text_get(rec.name, disk.name, sizeof(disk.name)) ||
	    !cfs_name_is_valid(rec.name))
		return bad(err, "container: name");
	if (!in(rec.kind, CFS_VOLUME_LUN, CFS_VOLUME_TREE) ||
	    !in(rec.state, CFS_OBJECT_LIVE, CFS_OBJECT_DELETING))
		return bad(err, "container: kind or state");
	*ret = rec;
	return 0;
}

void cfs_snapset_rec_pack(const struct cfs_snapset_rec *rec,
			  struct cfs_snapset_rec_disk *disk)
{
	memset(disk, 0, sizeof(*disk));
	disk->begun_ns = le64_put(rec->begun_ns);
	disk->count = le32_put(rec->count);
}

int cfs_snapset_rec_unpack(const void *value, size_t value_bytes,
			   struct cfs_snapset_rec *ret, struct cfs_err *err)
{
	struct cfs_snapset_rec_disk disk;

	if (value_bytes < sizeof(disk))
		return too_short(err, "set of snapshots");
	memcpy(&disk, value, sizeof(disk));
	/* One alone needs no record. */
	if (le32_get(disk.count) < 2)
		return bad(err, "set of snapshots: count");
	ret->begun_ns = le64_get(disk.begun_ns);
	ret->count = le32_get(disk.count);
	return 0;
}

void cfs_loan_rec_pack(const struct cfs_loan_rec *rec,
		       struct cfs_loan_rec_disk *disk)
{
	disk->loan = le64_put(rec->loan);
	disk->holder = le64_put(rec->holder);
	disk->epoch = le32_put(rec->epoch);
	disk->state = le32_put(rec->state);
}

int cfs_loan_rec_unpack(const void *value, size_t value_bytes,
			struct cfs_loan_rec *ret, struct cfs_err *err)
{
	struct cfs_loan_rec_disk disk;
	struct cfs_loan_rec rec;

	if (value_bytes < sizeof(disk))
		return too_short(err, "loan");
	memcpy(&disk, value, sizeof(disk));
	rec = (struct cfs_loan_rec){
		.loan = le64_get(disk.loan),
		.holder = le64_get(disk.holder),
		.epoch = le32_get(disk.epoch),
		.state = le32_get(disk.state),
	};
	if (!in(rec.state, CFS_LOAN_OPEN, CFS_LOAN_FROZEN))
		return bad(err, "loan: state");
	*ret = rec;
	return 0;
}

void cfs_retired_rec_pack(const struct cfs_retired_rec *rec,
			  struct cfs_retired_rec_disk *disk)
{
	disk->vaddr = le64_put(rec->vaddr);
	disk->count = le32_put(rec->count);
	disk->type = le32_put(rec->type);
	disk->until = le32_put(rec->until);
	disk->reserved = le32_put(0);
}

int cfs_retired_rec_unpack(const void *value, size_t value_bytes,
			   struct cfs_retired_rec *ret, struct cfs_err *err)
{
	struct cfs_retired_rec_disk disk;
	struct cfs_retired_rec rec;

	if (value_bytes < sizeof(disk))
		return too_short(err, "retired blocks");
	memcpy(&disk, value, sizeof(disk));
	rec.vaddr = le64_get(disk.vaddr);
	rec.count = le32_get(disk.count);
	rec.type = le32_get(disk.type);
	rec.until = le32_get(disk.until);
	if (!rec.vaddr || !rec.count ||
	    !in(rec.type, CFS_TAG_ROOT, CFS_TAG_LOG))
		return bad(err, "retired blocks");
	*ret = rec;
	return 0;
}

void cfs_bad_rec_pack(const struct cfs_bad_rec *rec,
		      struct cfs_bad_rec_disk *disk)
{
	disk->found_ns = le64_put(rec->found_ns);
	disk->piece_mask = le32_put(rec->piece_mask);
	disk->cause = le32_put(rec->cause);
	cfs_tag_pack(&rec->tag, &disk->tag);
}

int cfs_bad_rec_unpack(const void *value, size_t value_bytes,
		       struct cfs_bad_rec *ret, struct cfs_err *err)
{
	struct cfs_bad_rec_disk disk;
	struct cfs_bad_rec rec;

	if (value_bytes < sizeof(disk))
		return too_short(err, "bad place");
	memcpy(&disk, value, sizeof(disk));
	rec.found_ns = le64_get(disk.found_ns);
	rec.piece_mask = le32_get(disk.piece_mask);
	rec.cause = le32_get(disk.cause);
	cfs_tag_unpack(&disk.tag, &rec.tag);
	if (!in(rec.cause, CFS_BAD_UNREADABLE, CFS_BAD_TAG) ||
	    rec.piece_mask >> CFS_PIECES_MAX)
		return bad(err, "bad place: cause or pieces");
	*ret = rec;
	return 0;
}

void cfs_scrub_rec_pack(const struct cfs_scrub_rec *rec,
			struct cfs_scrub_rec_disk *disk)
{
	disk->started_ns = le64_put(rec->started_ns);
	disk->ended_ns = le64_put(rec->ended_ns);
	disk->cursor_lslice = le64_put(rec->cursor_lslice);
	disk->cursor_block = le64_put(rec->cursor_block);
	disk->read_blocks = le64_put(rec->read_blocks);
	disk->bad_blocks = le64_put(rec->bad_blocks);
	disk->healed_blocks = le64_put(rec->healed_blocks);
	disk->flags = le64_put(rec->flags);
}

int cfs_scrub_rec_unpack(const void *value, size_t value_bytes,
			 struct cfs_scrub_rec *ret, struct cfs_err *err)
{
	struct cfs_scrub_rec_disk disk;

	if (value_bytes < sizeof(disk))
		return too_short(err, "scrub");
	memcpy(&disk, value, sizeof(disk));
	*ret = (struct cfs_scrub_rec){
		.started_ns = le64_get(disk.started_ns),
		.ended_ns = le64_get(disk.ended_ns),
		.cursor_lslice = le64_get(disk.cursor_lslice),
		.cursor_block = le64_get(disk.cursor_block),
		.read_blocks = le64_get(disk.read_blocks),
		.bad_blocks = le64_get(disk.bad_blocks),
		.healed_blocks = le64_get(disk.healed_blocks),
		.flags = le64_get(disk.flags),
	};
	return 0;
}
