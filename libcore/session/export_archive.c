/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An archive as the sink.  The bytes go out as they are made, so a file that
 * turns out to be damaged in its middle cannot be taken back: the rest of it
 * is filled with zeroes, as its length was promised, and it is reported.
 */
#include "session/archive_api.h"
#include "session/export.h"

#include "base/bits.h"
#include "base/clock.h"
#include "session/transfer_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* Zeroes that cost no memory: a mapping that is never written. */
#define ZERO_BYTES       (UINT64_C(1) << 30)
#define ZERO_PIECE_BYTES (UINT64_C(1) << 20)
/* Of one file; what is behind the last one is taken for data. */
#define EXTENTS_MAX      (1u << 20)
#define OUTPUT_BYTES     (64 * 1024)
#define LONE_INO_FIRST   (UINT64_C(1) << 30)

struct format {
	const char *name;
	int code;
	bool has_links, has_holes, has_acls;
};

static const struct format formats[] = {
	{ "tar", ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE, true, true, true },
	{ "cpio", ARCHIVE_FORMAT_CPIO_SVR4_NOCRC, true, false, false },
	{ "zip", ARCHIVE_FORMAT_ZIP, false, false, false },
	{ "7z", ARCHIVE_FORMAT_7ZIP, false, false, false },
};

struct filter {
	const char *name;
	int code;
};

static const struct filter filters[] = {
	{ "gz", ARCHIVE_FILTER_GZIP },   { "bz2", ARCHIVE_FILTER_BZIP2 },
	{ "xz", ARCHIVE_FILTER_XZ },     { "zst", ARCHIVE_FILTER_ZSTD },
	{ "lz4", ARCHIVE_FILTER_LZ4 },   { "lz", ARCHIVE_FILTER_LZIP },
	{ "lzma", ARCHIVE_FILTER_LZMA },
};

struct output {
	struct archive *a;
	struct archive_entry *ae;
	const struct format *format;
	uint64_t entry_count; /* numbers inodes for cpio */
	uint8_t *zero;        /* ZERO_BYTES */
	const char *last;     /* the whole path of one file */
	const char *name;     /* of the entry at work */
	int (*write)(void *arg, const void *bytes, size_t length_bytes,
		     struct cfs_err *err);
	void *write_arg;
	struct cfs_err *err; /* of write */
	int code;
};

static int find_format(const char *text, const struct format **ret_format,
		       int *ret_filter, struct cfs_err *err)
{
	size_t n = strcspn(text, "."), i, j;

	for (i = 0; i < CFS_ARRAY_COUNT(formats); i++) {
		if (strlen(formats[i].name) != n ||
		    strncmp(formats[i].name, text, n) != 0)
			continue;
		*ret_format = &formats[i];
		*ret_filter = ARCHIVE_FILTER_NONE;
		if (!text[n])
			return 0;
		for (j = 0; j < CFS_ARRAY_COUNT(filters); j++) {
			*ret_filter = filters[j].code;
			if (strcmp(text + n + 1, filters[j].name) == 0)
				return 0;
		}
		return cfs_err_set(err, -EINVAL,
				   "%s: unknown filter: gz, bz2, xz, zst, lz4, "
				   "lz or lzma",
				   text);
	}
	return cfs_err_set(err, -EINVAL,
			   "%s: unknown format: tar, cpio, zip or 7z, and a "
			   "filter as in tar.zst",
			   text);
}

int cfs_export_check_format(const char *format, struct cfs_err *err)
{
	const struct format *f;
	int filter;

	return find_format(format, &f, &filter, err);
}

/* --------------------------------------------------------------- output */

static ssize_t output_write(struct archive *a, void *arg, const void *buf,
			    size_t bytes)
{
	struct output *o = arg;
	int r;

	r = o->code < 0 ? o->code : o->write(o->write_arg, buf, bytes, o->err);
	if (r == 0)
		return (ssize_t)bytes;
	o->code = r;
	archive_set_error(a, -r, "write");
	return -1;
}

