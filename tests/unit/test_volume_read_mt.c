/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Reading without the container's lock: it is the same as with it, whatever is
 * read; damage is told and healed as ever; and beside writers, commits and
 * discards each block is one that stood there, never a mixture and never an
 * error.  And writing large pieces without it, many at the same time, beside
 * syncs and commits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "device/device_priv.h"
#include "heal_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define LUN_BLOCKS 2048u
#define LUN_BYTES  ((uint64_t)LUN_BLOCKS * HEAL_BLOCK)

struct lun {
	struct heal_pool h;
	struct cfs_volume_rec rec;
	struct cfs_view view;
};

static struct lun lun_new(bool is_mirror)
{
	struct lun l = { .h = heal_new(is_mirror, LUN_BYTES) };

	l.rec = heal_volume(l.h.lun);
	cfs_volume_view(l.h.lun, &l.rec, &l.view);
	return l;
}

static void lun_write(struct lun *l, uint64_t offset, const void *buf,
		      size_t bytes)
{
	struct cfs_container *c = l->view.container;

	HEAL_OK(cfs_op_begin(c, CFS_OP_NORMAL, &err_));
	HEAL_OK(cfs_data_write(c, l->view.branch, l->rec.ino, offset, buf,
			       bytes, &err_));
	cfs_op_end(c);
}

static void lun_punch(struct lun *l, uint64_t offset, uint64_t bytes)
{
	struct cfs_container *c = l->view.container;

	HEAL_OK(cfs_op_begin(c, CFS_OP_ZEROING, &err_));
	HEAL_OK(cfs_data_punch(c, l->view.branch, l->rec.ino, offset, bytes,
			       &err_));
	cfs_op_end(c);
}

/* ---- many at a time ------------------------------------------------------ */

#define PARTS_MAX 40u

/* All of them, in whatever way; how many of them beside each other. */
static size_t read_all(struct lun *l, const struct cfs_data_part *parts,
		       size_t count)
{
	size_t beside = 0;

	for (size_t at = 0, n; at < count; at += n) {
		n = cfs_data_read_many(&l->view, l->rec.ino, parts + at,
				       count - at);
		assert_true(n <= count - at);
		beside += n;
		if (n > 0)
			continue;
		n = 1;
		HEAL_OK(cfs_data_read_beside(
			&l->view, l->rec.ino, parts[at].offset_bytes,
			parts[at].buf, parts[at].length_bytes, NULL, &err_));
	}
	return beside;
}

/* Whole blocks in the main, as who reads short pieces has them. */
static size_t read_random(struct lun *l, struct cfs_rng *rng,
			  const uint8_t *model, uint8_t *buf)
{
	struct cfs_data_part parts[PARTS_MAX];
	const size_t count = (size_t)cfs_rng_below(rng, PARTS_MAX) + 1;
	const size_t room = LUN_BYTES / PARTS_MAX / HEAL_BLOCK * HEAL_BLOCK;
	size_t beside;

	for (size_t i = 0; i < count; i++) {
		struct cfs_data_part *p = &parts[i];
		const bool is_cut = cfs_rng_below(rng, 8) == 0;
		const uint64_t unit = is_cut ? 1 : HEAL_BLOCK;

		p->length_bytes = (size_t)((cfs_rng_below(rng, 5 * HEAL_BLOCK) +
					    HEAL_BLOCK) /
					   unit * unit);
		p->offset_bytes = cfs_rng_below(rng,
						LUN_BYTES - p->length_bytes) /
				  unit * unit;
		p->buf = buf + i * room;
	}
	parts[0].length_bytes = 0;
	beside = read_all(l, parts, count);
	for (size_t i = 0; i < count; i++)
		assert_memory_equal(parts[i].buf, model + parts[i].offset_bytes,
				    parts[i].length_bytes);
	return beside;
}

