/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Appending with direct I/O.  What is longer than a call may be the kernel
 * sends in pieces, all of them at once, and where the file ends is ours to say:
 * so they must go on in the order of their places.
 *
 * The kernel holds the inode meanwhile: pieces that are under way for a file
 * are of one write.  They come in order, but the threads that took them may
 * not.  One is next if none that is under way is before it, and the file ends
 * where the kernel thinks it does.  If it ends elsewhere somebody else changed
 * it, or one before is still to be noted by its thread, which is waited for.
 */
#include "cfsmount/cfsmount.h"

#include "base/clock.h"
#include "base/cond.h"

#include <errno.h>

/* For a piece that was taken before and is not noted yet.  Where the file is
 * longer than the kernel thinks somebody else has appended, most likely. */
#define LATE_NS   CFS_NS_PER_S
#define LONGER_NS (20 * CFS_NS_PER_MS)
#define LOOK_NS   (5 * CFS_NS_PER_MS)

static struct mnt_append *all;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void prepare(void)
{
	cfs_cond_init(&changed);
}

static bool is_same(const struct mnt_append *a, const struct mnt_append *b)
{
	return a->f->v == b->f->v && a->f->ino == b->f->ino;
}

/* With the lock. */
static bool has_lower(const struct mnt_append *a)
{
	for (const struct mnt_append *b = all; b; b = b->next)
		if (b->offset < a->offset && is_same(a, b))
			return true;
	return false;
}

static uint64_t size_of(const struct mnt_file *f)
{
	struct cfs_inode inode;

	return cfs_fs_getattr(f->v->fs, f->ino, &inode, NULL) < 0
		       ? 0
		       : inode.size_bytes;
}

/* With the lock, @waited_ns after it came.  The one before it ended there, or
 * nobody knows better. */
static bool is_next(const struct mnt_append *a, uint64_t waited_ns)
{
	uint64_t size;

	if (has_lower(a))
		return false;
	size = size_of(a->f);
	return size == a->offset ||
	       (a->f->append_to == a->offset && a->f->append_size == size) ||
	       waited_ns >= (size > a->offset ? LONGER_NS : LATE_NS);
}

int mnt_append_begin(struct mnt_append *a, struct mnt_file *f, uint64_t offset)
{
	struct cfs_clock *clock = cfs_clock_system();
	const uint64_t came_ns = cfs_clock_elapsed_ns(clock);
	int r;

	*a = (struct mnt_append){ .f = f, .offset = offset };
	pthread_once(&once, prepare);
	pthread_mutex_lock(&lock);
	a->next = all;
	all = a;
	while (!a->is_void &&
	       !is_next(a, cfs_clock_elapsed_ns(clock) - came_ns))
		(void)cfs_cond_wait_ns(&changed, &lock, LOOK_NS);
	r = a->is_void ? -EIO : 0;
	pthread_mutex_unlock(&lock);
	return r;
}

void mnt_append_end(struct mnt_append *a, bool is_whole, uint64_t end)
{
	struct mnt_append **at = &all;

	pthread_mutex_lock(&lock);
	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
	if (is_whole) {
		a->f->append_to = end;
		a->f->append_size = size_of(a->f);
	}
	/* What is behind a piece that is missing is not appended either. */
	for (struct mnt_append *b = all; b && !is_whole; b = b->next)
		if (b->offset > a->offset && is_same(a, b))
			b->is_void = true;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}
