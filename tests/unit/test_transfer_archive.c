/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Reading archives that are cut at any byte or altered at any: it ends, with
 * an error or without, in bounded memory, and no entry with a path that leads
 * out ever reaches a sink.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rng.h"
#include "session/archive_api.h"
#include "session/transfer_priv.h"

/* A sink that checks what it gets. */
struct seen {
	uint64_t entries, bytes, ends;
	char failed[64]; /* the path of the last one left out */
};

static void check_path(const char *path)
{
	const char *p = path;

	assert_true(*p != '/');
	while (*p) {
		size_t n = strcspn(p, "/");

		assert_true(n > 0 && n <= 255);
		assert_false(n == 1 && p[0] == '.');
		assert_false(n == 2 && p[0] == '.' && p[1] == '.');
		p += n;
		if (*p == '/')
			assert_true(*++p != '\0');
	}
}

static int see(struct transfer *t, const struct transfer_entry *e,
	       struct cfs_err *err)
{
	struct seen *seen = t->sink_arg;

	(void)err;
	check_path(e->path);
	assert_true(e->target_bytes <= CFS_SYMLINK_BYTES_MAX);
	seen->entries++;
	return 0;
}

static int see_end(struct transfer *t, const struct transfer_entry *e,
		   struct cfs_err *err)
{
	struct seen *seen = t->sink_arg;

	(void)err;
	check_path(e->path);
	seen->ends++;
	return 0;
}

static int see_file(struct transfer *t, const struct transfer_entry *e,
		    struct transfer_reader *rd, struct cfs_err *err)
{
	struct seen *seen = t->sink_arg;
	uint64_t offset_bytes;
	const void *p;
	size_t n;
	int r;

	check_path(e->path);
	seen->entries++;
	do {
		r = rd->next(rd, &p, &n, &offset_bytes, err);
		if (r < 0)
			return r;
		seen->bytes += n;
	} while (n);
	return 0;
}

static int see_link(struct transfer *t, const struct transfer_entry *e,
		    const char *first, struct cfs_err *err)
{
	struct seen *seen = t->sink_arg;

	(void)err;
	check_path(e->path);
	check_path(first);
	seen->entries++;
	return 0;
}

static const struct transfer_sink seeing_sink = {
	.directory = see,
	.directory_end = see_end,
	.file = see_file,
	.node = see,
	.link = see_link,
	.refill = see_file,
};

static void see_failure(void *arg, const char *path, const struct cfs_err *err)
{
	struct seen *seen = arg;

	assert_true(err->code < 0);
	assert_true(strlen(path) < sizeof(seen->failed));
	strcpy(seen->failed, path);
}

static int read_bytes(const uint8_t *p, size_t n, struct seen *seen,
		      struct cfs_transfer_result *result)
{
	const struct cfs_transfer_options opt = {
		.failed = see_failure,
		.arg = seen,
	};
	int fd = memfd_create("archive", MFD_CLOEXEC), r;
	struct cfs_err err = CFS_ERR_INIT;
	struct transfer t;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, n), n);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	memset(seen, 0, sizeof(*seen));
	transfer_init(&t, &opt, result, &seeing_sink, seen);
	r = transfer_read_archive(&t, fd, &err);
	transfer_done(&t);
	close(fd);
	return r;
}

/* -------------------------------------------------------------- archives */

struct made {
	uint8_t *bytes;
	size_t used, room;
};

static la_ssize_t keep(struct archive *a, void *arg, const void *buf, size_t n)
{
	struct made *m = arg;

	(void)a;
	assert_true(n <= m->room - m->used);
	memcpy(m->bytes + m->used, buf, n);
	m->used += n;
	return (la_ssize_t)n;
}

static void add_of(struct archive *a, const char *name, mode_t mode,
		   const char *text, int64_t uid)
{
	struct archive_entry *ae = archive_entry_new();

	archive_entry_copy_pathname(ae, name);
	archive_entry_set_mode(ae, mode);
	archive_entry_set_uid(ae, uid);
	archive_entry_set_mtime(ae, 1000000000, 5);
	if (S_ISLNK(mode))
		archive_entry_copy_symlink(ae, text);
	archive_entry_set_size(ae, (int64_t)strlen(text));
	archive_entry_xattr_add_entry(ae, "user.x", "y", 1);
	(void)archive_write_header(a, ae);
	if (S_ISREG(mode))
		(void)archive_write_data(a, text, strlen(text));
	(void)archive_write_finish_entry(a);
	archive_entry_free(ae);
}

static void add(struct archive *a, const char *name, mode_t mode,
		const char *text)
{
	add_of(a, name, mode, text, 0);
}