/* Pages, extents of one block and of many, holes, and parts of blocks. */
static void test_same(void **state)
{
	static uint8_t model[LUN_BYTES], buf[LUN_BYTES];
	struct lun l = lun_new(false);
	struct cfs_rng rng;
	size_t beside = 0;

	(void)state;
	cfs_rng_init(&rng, 7);
	memset(model, 0, sizeof(model));
	for (unsigned int i = 0; i < 600; i++) {
		uint64_t most = i % 4 ? 9000 : 400000;
		uint64_t at = cfs_rng_below(&rng, LUN_BYTES - most);
		size_t n = (size_t)cfs_rng_below(&rng, most) + 1, good = 0;

		if (i % 7 == 3) {
			lun_punch(&l, at, n);
			memset(model + at, 0, n);
		} else if (i % 2) {
			cfs_rng_fill(&rng, model + at, n);
			lun_write(&l, at, model + at, n);
		}
		if (i % 50 == 49)
			HEAL_OK(cfs_container_commit(l.view.container, &err_));
		at = cfs_rng_below(&rng, LUN_BYTES - most);
		HEAL_OK(cfs_data_read_beside(&l.view, l.rec.ino, at, buf, n,
					     &good, &err_));
		assert_int_equal(good, n);
		assert_memory_equal(buf, model + at, n);
		beside += read_random(&l, &rng, model, buf);
	}
	/* Of 12,000; the rest was more than is taken at a time. */
	assert_true(beside > 10000);
	heal_free(&l.h);
}

static void test_damage(void **state)
{
	struct lun l = lun_new(false);
	uint8_t *buf = malloc(256 * HEAL_BLOCK);
	struct cfs_tag tag;
	uint64_t vaddr;
	size_t good = 0;

	(void)state;
	assert_non_null(buf);
	heal_write(l.h.lun, 0, 256, 3);
	vaddr = heal_block(l.view.container, CFS_TAG_DATA, l.rec.ino, 100,
			   &tag);
	heal_hurt(&l.h, l.view.container, vaddr, 0);
	assert_int_equal(cfs_data_read_beside(&l.view, l.rec.ino, 0, buf,
					      256 * HEAL_BLOCK, &good, NULL),
			 -EUCLEAN);
	assert_int_equal(good, tag.offset * HEAL_BLOCK);
	HEAL_OK(cfs_data_read_beside(&l.view, l.rec.ino,
				     (tag.offset + 1) * HEAL_BLOCK, buf,
				     HEAL_BLOCK, &good, &err_));
	free(buf);
	heal_free(&l.h);
}

/* One that is bad is no reason to trust those beside it less, nor more. */
static void test_many_damage(void **state)
{
	struct lun l = lun_new(false);
	uint8_t buf[4][HEAL_BLOCK];
	struct cfs_data_part parts[4];
	struct cfs_tag tag;
	uint64_t vaddr;

	(void)state;
	heal_write(l.h.lun, 0, 256, 3);
	vaddr = heal_block(l.view.container, CFS_TAG_DATA, l.rec.ino, 100,
			   &tag);
	for (size_t i = 0; i < 4; i++)
		parts[i] = (struct cfs_data_part){
			.offset_bytes = (tag.offset + 2 * i) * HEAL_BLOCK,
			.buf = buf[i],
			.length_bytes = HEAL_BLOCK,
		};
	assert_int_equal(cfs_data_read_many(&l.view, l.rec.ino, parts, 4), 4);
	heal_hurt(&l.h, l.view.container, vaddr, 0);
	assert_int_equal(cfs_data_read_many(&l.view, l.rec.ino, parts, 4), 0);
	assert_int_equal(cfs_data_read_many(&l.view, l.rec.ino, parts, 1), 0);
	assert_int_equal(cfs_data_read_many(&l.view, l.rec.ino, parts + 1, 3),
			 3);
	heal_free(&l.h);
}

