/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The devices of a pool: found from any one of them, compared, and never
 * mixed with copies of themselves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/uuid.h"
#include "pool_fixture.h"

#define SIZE   POOL_FIXTURE_BYTES
#define MIRROR CFS_POOL_FLAG_MIRROR

static char dir[1024];

static int setup(void **state)
{
	const char *base = getenv("TMPDIR");

	(void)state;
	snprintf(dir, sizeof(dir), "%s/devset-XXXXXX", base ? base : "/tmp");
	return mkdtemp(dir) ? 0 : -1;
}

static int shell(const char *fmt, ...) CFS_PRINTF(1, 2);

static int shell(const char *fmt, ...)
{
	char command[3 * PATH_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	return system(command);
}

static int teardown(void **state)
{
	(void)state;
	return shell("rm -rf '%s'", dir);
}

/* A path below the directory of this test; four at a time. */
static const char *at(const char *name)
{
	static char paths[4][PATH_MAX];
	static unsigned int turn;
	char *path = paths[turn++ % 4];

	snprintf(path, PATH_MAX, "%s/%s", dir, name);
	return path;
}

static char warnings[2048];

static void warn(void *arg, const char *line)
{
	(void)arg;
	strncat(warnings, line, sizeof(warnings) - strlen(warnings) - 2);
	strcat(warnings, "\n");
}

static int open_set(const char *path, bool is_writable, const char *search,
		    struct cfs_devset **ret, struct cfs_err *err)
{
	const char *const directories[] = { search };
	const struct cfs_devset_options opt = {
		.is_writable = is_writable,
		.search = directories,
		.search_count = search ? 1 : 0,
		.warn = warn,
	};

	warnings[0] = '\0';
	return cfs_devset_open(path, &opt, ret, err);
}

/* @count files NAME0, NAME1 ... as a pool, with hints. */
static void make_files(const char *name, uint32_t count, uint32_t flags)
{
	struct cfs_dev *devices[POOL_FIXTURE_MAX];
	const char *names[POOL_FIXTURE_MAX];
	char paths[POOL_FIXTURE_MAX][PATH_MAX];
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_devset *set;
	uint32_t i;

	for (i = 0; i < count; i++) {
		snprintf(paths[i], PATH_MAX, "%s/%s%u", dir, name, i);
		names[i] = paths[i];
		assert_int_equal(cfs_dev_open(paths[i],
					      CFS_DEV_RDWR | CFS_DEV_CREATE,
					      &devices[i], &err),
				 0);
		assert_int_equal(cfs_dev_resize(devices[i], SIZE, NULL), 0);
	}
	assert_int_equal(
		pool_fixture_format(devices, count, flags, names, &err), 0);
	for (i = 0; i < count; i++)
		cfs_dev_close(devices[i]);
	assert_int_equal(open_set(paths[0], true, NULL, &set, &err), 0);
	assert_int_equal(pool_fixture_seat(set, &err), 0);
	cfs_devset_close(set);
}

/* The pool opens from @path, whole, each device in its place. */
static void expect_whole(const char *path, const char *search, uint32_t count)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_devset *set;
	uint8_t uuid[16];
	uint32_t i;

	if (open_set(path, true, search, &set, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(cfs_devset_count(set), count);
	for (i = 0; i < count; i++) {
		assert_non_null(cfs_devset_dev(set, i));
		pool_fixture_uuid(uuid, 0xd0, i);
		assert_memory_equal(cfs_devset_label(set, i)->device_uuid, uuid,
				    16);
	}
	assert_string_equal(warnings, "");
	cfs_devset_close(set);
}

static void expect_error(const char *path, const char *search, int code,
			 const char *text)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_devset *set;

	assert_int_equal(open_set(path, true, search, &set, &err), code);
	if (!strstr(err.msg, text))
		fail_msg("\"%s\" is not in \"%s\"", text, err.msg);
}

/* ---------------------------------------------------------------- tests */

static void test_from_devices_shuffled(void **state)
{
	static const uint32_t order[] = { 2, 0, 3, 1 };
	const struct cfs_devset_options opt = { .is_writable = true };
	struct cfs_dev *devices[4], *shuffled[4];
	struct cfs_devset *set;
	uint32_t i, index;
	char text[CFS_UUID_TEXT_BYTES];

	(void)state;
	for (i = 0; i < 4; i++)
		assert_int_equal(cfs_dev_mem_new(SIZE, &devices[i], NULL), 0);
	assert_int_equal(pool_fixture_format(devices, 4, 0, NULL, NULL), 0);
	for (i = 0; i < 4; i++)
		shuffled[i] = devices[order[i]];
	assert_int_equal(cfs_devset_from_devices(shuffled, 4, &opt, &set, NULL),
			 0);
	for (i = 0; i < 4; i++) {
		assert_ptr_equal(cfs_devset_dev(set, i), devices[i]);
		cfs_uuid_format(cfs_devset_label(set, i)->device_uuid, text);
		assert_int_equal(cfs_devset_find(set, text, &index, NULL), 0);
		assert_int_equal(index, i);
		assert_int_equal(cfs_devset_find(set, cfs_dev_name(devices[i]),
						 &index, NULL),
				 0);
		assert_int_equal(index, i);
	}
	assert_int_equal(cfs_devset_find(set, "/nowhere", &index, NULL),
			 -ENOENT);
	assert_true(cfs_devset_is_writable(set));
	assert_false(cfs_devset_is_overlay(set));
	cfs_devset_close(set);
}

static void test_hints_from_each(void **state)
{
	(void)state;
	make_files("a", 3, 0);
	expect_whole(at("a0"), NULL, 3);
	expect_whole(at("a1"), NULL, 3);
	expect_whole(at("a2"), NULL, 3);
}

/* All moved together: found beside each other by the last component. */
static void test_moved_directory(void **state)
{
	(void)state;
	make_files("a", 3, 0);
	assert_int_equal(mkdir(at("sub"), 0700), 0);
	assert_int_equal(shell("mv %s/a? %s/sub", dir, dir), 0);
	expect_whole(at("sub/a1"), NULL, 3);
}

/* A copy of all is a pool of its own, though its hints name the original. */
static void test_copied_directory(void **state)
{
	struct cfs_devset *set;
	uint32_t i;

	(void)state;
	make_files("a", 3, 0);
	assert_int_equal(mkdir(at("sub"), 0700), 0);
	assert_int_equal(shell("cp --sparse=always %s/a? %s/sub", dir, dir), 0);
	expect_whole(at("sub/a1"), NULL, 3);
	assert_int_equal(open_set(at("sub/a1"), true, NULL, &set, NULL), 0);
	for (i = 0; i < 3; i++)
		assert_non_null(strstr(cfs_devset_path(set, i), "/sub/a"));
	cfs_devset_close(set);
	expect_whole(at("a2"), NULL, 3);
}

/* Renamed and moved apart: only a search can tell. */
static void test_search(void **state)
{
	(void)state;
	make_files("a", 3, 0);
	assert_int_equal(mkdir(at("sub"), 0700), 0);
	assert_int_equal(mkdir(at("sub2"), 0700), 0);
	assert_int_equal(rename(at("a1"), at("renamed")), 0);
	expect_whole(at("a0"), NULL, 3); /* in the same directory */
	assert_int_equal(rename(at("renamed"), at("sub/other")), 0);
	expect_error(at("a0"), NULL, -ENODEV, "device 1 of the pool");
	expect_error(at("a0"), at("sub2"), -ENODEV, "--search");
	expect_whole(at("a0"), at("sub"), 3);
	expect_whole(at("sub/other"), at("."), 3);
}

static void test_link_and_uri(void **state)
{
	char uri[PATH_MAX + 8];
	struct cfs_devset *set;
	uint32_t index;

	(void)state;
	make_files("a", 2, 0);
	assert_int_equal(symlink(at("a1"), at("link")), 0);
	expect_whole(at("link"), NULL, 2);
	snprintf(uri, sizeof(uri), "file:%s", at("a%31"));
	expect_whole(uri, NULL, 2);
	assert_int_equal(open_set(at("a0"), false, NULL, &set, NULL), 0);
	assert_int_equal(cfs_devset_find(set, at("link"), &index, NULL), 0);
	assert_int_equal(index, 1);
	assert_int_equal(cfs_devset_find(set, uri, &index, NULL), 0);
	assert_int_equal(index, 1);
	cfs_devset_close(set);
}

static void test_copy_is_refused(void **state)
{
	(void)state;
	make_files("a", 2, 0);
	assert_int_equal(shell("cp --sparse=always %s/a0 %s/copy", dir, dir),
			 0);
	/* The copy leads to a1, which knows a0. */
	expect_error(at("copy"), NULL, -EUCLEAN,
		     "two devices with one "
		     "identity");
	/* Who names a0 gets the pool: nothing is in doubt. */
	expect_whole(at("a0"), NULL, 2);
	/* Met while looking for what is missing: in doubt. */
	assert_int_equal(rename(at("a1"), at("renamed")), 0);
	expect_error(at("a0"), NULL, -EUCLEAN, "copy");
}

static void test_copies_found_by_scanning(void **state)
{
	(void)state;
	make_files("a", 2, 0);
	assert_int_equal(shell("cp --sparse=always %s/a1 %s/x && mv %s/a1 %s/y",
			       dir, dir, dir, dir),
			 0);
	expect_error(at("a0"), NULL, -EUCLEAN,
		     "two devices with one "
		     "identity");
}

/* A single device never looks around: a copy beside it is just a file. */
static void test_single_beside_its_copy(void **state)
{
	(void)state;
	make_files("a", 1, 0);
	assert_int_equal(shell("cp --sparse=always %s/a0 %s/copy", dir, dir),
			 0);
	expect_whole(at("a0"), NULL, 1);
	expect_whole(at("copy"), NULL, 1);
}

static void test_missing_plain(void **state)
{
	char uuid_text[CFS_UUID_TEXT_BYTES];
	uint8_t uuid[16];

	(void)state;
	make_files("a", 3, 0);
	assert_int_equal(unlink(at("a2")), 0);
	pool_fixture_uuid(uuid, 0xd0, 2);
	expect_error(at("a0"), NULL, -ENODEV, cfs_uuid_format(uuid, uuid_text));
	expect_error(at("a0"), NULL, -ENODEV, "a2) is missing");
}

static void test_missing_mirror(void **state)
{
	struct cfs_devset *set;
	uint8_t uuid[16];
	uint32_t index;

	(void)state;
	make_files("a", 3, MIRROR);
	assert_int_equal(unlink(at("a1")), 0);
	assert_int_equal(open_set(at("a2"), true, NULL, &set, NULL), 0);
	assert_int_equal(cfs_devset_count(set), 3);
	assert_non_null(cfs_devset_dev(set, 0));
	assert_null(cfs_devset_dev(set, 1));
	pool_fixture_uuid(uuid, 0xd0, 1);
	assert_memory_equal(cfs_devset_label(set, 1)->device_uuid, uuid, 16);
	assert_int_equal(cfs_devset_label(set, 1)->device_index, 1);
	assert_int_equal(cfs_devset_label(set, 1)->slice_count, 0);
	assert_non_null(strstr(cfs_devset_path(set, 1), "a1"));
	assert_non_null(strstr(warnings, "is missing"));
	assert_int_equal(
		cfs_devset_find(set, cfs_devset_path(set, 1), &index, NULL), 0);
	assert_int_equal(index, 1);
	cfs_devset_close(set);
}

static void test_shortened(void **state)
{
	struct cfs_devset *set;

	(void)state;
	make_files("a", 2, 0);
	assert_int_equal(truncate(at("a0"), SIZE - 4096), 0);
	expect_error(at("a0"), NULL, -EUCLEAN, "shorter than its label says");
	expect_error(at("a1"), NULL, -ENODEV, "shorter than its label says");
	assert_int_equal(shell("rm %s/a?", dir), 0);
	make_files("m", 2, MIRROR);
	assert_int_equal(truncate(at("m0"), SIZE - 4096), 0);
	assert_int_equal(open_set(at("m1"), true, NULL, &set, NULL), 0);
	assert_null(cfs_devset_dev(set, 0));
	assert_non_null(strstr(warnings, "shorter than its label says"));
	cfs_devset_close(set);
}

static void test_not_cfs(void **state)
{
	(void)state;
	expect_error(at("nothing"), NULL, -ENOENT, "nothing");
	assert_int_equal(shell("truncate -s 64M %s/zero", dir), 0);
	expect_error(at("zero"), NULL, -EMEDIUMTYPE, "zero: not a cfs device");
	expect_error(dir, NULL, -EINVAL, "neither");
	assert_int_equal(shell("truncate -s 64M %s/fs && PATH=$PATH:/sbin "
			       "mkswap -L vm %s/fs >/dev/null 2>&1",
			       dir, dir),
			 0);
	expect_error(at("fs"), NULL, -EMEDIUMTYPE,
		     "not a cfs device (swap \"vm\" stands there)");
}

static void test_overlay_leaves_files_alone(void **state)
{
	struct cfs_devset *set;
	struct cfs_label label;
	uint8_t block[4096];

	(void)state;
	make_files("a", 2, 0);
	assert_int_equal(shell("chmod 400 %s/a?; sha256sum %s/a? >%s/sums", dir,
			       dir, dir),
			 0);
	assert_int_equal(open_set(at("a0"), false, NULL, &set, NULL), 0);
	assert_false(cfs_devset_is_writable(set));
	assert_true(cfs_devset_is_overlay(set));
	memset(block, 0x44, sizeof(block));
	assert_int_equal(cfs_dev_write(cfs_devset_dev(set, 1), 2 << 20, block,
				       sizeof(block), NULL),
			 0);
	assert_int_equal(cfs_devset_write_labels(set, NULL), 0);
	assert_int_equal(
		cfs_label_read(cfs_devset_dev(set, 0), &label, NULL, NULL), 0);
	assert_int_equal(label.seq, 3);
	cfs_devset_close(set);
	assert_int_equal(shell("sha256sum --status -c %s/sums", dir), 0);
}

/* Labels that cannot be of one pool. */
static void test_disagreement(void **state)
{
	const struct cfs_devset_options opt = { .is_writable = true };
	unsigned int i;

	(void)state;
	for (i = 0; i < 6; i++) {
		struct cfs_err err = CFS_ERR_INIT;
		struct cfs_dev *devices[2];
		struct cfs_label label = pool_fixture_label(1, 2, SIZE, 0,
							    NULL);
		struct cfs_devset *set;
		unsigned int k;

		for (k = 0; k < 2; k++)
			assert_int_equal(
				cfs_dev_mem_new(SIZE, &devices[k], NULL), 0);
		assert_int_equal(pool_fixture_format(devices, 2, 0, NULL, NULL),
				 0);
		switch (i) {
		case 0:
			label.slice_bytes *= 2;
			label.slice_count /= 2;
			break;
		case 1:
			label.flags = CFS_POOL_FLAG_SHARED;
			break;
		case 2:
			label.pool_uuid[9] ^= 1;
			break;
		case 3: /* one identity twice */
			pool_fixture_uuid(label.device_uuid, 0xd0, 0);
			break;
		case 4: /* one place twice, and no hint tells */
			label.device_index = 0;
			memset(label.device_uuid, 0x55, 16);
			label.seq = 90;
			memset(label.hints, 0, sizeof(label.hints));
			break;
		default:
			label.seat_count++;
		}
		assert_int_equal(cfs_label_write(devices[1], &label, NULL), 0);
		assert_int_equal(
			cfs_devset_from_devices(devices, 2, &opt, &set, &err),
			-EUCLEAN);
		assert_true(err.msg[0]);
	}
}

static void test_newer_to_write(void **state)
{
	struct cfs_devset_options opt = { .is_writable = true };
	struct cfs_label label = pool_fixture_label(0, 1, SIZE, 0, NULL);
	struct cfs_dev *dev, *again;
	struct cfs_devset *set;

	(void)state;
	label.features_ro_compat = 1;
	assert_int_equal(cfs_dev_mem_new(SIZE, &dev, NULL), 0);
	assert_int_equal(cfs_label_write(dev, &label, NULL), 0);
	assert_int_equal(cfs_dev_mem_reopen(dev, &again, NULL), 0);
	assert_int_equal(cfs_devset_from_devices(&dev, 1, &opt, &set, NULL),
			 -ENOTSUP);
	opt.is_writable = false;
	assert_int_equal(cfs_devset_from_devices(&again, 1, &opt, &set, NULL),
			 0);
	cfs_devset_close(set);
}

/* ------------------------------------------------------------- changing */

static struct cfs_dev *new_device(const char *name, uint32_t index,
				  struct cfs_label *ret_label)
{
	struct cfs_dev *dev;

	assert_int_equal(cfs_dev_open(at(name), CFS_DEV_RDWR | CFS_DEV_CREATE,
				      &dev, NULL),
			 0);
	assert_int_equal(cfs_dev_resize(dev, SIZE, NULL), 0);
	*ret_label = pool_fixture_label(index, index + 1, SIZE, 0, NULL);
	ret_label->seq = 0;
	assert_int_equal(cfs_label_write(dev, ret_label, NULL), 0);
	return dev;
}

static void test_add(void **state)
{
	struct cfs_devset *set;
	struct cfs_label label;
	struct cfs_dev *dev;
	uint32_t index;

	(void)state;
	make_files("a", 2, 0);
	assert_int_equal(open_set(at("a0"), true, NULL, &set, NULL), 0);
	dev = new_device("new", 2, &label);
	assert_int_equal(cfs_devset_add(set, dev, &label, &index, NULL), 0);
	assert_int_equal(index, 2);
	assert_int_equal(cfs_devset_count(set), 3);
	assert_string_equal(cfs_devset_path(set, 2), at("new"));
	cfs_devset_set_name(set, "renamed");
	assert_int_equal(cfs_devset_write_labels(set, NULL), 0);
	cfs_devset_close(set);
	expect_whole(at("a1"), NULL, 3);
	expect_whole(at("new"), NULL, 3);
	assert_int_equal(open_set(at("new"), true, NULL, &set, NULL), 0);
	assert_string_equal(cfs_devset_label(set, 0)->name, "renamed");
	assert_int_equal(cfs_devset_label(set, 0)->seq,
			 cfs_devset_label(set, 2)->seq);
	cfs_devset_close(set);
}

static void test_add_twice(void **state)
{
	struct cfs_label label;
	struct cfs_devset *set;
	struct cfs_dev *dev;
	uint32_t index;

	(void)state;
	make_files("a", 2, 0);
	assert_int_equal(open_set(at("a0"), false, NULL, &set, NULL), 0);
	label = *cfs_devset_label(set, 1);
	assert_int_equal(cfs_dev_open(at("a1"), CFS_DEV_RDONLY, &dev, NULL), 0);
	assert_int_equal(cfs_devset_add(set, dev, &label, &index, NULL),
			 -EEXIST);
	label.device_uuid[1] = 9;
	label.slice_bytes *= 2;
	cfs_dev_close(dev);
	assert_int_equal(cfs_dev_mem_new(SIZE, &dev, NULL), 0);
	assert_int_equal(cfs_devset_add(set, dev, &label, &index, NULL),
			 -EUCLEAN);
	cfs_dev_close(dev);
	assert_int_equal(cfs_devset_count(set), 2);
	cfs_devset_close(set);
}

/* An add that broke off before the labels of the others were written. */
static void test_add_broken_off(void **state)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_label label;
	struct cfs_devset *set;

	(void)state;
	make_files("a", 2, 0);
	cfs_dev_close(new_device("new", 2, &label));
	expect_whole(at("a0"), NULL, 2);
	expect_error(at("new"), NULL, -EUCLEAN, "not, or no longer, a device");
	/* Met while looking for what is missing, it is passed over. */
	assert_int_equal(rename(at("a1"), at("b1")), 0);
	assert_int_equal(open_set(at("a0"), true, NULL, &set, &err), 0);
	assert_int_equal(cfs_devset_count(set), 2);
	assert_non_null(strstr(warnings, "left alone"));
	cfs_devset_close(set);
}

