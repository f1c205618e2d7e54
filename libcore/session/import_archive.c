/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An archive as the source.  It is a stream that others wrote, perhaps to do
 * harm; so:
 *
 *  - Names are cleaned (transfer_path_clean) and sinks follow no links.
 *  - What one archive says of files outside of it is not believed: data for a
 *    link is written only to a file that this archive made.
 *  - Formats and filters that open files or run programs are not enabled
 *    (mtree, lrzip, grzip).
 *  - Memory goes by what was read, not by what a header says.  Directories are
 *    remembered until the end, when their times are set.
 */
#include "session/archive_api.h"
#include "session/transfer_priv.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/xxh.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INPUT_BYTES     (256u * 1024u)
#define STOP_POLL_MS    200
#define TAR_BLOCK_BYTES 512

struct pending { /* a directory whose end is to come */
	char *path;
	uint32_t mode, uid, gid;
	bool has_atime, has_mtime;
	int64_t atime_ns, mtime_ns;
};

struct input {
	struct transfer *t;
	struct archive *a;
	int fd;
	int code;     /* why reading failed */
	bool is_cut;  /* nothing more can be read */
	uint8_t *buf; /* INPUT_BYTES */
	struct cfs_buf path, first;
	struct transfer_xattrs xattrs;
	CFS_VEC(struct pending) pending;
};

/* ---------------------------------------------------------------- input */

/* Wait in steps, so that a stop is seen also when nothing comes. */
static ssize_t input_read(struct archive *a, void *arg, const void **ret)
{
	struct input *in = arg;
	struct pollfd p = { .fd = in->fd, .events = POLLIN };
	ssize_t n;

	*ret = in->buf;
	for (;;) {
		if (transfer_check_stop(in->t, NULL) < 0) {
			in->code = -EINTR;
			archive_set_error(a, EINTR, "stopped");
			return -1;
		}
		if (poll(&p, 1, STOP_POLL_MS) <= 0)
			continue;
		n = read(in->fd, in->buf, INPUT_BYTES);
		if (n >= 0)
			return n;
		if (errno == EINTR || errno == EAGAIN)
			continue;
		in->code = -errno;
		archive_set_error(a, errno, "%s", strerror(errno));
		return -1;
	}
}

static int64_t input_seek(struct archive *a, void *arg, int64_t offset,
			  int whence)
{
	struct input *in = arg;
	off_t at = lseek(in->fd, offset, whence);

	if (at < 0) {
		archive_set_error(a, errno, "%s", strerror(errno));
		return ARCHIVE_FATAL;
	}
	return at;
}

static void enable_formats(struct archive *a)
{
	(void)archive_read_support_filter_bzip2(a);
	(void)archive_read_support_filter_compress(a);
	(void)archive_read_support_filter_gzip(a);
	(void)archive_read_support_filter_lz4(a);
	(void)archive_read_support_filter_lzip(a);
	(void)archive_read_support_filter_lzma(a);
	(void)archive_read_support_filter_lzop(a);
	(void)archive_read_support_filter_rpm(a);
	(void)archive_read_support_filter_uu(a);
	(void)archive_read_support_filter_xz(a);
	(void)archive_read_support_filter_zstd(a);
	(void)archive_read_support_format_7zip(a);
	(void)archive_read_support_format_ar(a);
	(void)archive_read_support_format_cab(a);
	(void)archive_read_support_format_cpio(a);
	(void)archive_read_support_format_iso9660(a);
	(void)archive_read_support_format_lha(a);
	(void)archive_read_support_format_rar(a);
	(void)archive_read_support_format_rar5(a);
	(void)archive_read_support_format_tar(a);
	(void)archive_read_support_format_warc(a);
	(void)archive_read_support_format_xar(a);
	(void)archive_read_support_format_zip(a);
}

/* The code and text of what libarchive says. */
static int input_error(const struct input *in, int otherwise,
		       struct cfs_err *err)
{
	const char *text = archive_error_string(in->a);

	if (in->code < 0)
		return cfs_err_errno(err, in->code, "read");
	if (archive_errno(in->a) == ENOMEM)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	return cfs_err_set(err, otherwise, "%s", text ? text : "damaged");
}

static int input_open(struct input *in, struct cfs_err *err)
{
	bool has_seek = lseek(in->fd, 0, SEEK_CUR) >= 0;
	struct stat st;
	int r = cfs_archive_load(err);

	if (r < 0)
		return r;
	in->buf = malloc(INPUT_BYTES);
	in->a = archive_read_new();
	if (!in->buf || !in->a)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	enable_formats(in->a);
	archive_read_set_read_callback(in->a, input_read);
	/* From where it stands: libarchive counts from the beginning. */
	if (has_seek && lseek(in->fd, 0, SEEK_CUR) == 0 &&
	    fstat(in->fd, &st) == 0 && S_ISREG(st.st_mode))
		archive_read_set_seek_callback(in->a, input_seek);
	archive_read_set_callback_data(in->a, in);
	if (archive_read_open1(in->a) == ARCHIVE_OK)
		return 0;
	return input_error(in, -EMEDIUMTYPE, err);
}