static void test_mirror(void **state)
{
	struct lun l = lun_new(true);
	uint8_t buf[HEAL_BLOCK];
	struct cfs_tag tag;
	uint64_t vaddr;

	(void)state;
	heal_write(l.h.lun, 0, 256, 3);
	vaddr = heal_block(l.view.container, CFS_TAG_DATA, l.rec.ino, 17, &tag);
	for (unsigned int piece = 0; piece < 2; piece++) {
		/* What one read has healed is there when the other is bad. */
		heal_hurt(&l.h, l.view.container, vaddr, piece);
		HEAL_OK(cfs_data_read_beside(&l.view, l.rec.ino,
					     tag.offset * HEAL_BLOCK, buf,
					     sizeof(buf), NULL, &err_));
	}
	assert_int_equal(heal_read(l.h.lun, 0, 256, 3), 0);
	heal_free(&l.h);
}

static void test_extent(void **state)
{
	struct lun l = lun_new(false);
	uint8_t block[HEAL_BLOCK] = { 1 };
	uint64_t length = 0;
	bool is_data = true;

	(void)state;
	heal_write(l.h.lun, 10, 300, 3);
	lun_write(&l, 310 * HEAL_BLOCK + 5, block, 10); /* a page */
#define EXTENT(at, n, want_data, want_length)                                  \
	do {                                                                   \
		HEAL_OK(cfs_data_extent(&l.view, l.rec.ino, (at), (n),         \
					&is_data, &length, &err_));            \
		assert_int_equal(is_data, (want_data));                        \
		assert_int_equal(length, (want_length));                       \
	} while (0)
	EXTENT(0, LUN_BYTES, false, 10 * HEAL_BLOCK);
	EXTENT(7, 100, false, 100);
	EXTENT(10 * HEAL_BLOCK, LUN_BYTES / 2, true, 301 * HEAL_BLOCK);
	EXTENT(12 * HEAL_BLOCK + 1, HEAL_BLOCK, true, HEAL_BLOCK);
	EXTENT(9 * HEAL_BLOCK + 1, HEAL_BLOCK, false, HEAL_BLOCK - 1);
	EXTENT(311 * HEAL_BLOCK, 5 * HEAL_BLOCK, false, 5 * HEAL_BLOCK);
#undef EXTENT
	heal_free(&l.h);
}

/* ---- beside others ------------------------------------------------------- */

#define MT_BLOCKS 512u
#define READERS   3u

struct race {
	struct lun l;
	bool is_over;
	unsigned int failed, reads;
};

/* One read, or one for each block. */
static int race_read_some(struct race *race, struct cfs_rng *rng, uint64_t at,
			  uint64_t count, uint64_t *buf)
{
	const struct cfs_view *view = &race->l.view;
	struct cfs_data_part parts[64];

	for (uint64_t i = 0; i < count; i++)
		parts[i] = (struct cfs_data_part){
			.offset_bytes = (at + i) * HEAL_BLOCK,
			.buf = (uint8_t *)buf + i * HEAL_BLOCK,
			.length_bytes = HEAL_BLOCK,
		};
	if (cfs_rng_below(rng, 2) &&
	    cfs_data_read_many(view, race->l.rec.ino, parts, count) == count)
		return 0;
	return cfs_data_read_beside(view, race->l.rec.ino, at * HEAL_BLOCK, buf,
				    count * HEAL_BLOCK, NULL, NULL);
}

/* All words of a block are the same: the number of the round it is of. */
static void *race_read(void *arg)
{
	struct race *race = arg;
	uint64_t *buf = aligned_alloc(HEAL_BLOCK, 64 * HEAL_BLOCK);
	struct cfs_rng rng;

	cfs_rng_init(&rng, (uint64_t)(uintptr_t)&rng);
	while (buf && !__atomic_load_n(&race->is_over, __ATOMIC_SEQ_CST)) {
		uint64_t count = cfs_rng_below(&rng, 64) + 1;
		uint64_t at = cfs_rng_below(&rng, MT_BLOCKS - count);
		const size_t words = HEAL_BLOCK / sizeof(*buf);
		bool is_bad = race_read_some(race, &rng, at, count, buf) != 0;

		for (size_t i = 0; i < count * words && !is_bad; i++)
			is_bad = buf[i] != buf[i / words * words];
		__atomic_add_fetch(&race->reads, 1, __ATOMIC_RELAXED);
		if (is_bad)
			__atomic_add_fetch(&race->failed, 1, __ATOMIC_RELAXED);
	}
	free(buf);
	return NULL;
}

