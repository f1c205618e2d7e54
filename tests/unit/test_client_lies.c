/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A client that lies: every field of every record of a fold is altered, one at
 * a time.  The owner takes none of it, refuses the client from then on, and is
 * as it was; and what the messages themselves can carry is bounded.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client_fixture.h"
#include "ondisk/frame.h"

#define LUN_BYTES (UINT64_C(8) << 20)

/* Where a record of a type is, in a fold. */
static uint8_t *find_record(uint8_t *records, size_t bytes, unsigned int type,
			    uint64_t class)
{
	for (size_t at = 0; at < bytes;) {
		struct cfs_rec_head_disk head;
		le64 word;

		memcpy(&head, records + at, sizeof(head));
		memcpy(&word, records + at + 16, sizeof(word));
		if (le16_get(head.type) == type &&
		    (!class || le64_get(word) >> 60 == class ||
		     le64_get(word) >> 56 == class))
			return records + at;
		at += le32_get(head.bytes);
	}
	fail_msg("no such record");
	return NULL;
}

/* One lie: @delta is added to the @width bytes at @at of such a record. */
struct lie {
	const char *what;
	unsigned int type;
	uint64_t class; /* META: its class; SET: its table */
	size_t at;
	unsigned int width;
	uint64_t delta;
};

static const struct lie *lie_now;

static void tell_lie(struct client *cl, struct cfs_fold *fold, uint8_t *records)
{
	uint8_t *rec = find_record(records, fold->record_bytes, lie_now->type,
				   lie_now->class);
	le64 word = { { 0 } };

	(void)cl;
	memcpy(&word, rec + lie_now->at, lie_now->width);
	word = le64_put(le64_get(word) + lie_now->delta);
	memcpy(rec + lie_now->at, &word, lie_now->width);
}

#define EXTENT CFS_REC_EXTENT
#define PUNCH  CFS_REC_PUNCH
#define META   CFS_REC_META
#define SET    CFS_REC_SET
#define STAMP  CFS_REC_STAMP

static const struct lie lun_lies[] = {
	{ "type", EXTENT, 0, 0, 2, 2 },
	{ "type that is none", EXTENT, 0, 0, 2, 90 },
	{ "flags", EXTENT, 0, 2, 2, 1 },
	{ "length", EXTENT, 0, 4, 4, 8 },
	{ "odd length", EXTENT, 0, 4, 4, 3 },
	{ "inode", EXTENT, 0, 8, 8, 1 },
	{ "inode of the future", EXTENT, 0, 8, 8, 1u << 20 },
	{ "branch", EXTENT, 0, 8, 8, UINT64_C(1) << 48 },
	{ "offset", EXTENT, 0, 16, 8, 1 },
	{ "offset behind the LUN", EXTENT, 0, 16, 8, 1u << 20 },
	{ "count", EXTENT, 0, 24, 8, 1 },
	{ "less count", EXTENT, 0, 24, 8, (uint64_t)-1 },
	{ "seq", EXTENT, 0, 32, 8, 1 },
	{ "stamp", EXTENT, 0, 32, 8, 1u << 16 },
	{ "old stamp", EXTENT, 0, 32, 8, (uint64_t) - (1 << 20) },
	{ "stamp of the future", EXTENT, 0, 32, 8, UINT64_C(1) << 40 },
	{ "address", EXTENT, 0, 40, 8, 1 },
	{ "address before", EXTENT, 0, 40, 8, (uint64_t)-1 },
	{ "another group", EXTENT, 0, 40, 8, 126 },
	{ "another slice", EXTENT, 0, 40, 8, UINT64_C(1) << 22 },
	{ "no slice", EXTENT, 0, 40, 8, UINT64_C(1) << 40 },
	{ "checksum", EXTENT, 0, 48, 8, 1 },
	{ "flags", PUNCH, 0, 2, 2, 2 },
	{ "inode", PUNCH, 0, 8, 8, 1 },
	{ "branch", PUNCH, 0, 8, 8, UINT64_C(1) << 48 },
	{ "stamp", PUNCH, 0, 32, 8, UINT64_C(1) << 40 },
	{ "seq", PUNCH, 0, 32, 8, 1 },
	{ "old stamp", PUNCH, 0, 32, 8, (uint64_t) - (1 << 20) },
	{ "address", PUNCH, 0, 40, 8, 1 },
	{ "tree", SET, 0x23, 8, 4, 1 },
	{ "length of the value", SET, 0x23, 12, 4, 8 },
	{ "branch", SET, 0x23, 16, 8, 1 },
	{ "class: ORPHAN", SET, 0x23, 16, 8, UINT64_C(1) << 56 },
	{ "class: SNAPSHOT", SET, 0x23, 16, 8,
	  (uint64_t) - (INT64_C(1) << 56) },
	{ "class: LOAN", SET, 0x23, 16, 8, (uint64_t) - (INT64_C(0x13) << 56) },
	{ "inode", SET, 0x23, 24, 8, 1 },
	{ "stamp", SET, 0x23, 48, 8, UINT64_C(1) << 40 },
	{ "count", SET, 0x23, 40, 8, UINT64_C(1) << 50 },
	{ "stamp", STAMP, 0, 8, 8, UINT64_C(1) << 30 },
};