/* ---------------------------------------------------------------- files */

struct archive_reader {
	struct transfer_reader rd;
	struct input *in;
};

static int reader_next(struct transfer_reader *rd, const void **ret,
		       size_t *ret_bytes, uint64_t *ret_offset_bytes,
		       struct cfs_err *err)
{
	struct input *in = ((struct archive_reader *)rd)->in;
	int64_t offset = 0;
	int r;

	do {
		*ret_bytes = 0;
		r = archive_read_data_block(in->a, ret, ret_bytes, &offset);
		if (r == ARCHIVE_EOF) {
			*ret_bytes = 0;
			return 0;
		}
	} while (r == ARCHIVE_RETRY || (r >= ARCHIVE_WARN && *ret_bytes == 0));
	if (r == ARCHIVE_FATAL && in->code == 0) {
		/* Not of this entry alone: a code that ends the run. */
		in->is_cut = true;
		(void)input_error(in, -EUCLEAN, err);
		return cfs_err_wrap(err, -EPIPE, "%s",
				    (const char *)in->path.data);
	}
	if (r < ARCHIVE_WARN)
		return input_error(in, -EUCLEAN, err);
	if (offset < 0)
		return cfs_err_set(err, -EILSEQ, "an offset that cannot be");
	*ret_offset_bytes = (uint64_t)offset;
	return 0;
}

/* -------------------------------------------------------------- entries */

static bool to_ns(bool is_set, time_t s, long ns, int64_t *ret)
{
	return is_set &&
	       !__builtin_mul_overflow((int64_t)s, (int64_t)CFS_NS_PER_S,
				       ret) &&
	       !__builtin_add_overflow(*ret, (int64_t)ns, ret) &&
	       *ret != CFS_FS_TIME_NOW;
}

static int read_xattrs(struct input *in, struct archive_entry *ae,
		       struct cfs_err *err)
{
	const char *name;
	const void *value;
	size_t bytes;
	int r;

	transfer_xattrs_clear(&in->xattrs);
	/* First, so that they win over attributes of the same name. */
	r = transfer_acl_from_archive(ae, &in->xattrs, err);
	if (r < 0) {
		r = transfer_failed(in->t, (const char *)in->path.data, err);
		if (r < 0)
			return r;
	}
	(void)archive_entry_xattr_reset(ae);
	while (archive_entry_xattr_next(ae, &name, &value, &bytes) ==
	       ARCHIVE_OK) {
		if (!name || !name[0] ||
		    strlen(name) > CFS_XATTR_NAME_BYTES_MAX ||
		    bytes > CFS_XATTR_VALUE_BYTES_MAX) {
			(void)cfs_err_set(err, -E2BIG,
					  "an attribute is too large: left "
					  "out");
			r = transfer_failed(in->t, (const char *)in->path.data,
					    err);
			if (r < 0)
				return r;
			continue;
		}
		if (transfer_xattrs_add(&in->xattrs, name, value, bytes) < 0)
			return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	transfer_xattrs_fix(&in->xattrs);
	return 0;
}

/* With an ACL the middle bits of a mode are its mask, in a tree as in Linux. */
static uint32_t mode_with_acl(uint32_t mode, const struct transfer_xattrs *x)
{
	static const unsigned int tag_mask = 0x10, head = 4, row = 8;
	size_t i, at;

	for (i = 0; i < x->list.count; i++) {
		const struct cfs_fs_xattr *item = &x->list.items[i];
		const uint8_t *p = item->value;

		if (strcmp(item->name, TRANSFER_ACL_ACCESS) != 0)
			continue;
		for (at = head; at + row <= item->value_bytes; at += row)
			if (p[at] == tag_mask)
				mode = (mode & ~070u) |
				       ((uint32_t)p[at + 2] & 7) << 3;
	}
	return mode;
}

static int entry_of(struct input *in, struct archive_entry *ae,
		    struct transfer_entry *ret, struct cfs_err *err)
{
	int64_t uid = archive_entry_uid(ae), gid = archive_entry_gid(ae);
	int64_t size = archive_entry_size(ae);