static void race_write(struct race *race, unsigned int rounds)
{
	uint64_t *buf = malloc(64 * HEAL_BLOCK);
	struct cfs_rng rng;

	assert_non_null(buf);
	cfs_rng_init(&rng, 11);
	for (uint64_t i = 1; i <= rounds; i++) {
		uint64_t count = cfs_rng_below(&rng, 64) + 1;
		uint64_t at = cfs_rng_below(&rng, MT_BLOCKS - count);

		for (size_t k = 0; k < count * HEAL_BLOCK / sizeof(*buf); k++)
			buf[k] = i;
		if (i % 9 == 0)
			lun_punch(&race->l, at * HEAL_BLOCK,
				  count * HEAL_BLOCK);
		else
			lun_write(&race->l, at * HEAL_BLOCK, buf,
				  count * HEAL_BLOCK);
		if (i % 5 == 0)
			HEAL_OK(cfs_container_commit(race->l.view.container,
						     &err_));
	}
	free(buf);
}

static void test_beside_writers(void **state)
{
	struct race race = { .l = lun_new(false) };
	pthread_t threads[READERS];

	(void)state;
	heal_write(race.l.h.lun, 0, MT_BLOCKS, 3);
	lun_punch(&race.l, 0, MT_BLOCKS * HEAL_BLOCK);
	for (size_t i = 0; i < READERS; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, race_read, &race), 0);
	race_write(&race, 1500);
	__atomic_store_n(&race.is_over, true, __ATOMIC_SEQ_CST);
	for (size_t i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(race.failed, 0);
	assert_true(race.reads > 0);
	heal_check_clean(&race.l.h);
	heal_free(&race.l.h);
}

/* ---- writers at the same time -------------------------------------------- */

#define WRITERS     4u
#define AREA_BLOCKS 512u

struct writer {
	struct lun *l;
	unsigned int index;
	uint64_t rounds[AREA_BLOCKS]; /* what each block is of */
};

/* Large ones go home behind the operation, small ones are pages. */
static void *write_area(void *arg)
{
	struct writer *w = arg;
	struct cfs_container *c = w->l->view.container;
	uint64_t *buf = aligned_alloc(HEAL_BLOCK, 96 * HEAL_BLOCK);
	struct cfs_rng rng;

	assert_non_null(buf);
	cfs_rng_init(&rng, w->index + 1);
	for (uint64_t i = 1; i <= 400; i++) {
		uint64_t count = cfs_rng_below(&rng, i % 4 ? 31 : 96) + 1;
		uint64_t at = cfs_rng_below(&rng, AREA_BLOCKS - count);
		uint64_t hashes[96];
		struct cfs_data_flight flight;

		for (size_t k = 0; k < count * HEAL_BLOCK / sizeof(*buf); k++)
			buf[k] = i;
		for (uint64_t k = 0; k < count; k++)
			w->rounds[at + k] = i;
		HEAL_OK(cfs_op_begin_beside(c, count + 64, &err_));
		HEAL_OK(cfs_data_write_start(
			c, w->l->view.branch, w->l->rec.ino,
			(w->index * AREA_BLOCKS + at) * HEAL_BLOCK, buf,
			count * HEAL_BLOCK,
			cfs_data_write_hash(buf, count * HEAL_BLOCK, hashes)
				? hashes
				: NULL,
			&flight, &err_));
		cfs_op_end(c);
		HEAL_OK(cfs_data_write_finish(&flight, &err_));
		if (flight.wants_back)
			cfs_data_write_back(c);
		if (i > 350 && i % 10 == 0)
			HEAL_OK(cfs_container_sync(c, &err_));
		if (i == 20 + w->index || i == 380)
			HEAL_OK(cfs_container_commit(c, &err_));
	}
	free(buf);
	return NULL;
}