static int output_error(struct output *o, int got, struct cfs_err *err)
{
	const char *text = archive_error_string(o->a);
	int code = -archive_errno(o->a);

	if (o->code < 0) {
		if (err && o->err)
			*err = *o->err;
		return o->code;
	}
	if (code == -ENOMEM)
		return cfs_err_set(err, code, "out of memory");
	/* The entry is named by whoever reports it, and libarchive does too. */
	if (text && o->name && strncmp(text, o->name, strlen(o->name)) == 0 &&
	    strncmp(text + strlen(o->name), ": ", 2) == 0)
		text += strlen(o->name) + 2;
	/* Whatever libarchive calls it: fatal ends the archive. */
	return cfs_err_set(err, got == ARCHIVE_FATAL ? -EPIPE : -EILSEQ, "%s",
			   text ? text : "does not fit the format");
}

static int set_xattrs(struct output *o, const struct transfer_entry *e,
		      struct cfs_err *err)
{
	size_t i;
	int r = 0;

	for (i = 0; i < e->xattr_count && r == 0; i++) {
		const struct cfs_fs_xattr *x = &e->xattrs[i];
		bool is_default = strcmp(x->name, TRANSFER_ACL_DEFAULT) == 0;

		if (is_default || strcmp(x->name, TRANSFER_ACL_ACCESS) == 0) {
			if (o->format->has_acls)
				r = transfer_acl_to_archive(
					o->ae, is_default, x->value,
					x->value_bytes, err);
			continue;
		}
		archive_entry_xattr_add_entry(o->ae, x->name, x->value,
					      x->value_bytes);
	}
	return r;
}

static time_t seconds_of(int64_t ns)
{
	return ns / (int64_t)CFS_NS_PER_S - (ns % (int64_t)CFS_NS_PER_S < 0);
}

static long rest_of(int64_t ns)
{
	long rest = (long)(ns % (int64_t)CFS_NS_PER_S);

	return rest < 0 ? rest + (long)CFS_NS_PER_S : rest;
}

/* Names of directories end with a slash in some formats: libarchive does it. */
static const char *name_of(const struct output *o,
			   const struct transfer_entry *e)
{
	if (e->path[0])
		return e->path;
	return S_ISDIR(e->mode) ? "." : o->last;
}

static int fill_entry(struct output *o, const struct transfer_entry *e,
		      struct cfs_err *err)
{
	int r;

	archive_entry_clear(o->ae);
	o->name = name_of(o, e);
	archive_entry_copy_pathname(o->ae, o->name);
	archive_entry_set_mode(o->ae, (mode_t)e->mode);
	archive_entry_set_uid(o->ae, e->uid);
	archive_entry_set_gid(o->ae, e->gid);
	archive_entry_set_nlink(o->ae, e->nlink);
	/* For cpio: few bits, and the same for all names of a file. */
	archive_entry_set_ino(
		o->ae,
		(int64_t)(e->link_number ? e->link_number
					 : ++o->entry_count + LONE_INO_FIRST));
	archive_entry_set_dev(o->ae, 0);
	archive_entry_set_rdevmajor(o->ae, (dev_t)(e->rdev >> 32));
	archive_entry_set_rdevminor(o->ae, (dev_t)(uint32_t)e->rdev);
	archive_entry_set_mtime(o->ae, seconds_of(e->mtime_ns),
				rest_of(e->mtime_ns));
	archive_entry_set_atime(o->ae, seconds_of(e->atime_ns),
				rest_of(e->atime_ns));
	archive_entry_set_ctime(o->ae, seconds_of(e->ctime_ns),
				rest_of(e->ctime_ns));
	archive_entry_set_size(o->ae,
			       S_ISREG(e->mode) ? (int64_t)e->size_bytes : 0);
	r = set_xattrs(o, e, err);
	if (r == 0 && S_ISLNK(e->mode)) {
		char target[CFS_SYMLINK_BYTES_MAX + 1];

		memcpy(target, e->target, e->target_bytes);
		target[e->target_bytes] = '\0';
		archive_entry_copy_symlink(o->ae, target);
		archive_entry_set_size(o->ae, (int64_t)e->target_bytes);
	}
	return r;
}

static int write_header(struct output *o, struct cfs_err *err)
{
	int got = archive_write_header(o->a, o->ae);

	return got < ARCHIVE_WARN || o->code < 0 ? output_error(o, got, err)
						 : 0;
}

static int finish_entry(struct output *o, struct cfs_err *err)
{
	int got = archive_write_finish_entry(o->a);

	return got < ARCHIVE_WARN || o->code < 0 ? output_error(o, got, err)
						 : 0;
}

static int sink_node(struct transfer *t, const struct transfer_entry *e,
		     struct cfs_err *err)
{
	struct output *o = t->sink_arg;
	int r;