static const struct lie tree_lies[] = {
	{ "flags", META, 1, 2, 2, 2 },
	{ "deleted, with a value", META, 1, 2, 2, 1 },
	{ "inode that was not lent", META, 1, 8, 8, 1u << 20 },
	{ "branch", META, 1, 8, 8, UINT64_C(1) << 48 },
	{ "place of an inode", META, 1, 16, 8, 1 },
	{ "class", META, 1, 16, 8, UINT64_C(4) << 60 },
	{ "class: extent", META, 1, 16, 8, UINT64_C(7) << 60 },
	{ "stamp", META, 1, 24, 8, UINT64_C(1) << 40 },
	{ "seq", META, 1, 24, 8, 1 },
	{ "length", META, 1, 32, 4, 8 },
	{ "mode", META, 1, 40, 4, 0xf000 },
	{ "size", META, 1, 56, 8, UINT64_C(1) << 62 },
	{ "entry's inode", META, 2, 40, 8, UINT64_C(1) << 40 },
	{ "entry's name", META, 2, 48, 2, 1000 },
	{ "symlink's part", META, 4, 16, 8, 7 },
	{ "attribute's length", META, 3, 40, 4, 1 << 20 },
};

/* What the owner shows: its own data, and nothing of the client's. */
static void must_be_untouched(struct heal_pool *h, struct cfs_container *c,
			      uint64_t client_id)
{
	struct cfs_client_info info;

	HEAL_OK(cfs_container_client_get(c, client_id, &info, &err_));
	assert_int_equal(info.rec.state, CFS_CLIENT_REFUSED);
	assert_int_equal(heal_read(h->lun, 0, 32, 1), 0);
	heal_check_clean(h);
}

static void lun_work(struct client *cl, uint64_t ino)
{
	static uint8_t buf[64 * HEAL_BLOCK];

	heal_fill(buf, sizeof(buf), 7);
	HEAL_OK(client_write(cl->c, ino, 1 << 20, buf, sizeof(buf), &err_));
	HEAL_OK(client_punch(cl->c, ino, 1 << 20, 8 * HEAL_BLOCK, &err_));
	HEAL_OK(client_write(cl->c, ino, 2 << 20, buf, HEAL_BLOCK, &err_));
}

static void tree_work(struct client *cl, struct cfs_member *m)
{
	struct cfs_volume_rec rec = heal_volume(m);
	const struct cfs_view view = { cl->c, 1, CFS_STAMP_HEAD };
	struct cfs_fs *fs;
	uint64_t ino;

	HEAL_OK(cfs_fs_open(&view, rec.ino, rec.hash_seed, &fs, &err_));
	HEAL_OK(cfs_fs_create(fs, rec.ino, "a", 1, 0644, 0, 0, &ino, &err_));
	HEAL_OK(cfs_fs_xattr_set(fs, ino, "user.x", "value", 5, 0, &err_));
	HEAL_OK(cfs_fs_symlink(fs, rec.ino, "s", 1, "target", 6, 0, 0, &ino,
			       &err_));
	cfs_fs_close(fs);
}