/* Labels written up to some device: the newest counts, and all is found. */
static void test_labels_half_written(void **state)
{
	struct cfs_label label, newest;
	struct cfs_dev *dev;

	(void)state;
	make_files("a", 2, 0);
	cfs_dev_close(new_device("new", 2, &label));
	assert_int_equal(cfs_dev_open(at("a0"), CFS_DEV_RDWR, &dev, NULL), 0);
	assert_int_equal(cfs_label_read(dev, &newest, NULL, NULL), 0);
	newest.device_count = 3;
	memcpy(newest.hints[1].device_uuid, label.device_uuid, 16);
	strcpy(newest.hints[1].path, "new");
	assert_int_equal(cfs_label_write(dev, &newest, NULL), 0);
	cfs_dev_close(dev);
	expect_whole(at("a0"), NULL, 3);
	expect_whole(at("a1"), NULL, 3);
	expect_whole(at("new"), at("."), 3);
}

/* An old device of an index that another has now: the newest label tells. */
static void test_replaced(void **state)
{
	struct cfs_label label, newest;
	struct cfs_dev *dev;

	(void)state;
	make_files("a", 2, MIRROR);
	dev = new_device("new", 1, &label);
	label.flags = MIRROR;
	label.seq = 9;
	memset(label.device_uuid, 0x66, 16);
	newest = pool_fixture_label(0, 2, SIZE, MIRROR, NULL);
	memcpy(label.hints, newest.hints, sizeof(label.hints));
	memcpy(label.hints[0].device_uuid, newest.device_uuid, 16);
	strcpy(label.hints[0].path, "a0");
	assert_int_equal(cfs_label_write(dev, &label, NULL), 0);
	cfs_dev_close(dev);
	assert_int_equal(cfs_dev_open(at("a0"), CFS_DEV_RDWR, &dev, NULL), 0);
	memcpy(newest.hints[0].device_uuid, label.device_uuid, 16);
	strcpy(newest.hints[0].path, "new");
	newest.seq = 10;
	assert_int_equal(cfs_label_write(dev, &newest, NULL), 0);
	cfs_dev_close(dev);
	expect_error(at("a1"), NULL, -EUCLEAN, "not, or no longer, a device");
	{
		struct cfs_devset *set;

		assert_int_equal(open_set(at("a0"), true, NULL, &set, NULL), 0);
		assert_string_equal(cfs_devset_path(set, 1), at("new"));
		assert_string_equal(warnings, "");
		cfs_devset_close(set);
	}
}