	/* tar has no place for them, as GNU tar says too. */
	if (S_ISSOCK(e->mode))
		return cfs_err_set(err, -EILSEQ,
				   "a socket has no place in an archive: left "
				   "out");
	r = fill_entry(o, e, err);
	if (r == 0)
		r = write_header(o, err);
	return r < 0 ? r : finish_entry(o, err);
}

static int sink_directory(struct transfer *t, const struct transfer_entry *e,
			  struct cfs_err *err)
{
	struct output *o = t->sink_arg;

	/* Formats for other systems have no entry for the top itself. */
	if (!e->path[0] && !o->format->has_links)
		return 0;
	return sink_node(t, e, err);
}

static int sink_directory_end(struct transfer *t,
			      const struct transfer_entry *e,
			      struct cfs_err *err)
{
	(void)t;
	(void)e;
	(void)err;
	return 0;
}

/* In tar a link; in cpio the same inode once more, without content. */
static int sink_link(struct transfer *t, const struct transfer_entry *e,
		     const char *first, struct cfs_err *err)
{
	struct output *o = t->sink_arg;
	int r;

	r = fill_entry(o, e, err);
	if (r < 0)
		return r;
	archive_entry_set_size(o->ae, 0);
	if (o->format->code == ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE)
		archive_entry_copy_hardlink(o->ae, first);
	r = write_header(o, err);
	return r < 0 ? r : finish_entry(o, err);
}

/* ---------------------------------------------------------------- files */

/* Where data stands, for the header of a sparse file. */
static int list_holes(struct output *o, const struct transfer_entry *e,
		      struct transfer_reader *rd, struct cfs_err *err)
{
	uint64_t at = 0, begin, end;
	unsigned int count = 0;
	int r;

	if (!o->format->has_holes || !rd->extent || e->size_bytes == 0)
		return 0;
	while (at < e->size_bytes && count < EXTENTS_MAX) {
		r = rd->extent(rd, at, &begin, &end, err);
		if (r < 0)
			return r;
		if (begin >= e->size_bytes)
			break;
		if (begin == 0 && end >= e->size_bytes)
			return 0;
		archive_entry_sparse_add_entry(o->ae, (int64_t)begin,
					       (int64_t)(end - begin));
		count++;
		at = end;
	}
	if (count == EXTENTS_MAX && at < e->size_bytes)
		archive_entry_sparse_add_entry(o->ae, (int64_t)at,
					       (int64_t)(e->size_bytes - at));
	else if (count == 0)
		archive_entry_sparse_add_entry(o->ae, 0, 0);
	return 0;
}

static int write_data(struct output *o, const void *buf, uint64_t bytes,
		      struct cfs_err *err)
{
	const uint8_t *p = buf;

	while (bytes) {
		la_ssize_t n = archive_write_data(o->a, p, bytes);

		if (n < 0 || o->code < 0)
			return output_error(o, (int)n, err);
		if (n == 0)
			return 0; /* more than the header promised */
		p += n;
		bytes -= (uint64_t)n;
	}
	return 0;
}

/* A hole: of a sparse file libarchive skips these without looking. */
static int write_zero(struct transfer *t, struct output *o, uint64_t bytes,
		      struct cfs_err *err)
{
	uint64_t piece = o->format->has_holes ? ZERO_BYTES : ZERO_PIECE_BYTES;
	int r = 0;

	while (bytes && r == 0) {
		uint64_t n = CFS_MIN(bytes, piece);

		r = transfer_check_stop(t, err);
		if (r == 0)
			r = write_data(o, o->zero, n, err);
		bytes -= n;
	}
	return r;
}

static int write_content(struct transfer *t, struct output *o,
			 const struct transfer_entry *e,
			 struct transfer_reader *rd, struct cfs_err *err)
{
	uint64_t at = 0, offset_bytes;
	struct cfs_err why = CFS_ERR_INIT;
	int r, read_code = 0;
	const void *p;
	size_t n;

	for (;;) {
		r = transfer_check_stop(t, err);
		if (r < 0)
			return r;
		read_code = rd->next(rd, &p, &n, &offset_bytes, &why);
		if (read_code < 0 || n == 0)
			break;
		r = write_zero(t, o, offset_bytes - at, err);
		if (r == 0)
			r = write_data(o, p, n, err);
		if (r < 0)
			return r;
		transfer_moved(t, n);
		at = offset_bytes + n;
	}
	if (at < e->size_bytes)
		r = write_zero(t, o, e->size_bytes - at, err);
	if (r == 0 && read_code < 0)
		r = cfs_err_wrap(&why, read_code, "filled with zeroes from");
	if (r < 0 && read_code < 0 && err)
		*err = why;
	return r;
}