static void assert_areas(struct lun *l, const struct writer *writers)
{
	uint64_t buf[HEAL_BLOCK / sizeof(uint64_t)];

	for (uint64_t i = 0; i < WRITERS * AREA_BLOCKS; i++) {
		uint64_t want =
			writers[i / AREA_BLOCKS].rounds[i % AREA_BLOCKS];

		HEAL_OK(cfs_data_read_beside(&l->view, l->rec.ino,
					     i * HEAL_BLOCK, buf, sizeof(buf),
					     NULL, &err_));
		assert_int_equal(buf[0], want);
		assert_int_equal(buf[511], want);
	}
}

static void test_many_writers(void **state)
{
	struct race race = { .l = lun_new(false) };
	struct writer *writers = calloc(WRITERS, sizeof(*writers));
	pthread_t threads[WRITERS], reader;

	(void)state;
	assert_non_null(writers);
	assert_int_equal(pthread_create(&reader, NULL, race_read, &race), 0);
	for (unsigned int i = 0; i < WRITERS; i++) {
		writers[i].l = &race.l;
		writers[i].index = i;
		assert_int_equal(pthread_create(&threads[i], NULL, write_area,
						&writers[i]),
				 0);
	}
	for (unsigned int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	__atomic_store_n(&race.is_over, true, __ATOMIC_SEQ_CST);
	pthread_join(reader, NULL);
	assert_int_equal(race.failed, 0);
	assert_areas(&race.l, writers);
	heal_check_clean(&race.l.h);
	heal_scrub_clean(&race.l.h);
	heal_reopen(&race.l.h);
	race.l.rec = heal_volume(race.l.h.lun);
	cfs_volume_view(race.l.h.lun, &race.l.rec, &race.l.view);
	assert_areas(&race.l, writers);
	free(writers);
	heal_free(&race.l.h);
}

/* ---- a device that does not take it -------------------------------------- */

static struct cfs_dev_ops lame_ops;
static const struct cfs_dev_ops *well_ops;
static bool is_lame;

static int lame_transfer(struct cfs_dev *dev, enum cfs_io_op op,
			 uint64_t offset_bytes, void *buf, size_t length_bytes)
{
	/* Frames and pages of ours have a magic; data is random. */
	if (op == CFS_IO_WRITE && is_lame && memcmp(buf, "CF", 2) != 0)
		return -EIO;
	return well_ops->transfer(dev, op, offset_bytes, buf, length_bytes);
}

/* The bytes are there all the same, now and behind a commit. */
static void test_write_fails(void **state)
{
	struct lun l = lun_new(false);
	struct cfs_dev *dev = cfs_devset_dev(l.h.set, 0);
	uint8_t *want = malloc(256 * HEAL_BLOCK),
		*buf = malloc(64 * HEAL_BLOCK);
	struct cfs_data_flight flight;

	(void)state;
	assert_true(want && buf);
	heal_write(l.h.lun, 0, 256, 3);
	heal_fill(want, 256 * HEAL_BLOCK, 3);
	heal_fill(want + 100 * HEAL_BLOCK, 64 * HEAL_BLOCK, 4);
	well_ops = dev->ops;
	lame_ops = *well_ops;
	lame_ops.transfer = lame_transfer;
	lame_ops.start = NULL;
	dev->ops = &lame_ops;

	HEAL_OK(cfs_op_begin_beside(l.view.container, 200, &err_));
	HEAL_OK(cfs_data_write_start(l.view.container, l.view.branch, l.rec.ino,
				     100 * HEAL_BLOCK, want + 100 * HEAL_BLOCK,
				     64 * HEAL_BLOCK, NULL, &flight, &err_));
	cfs_op_end(l.view.container);
	is_lame = true;
	HEAL_OK(cfs_data_write_finish(&flight, &err_));
	is_lame = false;
	for (unsigned int i = 0; i < 2; i++) {
		for (uint64_t at = 0; at < 256; at += 64) {
			HEAL_OK(cfs_data_read_beside(
				&l.view, l.rec.ino, at * HEAL_BLOCK, buf,
				64 * HEAL_BLOCK, NULL, &err_));
			assert_memory_equal(buf, want + at * HEAL_BLOCK,
					    64 * HEAL_BLOCK);
		}
		HEAL_OK(cfs_container_commit(l.view.container, &err_));
	}
	heal_check_clean(&l.h);
	heal_scrub_clean(&l.h);
	free(want);
	free(buf);
	heal_free(&l.h);
}

static void lun_write_beside(struct lun *l, uint64_t block, const uint8_t *buf,
			     size_t count)
{
	struct cfs_container *c = l->view.container;
	struct cfs_data_flight flight;

	HEAL_OK(cfs_op_begin_beside(c, count, &err_));
	HEAL_OK(cfs_data_write_start(c, l->view.branch, l->rec.ino,
				     block * HEAL_BLOCK, buf,
				     count * HEAL_BLOCK, NULL, &flight, &err_));
	cfs_op_end(c);
	HEAL_OK(cfs_data_write_finish(&flight, &err_));
}

#define SMALL_BLOCKS 1500u

/* Every other block of the LUN, each in a write of its own. */
static bool write_small(struct lun *l, uint8_t *model, uint64_t seed)
{
	struct cfs_container *c = l->view.container;
	bool wants_back = false;

	for (uint64_t i = 0; i < SMALL_BLOCKS; i++) {
		uint64_t block = i * 7 % LUN_BLOCKS;
		uint8_t *at = model + block * HEAL_BLOCK;
		struct cfs_data_flight flight;

		heal_fill(at, HEAL_BLOCK, seed + i);
		HEAL_OK(cfs_op_begin_beside(c, 1, &err_));
		HEAL_OK(cfs_data_write_start(c, l->view.branch, l->rec.ino,
					     block * HEAL_BLOCK, at, HEAL_BLOCK,
					     NULL, &flight, &err_));
		cfs_op_end(c);
		HEAL_OK(cfs_data_write_finish(&flight, &err_));
		wants_back = flight.wants_back;
	}
	return wants_back;
}

static void assert_model(struct lun *l, const uint8_t *model)
{
	uint8_t *buf = malloc(LUN_BYTES);

	assert_non_null(buf);
	HEAL_OK(cfs_data_read_beside(&l->view, l->rec.ino, 0, buf, LUN_BYTES,
				     NULL, &err_));
	assert_memory_equal(buf, model, LUN_BYTES);
	free(buf);
}

/* Home, or not if the device does not take it: the bytes are there, also for a
 * snapshot, behind a sync that a crash follows, and behind a commit. */
static void write_back(bool fails)
{
	struct lun l = lun_new(false);
	struct cfs_dev *dev = cfs_devset_dev(l.h.set, 0);
	uint8_t *model = calloc(1, LUN_BYTES), *old = malloc(LUN_BYTES);
	struct cfs_snapshot_rec snap;
	struct cfs_view view = l.view;

	assert_true(model && old);
	assert_true(write_small(&l, model, 5));
	heal_snapshot(l.h.lun, "s");
	memcpy(old, model, LUN_BYTES);
	assert_true(write_small(&l, model, 77));
	well_ops = dev->ops;
	lame_ops = *well_ops;
	lame_ops.transfer = lame_transfer;
	lame_ops.start = NULL;
	dev->ops = &lame_ops;
	is_lame = fails;
	cfs_data_write_back(l.view.container);
	is_lame = false;
	assert_model(&l, model);
	HEAL_OK(cfs_container_sync(l.view.container, &err_));
	assert_model(&l, model);
	heal_reopen(&l.h);
	l.rec = heal_volume(l.h.lun);
	cfs_volume_view(l.h.lun, &l.rec, &l.view);
	assert_model(&l, model);
	HEAL_OK(cfs_snapshot_find(l.h.lun, CFS_VOLUME_FIRST, "s", &view.stamp,
				  &snap, &err_));
	view.container = l.view.container;
	view.branch = (uint16_t)snap.branch;
	l.view = view;
	assert_model(&l, old);
	heal_check_clean(&l.h);
	heal_scrub_clean(&l.h);
	free(model);
	free(old);
	heal_free(&l.h);
}

static void test_write_back(void **state)
{
	(void)state;
	write_back(false);
}

static void test_write_back_fails(void **state)
{
	(void)state;
	write_back(true);
}

/* What goes home goes in pieces, and between two of them others may change or
 * forget what is still to go: it is as they left it. */
static struct {
	struct lun *l;
	uint8_t *model;
	atomic_uint calls;
} between;

/* In the last piece; the first; and all of some in between. */
static void *write_between(void *arg)
{
	static const struct {
		uint64_t block, count;
	} writes[] = { { LUN_BLOCKS - 1, 1 },
		       { 0, 1 },
		       { LUN_BLOCKS / 2, 64 } };

	for (size_t i = 0; i < CFS_ARRAY_COUNT(writes); i++) {
		uint8_t *at = between.model + writes[i].block * HEAL_BLOCK;

		heal_fill(at, writes[i].count * HEAL_BLOCK, 101 + i);
		lun_write_beside(between.l, writes[i].block, at,
				 writes[i].count);
	}
	return arg;
}

static int between_transfer(struct cfs_dev *dev, enum cfs_io_op op,
			    uint64_t offset_bytes, void *buf,
			    size_t length_bytes)
{
	pthread_t thread;

	/* Frames and pages of ours are written with the lock. */
	if (op == CFS_IO_WRITE && memcmp(buf, "CF", 2) != 0 &&
	    between.calls++ == 0 &&
	    pthread_create(&thread, NULL, write_between, NULL) == 0)
		pthread_join(thread, NULL);
	return well_ops->transfer(dev, op, offset_bytes, buf, length_bytes);
}

static void test_write_back_between(void **state)
{
	struct lun l = lun_new(false);
	struct cfs_dev *dev = cfs_devset_dev(l.h.set, 0);
	uint8_t *model = calloc(1, LUN_BYTES);

	(void)state;
	assert_non_null(model);
	assert_true(write_small(&l, model, 9));
	well_ops = dev->ops;
	lame_ops = *well_ops;
	lame_ops.transfer = between_transfer;
	lame_ops.start = NULL;
	dev->ops = &lame_ops;
	between.l = &l;
	between.model = model;
	between.calls = 0;
	cfs_data_write_back(l.view.container);
	assert_true(between.calls > 1);
	dev->ops = well_ops;
	assert_model(&l, model);
	HEAL_OK(cfs_container_sync(l.view.container, &err_));
	assert_model(&l, model);
	heal_reopen(&l.h);
	l.rec = heal_volume(l.h.lun);
	cfs_volume_view(l.h.lun, &l.rec, &l.view);
	assert_model(&l, model);
	heal_check_clean(&l.h);
	heal_scrub_clean(&l.h);
	free(model);
	heal_free(&l.h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_many_damage),
		cmocka_unit_test(test_mirror),
		cmocka_unit_test(test_extent),
		cmocka_unit_test(test_beside_writers),
		cmocka_unit_test(test_many_writers),
		cmocka_unit_test(test_write_fails),
		cmocka_unit_test(test_write_back),
		cmocka_unit_test(test_write_back_fails),
		cmocka_unit_test(test_write_back_between),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