/* Is the changed record one that an honest client could have made, too? */
static void lie_once(const struct lie *lie, bool is_tree)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	struct cfs_member *m = is_tree ? h.tree : h.lun;
	struct client cl;
	int r;

	heal_write(h.lun, 0, 32, 1);
	client_new(&cl, &h, m);
	if (is_tree)
		tree_work(&cl, m);
	else
		lun_work(&cl, heal_volume(m).ino);
	lie_now = lie;
	cl.forge = tell_lie;
	r = cfs_container_fold(cl.c, NULL);
	if (r != -EPERM)
		fail_msg("%u: %s: %d", lie->type, lie->what, r);
	must_be_untouched(&h, m->container, cl.id);
	cl.forge = NULL;
	/* Nothing more is taken, or given. */
	assert_int_equal(cfs_container_fold(cl.c, NULL), -EROFS);
	assert_int_equal(client_lend(&cl, 1, &(struct cfs_loans){ 0 }, NULL),
			 -EPERM);
	client_kill(&cl);
	HEAL_OK(cfs_container_client_gone(m->container, cl.id, NULL, &err_));
	assert_int_equal(heal_read(h.lun, 0, 32, 1), 0);
	heal_check_clean(&h);
	heal_scrub_clean(&h);
	heal_free(&h);
}

static void test_lun_lies(void **state)
{
	(void)state;
	for (size_t i = 0; i < CFS_ARRAY_COUNT(lun_lies); i++)
		lie_once(&lun_lies[i], false);
}

static void test_tree_lies(void **state)
{
	(void)state;
	for (size_t i = 0; i < CFS_ARRAY_COUNT(tree_lies); i++)
		lie_once(&tree_lies[i], true);
}

/* ---- other lies ---------------------------------------------------------- */

static void forge_returns(struct client *cl, struct cfs_fold *fold,
			  uint8_t *records)
{
	(void)records;
	fold->returns = &cl->forge_arg;
	fold->return_count = 1;
}

static void forge_position(struct client *cl, struct cfs_fold *fold,
			   uint8_t *records)
{
	(void)records;
	fold->log.block += (uint32_t)cl->forge_arg;
}

static void forge_seq(struct client *cl, struct cfs_fold *fold,
		      uint8_t *records)
{
	(void)records;
	fold->seq += cl->forge_arg;
}

static void forge_count(struct client *cl, struct cfs_fold *fold,
			uint8_t *records)
{
	(void)records;
	fold->record_count += (uint32_t)cl->forge_arg;
}

/* The same records twice: blocks that were named before. */
static void forge_twice(struct client *cl, struct cfs_fold *fold,
			uint8_t *records)
{
	static uint8_t twice[1 << 20];

	(void)cl;
	assert_true(2 * fold->record_bytes <= sizeof(twice));
	memcpy(twice, records, fold->record_bytes);
	memcpy(twice + fold->record_bytes, records, fold->record_bytes);
	fold->records = twice;
	fold->record_bytes *= 2;
	fold->record_count *= 2;
}

static bool may_nothing(void *ctx, uint16_t branch, uint64_t ino,
			uint64_t first, uint64_t count)
{
	(void)ctx;
	(void)branch;
	(void)ino;
	return first < 16 && count < 16;
}

static void forge_once(void (*forge)(struct client *, struct cfs_fold *,
				     uint8_t *),
		       uint64_t arg, const struct cfs_fold_rules *rules)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	struct client cl;

	heal_write(h.lun, 0, 32, 1);
	client_new(&cl, &h, h.lun);
	lun_work(&cl, heal_volume(h.lun).ino);
	cl.forge = forge;
	cl.forge_arg = arg;
	cl.rules = rules;
	assert_int_equal(cfs_container_fold(cl.c, NULL), -EPERM);
	must_be_untouched(&h, h.lun->container, cl.id);
	client_kill(&cl);
	HEAL_OK(cfs_container_client_gone(h.lun->container, cl.id, NULL,
					  &err_));
	heal_check_clean(&h);
	heal_free(&h);
}

