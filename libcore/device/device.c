/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The dispatcher: what is the same for every kind of device.  Bounds, rights
 * and the memory of a failed flush are checked here and errors are worded
 * here, so that a kind only moves bytes.
 *
 * What must stay true: nothing here takes a lock or allocates between the
 * caller of a single transfer or flush and the kind's system call.
 */
#include "device/device_priv.h"
#include "device/file_priv.h"

#include "base/bits.h"
#include "base/cleanup.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define HUGE_BYTES ((size_t)2 << 20)

struct cfs_dev_ticket {
	struct cfs_dev *dev;
	struct cfs_io *ios;
	size_t count;
	void *batch; /* the kind's; NULL: all is done */
};

/* -------------------------------------------------------------- opening */

/* Length of "SCHEME:" at the start of @path; 0: it is a plain path. */
static size_t scheme_length(const char *path)
{
	size_t n = strspn(path, "abcdefghijklmnopqrstuvwxyz"
				"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-");

	return n >= 2 && path[n] == ':' ? n + 1 : 0;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decode %XX in place.  A NUL would end the path early: refused. */
static bool percent_decode(char *text)
{
	char *to = text;

	for (; *text; text++) {
		int high, low;

		if (*text != '%') {
			*to++ = *text;
			continue;
		}
		high = hex_value(text[1]);
		low = high < 0 ? -1 : hex_value(text[2]);
		if (low < 0 || (high == 0 && low == 0))
			return false;
		*to++ = (char)(high * 16 + low);
		text += 2;
	}
	*to = '\0';
	return true;
}

int cfs_dev_host_path(const char *path, char **ret, struct cfs_err *err)
{
	size_t n = scheme_length(path);
	bool is_uri = n == 5 && strncasecmp(path, "file:", 5) == 0;
	struct stat st;
	char *plain;

	/* A file that is there under such a name is a plain path. */
	if (n && !is_uri && lstat(path, &st) < 0)
		return cfs_err_set(err, -EINVAL,
				   "%s: this build does not "
				   "support the device scheme '%.*s'",
				   path, (int)n - 1, path);
	plain = strdup(is_uri ? path + n : path);
	if (!plain)
		return cfs_err_errno(err, -ENOMEM, "%s", path);
	if (is_uri && !percent_decode(plain)) {
		free(plain);
		return cfs_err_set(err, -EINVAL, "%s: bad %%XX in URI", path);
	}
	*ret = plain;
	return 0;
}

int cfs_dev_open(const char *path, unsigned int flags, struct cfs_dev **ret,
		 struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) char *plain = NULL;
	struct cfs_dev *dev;
	int r;

	r = cfs_dev_host_path(path, &plain, err);
	if (r < 0)
		return r;
	r = cfs_file_open(plain, path, flags, &dev, err);
	if (r < 0)
		return r;
	*ret = dev;
	return 0;
}

void cfs_dev_close(struct cfs_dev *dev)
{
	char *name;

	if (!dev)
		return;
	name = dev->name;
	dev->ops->close(dev);
	free(name);
}

void cfs_dev_closep(struct cfs_dev **dev)
{
	cfs_dev_close(*dev);
}

/* ---------------------------------------------------------------- facts */

enum cfs_dev_kind cfs_dev_kind(const struct cfs_dev *dev)
{
	return dev->kind;
}

uint64_t cfs_dev_size_bytes(const struct cfs_dev *dev)
{
	return __atomic_load_n(&dev->size_bytes, __ATOMIC_RELAXED);
}

bool cfs_dev_is_writable(const struct cfs_dev *dev)
{
	return dev->is_writable;
}

const char *cfs_dev_name(const struct cfs_dev *dev)
{
	return dev->name;
}

bool cfs_dev_is_direct(const struct cfs_dev *dev)
{
	return dev->ops->is_direct && dev->ops->is_direct(dev);
}

bool cfs_dev_is_same(const struct cfs_dev *a, const struct cfs_dev *b)
{
	return a == b || (a->kind == b->kind && a->ops->is_same(a, b));
}

static bool has_failed(const struct cfs_dev *dev)
{
	return __atomic_load_n(&dev->has_failed, __ATOMIC_ACQUIRE);
}

/* ------------------------------------------------------------ transfers */

static int check(const struct cfs_dev *dev, bool is_write,
		 uint64_t offset_bytes, uint64_t length_bytes)
{
	if (!cfs_range_fits(offset_bytes, length_bytes,
			    cfs_dev_size_bytes(dev)))
		return -EINVAL;
	if (!is_write)
		return 0;
	if (!dev->is_writable)
		return -EROFS;
	return has_failed(dev) ? -EIO : 0;
}

