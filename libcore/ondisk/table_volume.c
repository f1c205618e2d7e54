/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Small tables, continued: the records of a container's volumes, branches and
 * snapshots, by which versions are kept, found and made anew.
 */
#include "ondisk/table.h"

#include "ondisk/field_priv.h"

#define BRANCH_MAX 0xffffu

static int too_short(struct cfs_err *err, const char *what)
{
	return cfs_err_set(err, -EUCLEAN, "table: %s too short", what);
}

static int bad(struct cfs_err *err, const char *what)
{
	return cfs_err_set(err, -EUCLEAN, "table: bad %s", what);
}

static bool state_is_known(uint32_t state)
{
	return state >= CFS_OBJECT_LIVE && state <= CFS_OBJECT_DELETING;
}

static bool branch_is_one(uint32_t branch)
{
	return branch >= 1 && branch <= BRANCH_MAX;
}

void cfs_volume_rec_pack(const struct cfs_volume_rec *rec,
			 struct cfs_volume_rec_disk *disk)
{
	memset(disk, 0, sizeof(*disk));
	cfs_field_text_put(disk->name, sizeof(disk->name), rec->name);
	disk->kind = le32_put(rec->kind);
	disk->state = le32_put(rec->state);
	disk->head_branch = le32_put(rec->head_branch);
	disk->ino = le64_put(rec->ino);
	disk->size_bytes = le64_put(rec->size_bytes);
	disk->created_ns = le64_put(rec->created_ns);
	disk->limit_bytes = le64_put(rec->limit_bytes);
	disk->origin_volume = le64_put(rec->origin_volume);
	disk->origin_stamp = le64_put(rec->origin_stamp);
	disk->hash_seed = le64_put(rec->hash_seed);
}

int cfs_volume_rec_unpack(const void *value, size_t value_bytes,
			  struct cfs_volume_rec *ret, struct cfs_err *err)
{
	struct cfs_volume_rec_disk disk;
	struct cfs_volume_rec rec;

	if (value_bytes < sizeof(disk))
		return too_short(err, "volume");
	memcpy(&disk, value, sizeof(disk));
	rec = (struct cfs_volume_rec){
		.kind = le32_get(disk.kind),
		.state = le32_get(disk.state),
		.head_branch = le32_get(disk.head_branch),
		.ino = le64_get(disk.ino),
		.size_bytes = le64_get(disk.size_bytes),
		.created_ns = le64_get(disk.created_ns),
		.limit_bytes = le64_get(disk.limit_bytes),
		.origin_volume = le64_get(disk.origin_volume),
		.origin_stamp = le64_get(disk.origin_stamp),
		.hash_seed = le64_get(disk.hash_seed),
	};
	if (!cfs_field_text_get(rec.name, disk.name, sizeof(disk.name)) ||
	    (rec.name[0] && !cfs_name_is_valid(rec.name)))
		return bad(err, "volume: name");
	if ((rec.kind != CFS_VOLUME_LUN && rec.kind != CFS_VOLUME_TREE) ||
	    !state_is_known(rec.state))
		return bad(err, "volume: kind or state");
	if (!branch_is_one(rec.head_branch) || rec.ino > CFS_INO_MAX ||
	    rec.origin_stamp > CFS_STAMP_MAX ||
	    rec.size_bytes > (CFS_OFF_MAX + 1) * CFS_BLOCK_BYTES)
		return bad(err, "volume: branch, inode, origin or size");
	*ret = rec;
	return 0;
}

void cfs_branch_rec_pack(const struct cfs_branch_rec *rec,
			 struct cfs_branch_rec_disk *disk)
{
	disk->volume = le64_put(rec->volume);
	disk->parent = le32_put(rec->parent);
	disk->state = le32_put(rec->state);
	disk->fork_stamp = le64_put(rec->fork_stamp);
	disk->created_stamp = le64_put(rec->created_stamp);
	disk->end_stamp = le64_put(rec->end_stamp);
	disk->live_blocks = le64_put(rec->live_blocks);
	disk->history_blocks = le64_put(rec->history_blocks);
	disk->level_mask = le64_put(rec->level_mask);
}

int cfs_branch_rec_unpack(const void *value, size_t value_bytes,
			  struct cfs_branch_rec *ret, struct cfs_err *err)
{
	struct cfs_branch_rec_disk disk;
	struct cfs_branch_rec rec;

	if (value_bytes < sizeof(disk))
		return too_short(err, "branch");
	memcpy(&disk, value, sizeof(disk));
	rec = (struct cfs_branch_rec){
		.volume = le64_get(disk.volume),
		.parent = le32_get(disk.parent),
		.state = le32_get(disk.state),
		.fork_stamp = le64_get(disk.fork_stamp),
		.created_stamp = le64_get(disk.created_stamp),
		.end_stamp = le64_get(disk.end_stamp),
		.live_blocks = le64_get(disk.live_blocks),
		.history_blocks = le64_get(disk.history_blocks),
		.level_mask = le64_get(disk.level_mask),
	};
	if (!state_is_known(rec.state) || rec.parent > BRANCH_MAX)
		return bad(err, "branch: state or parent");
	if (rec.fork_stamp > CFS_STAMP_MAX ||
	    rec.created_stamp > CFS_STAMP_MAX || rec.end_stamp > CFS_STAMP_MAX)
		return bad(err, "branch: stamps");
	*ret = rec;
	return 0;
}