static void test_other_lies(void **state)
{
	const struct cfs_fold_rules rules = { .may = may_nothing };

	(void)state;
	forge_once(forge_returns, 0, NULL);
	forge_once(forge_returns, cfs_vaddr(99, 1), NULL);
	forge_once(forge_position, 100000, NULL);
	forge_once(forge_seq, 1, NULL);
	forge_once(forge_count, 1, NULL);
	forge_once(forge_twice, 0, NULL);
	forge_once(NULL, 0, &rules);
}

/* Two clients: one names the blocks of the other. */
static uint8_t stolen[1 << 20];
static size_t stolen_bytes;
static uint32_t stolen_count;

static void steal(struct client *cl, struct cfs_fold *fold, uint8_t *records)
{
	(void)cl;
	memcpy(stolen, records, fold->record_bytes);
	stolen_bytes = fold->record_bytes;
	stolen_count = fold->record_count;
	fold->record_bytes = 0;
	fold->record_count = 1; /* and that is a lie of its own */
}

static void use_stolen(struct client *cl, struct cfs_fold *fold,
		       uint8_t *records)
{
	(void)cl;
	(void)records;
	fold->records = stolen;
	fold->record_bytes = stolen_bytes;
	fold->record_count = stolen_count;
}

static void keep(struct client *cl, struct cfs_fold *fold, uint8_t *records)
{
	(void)cl;
	memcpy(stolen, records, fold->record_bytes);
	stolen_bytes = fold->record_bytes;
	stolen_count = fold->record_count;
}

static void test_stolen(void **state)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	struct client a, b;

	(void)state;
	heal_write(h.lun, 0, 32, 1);
	client_new(&a, &h, h.lun);
	client_new(&b, &h, h.lun);
	lun_work(&a, heal_volume(h.lun).ino);
	lun_work(&b, heal_volume(h.lun).ino);
	a.forge = steal;
	assert_int_equal(cfs_container_fold(a.c, NULL), -EPERM);
	b.forge = use_stolen;
	assert_int_equal(cfs_container_fold(b.c, NULL), -EPERM);
	must_be_untouched(&h, h.lun->container, a.id);
	must_be_untouched(&h, h.lun->container, b.id);
	client_kill(&a);
	client_kill(&b);
	HEAL_OK(cfs_container_client_gone(h.lun->container, a.id, NULL, &err_));
	HEAL_OK(cfs_container_client_gone(h.lun->container, b.id, NULL, &err_));
	heal_check_clean(&h);
	heal_free(&h);
}

/* ---- honest bytes, of things that a client may not do ---------------------
 */

static void must_be_refused(struct client *cl)
{
	assert_int_equal(cfs_container_fold(cl->c, NULL), -EPERM);
	client_kill(cl);
	HEAL_OK(cfs_container_client_gone(cl->owner, cl->id, NULL, &err_));
}

/* Two wrote one block, which no lock allows: the older view loses. */
static void test_conflict(void **state)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	const uint64_t ino = heal_volume(h.lun).ino;
	uint8_t buf[64 * HEAL_BLOCK];
	struct client a, b;

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		size_t bytes = i ? sizeof(buf) : HEAL_BLOCK;

		client_new(&a, &h, h.lun);
		client_new(&b, &h, h.lun);
		heal_fill(buf, sizeof(buf), 1);
		HEAL_OK(client_write(a.c, ino, 0, buf, bytes, &err_));
		HEAL_OK(client_punch(a.c, ino, 1 << 20, HEAL_BLOCK, &err_));
		HEAL_OK(client_write(b.c, ino, 0, buf, bytes, &err_));
		HEAL_OK(cfs_container_fold(b.c, &err_));
		must_be_refused(&a);
		client_close(&b);
		heal_check_clean(&h);
	}
	/* A hole, too. */
	client_new(&a, &h, h.lun);
	client_new(&b, &h, h.lun);
	HEAL_OK(client_write(b.c, ino, 0, buf, HEAL_BLOCK, &err_));
	HEAL_OK(client_punch(a.c, ino, 0, HEAL_BLOCK, &err_));
	HEAL_OK(cfs_container_fold(b.c, &err_));
	must_be_refused(&a);
	client_close(&b);
	heal_check_clean(&h);
	heal_free(&h);
}