	if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
		return cfs_err_set(err, -EILSEQ,
				   "an owner that cannot be: left out");
	if (archive_entry_size_is_set(ae) && size < 0)
		return cfs_err_set(err, -EILSEQ,
				   "a length that cannot be: left out");
	*ret = (struct transfer_entry){
		.path = (const char *)in->path.data,
		.mode = mode_with_acl(archive_entry_mode(ae), &in->xattrs),
		.uid = (uint32_t)uid,
		.gid = (uint32_t)gid,
		.nlink = 1,
		.rdev = (uint64_t)(uint32_t)archive_entry_rdevmajor(ae) << 32 |
			(uint32_t)archive_entry_rdevminor(ae),
		.size_bytes = size < 0 ? 0 : (uint64_t)size,
		.has_size = archive_entry_size_is_set(ae),
		.xattrs = in->xattrs.list.items,
		.xattr_count = in->xattrs.list.count,
	};
	ret->has_mtime = to_ns(archive_entry_mtime_is_set(ae),
			       archive_entry_mtime(ae),
			       archive_entry_mtime_nsec(ae), &ret->mtime_ns);
	ret->has_atime = to_ns(archive_entry_atime_is_set(ae),
			       archive_entry_atime(ae),
			       archive_entry_atime_nsec(ae), &ret->atime_ns);
	/* Formats without types mean plain files. */
	if ((ret->mode & S_IFMT) == 0)
		ret->mode |= archive_entry_hardlink(ae) ? 0 : S_IFREG;
	return 0;
}

static int remember_end(struct input *in, const struct transfer_entry *e,
			struct cfs_err *err)
{
	struct pending p = {
		.path = strdup(e->path),
		.mode = e->mode,
		.uid = e->uid,
		.gid = e->gid,
		.has_atime = e->has_atime,
		.has_mtime = e->has_mtime,
		.atime_ns = e->atime_ns,
		.mtime_ns = e->mtime_ns,
	};

	if (!p.path || cfs_vec_push(&in->pending, p) < 0) {
		free(p.path);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	return 0;
}

/*
 * One more name.  In cpio the last of them brings the content, in others each
 * may: it is taken if the file was made by this archive, which the table of
 * links knows by the path.
 */
static int put_link(struct input *in, const struct transfer_entry *e,
		    const char *target, struct cfs_err *err)
{
	struct archive_reader rd = { .rd.next = reader_next, .in = in };
	const struct transfer_sink *sink = in->t->sink;
	const char *first;
	bool is_made;
	int r;

	in->first.bytes = 0;
	r = transfer_path_clean(target, &in->first, err);
	if (r < 0) {
		(void)cfs_err_wrap(err, r, "link to %s", target);
		return transfer_failed(in->t, e->path, err);
	}
	first = (const char *)in->first.data;
	r = transfer_put_link(in->t, e, first, &is_made, err);
	if (r < 0 || !is_made || !e->has_size || e->size_bytes == 0 ||
	    !sink->refill)
		return r;
	if (!transfer_link_find(in->t, cfs_xxh3(first, strlen(first)), 0)) {
		/* In tar it says again what the file has already. */
		if ((archive_format(in->a) & ARCHIVE_FORMAT_BASE_MASK) ==
		    ARCHIVE_FORMAT_TAR)
			return 0;
		(void)cfs_err_set(err, -EILSEQ,
				  "content for a file that the archive did "
				  "not make: left out");
		return transfer_failed(in->t, e->path, err);
	}
	r = sink->refill(in->t, e, &rd.rd, err);
	return r < 0 ? transfer_failed(in->t, e->path, err) : 0;
}

static int put_file(struct input *in, const struct transfer_entry *e,
		    bool may_have_links, struct cfs_err *err)
{
	struct archive_reader rd = { .rd.next = reader_next, .in = in };
	bool is_made;
	int r;

	r = transfer_put(in->t, e, &rd.rd, 0, 0, &is_made, err);
	if (r == 0 && is_made && may_have_links &&
	    transfer_link_add(in->t, cfs_xxh3(e->path, strlen(e->path)), 0,
			      e->path) < 0)
		r = cfs_err_set(err, -ENOMEM, "out of memory");
	return r;
}

static int put_other(struct input *in, struct archive_entry *ae,
		     struct transfer_entry *e, struct cfs_err *err)
{
	bool is_made;
	int r;

	if (S_ISLNK(e->mode)) {
		e->mode |= 0777; /* as everywhere in Linux */
		e->target = archive_entry_symlink(ae);
		e->target_bytes = e->target ? strlen(e->target) : 0;
		if (e->target_bytes == 0 ||
		    e->target_bytes > CFS_SYMLINK_BYTES_MAX) {
			(void)cfs_err_set(err, -EILSEQ,
					  "a symbolic link without a target "
					  "that could be: left out");
			return transfer_failed(in->t, e->path, err);
		}
	}
	r = transfer_put(in->t, e, NULL, 0, 0, &is_made, err);
	if (r == 0 && is_made && S_ISDIR(e->mode))
		r = remember_end(in, e, err);
	return r;
}

static int put_entry(struct input *in, struct archive_entry *ae,
		     struct cfs_err *err)
{
	const char *name = archive_entry_pathname(ae);
	const char *link = archive_entry_hardlink(ae);
	struct transfer_entry e;
	int r;