/* Word the failure @code of "read", "write" or "discard". */
static int fail(struct cfs_dev *dev, const char *what, uint64_t offset_bytes,
		uint64_t length_bytes, int code, struct cfs_err *err)
{
	bool is_read = strcmp(what, "read") == 0;

	if (code == -EINVAL)
		return cfs_err_set(err, code,
				   "%s: %s of %" PRIu64 " bytes at %" PRIu64
				   " is beyond the end at %" PRIu64,
				   dev->name, what, length_bytes, offset_bytes,
				   cfs_dev_size_bytes(dev));
	if (code == -EROFS)
		return cfs_err_set(err, code, "%s: %s: open for reading only",
				   dev->name, what);
	if (code == -EIO && !is_read && has_failed(dev))
		return cfs_err_set(err, code,
				   "%s: %s refused since a flush "
				   "has failed",
				   dev->name, what);
	return cfs_err_errno(err, code,
			     "%s: %s of %" PRIu64 " bytes at %" PRIu64,
			     dev->name, what, length_bytes, offset_bytes);
}

static const char *op_name(enum cfs_io_op op)
{
	return op == CFS_IO_READ ? "read" : "write";
}

int cfs_dev_read(struct cfs_dev *dev, uint64_t offset_bytes, void *buf,
		 size_t length_bytes, struct cfs_err *err)
{
	int r = check(dev, false, offset_bytes, length_bytes);

	if (r == 0 && length_bytes)
		r = dev->ops->transfer(dev, CFS_IO_READ, offset_bytes, buf,
				       length_bytes);
	return r == 0 ? 0
		      : fail(dev, "read", offset_bytes, length_bytes, r, err);
}

int cfs_dev_write(struct cfs_dev *dev, uint64_t offset_bytes, const void *buf,
		  size_t length_bytes, struct cfs_err *err)
{
	int r = check(dev, true, offset_bytes, length_bytes);

	if (r == 0 && length_bytes)
		r = dev->ops->transfer(dev, CFS_IO_WRITE, offset_bytes,
				       (void *)(uintptr_t)buf, length_bytes);
	return r == 0 ? 0
		      : fail(dev, "write", offset_bytes, length_bytes, r, err);
}

/* Set the results of what can be judged at once; how many ios are left. */
static size_t judge(struct cfs_dev *dev, struct cfs_io *ios, size_t count)
{
	size_t pending = 0;
	size_t i;

	for (i = 0; i < count; i++) {
		struct cfs_io *io = &ios[i];

		io->result = check(dev, io->op == CFS_IO_WRITE,
				   io->offset_bytes, io->length_bytes);
		if (io->result < 0 || !io->length_bytes)
			continue;
		io->result = CFS_IO_PENDING;
		pending++;
	}
	return pending;
}

/*
 * Begin a batch; the kind's part of it, or NULL when all is done already.  One
 * io alone is fastest by a plain call, if that @may_wait, and needs no memory.
 */
static void *begin(struct cfs_dev *dev, struct cfs_io *ios, size_t count,
		   bool may_wait)
{
	size_t pending = judge(dev, ios, count);
	void *batch;
	size_t i;

	if (pending > (may_wait ? 1 : 0) && dev->ops->start &&
	    dev->ops->start(dev, ios, count, &batch) == 0)
		return batch;
	for (i = 0; i < count && pending; i++) {
		if (ios[i].result != CFS_IO_PENDING)
			continue;
		ios[i].result = dev->ops->transfer(
			dev, ios[i].op, ios[i].offset_bytes, ios[i].buf,
			ios[i].length_bytes);
		pending--;
	}
	return NULL;
}

static int finish(struct cfs_dev_ticket *ticket, struct cfs_err *err)
{
	struct cfs_dev *dev = ticket->dev;
	size_t i;

	if (ticket->batch)
		dev->ops->wait(dev, ticket->batch);
	for (i = 0; i < ticket->count; i++) {
		const struct cfs_io *io = &ticket->ios[i];

		if (io->result < 0)
			return fail(dev, op_name(io->op), io->offset_bytes,
				    io->length_bytes, io->result, err);
	}
	return 0;
}

int cfs_dev_submit(struct cfs_dev *dev, struct cfs_io *ios, size_t count,
		   struct cfs_err *err)
{
	struct cfs_dev_ticket ticket = {
		.dev = dev,
		.ios = ios,
		.count = count,
	};

	ticket.batch = begin(dev, ios, count, true);
	return finish(&ticket, err);
}

int cfs_dev_start(struct cfs_dev *dev, struct cfs_io *ios, size_t count,
		  struct cfs_dev_ticket **ret_ticket, struct cfs_err *err)
{
	struct cfs_dev_ticket *ticket = malloc(sizeof(*ticket));

	if (!ticket)
		return cfs_err_errno(err, -ENOMEM, "%s", dev->name);
	*ticket = (struct cfs_dev_ticket){
		.dev = dev,
		.ios = ios,
		.count = count,
	};
	ticket->batch = begin(dev, ios, count, false);
	*ret_ticket = ticket;
	return 0;
}

int cfs_dev_wait(struct cfs_dev_ticket *ticket, struct cfs_err *err)
{
	int r = finish(ticket, err);

	free(ticket);
	return r;
}