static void test_meta_conflict(void **state)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	struct client a, b;

	(void)state;
	client_new(&a, &h, h.tree);
	client_new(&b, &h, h.tree);
	tree_work(&a, h.tree);
	tree_work(&b, h.tree);
	HEAL_OK(cfs_container_fold(b.c, &err_));
	must_be_refused(&a);
	heal_check_clean(&h);
	client_close(&b);
	heal_check_clean(&h);
	heal_free(&h);
}

/* Behind the LUN's end, and into a file that is not there. */
static void test_no_target(void **state)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	uint8_t buf[HEAL_BLOCK] = { 1 };
	struct client cl;

	(void)state;
	client_new(&cl, &h, h.lun);
	HEAL_OK(client_write(cl.c, heal_volume(h.lun).ino, LUN_BYTES, buf,
			     sizeof(buf), &err_));
	must_be_refused(&cl);
	client_new(&cl, &h, h.tree);
	HEAL_OK(client_write(cl.c, heal_volume(h.tree).ino - 1, 0, buf,
			     sizeof(buf), &err_));
	must_be_refused(&cl);
	/* Nor into a directory. */
	client_new(&cl, &h, h.tree);
	HEAL_OK(client_write(cl.c, heal_volume(h.tree).ino, 0, buf, sizeof(buf),
			     &err_));
	must_be_refused(&cl);
	heal_check_clean(&h);
	heal_free(&h);
}

/* A number that another was lent. */
static void test_foreign_ino(void **state)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	const struct lie lie = { "another's", META, 1, 8, 8, 0 };
	struct lie now = lie;
	struct client a, b;
	uint64_t first, end;

	(void)state;
	client_new(&a, &h, h.tree);
	client_new(&b, &h, h.tree);
	tree_work(&a, h.tree);
	HEAL_OK(cfs_container_lend_inos(h.tree->container, b.id, 10, &first,
					&end, &err_));
	/* The first inode of a fold is that of the new file. */
	now.delta = end - 1 - a.first_ino;
	lie_now = &now;
	a.forge = tell_lie;
	must_be_refused(&a);
	client_close(&b);
	heal_check_clean(&h);
	heal_free(&h);
}

/* What was folded before cannot be folded again under another number. */
static void test_again(void **state)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	struct client cl;

	(void)state;
	client_new(&cl, &h, h.lun);
	lun_work(&cl, heal_volume(h.lun).ino);
	cl.forge = keep;
	HEAL_OK(cfs_container_fold(cl.c, &err_));
	heal_check_clean(&h);
	lun_work(&cl, heal_volume(h.lun).ino);
	cl.forge = use_stolen;
	must_be_refused(&cl);
	heal_check_clean(&h);
	heal_free(&h);
}

/*
 * Whatever bytes a fold has: it is taken whole or refused, nothing breaks, and
 * what others have is as it was.
 */
static void scramble(struct client *cl, struct cfs_fold *fold, uint8_t *records)
{
	struct cfs_rng rng;

	cfs_rng_init(&rng, cl->forge_arg);
	for (uint64_t i = 0; i <= cl->forge_arg % 3; i++) {
		size_t at = (size_t)cfs_rng_below(&rng, fold->record_bytes);

		records[at] ^= (uint8_t)(1u << cfs_rng_below(&rng, 8));
	}
}