static int sink_file(struct transfer *t, const struct transfer_entry *e,
		     struct transfer_reader *rd, struct cfs_err *err)
{
	struct output *o = t->sink_arg;
	int r, end;

	r = fill_entry(o, e, err);
	if (r == 0)
		r = list_holes(o, e, rd, err);
	if (r == 0)
		r = write_header(o, err);
	if (r < 0)
		return r;
	r = write_content(t, o, e, rd, err);
	end = finish_entry(o, r < 0 ? NULL : err);
	return r < 0 ? r : end;
}

static const struct transfer_sink archive_sink = {
	.directory = sink_directory,
	.directory_end = sink_directory_end,
	.file = sink_file,
	.node = sink_node,
	.link = sink_link,
};

static const struct transfer_sink archive_sink_without_links = {
	.directory = sink_directory,
	.directory_end = sink_directory_end,
	.file = sink_file,
	.node = sink_node,
	.has_no_links = true,
};

/* ----------------------------------------------------------------- whole */

static int output_open(struct output *o, int filter, struct cfs_err *err)
{
	int r = cfs_archive_load(err);

	if (r < 0)
		return r;
	o->zero = mmap(NULL, ZERO_BYTES, PROT_READ,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (o->zero == MAP_FAILED)
		o->zero = NULL;
	o->a = archive_write_new();
	o->ae = archive_entry_new();
	if (!o->zero || !o->a || !o->ae)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	if (archive_write_set_format(o->a, o->format->code) < ARCHIVE_WARN ||
	    archive_write_add_filter(o->a, filter) < ARCHIVE_WARN)
		return cfs_err_set(err, -EILSEQ,
				   "this libarchive does not write it: %s",
				   archive_error_string(o->a));
	/* The one form that both GNU tar and libarchive read. */
	if (o->format->has_acls)
		(void)archive_write_set_format_option(o->a, NULL, "xattrheader",
						      "SCHILY");
	/* A pipe gets what there is, not whole tape records. */
	(void)archive_write_set_bytes_in_last_block(o->a, 1);
	(void)archive_write_set_bytes_per_block(o->a, OUTPUT_BYTES);
	if (archive_write_open(o->a, o, NULL, output_write, NULL) < 0)
		return output_error(o, ARCHIVE_FATAL, err);
	return 0;
}

static void output_done(struct output *o)
{
	if (o->ae)
		archive_entry_free(o->ae);
	if (o->a)
		archive_write_free(o->a);
	if (o->zero)
		munmap(o->zero, ZERO_BYTES);
}

int cfs_export_archive(struct cfs_fs *fs, uint64_t ino, const char *name,
		       const char *format,
		       int (*write)(void *arg, const void *bytes,
				    size_t length_bytes, struct cfs_err *err),
		       void *write_arg, const struct cfs_transfer_options *opt,
		       struct cfs_transfer_result *ret, struct cfs_err *err)
{
	struct cfs_err write_err = CFS_ERR_INIT;
	struct output o = {
		.write = write,
		.write_arg = write_arg,
		.err = &write_err,
		.last = name,
	};
	struct transfer_locale locale;
	struct cfs_err own = CFS_ERR_INIT;
	struct transfer t;
	int r, filter, got;

	err = err ? err : &own;
	memset(ret, 0, sizeof(*ret));
	r = find_format(format, &o.format, &filter, err);
	if (r < 0)
		return r;
	transfer_locale_enter(&locale);
	transfer_init(&t, opt, ret,
		      o.format->has_links ? &archive_sink
					  : &archive_sink_without_links,
		      &o);
	r = output_open(&o, filter, err);
	if (r == 0)
		r = transfer_walk_tree(&t, fs, ino, "", err);
	if (r == 0) {
		got = archive_write_close(o.a);
		if (got < ARCHIVE_WARN || o.code < 0)
			r = output_error(&o, ARCHIVE_FATAL, err);
	} else {
		/* No end mark: a reader shall see that it is cut. */
		(void)archive_write_fail(o.a);
	}
	output_done(&o);
	transfer_done(&t);
	transfer_locale_leavep(&locale);
	return r;
}
