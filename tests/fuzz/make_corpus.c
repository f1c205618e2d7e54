/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Writes the seeds of the fuzz targets for on-disk records: sound records of
 * each kind, without the zeroes at their end (targets put them back).  Run it
 * again when the format grows and commit what changes:
 *
 *   make && cc -std=gnu11 -D_GNU_SOURCE -Ilibcore -o build/make_corpus \
 *	tests/fuzz/make_corpus.c build/libcfs.a && build/make_corpus
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "lease/hand.h"
#include "lease/msg.h"
#include "lease/period.h"
#include "ondisk/frame.h"
#include "ondisk/inode.h"
#include "ondisk/label.h"
#include "ondisk/receive.h"
#include "ondisk/snapname.h"
#include "ondisk/seat.h"
#include "ondisk/slice_header.h"
#include "ondisk/table.h"
#include "session/delegate_msg.h"
#include "session/direct_msg.h"
#include "tree/container_client.h"
#include "volume/pool_delegate.h"
#include "volume/stream.h"

#define CORPUS "tests/fuzz/corpus"

static void fail(const char *what)
{
	fprintf(stderr, "make_corpus: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* @first: a byte before the record, -1 for none. */
static void seed_write(const char *target, const char *name, int first,
		       const void *record, size_t bytes, bool trim)
{
	const uint8_t *p = record;
	char path[256];
	FILE *f;

	while (trim && bytes > 0 && p[bytes - 1] == 0)
		bytes--;
	snprintf(path, sizeof(path), CORPUS "/%s", target);
	if (mkdir(path, 0777) < 0 && errno != EEXIST)
		fail(path);
	snprintf(path, sizeof(path), CORPUS "/%s/%s", target, name);
	f = fopen(path, "wb");
	if (!f || (first >= 0 && fputc(first, f) == EOF) ||
	    (bytes && fwrite(record, bytes, 1, f) != 1) || fclose(f) != 0)
		fail(path);
}

static void uuid_fill(uint8_t uuid[16], uint8_t first)
{
	for (uint8_t i = 0; i < 16; i++)
		uuid[i] = (uint8_t)(first + i);
}

static void page_write(const char *target, const char *name, uint16_t kind,
		       uint64_t seq, struct cfs_page_disk *disk)
{
	const struct cfs_page page = {
		.kind = kind,
		.seq = seq,
		.pool_lo = 1,
		.owner = 2,
		.stamp = 3,
		.epoch = 1,
		.generation = kind == CFS_PAGE_TAGS ? 4 : 0,
	};

	cfs_page_pack(&page, disk);
	seed_write(target, name, -1, disk, sizeof(*disk), true);
}

static void labels(void)
{
	struct cfs_label label = {
		.seq = 1,
		.name = "pool",
		.size_bytes = UINT64_C(64) << 20,
		.slice_bytes = CFS_SLICE_BYTES_MIN,
		.slices_offset_bytes = CFS_SLICES_OFFSET_LOCAL,
		.slice_count = 62,
		.seat_count = CFS_SEAT_COUNT_LOCAL,
		.device_count = 1,
	};
	struct cfs_page_disk disk;

	uuid_fill(label.pool_uuid, 0x10);
	uuid_fill(label.device_uuid, 0x30);
	cfs_label_pack(&label, 0, &disk);
	seed_write("label", "small", -1, &disk, sizeof(disk), true);
	label.size_bytes = UINT64_C(1) << 50;
	label.slice_bytes = UINT64_C(256) << 20;
	label.slices_offset_bytes = CFS_SLICES_OFFSET_SHARED;
	label.seat_count = CFS_SEAT_COUNT_SHARED;
	label.slice_count = 4000000;
	label.device_index = 1;
	label.device_count = 2;
	label.flags = CFS_POOL_FLAG_MIRROR | CFS_POOL_FLAG_SHARED;
	uuid_fill(label.hints[0].device_uuid, 0x50);
	strcpy(label.hints[0].path, "/dev/disk/by-id/a");
	cfs_label_pack(&label, 0, &disk);
	seed_write("label", "shared", -1, &disk, sizeof(disk), true);
	label.features_incompat = 0x8000;
	cfs_label_pack(&label, 0, &disk);
	seed_write("label", "newer", -1, &disk, sizeof(disk), true);
}

static void seats_and_headers(void)
{
	struct cfs_seat seat = {
		.host = "host",
		.address = "unix:/run/cfs/x",
		.state = CFS_SEAT_OPEN,
		.epoch = 2,
		.pid = 1234,
		.roots = { { true, 0, { 1 << 20, 1 << 21 }, { 5, 6 } } },
		.absent = { { 1, 2, 3 } },
		.absent_count = 1,
	};
	struct cfs_slice_header header = {
		.container_id = 7,
		.lslice = 9,
		.slice_bytes = CFS_SLICE_BYTES_MIN,
		.slice_index = 11,
		.state = CFS_SLICE_OWNED,
		.piece = 1,
		.piece_count = 2,
	};
	struct cfs_page_disk disk;

	cfs_seat_pack(&seat, &disk);
	page_write("seat", "open", CFS_PAGE_SEAT, 5, &disk);
	seat = (struct cfs_seat){ .state = CFS_SEAT_CLEAN };
	cfs_seat_pack(&seat, &disk);
	page_write("seat", "clean", CFS_PAGE_SEAT, 6, &disk);
	uuid_fill(header.container_uuid, 0x10);
	uuid_fill(header.device_uuid, 0x30);
	cfs_slice_header_pack(&header, &disk);
	page_write("slice_header", "owned", CFS_PAGE_SLICE, 1, &disk);
	header.state = CFS_SLICE_FREE;
	cfs_slice_header_pack(&header, &disk);
	page_write("slice_header", "free", CFS_PAGE_SLICE, 2, &disk);
}

static void tags(void)
{
	struct cfs_page_disk slots[2];
	struct cfs_tags_payload_disk *p = (void *)slots[0].payload;

	memset(slots, 0, sizeof(slots));
	for (unsigned int i = 0; i < 8; i++) {
		const struct cfs_tag tag = {
			.csum = i * 0x0123456789abcdef,
			.ino = 100 + i,
			.offset = i,
			.stamp = 5,
			.seq = (uint16_t)i,
			.branch = 1,
			.type = (uint8_t)i,
			.flags = i == 7 ? CFS_TAG_FLAG_UNVERIFIED : 0,
		};

		cfs_tag_pack(&tag, &p->tags[i]);
	}
	page_write("tags", "some", CFS_PAGE_TAGS, 4, &slots[0]);
	p->tags[125] = p->tags[7];
	page_write("tags", "full", CFS_PAGE_TAGS, 4, &slots[0]);
}

static void roots(void)
{
	static struct cfs_root root;
	struct cfs_page_disk disk;

	cfs_root_pack(&root, &disk);
	page_write("root", "empty", CFS_PAGE_ROOT, 0, &disk);
	root.stamp = 100;
	root.stamp_ceiling = 200;
	root.next_ino = 300;
	root.log_id = 1;
	root.log_seq = 10;
	root.log_extent = 1;
	root.log_block = 64;
	root.log_extent_count = 2;
	root.smap_count = 2;
	for (unsigned int i = 0; i < 2; i++) {
		root.log_extents[i].vaddr = cfs_vaddr(1, 3 + 126 * i);
		root.log_extents[i].block_count = 126;
		root.smap[i].lslice = i;
		root.smap[i].pieces[0] = (struct cfs_piece){
			.flags = CFS_PIECE_USED,
			.slice_index = i,
			.generation = 1,
		};
	}
	for (unsigned int i = 0; i < 4; i++)
		root.trees[i] = (struct cfs_tree_root){
			.ref = { { 5 + i, 9 + i }, 0x1234, 100 },
			.level = i,
			.next_node = 10,
			.record_count = 20,
			.node_count = 3,
		};
	cfs_root_pack(&root, &disk);
	page_write("root", "full", CFS_PAGE_ROOT, 7, &disk);
}

/* @level 0: values of @i bytes; else references. */
static void node(const char *name, uint8_t level, uint8_t key_words,
		 unsigned int count)
{
	uint8_t n[CFS_NODE_BYTES] = { 0 };
	struct cfs_node_header_disk *h = (void *)n;
	size_t at = sizeof(n);

	h->magic = le32_put(CFS_NODE_MAGIC);
	h->version = le16_put(CFS_NODE_VERSION);
	h->tree_id = CFS_TREE_LIVE;
	h->level = level;
	h->key_words = key_words;
	h->flags = CFS_NODE_FLAG_NO_HIGH;
	h->record_count = le16_put((uint16_t)count);
	h->number = le64_put(1);
	h->stamp = le64_put(5);
	for (unsigned int i = 0; i < count; i++) {
		size_t value_bytes = level ? 32 : 2 + i % 64;
		le64 word = le64_put(i);
		le16 bytes = le16_put((uint16_t)(i % 64));
		le16 slot;

		at -= key_words * sizeof(word) + value_bytes;
		memcpy(n + at + (key_words - 1u) * sizeof(word), &word,
		       sizeof(word));
		if (level == 0)
			memcpy(n + at + key_words * sizeof(word), &bytes,
			       sizeof(bytes));
		slot = le16_put((uint16_t)at);
		memcpy(n + sizeof(*h) + i * sizeof(slot), &slot, sizeof(slot));
	}
	h->records_start = le16_put((uint16_t)at);
	cfs_node_seal(n);
	seed_write("node", name, -1, n, sizeof(n), true);
}

static void frames(void)
{
	static const uint64_t csums[3] = { 1, 2, 3 };
	static const uint8_t value[24] = "some bytes of a value";
	const struct cfs_rec recs[] = {
		{ .type = CFS_REC_SET,
		  .tree_id = 1,
		  .key = { 1, 2, 3 },
		  .value = value,
		  .value_bytes = 21 },
		{ .type = CFS_REC_DEL, .tree_id = 2, .key = { 4, 5 } },
		{ .type = CFS_REC_META,
		  .branch = 1,
		  .ino = 2,
		  .stamp = 3,
		  .class_off = cfs_map_word1(CFS_MAP_INODE, 0),
		  .value = value,
		  .value_bytes = 24 },
		{ .type = CFS_REC_META,
		  .flags = CFS_REC_META_DELETE,
		  .branch = 1,
		  .ino = 2,
		  .stamp = 3,
		  .class_off = cfs_map_word1(CFS_MAP_DIRENT, 77) },
		{ .type = CFS_REC_EXTENT,
		  .branch = 1,
		  .ino = 2,
		  .offset = 8,
		  .count = 3,
		  .stamp = 3,
		  .vaddr = cfs_vaddr(1, 9) },
		{ .type = CFS_REC_PUNCH,
		  .branch = 1,
		  .ino = 2,
		  .count = 5,
		  .stamp = 3,
		  .seq = 1 },
		{ .type = CFS_REC_STAMP, .stamp = 4 },
		{ .type = CFS_REC_INLINE,
		  .branch = 1,
		  .ino = 2,
		  .offset = 1,
		  .count = 1,
		  .stamp = 4 },
	};
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	static uint8_t image[2 * CFS_BLOCK_BYTES];
	struct cfs_frame f = {
		.log_id = 1, .seq = 2, .durable_seq = 1, .block_count = 1
	};

	for (size_t i = 0; i < CFS_ARRAY_COUNT(recs); i++) {
		memset(image, 0, sizeof(image));
		if (recs[i].type == CFS_REC_INLINE) {
			f.block_count = 2;
			f.inline_count = 1;
			memcpy(image + CFS_BLOCK_BYTES, "inline", 6);
		}
		if (cfs_rec_append(&buf, &recs[i], csums, 0, NULL) < 0)
			fail("frame");
		f.record_bytes = (uint32_t)buf.bytes;
		f.record_count = (uint32_t)i + 1;
		memcpy(image + CFS_FRAME_HEADER_BYTES, buf.data, buf.bytes);
		cfs_frame_pack(&f, image);
		if (i == 0 || i == 6 || i == 7)
			seed_write("frame",
				   i == 0   ? "set"
				   : i == 6 ? "most"
					    : "inline",
				   -1, image, sizeof(image), true);
	}
}

/* The first byte: position in the target's list of records. */
#define TABLE_SEED(index, x, ...)                                              \
	do {                                                                   \
		const struct cfs_##x##_rec rec = { __VA_ARGS__ };              \
		struct cfs_##x##_rec_disk disk;                                \
                                                                               \
		cfs_##x##_rec_pack(&rec, &disk);                               \
		seed_write("table", #x, index, &disk, sizeof(disk), false);    \
	} while (0)

static void tables(void)
{
	const struct cfs_snapshot_rec snapshot = { .name = "daily-1",
						   .note = "before upgrade" };
	const struct cfs_snapname_rec name = {
		.count = 2,
		.places = { cfs_snapname_place(1, 9),
			    cfs_snapname_place(2, 7000) },
	};
	uint8_t buf[CFS_SNAPSHOT_REC_BYTES_MAX], value[CFS_VALUE_BYTES_MAX];

	TABLE_SEED(0, pool, .name = "pool", .next_container = 2);
	TABLE_SEED(1, device, .state = CFS_DEVICE_OK, .slice_count = 62,
		   .size_bytes = UINT64_C(64) << 20);
	TABLE_SEED(2, slice, .use = CFS_SLICE_USE_OWNED, .generation = 1,
		   .container_id = 1, .lslice = 5);
	TABLE_SEED(3, smap, .pieces = { { 0, CFS_PIECE_USED, 5, 1 } });
	TABLE_SEED(4, container, .name = "vm0", .kind = CFS_VOLUME_LUN,
		   .state = CFS_OBJECT_LIVE, .root_vaddr = { 5, 7 });
	TABLE_SEED(5, loan, .loan = 3, .epoch = 1, .state = CFS_LOAN_OPEN);
	TABLE_SEED(6, bad, .found_ns = 1, .piece_mask = 1,
		   .cause = CFS_BAD_CONTENT, .tag.ino = 5);
	TABLE_SEED(7, scrub, .started_ns = 1, .read_blocks = 100);
	TABLE_SEED(8, volume, .kind = CFS_VOLUME_TREE, .ino = 1,
		   .state = CFS_OBJECT_LIVE, .head_branch = 1);
	TABLE_SEED(9, branch, .volume = 1, .state = CFS_OBJECT_LIVE,
		   .parent = 2, .fork_stamp = 9);
	seed_write("table", "snapshot", 10, buf,
		   cfs_snapshot_rec_pack(&snapshot, buf), false);
	TABLE_SEED(11, tombstone, .count = 8, .stamp = 9, .seq = 1);
	TABLE_SEED(12, orphan, .stamp = 9);
	TABLE_SEED(13, snapset, .begun_ns = 1, .count = 2);
	TABLE_SEED(14, retired, .vaddr = UINT64_C(1) << 22 | 127, .count = 2,
		   .type = 5, .until = 3);
	seed_write("table", "name", 15, value,
		   cfs_snapname_rec_pack(&name, value), false);
}

static void maps_and_inodes(void)
{
	const struct cfs_extent_rec extent = {
		.version = { .stamp = 5, .seq = 1, .death = 9 },
		.vaddr = cfs_vaddr(1, 9),
		.count = 1,
		.csum = 0x1234,
	};
	const struct cfs_extent_rec hole = {
		.version = { .stamp = 5, .flags = CFS_VERSION_WHITEOUT },
		.count = 100,
	};
	const struct cfs_inode inode = { .mode = S_IFDIR | 0755,
					 .nlink = 2,
					 .parent = 1 };
	const struct cfs_dirent dirent = {
		.ino = 7, .type = 8, .name = "a.txt", .name_bytes = 5
	};
	struct cfs_xattr xattr = { .value_bytes = 5,
				   .name_bytes = 6,
				   .name = "user.a",
				   .data = (const uint8_t *)"value" };
	uint8_t buf[CFS_META_PART_BYTES];
	struct cfs_extent_rec_disk disk;
	struct cfs_inode_disk inode_disk;

	cfs_extent_rec_pack(&extent, &disk);
	seed_write("map", "extent", -1, &disk, sizeof(disk), false);
	cfs_extent_rec_pack(&hole, &disk);
	seed_write("map", "hole", -1, &disk, sizeof(disk), false);
	cfs_inode_pack(&inode, &inode_disk);
	seed_write("inode", "inode", 0, &inode_disk, sizeof(inode_disk), false);
	seed_write("inode", "dirent", 1, buf, cfs_dirent_pack(&dirent, buf),
		   false);
	seed_write("inode", "xattr", 2, buf, cfs_xattr_pack(&xattr, buf),
		   false);
}

/* Records {what, type, le16 bytes, body} behind each other. */
static uint8_t leases_run[8192];
static size_t leases_bytes;

static void lease_add(uint8_t what, uint8_t type,
		      const struct cfs_wire_put *body)
{
	uint8_t *p = leases_run + leases_bytes;

	p[0] = what;
	p[1] = type;
	p[2] = (uint8_t)body->bytes;
	p[3] = (uint8_t)(body->bytes >> 8);
	memcpy(p + 4, body->data, body->bytes);
	leases_bytes += 4 + body->bytes;
}

#define LEASE_ADD(what, type, x, ...)                                          \
	do {                                                                   \
		const struct cfs_msg_##x m_ = { __VA_ARGS__ };                 \
		struct cfs_wire_put put_;                                      \
		uint8_t buf_[512];                                             \
                                                                               \
		cfs_wire_put_init(&put_, buf_, sizeof(buf_));                  \
		cfs_msg_##x##_pack(&m_, &put_);                                \
		lease_add(what, type, &put_);                                  \
	} while (0)

#define LEASE_ID(n) (UINT64_C(2) << 32 | (n))

static void leases(void)
{
	static const struct cfs_wire_put none = { .bytes = 0,
						  .data = leases_run };

	/* Two clients that want one file; the first is recalled. */
	LEASE_ADD(0x00, CFS_MSG_HELLO, hello, .host = "a", .name = "x");
	LEASE_ADD(0x01, CFS_MSG_HELLO, hello, .host = "b", .pid = 4);
	LEASE_ADD(0x80, CFS_MSG_LOCK, lock, { 1, 2, 3, 0, UINT64_MAX },
		  .mode = CFS_LOCK_X, .serial = 1,
		  .flags = CFS_MSG_LOCK_RECALLABLE);
	LEASE_ADD(0x01, CFS_MSG_LOCK, lock, { 1, 2, 3, 4096, 8192 },
		  .mode = CFS_LOCK_S, .serial = 1, .flags = CFS_MSG_LOCK_WAIT);
	LEASE_ADD(0x00, CFS_MSG_CHANGE, change, .lease_id = LEASE_ID(3),
		  .mode = CFS_LOCK_S, .serial = 2);
	LEASE_ADD(0x01, CFS_MSG_CANCEL, cancel, .serial = 1);
	LEASE_ADD(0x00, CFS_MSG_UNLOCK, lease, .lease_id = LEASE_ID(3));
	lease_add(0x82, CFS_MSG_RENEW, &none);
	lease_add(0x00, CFS_MSG_GOODBYE, &none);
	seed_write("lease_msg", "two", -1, leases_run, leases_bytes, false);
	/* One that comes back, and one that looks on. */
	leases_bytes = 0;
	LEASE_ADD(0x00, CFS_MSG_HELLO, hello, .host = "a", .epoch = 1,
		  .client_id = UINT64_C(1) << 32 | 5, .secret = { 7 });
	LEASE_ADD(0x00, CFS_MSG_RECLAIM, reclaim,
		  { .resource = { 1, 2, 3, 0, 10 }, .mode = CFS_LOCK_X },
		  .lease_id = UINT64_C(1) << 32 | 6);
	LEASE_ADD(0x02, CFS_MSG_HELLO, hello, .flags = CFS_HELLO_OBSERVER);
	lease_add(0x02, CFS_MSG_WATCH, &none);
	LEASE_ADD(0x02, CFS_MSG_STATUS, status, 0, 0);
	LEASE_ADD(0x02, CFS_MSG_REVOKE, end, .lease_id = UINT64_C(1) << 32 | 6);
	LEASE_ADD(0x87, CFS_MSG_GONE, end, .host = "a");
	seed_write("lease_msg", "back", -1, leases_run, leases_bytes, false);
	/* Answers to a client: ids of its requests are 1 and up. */
	leases_bytes = 0;
	LEASE_ADD(0x10, CFS_MSG_HELLO, welcome, .client_id = 9, .epoch = 2,
		  .period_ns = 1000000000);
	LEASE_ADD(0x31, CFS_MSG_LOCK, grant, .serial = 1);
	LEASE_ADD(0x11, CFS_MSG_LOCK, grant, .lease_id = 5, .serial = 1,
		  .mode = CFS_LOCK_X);
	LEASE_ADD(0x40, CFS_MSG_RECALL, recall, .lease_id = 5,
		  .mode = CFS_LOCK_S);
	LEASE_ADD(0xc0, CFS_MSG_REVOKED, recall, .lease_id = 5);
	seed_write("lease_msg", "client", -1, leases_run, leases_bytes, false);
}

/* The first byte says what it is. */
static void clients(void)
{
	const struct cfs_client_rec rec = {
		.who = { .host = "host", .pid = 5 },
		.state = CFS_CLIENT_OPEN,
		.log_id = 9,
		.log = { .seq = 3, .extent = 1, .block = 2 },
		.stamp = 77,
		.grave_vaddr = { 4, 5 },
		.extent_count = 2,
		.extents = { { cfs_vaddr(0, 9), 8 }, { cfs_vaddr(1, 9), 4 } },
	};
	struct cfs_smap_entry smap[2] = { { .lslice = 0 }, { .lslice = 3 } };
	struct cfs_client_view view = {
		.container_id = 1,
		.root_seq = 6,
		.stamp = 10,
		.stamp_end = 20,
		.has_map = true,
		.smap_count = 2,
		.smap = smap,
	};
	struct cfs_loan loan = { .key = cfs_vaddr(2, 1),
				 .number = 3,
				 .allowed = { 7, 1 } };
	const struct cfs_loans loans = { .count = 1, .items = &loan };
	const struct cfs_rec stamp = { .type = CFS_REC_STAMP, .stamp = 12 };
	const uint64_t key = cfs_vaddr(2, 1);
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf records = CFS_BUF_INIT;
	struct cfs_client_rec_disk disk;
	const struct cfs_fold_place place = { cfs_vaddr(2, 9), 1 };
	struct cfs_fold fold = {
		.seq = 1,
		.record_count = 1,
		.returns = &key,
		.return_count = 1,
		.want_groups = 4,
	};

	smap[1].pieces[0] = (struct cfs_piece){ .flags = CFS_PIECE_USED,
						.slice_index = 8 };
	cfs_client_rec_pack(&rec, &disk);
	seed_write("client", "record", 0, &disk, sizeof(disk), false);
	if (cfs_client_view_pack(&view, &buf) < 0)
		fail("view");
	seed_write("client", "view", 1, buf.data, buf.bytes, false);
	buf.bytes = 0;
	if (cfs_loans_pack(&loans, &buf) < 0)
		fail("loans");
	seed_write("client", "loans", 2, buf.data, buf.bytes, false);
	buf.bytes = 0;
	if (cfs_rec_append(&records, &stamp, NULL, 0, NULL) < 0)
		fail("record");
	fold.records = records.data;
	fold.record_bytes = records.bytes;
	if (cfs_fold_pack(&fold, &buf) < 0)
		fail("fold");
	seed_write("client", "fold", 3, buf.data, buf.bytes, false);
	buf.bytes = 0;
	fold.places = &place;
	fold.place_count = 1;
	if (cfs_fold_pack(&fold, &buf) < 0)
		fail("fold");
	seed_write("client", "fold-places", 3, buf.data, buf.bytes, false);
	buf.bytes = 0;
	view.loans = loans;
	if (cfs_client_view_pack(&view, &buf) < 0)
		fail("view");
	seed_write("client", "view-loans", 1, buf.data, buf.bytes, false);
}

/* A type, a length in words, and what is there: see fuzz_stream.c. */
static void stream_add(struct cfs_buf *buf, uint8_t type, const void *p,
		       size_t n)
{
	const uint8_t head[2] = { type, (uint8_t)((n + 3) / 4) };

	if (cfs_buf_append(buf, head, sizeof(head)) < 0 ||
	    cfs_buf_append(buf, p, n) < 0 ||
	    cfs_buf_append_zero(buf, (size_t)head[1] * 4 - n) < 0)
		fail("stream");
}

static void streams(void)
{
	const struct cfs_stream_begin begin = {
		.kind = CFS_VOLUME_TREE,
		.root_ino = 16,
		.to = { { 1 }, 9 },
		.from = { { 1 }, 4 },
		.volume = "docs",
		.snap = "b",
		.from_snap = "a",
	};
	const struct cfs_inode inode = { .mode = S_IFREG | 0644,
					 .nlink = 1,
					 .size_bytes = 4096 };
	const struct cfs_receive_rec rec = {
		.to = { { 1 }, 9 },
		.base_stamp = 3,
		.base_branch = 1,
		.position = { 17, 5 },
		.snap = "b",
	};
	struct cfs_stream_token token = { .to = { { 1 }, 9 } };
	struct cfs_inode_disk inode_disk;
	struct cfs_stream_begin_disk begin_disk;
	struct cfs_receive_rec_disk rec_disk;
	const struct cfs_stream_gone_disk gone = { le64_put(20) };
	const struct cfs_stream_data_disk data = {
		.ino = le64_put(17),
		.stamp_branch = le64_put(7 << 16 | 1),
		.count = le32_put(1),
	};
	const struct cfs_stream_hole hole = { 17, 9, 3 };
	struct cfs_stream_meta meta = {
		.ino = 17,
		.word = cfs_map_word1(CFS_MAP_INODE, 0),
		.value = (const uint8_t *)&inode_disk,
		.value_bytes = sizeof(inode_disk),
	};
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	uint8_t front[CFS_STREAM_FRONT_BYTES_MAX];
	char text[CFS_STREAM_TOKEN_BYTES + 1] = "p";

	cfs_stream_begin_pack(&begin, &begin_disk);
	cfs_inode_pack(&inode, &inode_disk);
	cfs_buf_append(&buf, "\1", 1);
	stream_add(&buf, CFS_STREAM_BEGIN, &begin_disk, sizeof(begin_disk));
	stream_add(&buf, CFS_STREAM_META, front,
		   cfs_stream_meta_pack(&meta, front));
	stream_add(&buf, CFS_STREAM_DATA, &data, sizeof(data));
	stream_add(&buf, CFS_STREAM_HOLE, front,
		   cfs_stream_hole_pack(&hole, front));
	stream_add(&buf, CFS_STREAM_GONE, &gone, sizeof(gone));
	seed_write("stream", "records", 1, buf.data, buf.bytes, false);
	cfs_receive_rec_pack(&rec, &rec_disk);
	buf.bytes = 0;
	cfs_buf_append(&buf, "p", 1);
	cfs_buf_append(&buf, &rec_disk, sizeof(rec_disk));
	seed_write("stream", "receive", 2, buf.data, buf.bytes, false);
	cfs_stream_token_format(&token, text + 1);
	seed_write("stream", "token", 3, text, strlen(text), false);
	/* As it comes: the head of a BEGIN, and it. */
	buf.bytes = 0;
	cfs_buf_append(&buf, "p", 1);
	cfs_stream_head_pack((void *)front, CFS_STREAM_BEGIN, 0, 0, &begin_disk,
			     sizeof(begin_disk), 0);
	cfs_buf_append(&buf, front, sizeof(struct cfs_stream_head_disk));
	cfs_buf_append(&buf, &begin_disk, sizeof(begin_disk));
	seed_write("stream", "begin", 0, buf.data, buf.bytes, false);
}

static void handed(void)
{
	const struct cfs_handed_lease lease = {
		.lease_id = UINT64_C(2) << 32 | 5,
		.mode = CFS_LOCK_X,
		.resource = { .container = 3,
			      .volume = 1,
			      .length_bytes = CFS_LOCK_LENGTH_WHOLE },
	};
	struct cfs_handed_list list = { .v = CFS_VEC_INIT, .is_all = true };
	struct cfs_handed one = {
		.known = { .client_id = UINT64_C(2) << 32 | 4, .host = "host" },
		.name = "leasectl acquire",
		.hello_flags = CFS_HELLO_STANDING,
		.period_ns = CFS_PERIOD_NS_DEFAULT,
	};
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;

	if (cfs_vec_push(&one.leases, lease) < 0 ||
	    cfs_vec_push(&list.v, one) < 0 ||
	    cfs_handed_list_pack(&list, &buf) < 0)
		fail("handed");
	seed_write("delegate_msg", "handed", 2, buf.data, buf.bytes, false);
	cfs_handed_list_donep(&list);
}

static void delegations(void)
{
	const struct cfs_delegation_rec rec = {
		.who = { .host = "host", .pid = 5 },
		.state = CFS_DELEGATION_HELD,
		.by_epoch = 3,
		.address = "tcp:host:7010",
	};
	const struct cfs_device_rec dev = { .state = CFS_DEVICE_OK };
	const struct cfs_delegate_request q = {
		.container = 3,
		.epoch = CFS_EPOCH_DELEGATED | 9,
		.name = "vm",
		.address = "unix:/run/cfs/x.sock",
	};
	const struct cfs_delegate_entry e = {
		.container = 3,
		.epoch = CFS_EPOCH_DELEGATED | 9,
		.state = CFS_DELEGATION_HELD,
		.name = "vm",
		.host = "host",
	};
	struct cfs_lent_slice slice = { .lslice = 2 };
	struct cfs_pool_grant grant = {
		.container = 3,
		.epoch = CFS_EPOCH_DELEGATED | 9,
		.rec = { .name = "vm",
			 .kind = CFS_VOLUME_LUN,
			 .state = CFS_OBJECT_LIVE,
			 .epoch = CFS_EPOCH_DELEGATED | 9 },
	};
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	struct cfs_delegation_rec_disk disk;

	slice.pieces[0] = (struct cfs_piece){ .flags = CFS_PIECE_USED,
					      .slice_index = 8 };
	cfs_delegation_rec_pack(&rec, &disk);
	seed_write("delegation", "record", 0, &disk, sizeof(disk), false);
	if (cfs_vec_push(&grant.devices, dev) < 0 ||
	    cfs_vec_push(&grant.slices.list, slice) < 0 ||
	    cfs_pool_grant_pack(&grant, &buf) < 0)
		fail("grant");
	seed_write("delegation", "grant", 1, buf.data, buf.bytes, false);
	buf.bytes = 0;
	if (cfs_lent_slices_pack(&grant.slices, &buf) < 0)
		fail("slices");
	seed_write("delegation", "slices", 2, buf.data, buf.bytes, false);
	cfs_pool_grant_donep(&grant);
	buf.bytes = 0;
	if (cfs_delegate_request_pack(&q, &buf) < 0)
		fail("request");
	seed_write("delegate_msg", "request", 0, buf.data, buf.bytes, false);
	buf.bytes = 0;
	if (cfs_delegate_entry_pack(&e, &buf) < 0)
		fail("entry");
	seed_write("delegate_msg", "entry", 1, buf.data, buf.bytes, false);
	handed();
}

static void directs(void)
{
	const struct cfs_direct_request q = {
		.container = 3,
		.client = 7,
		.use = 1,
		.volume = "vm0/clone",
		.snap = "daily",
		.flags = CFS_DIRECT_WRITES,
		.total = 100,
		.offset = 50,
		.data = (const uint8_t *)"bytes",
		.data_bytes = 5,
	};
	const struct cfs_direct_opened o = {
		.container = 3, .client = 7, .volume_id = 1, .ino = 2,
		.size_bytes = 1 << 20, .kind = 1, .branch = 1,
		.rec = {
			.who = { .host = "host", .pid = 5 },
			.state = CFS_CLIENT_OPEN, .log_id = 9,
			.log = { .seq = 1 }, .extent_count = 1,
			.extents = { { .vaddr = 77, .block_count = 40 } },
		},
	};
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;

	if (cfs_direct_request_pack(&q, &buf) < 0)
		fail("request");
	seed_write("direct_msg", "request", 0, buf.data, buf.bytes, false);
	buf.bytes = 0;
	if (cfs_direct_opened_pack(&o, &buf) < 0)
		fail("opened");
	seed_write("direct_msg", "opened", 1, buf.data, buf.bytes, false);
}

int main(void)
{
	if (mkdir(CORPUS, 0777) < 0 && errno != EEXIST)
		fail(CORPUS);
	directs();
	labels();
	seats_and_headers();
	tags();
	roots();
	node("leaf", 0, 2, 12);
	node("interior", 1, 2, 20);
	node("history", 0, 3, 40);
	frames();
	tables();
	maps_and_inodes();
	leases();
	clients();
	streams();
	delegations();
	return 0;
}