/* One that was taken out is not missed, nor believed when it is there. */
static void test_removed(void **state)
{
	struct cfs_devset *set;

	(void)state;
	make_files("a", 3, 0);
	assert_int_equal(open_set(at("a0"), true, NULL, &set, NULL), 0);
	assert_int_equal(
		cfs_devset_set_removed(set, CFS_LABEL_REMOVED_MAX, NULL),
		-EINVAL);
	assert_int_equal(cfs_devset_set_removed(set, 1, NULL), 0);
	assert_int_equal(cfs_devset_write_labels(set, NULL), 0);
	cfs_devset_close(set);
	expect_error(at("a1"), NULL, -EUCLEAN, "not, or no longer, a device");
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(open_set(at("a2"), true, NULL, &set, NULL), 0);
		assert_int_equal(cfs_devset_count(set), 3);
		assert_null(cfs_devset_dev(set, 1));
		assert_true(cfs_devset_is_removed(set, 1));
		assert_false(cfs_devset_is_removed(set, 2));
		assert_string_equal(cfs_devset_path(set, 2), at("a2"));
		cfs_devset_close(set);
		if (i == 0)
			assert_int_equal(unlink(at("a1")), 0);
	}
}

/* A pool that became a mirror, killed before the last label said so. */
static void test_mirror_by_newest(void **state)
{
	struct cfs_devset *set;
	struct cfs_label label;
	struct cfs_dev *dev;

	(void)state;
	make_files("a", 2, 0);
	assert_int_equal(cfs_dev_open(at("a1"), CFS_DEV_RDWR, &dev, NULL), 0);
	assert_int_equal(cfs_label_read(dev, &label, NULL, NULL), 0);
	label.flags |= CFS_POOL_FLAG_MIRROR;
	assert_int_equal(cfs_label_write(dev, &label, NULL), 0);
	cfs_dev_close(dev);
	assert_int_equal(open_set(at("a0"), true, NULL, &set, NULL), 0);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(cfs_devset_label(set, i)->flags, MIRROR);
	assert_int_equal(cfs_devset_level_labels(set, NULL), 0);
	cfs_devset_close(set);
	assert_int_equal(cfs_dev_open(at("a0"), CFS_DEV_RDWR, &dev, NULL), 0);
	assert_int_equal(cfs_label_read(dev, &label, NULL, NULL), 0);
	assert_int_equal(label.flags, MIRROR);
	cfs_dev_close(dev);
}

