/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The library in one page: write a line to the front of a LUN, keep it in a
 * snapshot, overwrite it, and read both.
 *
 *   cc snapshot-lun.c $(pkg-config --cflags --libs cfs) -o snapshot-lun
 *   mkcfs --size 64M pool.img && mkcfs pool.img:disk --lun 16M
 *   ./snapshot-lun pool.img disk
 *
 * It works as well while another program, a mount or a guest, holds the pool.
 */
#include <cfs.h>

#include <stdio.h>
#include <string.h>

static int write_line(struct cfs_session *s, const char *lun, const char *line,
		      struct cfs_err *err)
{
	struct cfs_io_volume *v;
	int r = cfs_io_open(s, lun, NULL, true, &v, err);

	if (r != 0)
		return r;
	r = cfs_io_write(v, 0, line, strlen(line) + 1, err);
	/* Durable when this has returned 0, and not before. */
	if (r == 0)
		r = cfs_io_sync(v, err);
	cfs_io_close(v);
	return r;
}

static int show_line(struct cfs_session *s, const char *lun, const char *snap,
		     struct cfs_err *err)
{
	char line[64];
	struct cfs_io_volume *v;
	int r = cfs_io_open(s, lun, snap, false, &v, err);

	if (r != 0)
		return r;
	r = cfs_io_read(v, 0, line, sizeof(line), NULL, err);
	cfs_io_close(v);
	if (r == 0)
		printf("%s%s%s: %.*s\n", lun, snap ? "@" : "", snap ? snap : "",
		       (int)sizeof(line), line);
	return r;
}

static int run(struct cfs_session *s, const char *lun, struct cfs_err *err)
{
	const struct cfs_snap_name name = { .volume = lun, .snap = "before" };
	int r = write_line(s, lun, "what was there", err);

	if (r == 0)
		r = cfs_session_snap_take(s, &name, 1, NULL, err);
	if (r == 0)
		r = write_line(s, lun, "what is there now", err);
	if (r == 0)
		r = show_line(s, lun, "before", err);
	if (r == 0)
		r = show_line(s, lun, NULL, err);
	return r;
}

int main(int argc, char **argv)
{
	const struct cfs_session_options opt = {
		.is_writable = true,
		.wait_seconds = 10,
	};
	struct cfs_err err = CFS_ERR_INIT, close_err = CFS_ERR_INIT;
	struct cfs_session *s;
	int r, closed;

	if (argc != 3) {
		fprintf(stderr, "usage: %s POOL LUN\n", argv[0]);
		return 2;
	}
	r = cfs_session_open(argv[1], &opt, &s, &err);
	if (r == 0) {
		r = run(s, argv[2], &err);
		if (r != 0)
			cfs_err_wrap(&err, r, "%s", argv[2]);
		closed = cfs_session_close(s, &close_err);
		if (r == 0 && closed != 0) {
			r = closed;
			err = close_err;
		}
	}
	if (r != 0)
		fprintf(stderr, "%s: %s\n", argv[0], err.msg);
	return r ? 1 : 0;
}