/* ------------------------------------------------- flush, discard, size */

int cfs_dev_flush(struct cfs_dev *dev, struct cfs_err *err)
{
	int r = has_failed(dev) ? -EIO : dev->ops->flush(dev);

	/*
	 * The kernel reports a lost write once per open file.  The next flush
	 * would succeed and the data would still be gone: never ask again.
	 */
	if (r == 0 && !has_failed(dev))
		return 0;
	if (__atomic_exchange_n(&dev->has_failed, true, __ATOMIC_ACQ_REL))
		return cfs_err_set(err, -EIO,
				   "%s: flush refused since a flush "
				   "has failed",
				   dev->name);
	return cfs_err_set(err, -EIO, "%s: flush: %s", dev->name,
			   strerrordesc_np(-r));
}

int cfs_dev_allocate(struct cfs_dev *dev, uint64_t offset_bytes,
		     uint64_t length_bytes, struct cfs_err *err)
{
	int r = check(dev, true, offset_bytes, length_bytes);

	if (r == 0 && length_bytes && dev->ops->allocate)
		r = dev->ops->allocate(dev, offset_bytes, length_bytes);
	if (r == 0)
		return 0;
	return fail(dev, "allocate", offset_bytes, length_bytes, r, err);
}

int cfs_dev_discard(struct cfs_dev *dev, uint64_t offset_bytes,
		    uint64_t length_bytes, struct cfs_err *err)
{
	int r = check(dev, true, offset_bytes, length_bytes);

	if (r == 0 && length_bytes)
		r = dev->ops->discard(dev, offset_bytes, length_bytes);
	if (r == 0 || r == -EOPNOTSUPP)
		return r;
	return fail(dev, "discard", offset_bytes, length_bytes, r, err);
}

int cfs_dev_resize(struct cfs_dev *dev, uint64_t size_bytes,
		   struct cfs_err *err)
{
	int r = check(dev, true, 0, 0);

	if (r == 0 && size_bytes > INT64_MAX)
		r = -EFBIG;
	if (r == 0)
		r = dev->ops->resize(dev, size_bytes);
	if (r == 0) {
		__atomic_store_n(&dev->size_bytes, size_bytes,
				 __ATOMIC_RELAXED);
		return 0;
	}
	return cfs_err_errno(err, r,
			     "%s: resize from %" PRIu64 " to %" PRIu64 " bytes",
			     dev->name, cfs_dev_size_bytes(dev), size_bytes);
}

int cfs_dev_lock(struct cfs_dev *dev, bool exclusive, struct cfs_err *err)
{
	int r = exclusive && !dev->is_writable ? -EROFS
					       : dev->ops->lock(dev, exclusive);

	if (r == 0)
		return 0;
	if (r == -EBUSY)
		return cfs_err_set(err, r, "%s: locked by another process",
				   dev->name);
	return cfs_err_errno(err, r, "%s: lock", dev->name);
}

void cfs_dev_unlock(struct cfs_dev *dev)
{
	dev->ops->unlock(dev);
}

int cfs_dev_mark(struct cfs_dev *dev, uint64_t number, struct cfs_err *err)
{
	int r = dev->ops->mark ? dev->ops->mark(dev, number, true)
			       : -EOPNOTSUPP;

	if (r == 0 || r == -EOPNOTSUPP)
		return r;
	if (r == -EBUSY)
		return cfs_err_set(err, r, "%s: marked by another process",
				   dev->name);
	return cfs_err_errno(err, r, "%s: mark", dev->name);
}

void cfs_dev_unmark(struct cfs_dev *dev, uint64_t number)
{
	if (dev->ops->mark)
		(void)dev->ops->mark(dev, number, false);
}

void *cfs_dev_buf_alloc_unset(size_t length_bytes)
{
	if (length_bytes > SIZE_MAX / 2)
		return NULL;
	return aligned_alloc(CFS_BLOCK_BYTES,
			     cfs_align_up(CFS_MAX(length_bytes, (size_t)1),
					  CFS_BLOCK_BYTES));
}

void *cfs_dev_buf_alloc_huge(size_t length_bytes)
{
	const size_t bytes = cfs_align_up(length_bytes, HUGE_BYTES);
	void *buf;

	if (length_bytes < HUGE_BYTES / 2 || length_bytes > SIZE_MAX / 2)
		return cfs_dev_buf_alloc_unset(length_bytes);
	buf = aligned_alloc(HUGE_BYTES, bytes);
	/* A system without such pages says so, and has others. */
	if (buf)
		(void)madvise(buf, bytes, MADV_HUGEPAGE);
	return buf;
}

void *cfs_dev_buf_alloc(size_t length_bytes)
{
	void *buf = cfs_dev_buf_alloc_unset(length_bytes);

	if (buf)
		memset(buf, 0,
		       cfs_align_up(CFS_MAX(length_bytes, (size_t)1),
				    CFS_BLOCK_BYTES));
	return buf;
}
