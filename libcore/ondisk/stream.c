/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records of streams as bytes. */
#include "ondisk/stream.h"

#include "base/xxh.h"
#include "ondisk/field_priv.h"
#include "ondisk/inode.h"

static int bad(struct cfs_err *err, const char *what)
{
	return cfs_err_set(err, -EUCLEAN, "stream: %s", what);
}

/* ---- identities and positions -------------------------------------------- */

bool cfs_stream_identity_is_none(const struct cfs_stream_identity *id)
{
	return cfs_field_is_zero(id->container, sizeof(id->container));
}

bool cfs_stream_identity_is_same(const struct cfs_stream_identity *a,
				 const struct cfs_stream_identity *b)
{
	return a->stamp == b->stamp &&
	       memcmp(a->container, b->container, sizeof(a->container)) == 0;
}

void cfs_stream_identity_pack(const struct cfs_stream_identity *id,
			      struct cfs_stream_identity_disk *disk)
{
	memcpy(disk->container, id->container, sizeof(disk->container));
	disk->stamp = le64_put(id->stamp);
}

void cfs_stream_identity_unpack(const struct cfs_stream_identity_disk *disk,
				struct cfs_stream_identity *ret)
{
	memcpy(ret->container, disk->container, sizeof(ret->container));
	ret->stamp = le64_get(disk->stamp);
}

int cfs_stream_position_cmp(const struct cfs_stream_position *a,
			    const struct cfs_stream_position *b)
{
	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	return (a->word > b->word) - (a->word < b->word);
}

/* ---- heads --------------------------------------------------------------- */

static uint64_t head_csum(const struct cfs_stream_head_disk *disk,
			  uint64_t stream_id, const void *front,
			  size_t front_bytes)
{
	struct cfs_stream_head_disk d = *disk;
	struct cfs_xxh3_stream s;

	d.csum = le64_put(0);
	cfs_xxh3_stream_init(&s, stream_id);
	cfs_xxh3_stream_update(&s, &d, sizeof(d));
	cfs_xxh3_stream_update(&s, front, front_bytes);
	return cfs_xxh3_stream_end(&s);
}

void cfs_stream_head_pack(struct cfs_stream_head_disk *disk,
			  enum cfs_stream_type type, uint64_t sequence,
			  uint64_t stream_id, const void *front,
			  size_t front_bytes, uint32_t block_count)
{
	*disk = (struct cfs_stream_head_disk){
		.magic = le32_put(CFS_STREAM_MAGIC),
		.version = le16_put(CFS_STREAM_VERSION),
		.type = le16_put((uint16_t)type),
		.payload_bytes = le32_put((uint32_t)front_bytes +
					  block_count * CFS_BLOCK_BYTES),
		.sequence = le64_put(sequence),
	};
	disk->csum = le64_put(head_csum(disk, stream_id, front, front_bytes));
}

/* How many of @bytes are blocks of a DATA; false: it cannot be. */
static bool split_data(uint32_t bytes, struct cfs_stream_head *ret)
{
	const uint32_t fixed = sizeof(struct cfs_stream_data_disk);
	const uint32_t each = 8 + CFS_BLOCK_BYTES;

	if (bytes < fixed + each || (bytes - fixed) % each)
		return false;
	ret->block_count = (bytes - fixed) / each;
	ret->front_bytes = fixed + 8 * ret->block_count;
	return ret->block_count <= CFS_STREAM_BLOCKS_MAX;
}

static bool is_length(const struct cfs_stream_head *h)
{
	const uint32_t n = h->front_bytes;

	switch (h->type) {
	case CFS_STREAM_BEGIN:
		return n == sizeof(struct cfs_stream_begin_disk);
	case CFS_STREAM_META:
		return n >= sizeof(struct cfs_stream_meta_disk) &&
		       n <= sizeof(struct cfs_stream_meta_disk) +
				       CFS_VALUE_BYTES_MAX;
	case CFS_STREAM_GONE:
		return n == sizeof(struct cfs_stream_gone_disk);
	case CFS_STREAM_HOLE:
		return n == sizeof(struct cfs_stream_hole_disk);
	case CFS_STREAM_END:
		return n == sizeof(struct cfs_stream_end_disk);
	default:
		return false;
	}
}

