/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a crash may leave, exactly: flushed writes always, of the others any
 * subset, whole or torn at sectors, later ones over earlier ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "device/sim.h"

#define DEV_BYTES (64u << 20)

struct fixture {
	struct cfs_sim *sim;
	struct cfs_dev *dev[2];
	struct cfs_err err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f || cfs_sim_new(&f->sim, &f->err) < 0 ||
	    cfs_sim_dev_new(f->sim, DEV_BYTES, &f->dev[0], &f->err) < 0 ||
	    cfs_sim_dev_new(f->sim, DEV_BYTES, &f->dev[1], &f->err) < 0)
		return -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	cfs_dev_close(f->dev[0]);
	cfs_dev_close(f->dev[1]);
	cfs_sim_free(f->sim);
	free(f);
	return 0;
}

static void put(struct fixture *f, unsigned int index, uint64_t at, char c)
{
	assert_int_equal(cfs_dev_write(f->dev[index], at, &c, 1, &f->err), 0);
}

static void flush(struct fixture *f, unsigned int index)
{
	assert_int_equal(cfs_dev_flush(f->dev[index], &f->err), 0);
}

/* The @n bytes at 0 of the image; zeroes as '.'. */
static const char *image_text(struct fixture *f, struct cfs_sim_crash crash,
			      unsigned int index, size_t n)
{
	static char text[64];
	struct cfs_dev *image;
	size_t i;

	assert_int_equal(
		cfs_sim_crash_image(f->sim, &crash, index, &image, &f->err), 0);
	assert_int_equal(cfs_dev_size_bytes(image),
			 cfs_dev_size_bytes(f->dev[index]));
	memset(text, 0, sizeof(text));
	assert_int_equal(cfs_dev_read(image, 0, text, n, &f->err), 0);
	for (i = 0; i < n; i++)
		text[i] = text[i] ? text[i] : '.';
	cfs_dev_close(image);
	return text;
}

static struct cfs_sim_crash none(size_t n)
{
	return (struct cfs_sim_crash){ .event_count = n };
}

static struct cfs_sim_crash all(size_t n)
{
	return (struct cfs_sim_crash){ .event_count = n, .seed = UINT64_MAX };
}

static struct cfs_sim_crash some(size_t n, uint64_t mask)
{
	return (struct cfs_sim_crash){
		.event_count = n,
		.use_mask = true,
		.mask = mask,
	};
}

static void test_prefixes(void **state)
{
	struct fixture *f = *state;

	put(f, 0, 0, 'a'); /* event 0 */
	put(f, 0, 1, 'b');
	flush(f, 0);
	put(f, 0, 0, 'c');
	cfs_sim_mark(f->sim, 1);
	put(f, 0, 2, 'd');
	flush(f, 0); /* event 6 */
	assert_string_equal(image_text(f, all(0), 0, 3), "...");
	assert_string_equal(image_text(f, none(2), 0, 3), "...");
	assert_string_equal(image_text(f, all(2), 0, 3), "ab.");
	assert_string_equal(image_text(f, none(3), 0, 3), "ab.");
	assert_string_equal(image_text(f, none(6), 0, 3), "ab.");
	assert_string_equal(image_text(f, all(4), 0, 3), "cb.");
	assert_string_equal(image_text(f, all(6), 0, 3), "cbd");
	assert_string_equal(image_text(f, none(7), 0, 3), "cbd");
	/* Backwards too: the cached state must not leak into the past. */
	assert_string_equal(image_text(f, none(3), 0, 3), "ab.");
	assert_string_equal(image_text(f, none(0), 0, 3), "...");
	assert_int_equal(cfs_sim_unflushed_count(f->sim, 2), 2);
	assert_int_equal(cfs_sim_unflushed_count(f->sim, 3), 0);
	assert_int_equal(cfs_sim_unflushed_count(f->sim, 6), 2);
	assert_int_equal(cfs_sim_unflushed_count(f->sim, 7), 0);
}

