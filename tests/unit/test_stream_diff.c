/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What changed between two snapshots, as paths and as ranges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/xxh.h"
#include "stream_fixture.h"
#include "volume/diff_paths.h"

static int put_item(void *arg, const struct cfs_diff_item *i)
{
	struct cfs_buf *buf = arg;

	if (!i->change)
		return cfs_buf_printf(
			buf, "%u+%u ",
			(unsigned int)(i->offset_bytes / HEAL_BLOCK),
			(unsigned int)(i->length_bytes / HEAL_BLOCK));
	if (i->old_path)
		return cfs_buf_printf(buf, "%s %s<%s\n", i->change, i->path,
				      i->old_path);
	return cfs_buf_printf(buf, "%s %s\n", i->change, i->path);
}

/* What makes @to of @from; NULL: as it is. */
static char *diff(struct cfs_member *m, const char *from, const char *to)
{
	const struct cfs_volume_rec vol = heal_volume(m);
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	struct cfs_snapshot_rec rec;
	struct cfs_view a = stream_view(m, CFS_VOLUME_FIRST, from, &rec), b;
	const struct cfs_diff_of of = {
		.from = &a,
		.to = &b,
		.kind = vol.kind,
		.ino = vol.ino,
	};

	HEAL_OK(cfs_container_commit(m->container, &err_));
	if (to)
		b = stream_view(m, CFS_VOLUME_FIRST, to, &rec);
	else
		cfs_volume_view(m, &vol, &b);
	HEAL_OK(cfs_buf_append(&buf, "", 0));
	if (vol.kind == CFS_VOLUME_LUN)
		HEAL_OK(cfs_diff_ranges(&of, put_item, &buf, NULL, NULL,
					&err_));
	else
		HEAL_OK(cfs_diff_paths(&of, vol.hash_seed, put_item, &buf, NULL,
				       NULL, &err_));
	return strdup(cfs_buf_text(&buf));
}

#define EXPECT(m, from, to, text)                                              \
	do {                                                                   \
		char *seen_ = diff(m, from, to);                               \
		assert_string_equal(seen_, text);                              \
		free(seen_);                                                   \
	} while (0)

static void open_tree(struct cfs_member *m, struct cfs_fs **ret)
{
	struct cfs_volume_rec rec = heal_volume(m);
	struct cfs_view view;

	cfs_volume_view(m, &rec, &view);
	HEAL_OK(cfs_fs_open(&view, rec.ino, rec.hash_seed, ret, &err_));
}

static uint64_t make_file(struct cfs_fs *fs, uint64_t dir, const char *name)
{
	uint64_t ino;

	HEAL_OK(cfs_fs_create(fs, dir, name, strlen(name), 0600, 0, 0, &ino,
			      &err_));
	return ino;
}

static void rename_to(struct cfs_fs *fs, uint64_t from, const char *a,
		      uint64_t to, const char *b, uint32_t flags)
{
	HEAL_OK(cfs_fs_rename(fs, from, a, strlen(a), to, b, strlen(b), flags,
			      &err_));
}