static void test_set_size(void **state)
{
	struct cfs_devset *set;
	uint64_t slices;

	(void)state;
	make_files("a", 1, 0);
	assert_int_equal(truncate(at("a0"), 2 * SIZE), 0);
	assert_int_equal(open_set(at("a0"), true, NULL, &set, NULL), 0);
	assert_int_equal(cfs_devset_label(set, 0)->size_bytes, SIZE);
	slices = cfs_device_slice_count(2 * SIZE, CFS_SLICES_OFFSET_LOCAL,
					POOL_FIXTURE_SLICE_BYTES);
	cfs_devset_set_size(set, 0, 2 * SIZE, slices);
	assert_int_equal(cfs_devset_write_labels(set, NULL), 0);
	cfs_devset_close(set);
	assert_int_equal(open_set(at("a0"), true, NULL, &set, NULL), 0);
	assert_int_equal(cfs_devset_label(set, 0)->size_bytes, 2 * SIZE);
	assert_int_equal(cfs_devset_label(set, 0)->slice_count, slices);
	cfs_devset_close(set);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_from_devices_shuffled),
		T(test_hints_from_each),
		T(test_moved_directory),
		T(test_copied_directory),
		T(test_search),
		T(test_link_and_uri),
		T(test_copy_is_refused),
		T(test_copies_found_by_scanning),
		T(test_single_beside_its_copy),
		T(test_missing_plain),
		T(test_missing_mirror),
		T(test_shortened),
		T(test_not_cfs),
		T(test_overlay_leaves_files_alone),
		T(test_disagreement),
		T(test_newer_to_write),
		T(test_add),
		T(test_add_twice),
		T(test_add_broken_off),
		T(test_labels_half_written),
		T(test_replaced),
		T(test_removed),
		T(test_mirror_by_newest),
		T(test_set_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