/* A flush is for its own device; the mask counts over all of them. */
static void test_devices_and_mask(void **state)
{
	struct fixture *f = *state;

	put(f, 0, 0, 'a');
	put(f, 1, 0, 'x');
	flush(f, 0);
	put(f, 0, 1, 'b');
	put(f, 1, 1, 'y');
	assert_int_equal(cfs_sim_unflushed_count(f->sim, 5), 3);
	assert_string_equal(image_text(f, none(5), 0, 2), "a.");
	assert_string_equal(image_text(f, none(5), 1, 2), "..");
	/* The unflushed ones in order: x, b, y. */
	assert_string_equal(image_text(f, some(5, 1), 0, 2), "a.");
	assert_string_equal(image_text(f, some(5, 1), 1, 2), "x.");
	assert_string_equal(image_text(f, some(5, 2), 0, 2), "ab");
	assert_string_equal(image_text(f, some(5, 2), 1, 2), "..");
	assert_string_equal(image_text(f, some(5, 4), 1, 2), ".y");
	assert_string_equal(image_text(f, some(5, 7), 1, 2), "xy");
	assert_string_equal(image_text(f, some(5, 7), 0, 2), "ab");
}

static void test_overlap(void **state)
{
	struct fixture *f = *state;

	put(f, 0, 0, 'a');
	put(f, 0, 0, 'b');
	assert_string_equal(image_text(f, all(2), 0, 1), "b");
	assert_string_equal(image_text(f, some(2, 3), 0, 1), "b");
	assert_string_equal(image_text(f, some(2, 1), 0, 1), "a");
	assert_string_equal(image_text(f, some(2, 2), 0, 1), "b");
	assert_string_equal(image_text(f, some(2, 0), 0, 1), ".");
}

static void test_checkpoint(void **state)
{
	struct fixture *f = *state;

	put(f, 0, 0, 'a');
	cfs_sim_checkpoint(f->sim);
	put(f, 0, 1, 'b');
	assert_string_equal(image_text(f, none(1), 0, 2), "a.");
	assert_string_equal(image_text(f, all(1), 0, 2), "ab");
	assert_string_equal(image_text(f, all(0), 0, 2), "a.");
}

static void test_image_is_apart(void **state)
{
	struct fixture *f = *state;
	struct cfs_sim_crash crash = all(1);
	struct cfs_dev *image;
	char c;

	put(f, 0, 0, 'a');
	assert_int_equal(
		cfs_sim_crash_image(f->sim, &crash, 0, &image, &f->err), 0);
	assert_int_equal(cfs_dev_kind(image), CFS_DEV_MEM);
	assert_int_equal(cfs_dev_write(image, 0, "i", 1, &f->err), 0);
	put(f, 0, 0, 'z');
	assert_int_equal(cfs_dev_read(image, 0, &c, 1, &f->err), 0);
	assert_int_equal(c, 'i');
	assert_string_equal(image_text(f, all(1), 0, 1), "a");
	assert_int_equal(cfs_dev_read(f->dev[0], 0, &c, 1, &f->err), 0);
	assert_int_equal(c, 'z');
	cfs_dev_close(image);
}

/* Held writes are in no crash before they land, flush or not. */
static void test_held(void **state)
{
	struct fixture *f = *state;

	cfs_sim_hold(f->dev[0], true);
	put(f, 0, 0, 'a');
	flush(f, 0);
	assert_string_equal(image_text(f, all(1), 0, 1), ".");
	assert_int_equal(cfs_sim_release(f->dev[0], 1, &f->err), 0);
	assert_string_equal(image_text(f, none(2), 0, 1), ".");
	assert_string_equal(image_text(f, all(2), 0, 1), "a");
}

static void test_discard_and_resize(void **state)
{
	struct fixture *f = *state;
	struct cfs_sim_crash crash = none(3);
	struct cfs_dev *image;
	char c;

	put(f, 0, 0, 'a');
	flush(f, 0);
	assert_int_equal(cfs_dev_discard(f->dev[0], 0, 4096, &f->err), 0);
	assert_string_equal(image_text(f, none(3), 0, 1), "a");
	assert_string_equal(image_text(f, all(3), 0, 1), ".");
	/* Cut to nothing and grown again: the old byte may live, once. */
	put(f, 1, 0, 'x');
	flush(f, 1);
	assert_int_equal(cfs_dev_resize(f->dev[1], 0, &f->err), 0);
	crash.event_count = cfs_sim_event_count(f->sim);
	assert_int_equal(
		cfs_sim_crash_image(f->sim, &crash, 1, &image, &f->err), 0);
	assert_int_equal(cfs_dev_size_bytes(image), 0);
	assert_int_equal(cfs_dev_resize(image, 4096, &f->err), 0);
	assert_int_equal(cfs_dev_read(image, 0, &c, 1, &f->err), 0);
	assert_int_equal(c, 0);
	cfs_dev_close(image);
}