int cfs_stream_head_unpack(const struct cfs_stream_head_disk *disk,
			   struct cfs_stream_head *ret, struct cfs_err *err)
{
	struct cfs_stream_head h = {
		.type = le16_get(disk->type),
		.front_bytes = le32_get(disk->payload_bytes),
		.sequence = le64_get(disk->sequence),
		.csum = le64_get(disk->csum),
	};

	if (le32_get(disk->magic) != CFS_STREAM_MAGIC)
		return cfs_err_set(err, -EMEDIUMTYPE, "not a stream of cfs");
	if (le16_get(disk->version) != CFS_STREAM_VERSION)
		return cfs_err_set(err, -ENOTSUP, "stream: of version %u",
				   (unsigned int)le16_get(disk->version));
	if (le32_get(disk->reserved))
		return bad(err, "a record's head makes no sense");
	if (h.type == CFS_STREAM_DATA ? !split_data(h.front_bytes, &h)
				      : !is_length(&h))
		return bad(err, "a record of a length that cannot be");
	*ret = h;
	return 0;
}

int cfs_stream_head_verify(const struct cfs_stream_head_disk *disk,
			   uint64_t stream_id, const void *front,
			   size_t front_bytes, struct cfs_err *err)
{
	if (le64_get(disk->csum) !=
	    head_csum(disk, stream_id, front, front_bytes))
		return bad(err, "a record does not match its checksum");
	return 0;
}

uint64_t cfs_stream_id(const struct cfs_stream_begin_disk *disk)
{
	return cfs_xxh3(disk, sizeof(*disk));
}

uint64_t cfs_stream_chain(uint64_t chain, uint64_t csum)
{
	const le64 d = le64_put(csum);

	return cfs_xxh3_seed(&d, sizeof(d), chain);
}

/* ---- BEGIN --------------------------------------------------------------- */

void cfs_stream_begin_pack(const struct cfs_stream_begin *b,
			   struct cfs_stream_begin_disk *disk)
{
	memset(disk, 0, sizeof(*disk));
	disk->kind = le32_put(b->kind);
	cfs_stream_identity_pack(&b->to, &disk->to);
	cfs_stream_identity_pack(&b->from, &disk->from);
	memcpy(disk->pool_uuid, b->pool_uuid, sizeof(disk->pool_uuid));
	memcpy(disk->container_uuid, b->container_uuid,
	       sizeof(disk->container_uuid));
	disk->size_bytes = le64_put(b->size_bytes);
	disk->root_ino = le64_put(b->root_ino);
	disk->hash_seed = le64_put(b->hash_seed);
	disk->created_ns = le64_put(b->created_ns);
	disk->position_ino = le64_put(b->position.ino);
	disk->position_word = le64_put(b->position.word);
	disk->data_bytes = le64_put(b->data_bytes);
	cfs_field_text_put(disk->volume, sizeof(disk->volume), b->volume);
	cfs_field_text_put(disk->snap, sizeof(disk->snap), b->snap);
	cfs_field_text_put(disk->from_snap, sizeof(disk->from_snap),
			   b->from_snap);
	cfs_field_text_put(disk->note, sizeof(disk->note), b->note);
}

static bool begin_texts(const struct cfs_stream_begin_disk *d,
			struct cfs_stream_begin *b)
{
	return cfs_field_text_get(b->volume, d->volume, sizeof(d->volume)) &&
	       cfs_field_text_get(b->snap, d->snap, sizeof(d->snap)) &&
	       cfs_field_text_get(b->from_snap, d->from_snap,
				  sizeof(d->from_snap)) &&
	       cfs_field_text_get(b->note, d->note, sizeof(d->note));
}

static bool ino_is_one(uint64_t ino)
{
	return ino > 0 && ino < CFS_STREAM_INO_END;
}

