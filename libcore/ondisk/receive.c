/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records about streams that are being received. */
#include "ondisk/receive.h"

#include "ondisk/field_priv.h"

static int bad(struct cfs_err *err, const char *what)
{
	return cfs_err_set(err, -EUCLEAN, "table: receive: %s", what);
}

void cfs_receive_rec_pack(const struct cfs_receive_rec *rec,
			  struct cfs_receive_rec_disk *disk)
{
	memset(disk, 0, sizeof(*disk));
	cfs_stream_identity_pack(&rec->to, &disk->to);
	cfs_stream_identity_pack(&rec->from, &disk->from);
	disk->base_stamp = le64_put(rec->base_stamp);
	disk->base_branch = le32_put(rec->base_branch);
	disk->position_ino = le64_put(rec->position.ino);
	disk->position_word = le64_put(rec->position.word);
	disk->began_ns = le64_put(rec->began_ns);
	disk->received_bytes = le64_put(rec->received_bytes);
	cfs_field_text_put(disk->snap, sizeof(disk->snap), rec->snap);
}

int cfs_receive_rec_unpack(const void *value, size_t value_bytes,
			   struct cfs_receive_rec *ret, struct cfs_err *err)
{
	struct cfs_receive_rec_disk d;
	struct cfs_receive_rec rec;

	if (value_bytes < sizeof(d))
		return bad(err, "too short");
	memcpy(&d, value, sizeof(d));
	memset(&rec, 0, sizeof(rec));
	cfs_stream_identity_unpack(&d.to, &rec.to);
	cfs_stream_identity_unpack(&d.from, &rec.from);
	rec.base_stamp = le64_get(d.base_stamp);
	rec.base_branch = (uint16_t)le32_get(d.base_branch);
	rec.position.ino = le64_get(d.position_ino);
	rec.position.word = le64_get(d.position_word);
	rec.began_ns = le64_get(d.began_ns);
	rec.received_bytes = le64_get(d.received_bytes);
	if (!cfs_field_text_get(rec.snap, d.snap, sizeof(d.snap)) ||
	    !cfs_name_is_valid(rec.snap))
		return bad(err, "name");
	if (le32_get(d.base_branch) > UINT16_MAX ||
	    rec.base_stamp > CFS_STAMP_MAX ||
	    (rec.base_stamp != 0) != (rec.base_branch != 0) ||
	    cfs_stream_identity_is_none(&rec.to))
		return bad(err, "a field makes no sense");
	*ret = rec;
	return 0;
}