/*
 * Tears of one write that starts and ends inside sectors: each sector is old
 * or new as a whole, and seeds give every mixture sooner or later.
 */
static void test_torn(void **state)
{
	enum { BYTES = 5 * 512, START = 700, LENGTH = 1500 };
	struct fixture *f = *state;
	unsigned char buf[LENGTH], got[BYTES];
	unsigned int seen = 0;
	uint64_t seed;
	size_t i;

	memset(buf, 'n', LENGTH);
	assert_int_equal(cfs_dev_write(f->dev[0], START, buf, LENGTH, &f->err),
			 0);
	for (seed = 1; seed < 400; seed++) {
		struct cfs_sim_crash crash = { .event_count = 1, .seed = seed };
		struct cfs_dev *image;
		unsigned int mixture = 0;

		assert_int_equal(
			cfs_sim_crash_image(f->sim, &crash, 0, &image, &f->err),
			0);
		assert_int_equal(cfs_dev_read(image, 0, got, BYTES, &f->err),
				 0);
		cfs_dev_close(image);
		for (i = 0; i < BYTES; i++) {
			bool is_inside = i >= START && i < START + LENGTH;
			size_t sector = i / 512;
			size_t first = sector * 512 < START ? START
							    : sector * 512;

			if (!is_inside) {
				assert_int_equal(got[i], 0);
				continue;
			}
			assert_int_equal(got[i], got[first]);
			if (got[i])
				mixture |= 1u << (sector - 1);
		}
		seen |= 1u << mixture;
	}
	/* Sectors 1 to 4 are touched: sixteen mixtures. */
	assert_int_equal(seen, 0xffff);
}

/* One seed decides alike each time, and for the devices of one crash. */
static void test_seed_repeats(void **state)
{
	struct fixture *f = *state;
	unsigned int i, alive = 0;
	uint64_t seed;

	for (i = 0; i < 32; i++)
		put(f, i % 2, i / 2, (char)('A' + i));
	for (seed = 1; seed < 50; seed++) {
		struct cfs_sim_crash crash = {
			.event_count = 32,
			.seed = seed,
		};
		char first[64];

		strcpy(first, image_text(f, crash, 0, 16));
		for (i = 0; first[i]; i++)
			alive += first[i] != '.';
		image_text(f, none(3), 1, 1);
		assert_string_equal(image_text(f, crash, 0, 16), first);
	}
	assert_in_range(alive, 49 * 16 / 4, 49 * 16 * 3 / 4);
}

/* Writes past the first 64 unflushed ones have no bit: they are lost. */
static void test_many_unflushed(void **state)
{
	struct fixture *f = *state;
	struct cfs_sim_crash crash = some(70, UINT64_MAX);
	struct cfs_dev *image;
	char got[70];
	unsigned int i;

	for (i = 0; i < 70; i++)
		put(f, 0, i, 'm');
	assert_int_equal(cfs_sim_unflushed_count(f->sim, 70), 70);
	assert_int_equal(
		cfs_sim_crash_image(f->sim, &crash, 0, &image, &f->err), 0);
	assert_int_equal(cfs_dev_read(image, 0, got, 70, &f->err), 0);
	assert_int_equal(got[63], 'm');
	assert_int_equal(got[64], 0);
	cfs_dev_close(image);
}

static void test_power_cut(void **state)
{
	struct fixture *f = *state;
	char c;

	put(f, 0, 0, 'a');
	flush(f, 0);
	put(f, 0, 0, 'b');
	put(f, 1, 0, 'c');
	assert_int_equal(cfs_sim_power_cut(f->sim, 0, &f->err), 0);
	assert_int_equal(cfs_sim_event_count(f->sim), 0);
	assert_int_equal(cfs_dev_read(f->dev[0], 0, &c, 1, &f->err), 0);
	assert_int_equal(c, 'a');
	assert_int_equal(cfs_dev_read(f->dev[1], 0, &c, 1, &f->err), 0);
	assert_int_equal(c, 0);
	assert_string_equal(image_text(f, none(0), 0, 1), "a");
	put(f, 1, 0, 'd');
	assert_int_equal(cfs_sim_power_cut(f->sim, UINT64_MAX, &f->err), 0);
	assert_int_equal(cfs_dev_read(f->dev[1], 0, &c, 1, &f->err), 0);
	assert_int_equal(c, 'd');
}