static void test_paths(void **state)
{
	struct heal_pool h = heal_new(false, HEAL_BLOCK);
	struct cfs_fs_attr attr = { .mask = CFS_FS_SET_MODE, .mode = 0711 };
	uint64_t root, d, e, ino, written;
	struct cfs_fs *fs;
	size_t done;

	(void)state;
	open_tree(h.tree, &fs);
	root = cfs_fs_root_ino(fs);
	HEAL_OK(cfs_fs_mkdir(fs, root, "d", 1, 0755, 0, 0, &d, &err_));
	HEAL_OK(cfs_fs_mkdir(fs, d, "e", 1, 0755, 0, 0, &e, &err_));
	make_file(fs, e, "deep");
	make_file(fs, root, "a");
	make_file(fs, root, "b");
	make_file(fs, root, "x");
	make_file(fs, root, "y");
	ino = make_file(fs, root, "mode");
	written = make_file(fs, root, "written");
	make_file(fs, root, "linked");
	heal_snapshot(h.tree, "0");
	EXPECT(h.tree, "0", NULL, "");
	/* A directory goes elsewhere, with all that is in it. */
	rename_to(fs, d, "e", root, "E", 0);
	EXPECT(h.tree, "0", NULL, "renamed /E</d/e\n");
	/* One takes the place of another; two change places. */
	rename_to(fs, root, "a", root, "b", 0);
	rename_to(fs, root, "x", root, "y", CFS_FS_RENAME_EXCHANGE);
	HEAL_OK(cfs_fs_setattr(fs, ino, &attr, NULL, &err_));
	HEAL_OK(cfs_fs_write(fs, written, 0, "x", 1, &done, &err_));
	HEAL_OK(cfs_fs_lookup(fs, root, "linked", 6, &ino, NULL, &err_));
	HEAL_OK(cfs_fs_link(fs, ino, d, "again", 5, &err_));
	heal_snapshot(h.tree, "1");
	EXPECT(h.tree, "0", "1",
	       "renamed /E</d/e\n"
	       "renamed /b</a\n"
	       "added /d/again\n"
	       "modified /mode\n"
	       "modified /written\n"
	       "renamed /x</y\n"
	       "renamed /y</x\n");
	EXPECT(h.tree, "1", "0",
	       "renamed /a</b\n"
	       "modified /b\n"
	       "removed /d/again\n"
	       "renamed /d/e</E\n"
	       "modified /mode\n"
	       "modified /written\n"
	       "renamed /x</y\n"
	       "renamed /y</x\n");
	/* A file that is written anew under its name, and a whole tree. */
	HEAL_OK(cfs_fs_unlink(fs, root, "y", 1, &err_));
	make_file(fs, root, "y");
	HEAL_OK(cfs_fs_unlink(fs, e, "deep", 4, &err_));
	HEAL_OK(cfs_fs_rmdir(fs, root, "E", 1, &err_));
	HEAL_OK(cfs_fs_mkdir(fs, root, "n", 1, 0700, 0, 0, &d, &err_));
	make_file(fs, d, "new");
	EXPECT(h.tree, "1", NULL,
	       "removed /E\n"
	       "removed /E/deep\n"
	       "added /n\n"
	       "added /n/new\n"
	       "modified /y\n");
	cfs_fs_close(fs);
	heal_free(&h);
}

static void test_ranges(void **state)
{
	struct heal_pool h = heal_new(false, 1000 * HEAL_BLOCK);

	(void)state;
	heal_write(h.lun, 0, 200, 1);
	heal_snapshot(h.lun, "0");
	EXPECT(h.lun, "0", NULL, "");
	heal_write(h.lun, 10, 1, 2);
	heal_write(h.lun, 11, 40, 3);
	heal_write(h.lun, 52, 1, 4);
	heal_write(h.lun, 400, 2, 5);
	heal_snapshot(h.lun, "1");
	EXPECT(h.lun, "0", "1", "10+41 52+1 400+2 ");
	EXPECT(h.lun, "1", "0", "10+41 52+1 400+2 ");
	/* What changes later is not of that. */
	heal_write(h.lun, 0, 300, 6);
	heal_snapshot(h.lun, "2");
	EXPECT(h.lun, "0", "1", "10+41 52+1 400+2 ");
	EXPECT(h.lun, "0", NULL, "0+300 400+2 ");
	/* After a rollback the other line is compared too. */
	HEAL_OK(cfs_snapshot_rollback(h.lun, CFS_VOLUME_FIRST, "0", NULL,
				      &err_));
	EXPECT(h.lun, "0", NULL, "");
	heal_write(h.lun, 500, 1, 7);
	EXPECT(h.lun, "1", NULL, "10+41 52+1 400+2 500+1 ");
	heal_free(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
