/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A LUN as a file.  Its size is the volume's, which others may change while it
 * is open: who asks for it is told what it is now.  The blocks that it uses are
 * nowhere written down, and to count them is to read its whole map, which no
 * stat may cost: who asks is told those of its container, which are as many or
 * more.
 */
#include "cfsmount/cfsmount.h"

#include <linux/falloc.h>
#include <sys/stat.h>

static uint64_t blocks_at_most(const struct cfs_volume_info *info,
			       uint64_t size)
{
	return CFS_MIN(info->container_used_bytes, size) / 512;
}

/* False: it is gone, or somebody has it alone; then nothing has changed. */
static bool look(struct mnt_volume *v, struct cfs_volume_info *ret)
{
	if (v->snap ||
	    cfs_session_volume_brief(v->m->s, v->name, ret, NULL) < 0 ||
	    ret->kind != CFS_VOLUME_LUN)
		return false;
	atomic_store(&v->lun_bytes, ret->size_bytes);
	return true;
}

uint64_t mnt_lun_size(struct mnt_volume *v, uint64_t end)
{
	struct cfs_volume_info info;

	if (end > atomic_load(&v->lun_bytes))
		(void)look(v, &info);
	return atomic_load(&v->lun_bytes);
}

void mnt_lun_stat(struct mnt_volume *v, struct stat *ret)
{
	struct cfs_volume_info info;
	const bool is_known = look(v, &info);
	const uint64_t size = atomic_load(&v->lun_bytes);

	*ret = (struct stat){
		.st_ino = mnt_node(v, v->root_ino),
		.st_mode = S_IFREG | (v->is_writable ? 0600 : 0400),
		.st_nlink = 1,
		.st_size = (off_t)size,
		.st_blksize = 4096,
		.st_blocks = (blkcnt_t)(is_known ? blocks_at_most(&info, size)
						 : size / 512),
		.st_atim = v->m->since,
		.st_mtim = v->m->since,
		.st_ctim = v->m->since,
	};
	if (atomic_load(&v->writes)) {
		pthread_mutex_lock(&v->m->slots_lock);
		ret->st_mtim = v->changed;
		pthread_mutex_unlock(&v->m->slots_lock);
		ret->st_ctim = ret->st_mtim;
	}
}

int mnt_lun_read(struct mnt_volume *v, uint64_t off, void *buf, size_t size,
		 size_t *ret)
{
	const uint64_t end = mnt_lun_size(v, off + size);
	const size_t n = off >= end
				 ? 0
				 : (size_t)CFS_MIN((uint64_t)size, end - off);

	*ret = 0;
	return n ? cfs_io_read(v->io, off, buf, n, ret, NULL) : 0;
}

ssize_t mnt_lun_write(struct mnt_volume *v, const void *buf, size_t size,
		      uint64_t off)
{
	uint64_t end;
	int r;

	if (off > INT64_MAX) /* the end, where it is */
		off = mnt_lun_size(v, UINT64_MAX);
	end = mnt_lun_size(v, off + size);
	if (off >= end) /* also behind the end */
		return size ? -ENOSPC : 0;
	size = (size_t)CFS_MIN((uint64_t)size, end - off);
	r = cfs_io_write(v->io, off, buf, size, NULL);
	if (r < 0)
		return r;
	atomic_fetch_add(&v->writes, 1);
	pthread_mutex_lock(&v->m->slots_lock);
	clock_gettime(CLOCK_REALTIME, &v->changed);
	pthread_mutex_unlock(&v->m->slots_lock);
	return (ssize_t)size;
}

int mnt_lun_allocate(struct mnt_volume *v, int mode, uint64_t off,
		     uint64_t length)
{
	const uint64_t end = mnt_lun_size(v, off + length);

	if (off + length > end && !(mode & FALLOC_FL_KEEP_SIZE))
		return -ENOSPC;
	if (!(mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) ||
	    off >= end)
		return 0;
	return cfs_io_discard(v->io, off, CFS_MIN(length, end - off), NULL);
}