	if (!name) {
		(void)cfs_err_set(err, -EILSEQ,
				  "an entry whose name cannot be read: left "
				  "out");
		return transfer_failed(in->t, "", err);
	}
	in->path.bytes = 0;
	r = transfer_path_clean(name, &in->path, err);
	if (r < 0)
		return transfer_failed(in->t, name, err);
	r = read_xattrs(in, ae, err);
	if (r < 0)
		return r;
	r = entry_of(in, ae, &e, err);
	if (r < 0)
		return transfer_failed(in->t, name, err);
	if (link)
		return put_link(in, &e, link, err);
	if (S_ISREG(e.mode))
		return put_file(in, &e, archive_entry_nlink(ae) > 1, err);
	return put_other(in, ae, &e, err);
}

/* ------------------------------------------------------------------ end */

/* What is deep comes first. */
static int by_path_down(const void *a, const void *b)
{
	return strcmp(((const struct pending *)b)->path,
		      ((const struct pending *)a)->path);
}

static int put_ends(struct input *in, struct cfs_err *err)
{
	size_t i;
	int r = 0;

	if (in->pending.count)
		qsort(in->pending.items, in->pending.count,
		      sizeof(in->pending.items[0]), by_path_down);
	for (i = 0; i < in->pending.count && r == 0; i++) {
		const struct pending *p = &in->pending.items[i];
		struct transfer_entry e = {
			.path = p->path,
			.mode = p->mode,
			.uid = p->uid,
			.gid = p->gid,
			.has_atime = p->has_atime,
			.has_mtime = p->has_mtime,
			.atime_ns = p->atime_ns,
			.mtime_ns = p->mtime_ns,
		};

		r = transfer_check_stop(in->t, err);
		if (r == 0)
			r = transfer_put_end(in->t, &e, err);
	}
	return r;
}

static void input_done(struct input *in)
{
	size_t i;

	if (in->a)
		archive_read_free(in->a);
	for (i = 0; i < in->pending.count; i++)
		free(in->pending.items[i].path);
	cfs_vec_done(&in->pending);
	transfer_xattrs_donep(&in->xattrs);
	cfs_buf_donep(&in->path);
	cfs_buf_donep(&in->first);
	free(in->buf);
}

/*
 * A tar that was cut between two entries looks like one that ends.  What tells
 * them apart is the empty block at the end, which is read as a header is.
 */
static int check_end_mark(struct input *in, struct cfs_err *err)
{
	int64_t begin = archive_read_header_position(in->a);
	int64_t end = archive_filter_bytes(in->a, 0);

	if ((archive_format(in->a) & ARCHIVE_FORMAT_BASE_MASK) !=
		    ARCHIVE_FORMAT_TAR ||
	    end - begin >= TAR_BLOCK_BYTES)
		return 0;
	(void)cfs_err_set(err, -EUCLEAN,
			  "the archive has no end mark: it may "
			  "be cut, and what was read is kept");
	return transfer_failed(in->t, "", err);
}

static int read_entries(struct input *in, struct cfs_err *err)
{
	struct archive_entry *ae;
	uint64_t count = 0;
	int r, got;

	for (;;) {
		r = transfer_check_stop(in->t, err);
		if (r < 0)
			return r;
		got = archive_read_next_header(in->a, &ae);
		if (got == ARCHIVE_EOF)
			return check_end_mark(in, err);
		if (got == ARCHIVE_RETRY)
			continue;
		/* Before the first entry it is not known to be an archive. */
		if (got < ARCHIVE_WARN)
			return input_error(in,
					   count || archive_format(in->a)
						   ? -EUCLEAN
						   : -EMEDIUMTYPE,
					   err);
		count++;
		r = put_entry(in, ae, err);
		if (r < 0)
			return r;
	}
}

static int recode(struct cfs_err *err, int code)
{
	if (err)
		err->code = code;
	return code;
}

int transfer_read_archive(struct transfer *t, int fd, struct cfs_err *err)
{
	struct input in = { .t = t, .fd = fd };
	struct transfer_locale locale;
	int r;

	transfer_locale_enter(&locale);
	r = input_open(&in, err);
	if (r == 0)
		r = read_entries(&in, err);
	if (r == 0)
		r = put_ends(&in, err);
	if (r == -EPIPE && in.is_cut)
		r = recode(err, -EUCLEAN);
	input_done(&in);
	transfer_locale_leavep(&locale);
	return r;
}