static void test_scrambled(void **state)
{
	const uint64_t count = getenv("CFS_LONG") ? 3000 : 150;
	unsigned int refused = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= count; seed++) {
		const bool is_tree = seed & 1;
		struct heal_pool h = heal_new(false, LUN_BYTES);
		struct cfs_member *m = is_tree ? h.tree : h.lun;
		struct client cl;
		int r;

		heal_write(h.lun, 0, 32, 1);
		client_new(&cl, &h, m);
		if (is_tree)
			tree_work(&cl, m);
		else
			lun_work(&cl, heal_volume(m).ino);
		cl.forge = scramble;
		cl.forge_arg = seed;
		r = cfs_container_fold(cl.c, NULL);
		if (r != 0 && r != -EPERM)
			fail_msg("seed %llu: %d", (unsigned long long)seed, r);
		refused += r < 0;
		if (r < 0)
			heal_check_clean(&h);
		client_kill(&cl);
		HEAL_OK(cfs_container_client_gone(m->container, cl.id, NULL,
						  &err_));
		assert_int_equal(heal_read(h.lun, 0, 32, 1), 0);
		heal_reopen(&h);
		assert_int_equal(heal_read(h.lun, 0, 32, 1), 0);
		heal_free(&h);
	}
	print_message("# %u of %llu refused\n", refused,
		      (unsigned long long)count);
	assert_true(refused > count / 2);
}

/* Bytes of messages that are cut, or say more than there is. */
static void test_bounds(void **state)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	struct cfs_smap_entry smap[3] = { { .lslice = 1 },
					  { .lslice = 4 },
					  { .lslice = 5 } };
	struct cfs_client_view view = {
		.stamp = 3, .has_map = true, .smap_count = 3, .smap = smap,
	}, got;
	uint64_t keys[2] = { 7, 9 };
	uint8_t records[16] = { 0 };
	struct cfs_fold fold = {
		.seq = 4, .records = records, .record_bytes = sizeof(records),
		.returns = keys, .return_count = 2,
	}, got_fold;
	struct cfs_loan loan = { .key = 5, .allowed = { 1, 2 } };
	struct cfs_loans loans = { .count = 1, .items = &loan }, got_loans;

	(void)state;
	assert_int_equal(cfs_client_view_pack(&view, &buf), 0);
	for (size_t n = 0; n < buf.bytes; n++)
		assert_int_equal(
			cfs_client_view_unpack(buf.data, n, &got, NULL),
			-EUCLEAN);
	HEAL_OK(cfs_client_view_unpack(buf.data, buf.bytes, &got, &err_));
	assert_int_equal(got.smap_count, 3);
	assert_int_equal(got.smap[2].lslice, 5);
	cfs_client_view_donep(&got);
	smap[2].lslice = 4;
	buf.bytes = 0;
	assert_int_equal(cfs_client_view_pack(&view, &buf), 0);
	assert_int_equal(
		cfs_client_view_unpack(buf.data, buf.bytes, &got, NULL),
		-EUCLEAN);
	buf.bytes = 0;
	assert_int_equal(cfs_fold_pack(&fold, &buf), 0);
	for (size_t n = 0; n < buf.bytes; n++)
		assert_int_equal(cfs_fold_unpack(buf.data, n, &got_fold, NULL),
				 -EUCLEAN);
	HEAL_OK(cfs_fold_unpack(buf.data, buf.bytes, &got_fold, &err_));
	assert_int_equal(got_fold.returns[1], 9);
	cfs_fold_donep(&got_fold);
	buf.bytes = 0;
	assert_int_equal(cfs_loans_pack(&loans, &buf), 0);
	for (size_t n = 0; n < buf.bytes; n++)
		assert_int_equal(
			cfs_loans_unpack(buf.data, n, &got_loans, NULL),
			-EUCLEAN);
	HEAL_OK(cfs_loans_unpack(buf.data, buf.bytes, &got_loans, &err_));
	cfs_loans_donep(&got_loans);
	loan.allowed[1] = UINT64_MAX;
	buf.bytes = 0;
	assert_int_equal(cfs_loans_pack(&loans, &buf), 0);
	assert_int_equal(
		cfs_loans_unpack(buf.data, buf.bytes, &got_loans, NULL),
		-EUCLEAN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lun_lies),
		cmocka_unit_test(test_tree_lies),
		cmocka_unit_test(test_other_lies),
		cmocka_unit_test(test_stolen),
		cmocka_unit_test(test_conflict),
		cmocka_unit_test(test_meta_conflict),
		cmocka_unit_test(test_no_target),
		cmocka_unit_test(test_foreign_ino),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_scrambled),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