static bool begin_makes_sense(const struct cfs_stream_begin *b)
{
	if (b->kind != CFS_VOLUME_LUN && b->kind != CFS_VOLUME_TREE)
		return false;
	if (!ino_is_one(b->root_ino) || !cfs_name_is_valid(b->snap) ||
	    (b->from_snap[0] && !cfs_name_is_valid(b->from_snap)))
		return false;
	if (cfs_stream_identity_is_none(&b->to) ||
	    b->to.stamp > CFS_STAMP_MAX || b->from.stamp > CFS_STAMP_MAX)
		return false;
	return b->kind == CFS_VOLUME_TREE ||
	       (b->size_bytes > 0 && b->size_bytes % CFS_BLOCK_BYTES == 0 &&
		b->size_bytes <= UINT64_C(1) << 60);
}

int cfs_stream_begin_unpack(const void *front, size_t front_bytes,
			    struct cfs_stream_begin *ret, struct cfs_err *err)
{
	struct cfs_stream_begin_disk d;
	struct cfs_stream_begin b;

	if (front_bytes != sizeof(d))
		return bad(err, "BEGIN has a wrong length");
	memcpy(&d, front, sizeof(d));
	memset(&b, 0, sizeof(b));
	if (le64_get(d.incompat) || le64_get(d.ro_compat))
		return cfs_err_set(err, -ENOTSUP,
				   "stream: made by a newer version");
	b.kind = le32_get(d.kind);
	cfs_stream_identity_unpack(&d.to, &b.to);
	cfs_stream_identity_unpack(&d.from, &b.from);
	memcpy(b.pool_uuid, d.pool_uuid, sizeof(b.pool_uuid));
	memcpy(b.container_uuid, d.container_uuid, sizeof(b.container_uuid));
	b.size_bytes = le64_get(d.size_bytes);
	b.root_ino = le64_get(d.root_ino);
	b.hash_seed = le64_get(d.hash_seed);
	b.created_ns = le64_get(d.created_ns);
	b.position.ino = le64_get(d.position_ino);
	b.position.word = le64_get(d.position_word);
	b.data_bytes = le64_get(d.data_bytes);
	if (!begin_texts(&d, &b) || !begin_makes_sense(&b))
		return bad(err, "BEGIN makes no sense");
	*ret = b;
	return 0;
}

/* ---- the others ---------------------------------------------------------- */

size_t cfs_stream_meta_pack(const struct cfs_stream_meta *m, uint8_t *buf)
{
	const struct cfs_stream_meta_disk d = {
		.ino = le64_put(m->ino),
		.word = le64_put(m->word),
		.flags = le32_put(m->is_delete ? CFS_STREAM_META_DELETE : 0),
	};

	memcpy(buf, &d, sizeof(d));
	if (m->value_bytes)
		memcpy(buf + sizeof(d), m->value, m->value_bytes);
	return sizeof(d) + m->value_bytes;
}

int cfs_stream_meta_unpack(const void *front, size_t front_bytes,
			   struct cfs_stream_meta *ret, struct cfs_err *err)
{
	struct cfs_stream_meta_disk d;
	uint64_t class;
	uint32_t flags;

	if (front_bytes < sizeof(d))
		return bad(err, "META is too short");
	memcpy(&d, front, sizeof(d));
	flags = le32_get(d.flags);
	class = le64_get(d.word) >> CFS_MAP_OFF_BITS;
	if (!ino_is_one(le64_get(d.ino)) || class < CFS_MAP_INODE ||
	    class > CFS_MAP_SYMLINK || (flags & ~CFS_STREAM_META_DELETE) ||
	    le32_get(d.reserved) ||
	    (flags == CFS_STREAM_META_DELETE) == (front_bytes > sizeof(d)))
		return bad(err, "META makes no sense");
	*ret = (struct cfs_stream_meta){
		.ino = le64_get(d.ino),
		.word = le64_get(d.word),
		.is_delete = flags,
		.value = (const uint8_t *)front + sizeof(d),
		.value_bytes = front_bytes - sizeof(d),
	};
	return 0;
}

int cfs_stream_gone_unpack(const void *front, size_t front_bytes,
			   uint64_t *ret_ino, struct cfs_err *err)
{
	struct cfs_stream_gone_disk d;

	if (front_bytes != sizeof(d))
		return bad(err, "GONE has a wrong length");
	memcpy(&d, front, sizeof(d));
	if (!ino_is_one(le64_get(d.ino)))
		return bad(err, "GONE makes no sense");
	*ret_ino = le64_get(d.ino);
	return 0;
}