static struct archive *archive_begin(struct made *m, int format)
{
	struct archive *a = archive_write_new();

	m->room = 1 << 20;
	m->bytes = malloc(m->room);
	assert_non_null(m->bytes);
	assert_int_equal(archive_write_set_format(a, format), ARCHIVE_OK);
	(void)archive_write_set_bytes_per_block(a, 512);
	(void)archive_write_set_bytes_in_last_block(a, 1);
	m->used = 0;
	assert_int_equal(archive_write_open(a, m, NULL, keep, NULL),
			 ARCHIVE_OK);
	return a;
}

static void make_archive(struct made *m, int format)
{
	struct archive *a = archive_begin(m, format);

	add(a, "dir", S_IFDIR | 0755, "");
	add(a, "dir/file", S_IFREG | 0644, "some content of the file");
	add(a, "../out", S_IFREG | 0644, "evil");
	add(a, "/abs/../x", S_IFREG | 0644, "evil");
	add(a, "/dir/link", S_IFLNK | 0777, "/etc/passwd");
	add(a, "last", S_IFREG | 0644, "end");
	assert_int_equal(archive_write_close(a), ARCHIVE_OK);
	archive_write_free(a);
}

static void test_whole(void **state)
{
	static const int formats[] = {
		ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE,
		ARCHIVE_FORMAT_TAR_USTAR,
		ARCHIVE_FORMAT_CPIO_SVR4_NOCRC,
		ARCHIVE_FORMAT_ZIP,
	};
	struct cfs_transfer_result result;
	struct seen seen;
	struct made m;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		make_archive(&m, formats[i]);
		assert_int_equal(read_bytes(m.bytes, m.used, &seen, &result),
				 0);
		assert_int_equal(seen.entries, 4);
		assert_int_equal(seen.ends, 1);
		assert_int_equal(seen.bytes, 24 + 3);
		assert_int_equal(result.skipped, 2);
		free(m.bytes);
	}
}

/* It is named, though nothing of it could be made of use. */
static void test_owner(void **state)
{
	struct cfs_transfer_result result;
	struct archive *a;
	struct seen seen;
	struct made m;

	(void)state;
	a = archive_begin(&m, ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE);
	add(a, "mine", S_IFREG | 0644, "some content");
	add_of(a, "nobody's", S_IFREG | 0644, "content", UINT32_MAX);
	assert_int_equal(archive_write_close(a), ARCHIVE_OK);
	archive_write_free(a);
	assert_int_equal(read_bytes(m.bytes, m.used, &seen, &result), 0);
	assert_int_equal(seen.entries, 1);
	assert_int_equal(result.skipped, 1);
	assert_string_equal(seen.failed, "nobody's");
	free(m.bytes);
}

static void test_cut(void **state)
{
	struct cfs_transfer_result result;
	struct seen seen;
	struct made m;
	size_t n;
	int r;

	(void)state;
	make_archive(&m, ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE);
	assert_int_equal(read_bytes(m.bytes, 0, &seen, &result), -EMEDIUMTYPE);
	for (n = 1; n < m.used; n += 37) {
		r = read_bytes(m.bytes, n, &seen, &result);
		assert_true(r == 0 || r == -EUCLEAN || r == -EMEDIUMTYPE);
		/* Wherever it is cut before its end mark, it is seen. */
		if (n + 1024 <= m.used)
			assert_true(r < 0 || result.worst_code == -EUCLEAN);
	}
	free(m.bytes);
}

static void test_altered(void **state)
{
	static const int formats[] = {
		ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE,
		ARCHIVE_FORMAT_CPIO_SVR4_NOCRC,
		ARCHIVE_FORMAT_ZIP,
	};
	struct cfs_transfer_result result;
	struct cfs_rng rng;
	struct seen seen;
	struct made m;
	size_t i;
	int k, j;

	(void)state;
	cfs_rng_init(&rng, 11);
	for (i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		make_archive(&m, formats[i]);
		for (k = 0; k < 1500; k++) {
			uint8_t *copy = malloc(m.used);

			memcpy(copy, m.bytes, m.used);
			for (j = 0; j < 3; j++)
				copy[cfs_rng_below(&rng, m.used)] =
					(uint8_t)cfs_rng_u64(&rng);
			(void)read_bytes(copy, m.used, &seen, &result);
			free(copy);
		}
		free(m.bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_owner),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_altered),
	};

	if (cfs_archive_load(NULL) < 0)
		return 1;
	return cmocka_run_group_tests_name("transfer_archive", tests, NULL,
					   NULL);
}