size_t cfs_snapshot_rec_pack(const struct cfs_snapshot_rec *rec, uint8_t *buf)
{
	size_t name_bytes = strnlen(rec->name, sizeof(rec->name) - 1);
	size_t note_bytes = strnlen(rec->note, sizeof(rec->note) - 1);
	struct cfs_snapshot_rec_disk disk = {
		.created_ns = le64_put(rec->created_ns),
		.size_bytes = le64_put(rec->size_bytes),
		.flags = le16_put((uint16_t)rec->flags),
		.name_bytes = (uint8_t)name_bytes,
		.note_bytes = (uint8_t)note_bytes,
	};

	memcpy(buf, &disk, sizeof(disk));
	buf += sizeof(disk);
	memcpy(buf, rec->name, name_bytes);
	memcpy(buf + name_bytes, rec->note, note_bytes);
	if (rec->flags & CFS_SNAPSHOT_RECEIVED) {
		struct cfs_snapshot_origin_disk origin;

		memcpy(origin.container, rec->origin_container,
		       sizeof(origin.container));
		origin.stamp = le64_put(rec->origin_stamp);
		memcpy(buf + name_bytes + note_bytes, &origin, sizeof(origin));
		note_bytes += sizeof(origin);
	}
	return sizeof(disk) + name_bytes + note_bytes;
}

static int snapshot_origin(const uint8_t *p, size_t bytes,
			   struct cfs_snapshot_rec *rec, struct cfs_err *err)
{
	struct cfs_snapshot_origin_disk origin;

	if (bytes < sizeof(origin))
		return too_short(err, "snapshot");
	memcpy(&origin, p, sizeof(origin));
	memcpy(rec->origin_container, origin.container,
	       sizeof(rec->origin_container));
	rec->origin_stamp = le64_get(origin.stamp);
	return 0;
}

int cfs_snapshot_rec_unpack(const void *value, size_t value_bytes,
			    struct cfs_snapshot_rec *ret, struct cfs_err *err)
{
	const uint8_t *p = value;
	struct cfs_snapshot_rec_disk disk;
	struct cfs_snapshot_rec rec = { 0 };

	if (value_bytes < sizeof(disk))
		return too_short(err, "snapshot");
	memcpy(&disk, p, sizeof(disk));
	p += sizeof(disk);
	if ((size_t)disk.name_bytes + disk.note_bytes >
	    value_bytes - sizeof(disk))
		return too_short(err, "snapshot");
	if (disk.name_bytes >= sizeof(rec.name))
		return bad(err, "snapshot: name");
	memcpy(rec.name, p, disk.name_bytes);
	memcpy(rec.note, p + disk.name_bytes, disk.note_bytes);
	if (strlen(rec.name) != disk.name_bytes || !cfs_name_is_valid(rec.name))
		return bad(err, "snapshot: name");
	if (strlen(rec.note) != disk.note_bytes)
		return bad(err, "snapshot: note");
	rec.created_ns = le64_get(disk.created_ns);
	rec.size_bytes = le64_get(disk.size_bytes);
	rec.flags = le16_get(disk.flags);
	if (rec.size_bytes > (CFS_OFF_MAX + 1) * CFS_BLOCK_BYTES)
		return bad(err, "snapshot: size");
	if (rec.flags & CFS_SNAPSHOT_RECEIVED) {
		const size_t used = sizeof(disk) + disk.name_bytes +
				    disk.note_bytes;
		int r = snapshot_origin((const uint8_t *)value + used,
					value_bytes - used, &rec, err);

		if (r < 0)
			return r;
	}
	*ret = rec;
	return 0;
}

void cfs_tombstone_rec_pack(const struct cfs_tombstone_rec *rec,
			    struct cfs_tombstone_rec_disk *disk)
{
	disk->count = le64_put(rec->count);
	disk->stamp_seq = cfs_field_48_16(rec->stamp, rec->seq);
}

int cfs_tombstone_rec_unpack(const void *value, size_t value_bytes,
			     struct cfs_tombstone_rec *ret, struct cfs_err *err)
{
	struct cfs_tombstone_rec_disk disk;
	struct cfs_tombstone_rec rec;

	if (value_bytes < sizeof(disk))
		return too_short(err, "tombstone");
	memcpy(&disk, value, sizeof(disk));
	rec.count = le64_get(disk.count);
	rec.stamp = le64_get(disk.stamp_seq) >> 16;
	rec.seq = (uint16_t)le64_get(disk.stamp_seq);
	if (rec.count == 0 || rec.count > CFS_OFF_MAX + 1)
		return bad(err, "tombstone: count");
	*ret = rec;
	return 0;
}

void cfs_orphan_rec_pack(const struct cfs_orphan_rec *rec,
			 struct cfs_orphan_rec_disk *disk)
{
	disk->stamp = le64_put(rec->stamp);
	disk->flags = le64_put(rec->flags);
}

int cfs_orphan_rec_unpack(const void *value, size_t value_bytes,
			  struct cfs_orphan_rec *ret, struct cfs_err *err)
{
	struct cfs_orphan_rec_disk disk;

	if (value_bytes < sizeof(disk))
		return too_short(err, "orphan");
	memcpy(&disk, value, sizeof(disk));
	if (le64_get(disk.stamp) > CFS_STAMP_MAX)
		return bad(err, "orphan: stamp");
	ret->stamp = le64_get(disk.stamp);
	ret->flags = le64_get(disk.flags);
	return 0;
}