static bool range_is_one(uint64_t ino, uint64_t offset, uint64_t count)
{
	return ino_is_one(ino) && offset < CFS_OFF_MAX && count > 0 &&
	       count <= CFS_OFF_MAX - offset;
}

size_t cfs_stream_data_pack(const struct cfs_stream_data *data,
			    const uint64_t *csums, uint8_t *buf)
{
	const struct cfs_stream_data_disk d = {
		.ino = le64_put(data->ino),
		.offset = le64_put(data->offset),
		.stamp_branch = cfs_field_48_16(data->stamp, data->branch),
		.seq = le16_put(data->seq),
		.count = le32_put(data->count),
	};

	memcpy(buf, &d, sizeof(d));
	for (uint32_t i = 0; i < data->count; i++) {
		const le64 csum = le64_put(csums[i]);

		memcpy(buf + sizeof(d) + 8 * i, &csum, sizeof(csum));
	}
	return sizeof(d) + 8 * data->count;
}

int cfs_stream_data_unpack(const void *front, size_t front_bytes,
			   struct cfs_stream_data *ret, struct cfs_err *err)
{
	struct cfs_stream_data_disk d;
	struct cfs_stream_data data;

	if (front_bytes < sizeof(d))
		return bad(err, "DATA is too short");
	memcpy(&d, front, sizeof(d));
	data = (struct cfs_stream_data){
		.ino = le64_get(d.ino),
		.offset = le64_get(d.offset),
		.stamp = le64_get(d.stamp_branch) >> 16,
		.branch = (uint16_t)le64_get(d.stamp_branch),
		.seq = le16_get(d.seq),
		.count = le32_get(d.count),
	};
	if (le16_get(d.reserved) || data.count > CFS_STREAM_BLOCKS_MAX ||
	    !range_is_one(data.ino, data.offset, data.count) ||
	    front_bytes != sizeof(d) + 8 * data.count)
		return bad(err, "DATA makes no sense");
	*ret = data;
	return 0;
}

uint64_t cfs_stream_data_csum(const void *front, uint32_t index)
{
	le64 csum;

	memcpy(&csum,
	       (const uint8_t *)front + sizeof(struct cfs_stream_data_disk) +
		       8 * (size_t)index,
	       sizeof(csum));
	return le64_get(csum);
}

size_t cfs_stream_hole_pack(const struct cfs_stream_hole *hole, uint8_t *buf)
{
	const struct cfs_stream_hole_disk d = {
		.ino = le64_put(hole->ino),
		.offset = le64_put(hole->offset),
		.count = le64_put(hole->count),
	};

	memcpy(buf, &d, sizeof(d));
	return sizeof(d);
}

int cfs_stream_hole_unpack(const void *front, size_t front_bytes,
			   struct cfs_stream_hole *ret, struct cfs_err *err)
{
	struct cfs_stream_hole_disk d;
	struct cfs_stream_hole hole;

	if (front_bytes != sizeof(d))
		return bad(err, "HOLE has a wrong length");
	memcpy(&d, front, sizeof(d));
	hole = (struct cfs_stream_hole){
		.ino = le64_get(d.ino),
		.offset = le64_get(d.offset),
		.count = le64_get(d.count),
	};
	if (!range_is_one(hole.ino, hole.offset, hole.count))
		return bad(err, "HOLE makes no sense");
	*ret = hole;
	return 0;
}

int cfs_stream_end_unpack(const void *front, size_t front_bytes,
			  struct cfs_stream_end *ret, struct cfs_err *err)
{
	struct cfs_stream_end_disk d;

	if (front_bytes != sizeof(d))
		return bad(err, "END has a wrong length");
	memcpy(&d, front, sizeof(d));
	*ret = (struct cfs_stream_end){
		.record_count = le64_get(d.record_count),
		.block_count = le64_get(d.block_count),
		.chain = le64_get(d.chain),
	};
	return 0;
}