/* Against a model in plain memory, all crash points in order. */
static void test_every_point(void **state)
{
	enum { BYTES = 100000, EVENTS = 600 };
	static unsigned char now[BYTES], durable[BYTES], got[BYTES];
	struct fixture *f = *state;
	static unsigned char buf[3000];
	unsigned int i;

	srandom(11);
	memset(now, 0, BYTES);
	memset(durable, 0, BYTES);
	for (i = 0; i < EVENTS; i++) {
		size_t n = (size_t)random() % sizeof(buf) + 1;
		size_t at = (size_t)random() % (BYTES - n);
		struct cfs_sim_crash crash = none(i + 1);
		struct cfs_dev *image;

		if (random() % 5 == 0) {
			flush(f, 0);
			memcpy(durable, now, BYTES);
		} else {
			memset(buf, (int)i, n);
			memset(now + at, (int)i, n);
			assert_int_equal(
				cfs_dev_write(f->dev[0], at, buf, n, &f->err),
				0);
		}
		assert_int_equal(
			cfs_sim_crash_image(f->sim, &crash, 0, &image, &f->err),
			0);
		assert_int_equal(cfs_dev_read(image, 0, got, BYTES, &f->err),
				 0);
		assert_memory_equal(got, durable, BYTES);
		cfs_dev_close(image);
		crash.seed = UINT64_MAX;
		assert_int_equal(
			cfs_sim_crash_image(f->sim, &crash, 0, &image, &f->err),
			0);
		assert_int_equal(cfs_dev_read(image, 0, got, BYTES, &f->err),
				 0);
		assert_memory_equal(got, now, BYTES);
		cfs_dev_close(image);
	}
}

/* A fork holds what the image of the same crash does, and is apart. */
static void test_fork(void **state)
{
	enum { COUNT = 65536 };
	static unsigned char image_bytes[COUNT], fork_bytes[COUNT], buf[3000];
	struct fixture *f = *state;
	struct cfs_sim_crash crash = { .seed = 5 };
	struct cfs_dev *image, *dev;
	struct cfs_sim *fork_sim;
	unsigned int i;

	for (i = 0; i < 20; i++) {
		memset(buf, (int)i + 1, sizeof(buf));
		assert_int_equal(cfs_dev_write(f->dev[0], i * 1000, buf,
					       sizeof(buf), &f->err),
				 0);
		if (i == 7)
			flush(f, 0);
	}
	crash.event_count = cfs_sim_event_count(f->sim);
	assert_int_equal(
		cfs_sim_crash_image(f->sim, &crash, 0, &image, &f->err), 0);
	assert_int_equal(cfs_sim_fork(f->sim, &crash, &fork_sim, &f->err), 0);
	assert_int_equal(cfs_sim_event_count(fork_sim), 0);
	assert_int_equal(cfs_sim_dev_open(fork_sim, 0, &dev, &f->err), 0);
	assert_int_equal(cfs_dev_read(image, 0, image_bytes, COUNT, &f->err),
			 0);
	assert_int_equal(cfs_dev_read(dev, 0, fork_bytes, COUNT, &f->err), 0);
	assert_memory_equal(image_bytes, fork_bytes, COUNT);

	/* Unflushed there: a crash takes it back; here nothing happens. */
	assert_int_equal(cfs_dev_write(dev, 0, buf, sizeof(buf), &f->err), 0);
	assert_int_equal(cfs_sim_power_cut(fork_sim, 0, &f->err), 0);
	assert_int_equal(cfs_dev_read(dev, 0, fork_bytes, COUNT, &f->err), 0);
	assert_memory_equal(image_bytes, fork_bytes, COUNT);
	assert_int_equal(cfs_sim_event_count(f->sim), crash.event_count);
	cfs_dev_close(dev);
	cfs_sim_free(fork_sim);
	cfs_dev_close(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_prefixes),
		T(test_devices_and_mask),
		T(test_overlap),
		T(test_checkpoint),
		T(test_image_is_apart),
		T(test_held),
		T(test_discard_and_resize),
		T(test_torn),
		T(test_seed_repeats),
		T(test_many_unflushed),
		T(test_power_cut),
		T(test_every_point),
		T(test_fork),
#undef T
	};

	return cmocka_run_group_tests_name("device crash", tests, NULL, NULL);
}
