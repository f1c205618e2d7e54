/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the kernel may keep.
 *
 * While nobody else can change a tree, names and attributes that the kernel
 * was told stay true, and it need not ask again.  When somebody else comes,
 * the session says so and waits for us: no answer that may be kept is sent
 * from then on, and what the kernel has is made invalid; only then others may
 * change the tree.  Beside others nothing may be kept: each look is a question,
 * and that is answered under a lease.
 *
 * Bytes that the kernel keeps are as good as the attributes: it compares time
 * and size of the file before it uses them (FUSE_AUTO_INVAL_DATA), so that what
 * somebody else has written is seen as soon as it is looked for.
 *
 * Nothing here waits for the kernel, which may itself be waiting for a lease:
 * names are made invalid by a new epoch of the whole mount where the kernel has
 * that (Linux 6.16).  Elsewhere names are kept for so short a time that one can
 * wait until it has passed.
 */
#include "cfsmount/cfsmount.h"

#include "base/bits.h"
#include "base/clock.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <unistd.h>
#include <uthash.h>

/* A kind of notice that this header may not have yet. */
#define NOTIFY_INC_EPOCH 8
#define KEEP_SECONDS     60.0
#define KEEP_SECONDS_OLD 0.5 /* a kernel without epochs */

struct known {
	UT_hash_handle hh;
	uint64_t ino;
};

struct mnt_cache {
	struct mnt *m;
	pthread_rwlock_t gate;     /* read: an answer is being sent */
	atomic_uint_fast64_t ends; /* how often it was all made invalid */
	bool has_epoch;
	atomic_uint_fast64_t until_ns; /* names are kept no longer */
	pthread_mutex_t lock;          /* of known */
	struct known *known;           /* of slot 0 */
};

int mnt_cache_new(struct mnt *m, struct mnt_cache **ret, struct cfs_err *err)
{
	struct mnt_cache *c = calloc(1, sizeof(*c));

	if (!c)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	c->m = m;
	pthread_rwlock_init(&c->gate, NULL);
	pthread_mutex_init(&c->lock, NULL);
	*ret = c;
	return 0;
}

void mnt_cache_free(struct mnt_cache *c)
{
	struct known *k, *tmp;

	if (!c)
		return;
	HASH_ITER(hh, c->known, k, tmp) {
		HASH_DEL(c->known, k);
		free(k);
	}
	pthread_mutex_destroy(&c->lock);
	pthread_rwlock_destroy(&c->gate);
	free(c);
}

/* ---- what is known ------------------------------------------------------- */

void mnt_cache_known(struct mnt_volume *v, uint64_t ino)
{
	struct mnt_cache *c = v->m->cache;
	struct known *k;

	if (v->slot || !ino || !v->m->opt.has_cache)
		return;
	pthread_mutex_lock(&c->lock);
	HASH_FIND(hh, c->known, &ino, sizeof(ino), k);
	if (!k) {
		k = malloc(sizeof(*k));
		if (k) {
			k->ino = ino;
			HASH_ADD(hh, c->known, ino, sizeof(k->ino), k);
		}
	}
	pthread_mutex_unlock(&c->lock);
}

void mnt_cache_forgot(struct mnt_volume *v, uint64_t ino)
{
	struct mnt_cache *c = v->m->cache;
	struct known *k;

	if (!c || !v->m->opt.has_cache)
		return;
	pthread_mutex_lock(&c->lock);
	HASH_FIND(hh, c->known, &ino, sizeof(ino), k);
	if (k) {
		HASH_DEL(c->known, k);
		free(k);
	}
	pthread_mutex_unlock(&c->lock);
}

/* ---- telling the kernel -------------------------------------------------- */

static int notify_epoch(struct mnt *m)
{
	struct fuse_out_header head = {
		.len = sizeof(head),
		.error = NOTIFY_INC_EPOCH,
	};

	return write(m->fd, &head, sizeof(head)) < 0 ? -errno : 0;
}

/* Attributes alone: the kernel does not wait for anything. */
static void drop_attributes(struct mnt_cache *c)
{
	struct known *k, *tmp;

	(void)fuse_lowlevel_notify_inval_inode(c->m->se, FUSE_ROOT_ID, -1, 0);
	pthread_mutex_lock(&c->lock);
	HASH_ITER(hh, c->known, k, tmp)
		(void)fuse_lowlevel_notify_inval_inode(
			c->m->se, mnt_node(c->m->slots[0], k->ino), -1, 0);
	pthread_mutex_unlock(&c->lock);
}

static void wait_for_names(struct mnt_cache *c)
{
	struct cfs_clock *clock = cfs_clock_system();

	cfs_clock_sleep_until(clock, atomic_load(&c->until_ns));
}

/* Somebody else is about to come.  It may be called with locks of the session
 * held: nothing here, and nobody in the gate, asks for any. */
static void uncache(void *arg)
{
	struct mnt_volume *v = arg;
	struct mnt_cache *c = v->m->cache;

	/* What is being sent now is sent before what follows. */
	atomic_fetch_add(&c->ends, 1);
	pthread_rwlock_wrlock(&c->gate);
	pthread_rwlock_unlock(&c->gate);
	if (!c->has_epoch || notify_epoch(v->m) < 0)
		wait_for_names(c);
	if (v->slot == 0 && !v->m->is_whole)
		drop_attributes(c);
}

/* ---- what may be kept ---------------------------------------------------- */

void mnt_cache_begin(struct mnt *m)
{
	m->cache->has_epoch = notify_epoch(m) == 0;
}

int mnt_cache_watch(struct mnt_volume *v, struct cfs_err *err)
{
	const struct cfs_io_watch watch = { .changes = uncache, .arg = v };

	if (!v->fs || v->snap || v->slot || v->m->is_whole)
		return 0;
	return cfs_io_watch(v->io, &watch, err);
}

void mnt_cache_unwatch(struct mnt_volume *v)
{
	if (v->fs && !v->snap && !v->slot && !v->m->is_whole)
		(void)cfs_io_watch(v->io, NULL, NULL);
}

struct mnt_keep mnt_cache_look(struct mnt_volume *v)
{
	struct mnt_keep keep = { .serial = 0 };

	if (!v->m->opt.has_cache || !v->fs || v->slot || v->m->is_whole)
		return keep;
	keep.ends = atomic_load(&v->m->cache->ends);
	keep.may = cfs_io_may_keep(v->io, &keep.serial, &keep.ns);
	return keep;
}

double mnt_cache_enter(struct mnt_volume *v, const struct mnt_keep *keep)
{
	struct mnt_cache *c = v->m->cache;
	double seconds;

	pthread_rwlock_rdlock(&c->gate);
	if (v->snap)
		return 1; /* it never changes; but it may be removed */
	if (!keep->may || keep->ends != atomic_load(&c->ends))
		return 0;
	seconds = (double)keep->ns / 1e9;
	if (c->has_epoch)
		return CFS_MIN(seconds, KEEP_SECONDS);
	atomic_store(&c->until_ns,
		     cfs_clock_elapsed_ns(cfs_clock_system()) +
			     (uint64_t)(KEEP_SECONDS_OLD * 1.1e9));
	return CFS_MIN(seconds, KEEP_SECONDS_OLD);
}

void mnt_cache_leave(struct mnt *m)
{
	pthread_rwlock_unlock(&m->cache->gate);
}
